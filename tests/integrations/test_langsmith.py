"""Traces at LangSmith: what is in them, and what is not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from aichat_cli.chat.observing import FinishedTurn, Span, TurnContent
from aichat_cli.config.settings import Settings
from aichat_cli.core.documents import DocumentId, Passage
from aichat_cli.core.errors import ConfigError, KeyRejected, RequestRejected
from aichat_cli.core.ids import ConversationId, RequestId, new_id
from aichat_cli.core.messages import ChatMessage
from aichat_cli.core.money import TokenUsage
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import replace
from aichat_cli.integrations.langsmith import LONGEST_TEXT, LangSmith, runs_of
from aichat_cli.integrations.observer import Surroundings
from tests.servers.langsmith_double import KEY, WORKSPACE, LangSmithDouble

BEGAN = 1_790_000_000.25
WORDS = ("Be terse.", "the secret question", "the secret answer", "a secret thought", "a secret passage", "diary")
PASSAGE = Passage(1, DocumentId("d"), "diary.md", "/home/anna/diary.md", None, "", 0, 16, 3, None, "a secret passage")
TURN = FinishedTurn(
    id=RequestId(new_id()),
    type="chat",
    model="claude-haiku-4-5",
    provider="anthropic",
    served_model="claude-haiku-4-5-20251001",
    status="complete",
    started_at=BEGAN,
    ended_at=BEGAN + 4,
    first_at=BEGAN + 3,
    finish_reason="stop",
    conversation_id=ConversationId(new_id()),
    tokens=TokenUsage(100, 20, cached_tokens=60, cache_write_tokens=10, reasoning_tokens=5),
    cost_nano=1_250_000,
    spans=(
        Span("retrieval", "diary", "", BEGAN + 0.5, BEGAN + 1),
        Span("model", "gpt-4o", "openai", BEGAN + 1, BEGAN + 2, error="rate_limited"),
        Span("model", "claude-haiku-4-5", "anthropic", BEGAN + 2, BEGAN + 4, first_at=BEGAN + 3),
    ),
    content=TurnContent(
        system=WORDS[0],
        messages=(ChatMessage("user", WORDS[1]),),
        answer=WORDS[2],
        reasoning=WORDS[3],
        question=WORDS[1],
        passages=(PASSAGE,),
    ),
)


def made(langsmith: LangSmithDouble, key: str = KEY, **environ: str) -> LangSmith:
    """The observer, with these settings."""
    settings = Settings(Path("/nonexistent"), {"AICHAT_LANGSMITH_URL": langsmith.url, **environ})
    return LangSmith(Surroundings("langsmith", settings, lambda _: Secret(key, "$LANGSMITH_API_KEY")))


@pytest.fixture
def observer(langsmith: LangSmithDouble) -> Iterator[LangSmith]:
    observer = made(langsmith)
    yield observer
    observer.close()


@pytest.fixture
def telling(langsmith: LangSmithDouble) -> Iterator[LangSmith]:
    """One that may say what was said."""
    observer = made(langsmith, AICHAT_LANGSMITH_CONTENT="true")
    yield observer
    observer.close()


def test_a_turn_is_a_trace_with_a_run_for_each_step(observer: LangSmith, langsmith: LangSmithDouble) -> None:
    observer.deliver(observer.deliveries(TURN))
    root, search, failed, answered = langsmith.trace()
    assert [run["run_type"] for run in (root, search, failed, answered)] == ["chain", "retriever", "llm", "llm"]
    assert {run.get("parent_run_id") for run in (search, failed, answered)} == {root["id"]}
    assert root["id"] == TURN.id
    assert {run["session_name"] for run in langsmith.trace()} == {"aichat"}
    assert {run["extra"]["metadata"]["thread_id"] for run in langsmith.trace()} == {TURN.conversation_id}
    assert (failed["error"], answered["error"], root["error"]) == ("rate_limited", None, None)
    assert answered["events"] == [{"name": "new_token", "time": "2026-09-21T14:13:23.250000+00:00"}]
    assert (failed["start_time"], failed["end_time"]) == (
        "2026-09-21T14:13:21.250000+00:00",
        "2026-09-21T14:13:22.250000+00:00",
    )
    metadata = answered["extra"]["metadata"]
    assert (metadata["ls_provider"], metadata["ls_model_name"]) == ("anthropic", "claude-haiku-4-5")
    assert metadata["usage_metadata"] == {
        "input_tokens": 100,
        "output_tokens": 20,
        "total_tokens": 120,
        "input_token_details": {"cache_read": 60, "cache_creation": 10},
        "output_token_details": {"reasoning": 5},
        "total_cost": 0.00125,
    }
    assert "usage_metadata" not in failed["extra"]["metadata"]


def test_nothing_that_was_said_leaves_unless_it_may(observer: LangSmith, langsmith: LangSmithDouble) -> None:
    failed = replace(TURN, error="provider", content=replace(TURN.content, error="it said: the secret answer"))
    observer.deliver(observer.deliveries(failed))
    [request] = langsmith.requests
    assert not [word for word in (*WORDS, "home/anna", KEY) if word in request.raw_body.decode()]
    assert [(run["inputs"], run["outputs"]) for run in langsmith.trace()] == [({}, {})] * 4
    assert langsmith.trace()[0]["error"] == "provider"


def test_what_was_said_is_there_where_it_may_be(telling: LangSmith, langsmith: LangSmithDouble) -> None:
    telling.deliver(telling.deliveries(replace(TURN, error="provider", content=replace(TURN.content, error="oh no"))))
    root, search, failed, answered = langsmith.trace()
    asked = {"role": "user", "content": "the secret question"}
    answer = {"role": "assistant", "content": "the secret answer", "reasoning_content": "a secret thought"}
    assert (root["inputs"], root["outputs"], root["error"]) == ({"messages": [asked]}, {"messages": [answer]}, "oh no")
    assert search["inputs"] == {"query": "the secret question"}
    assert search["outputs"]["documents"] == [
        {"page_content": "a secret passage", "type": "Document", "metadata": {"source": "diary.md:3"}}
    ]
    assert (failed["inputs"], failed["outputs"]) == ({}, {})
    assert answered["inputs"] == {"messages": [{"role": "system", "content": "Be terse."}, asked]}
    assert answered["outputs"] == {"messages": [answer]}


def test_nothing_is_said_of_a_turn_that_is_not_kept(telling: LangSmith, langsmith: LangSmithDouble) -> None:
    telling.deliver(telling.deliveries(replace(TURN, is_kept=False)))
    assert not [word for word in WORDS if word in langsmith.requests[0].raw_body.decode()]
    assert "thread_id" not in langsmith.trace()[0]["extra"]["metadata"]


def test_a_text_is_sent_up_to_a_length_and_in_characters_that_can_be(
    telling: LangSmith, langsmith: LangSmithDouble
) -> None:
    content = replace(TURN.content, answer="x" * (LONGEST_TEXT + 7), reasoning="\ud800!")
    telling.deliver(telling.deliveries(replace(TURN, content=content)))
    [answer] = langsmith.trace()[0]["outputs"]["messages"]
    assert answer["content"].endswith("xx [7 characters more]")
    assert answer["reasoning_content"] == "?!"


def test_what_is_sent_again_is_there_once(observer: LangSmith, langsmith: LangSmithDouble) -> None:
    others = [replace(TURN, id=RequestId(new_id())) for _ in range(3)]
    first = observer.deliveries(TURN)
    observer.deliver(first)
    again = [*observer.deliveries(TURN), *(each for turn in others for each in observer.deliveries(turn))]
    assert list(first) == again[:1]
    observer.deliver(again)
    assert sorted(langsmith.traces) == sorted(turn.id for turn in (TURN, *others))


def test_steps_are_within_their_turn_even_if_the_clock_was_set_back(
    observer: LangSmith, langsmith: LangSmithDouble
) -> None:
    odd = Span("model", "m", "p", BEGAN - 60, BEGAN - 90)
    observer.deliver(observer.deliveries(replace(TURN, ended_at=BEGAN - 30, spans=(odd, odd))))
    assert len(langsmith.trace()) == 3


def test_what_langsmith_refuses_is_told(observer: LangSmith, langsmith: LangSmithDouble) -> None:
    langsmith.refuses = lambda _: True
    with pytest.raises(RequestRejected, match="LangSmith answered 400: this run is refused"):
        observer.deliver(observer.deliveries(TURN))


def test_a_check_needs_the_key_and_changes_nothing(observer: LangSmith, langsmith: LangSmithDouble) -> None:
    assert observer.check() == 'traces go to the project "aichat", without what was said'
    assert (langsmith.requests[0].method, langsmith.runs) == ("GET", {})
    other = made(langsmith, "lsv2_pt_wrong")
    with pytest.raises(KeyRejected, match=r"LangSmith refuses the key from \$LANGSMITH_API_KEY \(401\)"):
        other.check()
    other.close()


def test_a_key_of_an_organisation_needs_a_workspace(observer: LangSmith, langsmith: LangSmithDouble) -> None:
    langsmith.wants_workspace = True
    with pytest.raises(ConfigError) as told:
        observer.deliver(observer.deliveries(TURN))
    assert told.value.hint == "Run: aichat config set langsmith.workspace ID"
    other = made(langsmith, AICHAT_LANGSMITH_WORKSPACE=WORKSPACE)
    other.deliver(other.deliveries(TURN))
    other.close()
    assert len(langsmith.trace()) == 4


@pytest.mark.parametrize("way", ["multipart", "batch"])
def test_langsmiths_own_sdk_is_understood_and_has_the_fields_that_ours_have(
    way: str, langsmith: LangSmithDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    from langsmith import Client
    from langsmith.run_trees import RunTree

    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    config = {"use_multipart_endpoint": way == "multipart", "size_limit": 100, "size_limit_bytes": 20_000_000}
    client = Client(api_url=langsmith.url, api_key=KEY, auto_batch_tracing=False, info={"batch_ingest_config": config})
    root = RunTree(name="turn", run_type="chain", inputs={}, project_name="aichat", ls_client=client, tags=["a"])
    child = root.create_child("gpt-4o", "llm", extra={"metadata": {"ls_provider": "openai", "ls_model_name": "gpt-4o"}})
    child.set(usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3, "total_cost": 0.5})
    child.add_event({"name": "new_token", "time": "2026-09-21T14:13:23+00:00"})
    child.end(outputs={"messages": []})
    root.end(error="bad")
    send = client.multipart_ingest if way == "multipart" else client.batch_ingest_runs
    send(create=[run._get_dicts_safe() for run in (root, child)])
    client.close()
    theirs = langsmith.trace()
    assert [run["name"] for run in theirs] == ["turn", "gpt-4o"]
    ours = runs_of(TURN, "aichat", TURN.content)
    assert {name for run in ours for name in run} <= {name for run in theirs for name in run}
    usage = [run["extra"]["metadata"]["usage_metadata"] for run in (ours[-1], theirs[-1])]
    assert usage[1].keys() <= usage[0].keys()
    assert UUID(ours[0]["id"]).version == UUID(theirs[0]["id"]).version == 7


def test_a_trace_is_made_in_a_moment(observer: LangSmith) -> None:
    began = time.process_time()
    for _ in range(100):
        observer.deliveries(TURN)
    assert (time.process_time() - began) / 100 < 0.005
