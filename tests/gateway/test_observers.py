"""What the operator's integrations are told of calls, and what that costs whoever calls: nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from aichat_cli.accounts.postgres import PostgresAccounts
from aichat_cli.app import App
from aichat_cli.chat.observing import FinishedTurn, TurnContent
from aichat_cli.core.ids import RequestId
from aichat_cli.core.secret import Secret
from aichat_cli.gateway.teller import MOST_BYTES_WAITING, MOST_WAITING, Teller
from aichat_cli.integrations import services
from aichat_cli.integrations.observer import TIMEOUTS
from aichat_cli.storage.database import Database
from tests.gateway import diary
from tests.gateway.asking import HELLO, soon
from tests.gateway.test_disconnects import ask_and_keep
from tests.gateway.test_metrics import samples
from tests.hosted.database import template
from tests.servers import langsmith_double
from tests.servers.gateway import RunningGateway
from tests.servers.langsmith_double import LangSmithDouble
from tests.servers.postgres import Cluster
from tests.servers.scripted import ScriptedServer
from tests.servers.service import HANGS

OPENAI, CLAUDE = "gpt-4o-mini", "claude-haiku-4-5"
DIARY = {"AICHAT_INTEGRATIONS": "diary"}


@pytest.fixture(scope="module", autouse=True)
def known() -> Iterator[None]:
    """The diary is an integration, as those are that come with aichat."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(services.OBSERVERS, "diary", diary.__name__)
        yield


@pytest.fixture(scope="module", params=["sqlite", "postgres16"])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, provider: ScriptedServer
) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("observed")
    if request.param == "sqlite":
        with RunningGateway(folder, provider, environ=DIARY) as running:
            yield running
        return
    cluster: Cluster = request.getfixturevalue(request.param)
    with cluster.database(template(cluster)) as dsn:
        store = PostgresAccounts(Secret(dsn, "test"))
        with RunningGateway(folder, provider, store=store, environ=DIARY) as running:
            yield running


def told(answer_or_stream: Any) -> FinishedTurn:
    """What the diary was told of the call that gave an answer, once it has been told."""
    return told_of(answer_or_stream.headers["x-request-id"])


def told_of(request_id: str) -> FinishedTurn:
    soon(lambda: request_id in diary.delivered)
    [turn] = [turn for turn in diary.seen if turn.id == request_id]
    assert diary.delivered.count(request_id) == 1
    return turn


def ask(gateway: RunningGateway, key: str, path: str = "chat/completions", **asked: Any) -> httpx.Response:
    body = {"model": OPENAI, "messages": HELLO, **asked} if path.startswith("chat") else asked
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.post(f"{gateway.openai_url}/{path}", json=body, headers=headers, trust_env=False, timeout=20)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("model", [OPENAI, CLAUDE])
def test_a_call_is_told_once_it_is_settled_with_its_user_and_nothing_that_was_said(
    gateway: RunningGateway, provider: ScriptedServer, model: str, *, stream: bool
) -> None:
    provider.script = [
        {"status": 503, "headers": {"Retry-After": "0"}},
        {"deltas": ["One ", "two"], "usage": {"input": 1000, "output": 200}, "finish": "length"},
    ]
    key = gateway.key("anna")
    turn = told(ask(gateway, key, model=model, stream=stream))
    assert (turn.type, turn.model, turn.status, turn.error) == ("chat", model, "complete", None)
    assert (turn.is_streamed, turn.finish_reason) == (stream, "length")
    assert turn.tokens is not None
    assert (turn.tokens.input_tokens, turn.tokens.output_tokens) == (1000, 200)
    assert turn.cost_nano
    assert turn.user == gateway.user_id("anna")
    assert (turn.first_at is not None) == stream
    first, second = turn.spans
    assert (first.kind, first.name, first.provider, first.error) == (
        "model",
        model,
        turn.provider,
        "provider_unavailable",
    )
    assert (second.error, second.first_at) == (None, turn.first_at)
    assert (
        turn.started_at <= first.started_at <= first.ended_at <= second.started_at <= second.ended_at <= turn.ended_at
    )
    assert (turn.content.messages, turn.content.answer, turn.content.system) == ((), "", None)


def test_calls_that_fail_break_or_are_left_are_told_once_as_well(
    gateway: RunningGateway, provider: ScriptedServer
) -> None:
    key = gateway.key("bert")
    provider.script = {"status": 401, "error": {"message": "no"}}
    refused = told(ask(gateway, key))
    assert (refused.status, refused.error, refused.tokens, refused.cost_nano) == ("failed", "key_rejected", None, None)
    assert [span.error for span in refused.spans] == ["key_rejected"]
    provider.script = {"deltas": ["One ", "two"], "finish": None, "done": False}
    broken = told(ask(gateway, key, stream=True))
    assert (broken.status, broken.error, len(broken.spans)) == ("failed", "connect_failed", 1)
    assert broken.cost_nano
    left_id = "0193a000-0000-7000-8000-00000000000" + ("1" if gateway.store.hosted is None else "2")
    provider.script = {"deltas": ["One ", "two"], "stall_after": 1}
    body = {"model": OPENAI, "messages": HELLO, "stream": True}
    connection = ask_and_keep(gateway, key, body, headers={"X-Aichat-Request-Id": left_id})
    while b"One " not in connection.recv(4096):
        pass
    connection.close()
    left = told_of(left_id)
    assert (left.status, left.error, left.finish_reason) == ("stopped", None, None)
    assert left.first_at
    assert left.cost_nano


def test_vectors_are_told_without_their_texts(gateway: RunningGateway) -> None:
    turn = told(ask(gateway, gateway.key("cleo"), "embeddings", model="text-embedding-3-small", input="some text"))
    assert (turn.type, turn.status, turn.is_streamed) == ("embedding", "complete", False)
    assert turn.cost_nano
    assert [span.name for span in turn.spans] == ["text-embedding-3-small"]
    assert "some text" not in str(turn)


def test_what_was_not_admitted_is_told_nobody(gateway: RunningGateway) -> None:
    for key, model in (("wrong", OPENAI), (gateway.key("dora"), "no-such-model")):
        answer = ask(gateway, key, model=model)
        assert answer.status_code in (401, 404)
        told(ask(gateway, gateway.key("dora")))
        assert answer.headers["x-request-id"] not in [turn.id for turn in diary.seen]


def test_what_was_delivered_is_counted(gateway: RunningGateway) -> None:
    labels = 'integration="diary",outcome="{}"'
    before = samples(gateway)["aichat_deliveries_total", labels.format("delivered")]
    told(ask(gateway, gateway.key("emil")))
    now = samples(gateway)
    assert now["aichat_deliveries_total", labels.format("delivered")] == before + 1
    assert now["aichat_deliveries_total", labels.format("failed")] == 0
    assert now["aichat_deliveries_total", labels.format("dropped")] == 0


def test_langsmith_has_one_trace_for_each_call_with_its_user_and_its_content_where_that_is_set(
    tmp_path: Path, provider: ScriptedServer
) -> None:
    with LangSmithDouble() as langsmith:
        environ = {**of_langsmith(langsmith), "AICHAT_LANGSMITH_CONTENT": "true"}
        with RunningGateway(tmp_path, provider, environ=environ) as gateway:
            key = gateway.key("anna")
            for stream in (True, False):
                assert ask(gateway, key, stream=stream).status_code == 200
            user = gateway.user_id("anna")
        assert len(langsmith.traces) == 2
        for runs in langsmith.traces.values():
            assert [run["run_type"] for run in runs] == ["chain", "llm"]
            assert user in str(runs[0]["extra"])
            assert "You said: hello there" in str(runs[0]["outputs"])
        assert langsmith.repeated == 0


def test_a_langsmith_that_hangs_delays_no_call_and_the_end_by_two_seconds_and_is_told_later(
    tmp_path: Path, provider: ScriptedServer
) -> None:
    with LangSmithDouble() as langsmith:
        langsmith.fault = HANGS
        with RunningGateway(tmp_path, provider, environ=of_langsmith(langsmith)) as gateway:
            began = time.monotonic()
            for _ in range(5):
                assert ask(gateway, gateway.key("anna")).status_code == 200
            assert time.monotonic() - began < TIMEOUTS.first_byte
            assert "hello there" not in str(kept(gateway))
            ended_at = time.monotonic()
        assert time.monotonic() - ended_at < 4  # 2, and what a busy machine takes
        assert len(kept(gateway)) == 5


def test_with_no_integration_on_no_thread_is_begun_and_nothing_is_kept(
    tmp_path: Path, provider: ScriptedServer
) -> None:
    others = threads_of_tellers()
    with RunningGateway(tmp_path, provider, environ={"AICHAT_INTEGRATIONS": ""}) as gateway:
        assert ask(gateway, gateway.key("anna")).status_code == 200
        assert threads_of_tellers() == others
        assert not gateway.deps.house.database_path.exists()
        assert not [name for name, _ in samples(gateway) if "deliveries" in name]


def test_what_is_told_too_fast_makes_room_and_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("AICHAT_INTEGRATIONS", "diary")
    house = App()
    teller = Teller(house)
    for number in range(MOST_WAITING + 3):
        teller.tell(a_turn(f"fast-{number}"), 10)
    assert [each.dropped for each in teller.told] == [3]
    teller.tell(a_turn("large"), MOST_BYTES_WAITING)
    teller.open()
    teller.close()
    house.close()
    assert diary.delivered[-1:] == ["large"]
    assert "fast-5" not in diary.delivered
    assert teller.told[0].dropped == MOST_WAITING + 3


def a_turn(id_: str) -> FinishedTurn:
    return FinishedTurn(
        RequestId(id_), "chat", OPENAI, "openai", "complete", 1.0, 2.0, content=TurnContent(None, (), "", "")
    )


def threads_of_tellers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "teller"}


def of_langsmith(langsmith: LangSmithDouble) -> dict[str, str]:
    return {
        "AICHAT_INTEGRATIONS": "langsmith",
        "AICHAT_LANGSMITH_URL": langsmith.url,
        "LANGSMITH_API_KEY": langsmith_double.KEY,
    }


def kept(gateway: RunningGateway) -> list[tuple[Any, ...]]:
    """What waits in the operator's database."""
    with closing(Database.open(gateway.deps.house.database_path, read_only=True)) as db:
        return db.rows("SELECT id, payload FROM deliveries WHERE integration = 'langsmith'")
