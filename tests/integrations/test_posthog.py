"""Events at PostHog: what is in them, and that nothing else is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import posthog as sdk
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.chat.observing import Span, TurnContent
from aichat_cli.core.errors import AichatError, BadResponse, ConfigError, KeyRejected
from aichat_cli.core.messages import ChatMessage
from aichat_cli.core.money import TokenUsage
from aichat_cli.core.struct import replace
from aichat_cli.integrations.posthog import PROCESSING, PROPERTIES, PostHog, event_of
from aichat_cli.storage import deliveries
from aichat_cli.storage.database import Database
from tests.integrations.turns import a_turn, surroundings
from tests.runner import KEY as PROVIDER_KEY
from tests.runner import Cli
from tests.servers.posthog_double import KEY, PostHogDouble
from tests.servers.scripted import ScriptedServer
from tests.servers.service import NOT_JSON, Fault

INSTALL = "0b1d4c2e-7a68-4f7e-9a55-3d8f5b1c2e90"
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "telemetry.md"
FIXED = json.dumps({name: PROPERTIES[name](a_turn()) for name in ("aichat_version", "python_version", "platform")})


@contextmanager
def made(posthog: PostHogDouble, key: str | None = KEY) -> Iterator[PostHog]:
    observer = PostHog(surroundings("posthog", {"posthog.url": posthog.url}, key))
    try:
        yield observer
    finally:
        observer.close()


def test_the_double_takes_what_posthogs_own_client_sends(posthog: PostHogDouble) -> None:
    client = sdk.Posthog(KEY, host=posthog.url, sync_mode=True, gzip=True)
    client.capture("it happened", distinct_id="somebody", properties={"colour": "green"})
    client.shutdown()

    assert [(each["event"], each["properties"]["colour"]) for each in posthog.events] == [("it happened", "green")]
    assert sdk.request.flags(KEY, posthog.url, distinct_id="somebody")["flags"] == {}
    with pytest.raises(sdk.request.APIError) as refused:
        sdk.request.flags("phc_of_no_project", posthog.url, distinct_id="somebody")
    assert refused.value.status == 401


def test_a_turn_is_one_event_of_the_properties_that_are_listed(posthog: PostHogDouble, tmp_path: Path) -> None:
    turn = a_turn(
        tokens=TokenUsage(100, 20),
        cost_nano=27_000,
        spans=(
            Span("retrieval", "diary", "", 0, 1),
            Span("model", "gpt-4o", "openai", 1, 2, error="rate_limited"),
            Span("model", "gpt-4o-mini", "openai", 2, 3),
        ),
    )
    with Database.open(tmp_path / "aichat.db") as books, made(posthog) as observer:
        install = deliveries.install_id(books)
        observer.deliver(observer.deliveries(replace(turn, books=books)))

    [event] = posthog.events
    assert (event["event"], event["distinct_id"]) == ("turn finished", install)
    assert event["timestamp"] == "2026-11-30T00:53:21.500+00:00"
    assert event["properties"] == {
        "provider": "openai",
        "model": "gpt-4o-mini",
        "type": "chat",
        "status": "complete",
        "error": None,
        "streamed": True,
        "documents_used": True,
        "attempts": 2,
        "duration_ms": 1500,
        "first_token_ms": 250,
        "input_tokens": 100,
        "output_tokens": 20,
        "cost_usd": 2.7e-05,
        **json.loads(FIXED),
        "$process_person_profile": False,
        "$geoip_disable": True,
        "$ip": None,
        "$lib": "aichat",
    }


@pytest.mark.parametrize(
    ("provider", "model", "told"),
    [
        ("anthropic", "claude-haiku-4-5", ("anthropic", "claude-haiku-4-5")),
        ("anthropic", "claude-3.5-haiku", ("anthropic", "claude-3.5-haiku")),
        ("groq", "groq/openai/gpt-oss-120b", ("groq", "groq/openai/gpt-oss-120b")),
        ("gateway", "gateway/gpt-4o", ("gateway", "gateway/gpt-4o")),
        ("gateway", "gateway/our-own", ("gateway", "custom")),
        ("gemini", "gemini/gemini-2.5-pro", ("gemini", "gemini/gemini-2.5-pro")),
        ("local", "smollm2", ("local", "smollm2")),
        ("local", "/home/anna/secret.gguf", ("local", "custom")),
        ("ollama", "ollama/annas-model", ("ollama", "custom")),
        ("openai", "ft:gpt-4o-mini-2024-07-18:acme::abc", ("openai", "custom")),
        ("acme-internal", "acme-1", ("custom", "custom")),
        ("", "", ("custom", "custom")),
    ],
)
def test_names_that_do_not_ship_with_aichat_are_not_told(provider: str, model: str, told: tuple[str, str]) -> None:
    properties = event_of(a_turn(model=model, provider=provider), INSTALL)["properties"]
    assert (properties["provider"], properties["model"]) == told


SECRETS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1).map(
    lambda text: f"secret {text}"
)


@given(st.data())
def test_whatever_a_turn_holds_none_of_it_is_in_its_event(data: st.DataObject) -> None:
    secret = data.draw(st.fixed_dictionaries(dict.fromkeys(SECRET_PLACES, SECRETS)))
    turn = a_turn(
        id=secret["id"],
        model=data.draw(st.sampled_from(["{}", "{}.gguf", "openai/{}", "ollama/{}", "gateway/{}"])).format(
            secret["model"]
        ),
        provider=secret["provider"],
        served_model=secret["served"],
        conversation_id=secret["conversation"],
        message_id=secret["conversation"],
        user=secret["user"],
        error=data.draw(st.sampled_from([None, "rate_limited", secret["error"]])),
        finish_reason=secret["reason"],
        tokens=TokenUsage(1, 2, raw=secret["raw"]),
        spans=(Span("retrieval", secret["collection"], secret["provider"], 0, 1, error=secret["error"]),),
        content=TurnContent(
            system=secret["system"],
            messages=(ChatMessage("user", secret["prompt"]),),
            answer=secret["answer"],
            reasoning=secret["reasoning"],
            question=secret["prompt"],
            error=secret["error"],
        ),
    )
    event = event_of(turn, INSTALL)

    assert set(event) == {"uuid", "event", "distinct_id", "timestamp", "properties"}
    assert set(event["properties"]) == {*PROPERTIES, *PROCESSING}
    assert "secret" not in json.dumps(event)
    assert not any(isinstance(value, dict | list) for value in event["properties"].values())


SECRET_PLACES = (
    *("id", "model", "provider", "served", "conversation", "user", "error", "reason", "raw", "collection"),
    *("system", "prompt", "answer", "reasoning"),
)


def test_an_event_that_arrives_twice_counts_once(posthog: PostHogDouble) -> None:
    turn = a_turn()
    with made(posthog) as observer:
        for _ in range(2):
            observer.deliver(observer.deliveries(turn))

    assert (len(posthog.arrived), len(posthog.events)) == (2, 1)
    assert event_of(turn, INSTALL)["uuid"] != event_of(turn, "another")["uuid"]


def test_a_turn_that_was_not_to_be_kept_is_told_nobody(posthog: PostHogDouble) -> None:
    with made(posthog) as observer:
        assert observer.deliveries(a_turn(is_kept=False)) == []


def test_a_check_tells_a_key_of_no_project_and_counts_no_event(posthog: PostHogDouble) -> None:
    with made(posthog) as observer:
        assert observer.check() == "events go to the project of the key, without content"
    refused = pytest.raises(KeyRejected, match=r"PostHog refuses the key from the test \(401\)")
    with made(posthog, "phc_of_no_project") as observer, refused:
        observer.check()
    assert posthog.arrived == []


def test_a_personal_key_is_told_before_anything_is_sent(posthog: PostHogDouble) -> None:
    is_personal = pytest.raises(ConfigError, match=r"is a personal key of PostHog \(phx_\)")
    with made(posthog, "phx_1234") as observer, is_personal:
        observer.warm()
    with made(posthog, None) as observer, pytest.raises(ConfigError, match="posthog is on, but has no key"):
        observer.warm()
    assert posthog.connections == 0


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (NOT_JSON, r"^PostHog does not answer in JSON\.$"),
        (Fault({"body": "[1]", "status": 200}), r"Is posthog\.url its address\?"),
    ],
)
def test_an_answer_of_somebody_else_is_no_delivery(posthog: PostHogDouble, fault: Fault, said: str) -> None:
    posthog.fault = fault
    with made(posthog) as observer:
        with pytest.raises(BadResponse, match=said):
            observer.check()
        with pytest.raises(BadResponse, match=said):
            observer.deliver(observer.deliveries(a_turn()))


def test_the_page_lists_what_is_told_and_nothing_else() -> None:
    listed = re.findall(r"^\| `([^`]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert listed == [*PROPERTIES, *PROCESSING]


def program(cli: Cli, posthog: PostHogDouble) -> Cli:
    cli.environ |= {"AICHAT_INTEGRATIONS": "posthog", "AICHAT_POSTHOG_URL": posthog.url, "POSTHOG_API_KEY": KEY}
    return cli


@pytest.mark.parametrize(
    ("script", "code", "told"),
    [
        ({"text": "The answer."}, 0, {"status": "complete", "error": None, "attempts": 1, "streamed": True}),
        ({"status": 401}, 3, {"status": "failed", "error": "key_rejected", "attempts": 1}),
    ],
)
def test_a_one_shot_has_delivered_its_event_when_it_ends(
    cli: Cli, server: ScriptedServer, posthog: PostHogDouble, script: dict[str, Any], code: int, told: dict[str, Any]
) -> None:
    server.script = script
    done = program(cli, posthog).run("-m", "gpt-4o-mini", "the question")

    assert done.returncode == code, done.stderr
    [event] = posthog.events
    assert {name: event["properties"][name] for name in told} == told
    [(install,)] = cli.rows("SELECT id FROM install")
    assert event["distinct_id"] == install
    sent = posthog.requests[-1].raw_body.decode()
    assert not [each for each in ("question", "The answer", PROVIDER_KEY, str(cli.home)) if each in sent]
    assert cli.rows("SELECT * FROM deliveries") == []
    assert KEY.encode() not in done.stdout + done.stderr


def test_a_turn_that_is_stopped_is_an_event_too(cli: Cli, server: ScriptedServer, posthog: PostHogDouble) -> None:
    server.script = {"deltas": ["It begins"], "stall_after": 1}
    with program(cli, posthog).start("-m", "gpt-4o-mini", "question") as process:
        assert process.stdout is not None
        assert process.stdout.read(9) == b"It begins"
        process.terminate()
        process.communicate(timeout=20)

    assert [event["properties"]["status"] for event in posthog.events] == ["stopped"]


def test_an_event_that_waits_holds_no_key(cli: Cli, server: ScriptedServer, posthog: PostHogDouble) -> None:
    with posthog.refusing():
        done = program(cli, posthog).run("-m", "gpt-4o-mini", "the question")

    assert (done.returncode, done.stderr) == (0, b"")
    [(waiting,)] = cli.rows("SELECT payload FROM deliveries")
    assert json.loads(waiting)["event"] == "turn finished"
    assert KEY.encode() not in cli.database.read_bytes()


def test_errors_of_plugins_are_not_told_by_name() -> None:
    class Odd(AichatError):
        code = "acme_odd"

    assert event_of(a_turn(status="failed", error=Odd.code), INSTALL)["properties"]["error"] == "other"
    assert event_of(a_turn(status="failed", error="TypeError"), INSTALL)["properties"]["error"] == "other"
