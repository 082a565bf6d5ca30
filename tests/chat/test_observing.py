"""What observers are told of a turn: its steps, their times and how each ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aichat_cli.billing.limits import Limits
from aichat_cli.chat.observing import FinishedTurn, Trace
from aichat_cli.chat.request import TurnDeps, TurnRequest
from aichat_cli.chat.turn import run
from aichat_cli.core.documents import DocumentId, Hit, Passage, SearchResult
from aichat_cli.core.errors import CapReached, ConnectFailed
from aichat_cli.core.events import Retrying, TextDelta
from aichat_cli.core.models import Model
from aichat_cli.core.money import Price, Rates
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import replace
from aichat_cli.providers.base import Timeouts
from aichat_cli.providers.openai_wire import OpenAIWire
from aichat_cli.providers.retry import RetryPolicy
from aichat_cli.storage.database import Database
from tests.servers.scripted import ScriptedServer

PASSAGE = Passage(1, DocumentId("d"), "ops.md", "/ops.md", None, "Keys", 0, 5, 1, None, "Keys are kept in the safe.\n")


class Seen(list[FinishedTurn]):
    """The turns that were told of."""

    @property
    def steps(self) -> list[tuple[str, str, str | None]]:
        """Those of the only turn."""
        [turn] = self
        return [(span.kind, span.name, span.error) for span in turn.spans]


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def model(server: ScriptedServer) -> Model:
    price = Price(Rates(1_000_000, 2_000_000))
    return Model("first", "first", "openai", "openai", server.openai_url, "openai", price=price, context_tokens=1000)


@pytest.fixture
def deps(tmp_path: Path, seen: Seen) -> Iterator[TurnDeps]:
    wire = OpenAIWire()
    with Database.open(tmp_path / "aichat.db") as database:
        yield TurnDeps(
            transcript=database,
            provider_for=lambda _: wire,
            key_for=lambda _: Secret("sk-test", "a test"),
            timeouts=Timeouts(connect=5, first_byte=5, idle=5),
            retry=RetryPolicy(attempts=2, base_delay=0),
            sleep=lambda _: None,
            retrieve=lambda *_: SearchResult((Hit(PASSAGE, 1.0, similarity=0.8, terms=("keys",)),)),
            observe=seen.append,
        )
    wire.close()


def test_a_turn_is_told_once_it_is_stored(deps: TurnDeps, model: Model, server: ScriptedServer, seen: Seen) -> None:
    server.script = {"deltas": [{"reasoning": "hm"}, "an ", "answer"], "usage": {"input": 8, "output": 4}}
    began = time.time()
    stored: list[str] = []

    def observe(turn: FinishedTurn) -> None:
        seen.append(turn)
        stored.extend(row[0] for row in deps.transcript.rows("SELECT status FROM messages WHERE role = 'assistant'"))

    list(run(TurnRequest(model, "a question", system="be brief"), replace(deps, observe=observe)))
    assert stored == ["complete"]
    assert seen.steps == [("model", "first", None)]
    [turn] = seen
    [step] = turn.spans
    assert step.first_at is not None
    assert step.first_at == turn.first_at
    assert began <= turn.started_at <= step.started_at <= step.first_at <= step.ended_at <= turn.ended_at <= time.time()
    assert (turn.status, turn.error, turn.finish_reason, turn.is_kept) == ("complete", None, "stop", True)
    assert (turn.tokens and turn.tokens.input_tokens, turn.cost_nano) == (8, 16)
    assert deps.transcript.rows("SELECT request_id FROM usage") == [(turn.id,)]
    content = turn.content
    assert (content.system, content.answer, content.reasoning) == ("be brief", "an answer", "hm")
    assert [message.content for message in content.messages] == ["a question"]


def test_each_attempt_is_a_step_with_the_code_of_its_error(
    deps: TurnDeps, model: Model, server: ScriptedServer, seen: Seen
) -> None:
    server.script = [{"status": 429}, {"status": 500}, {"text": "at last"}]
    second = replace(model, name="second")
    list(run(TurnRequest(model, "a question", fallbacks=(second,)), deps))
    assert seen.steps == [
        ("model", "first", "rate_limited"),
        ("model", "first", "provider_unavailable"),
        ("model", "second", None),
    ]
    assert (seen[0].model, seen[0].error) == ("second", None)
    assert [span.first_at is None for span in seen[0].spans] == [True, True, False]


def test_a_failure_is_told_by_its_code(deps: TurnDeps, model: Model, server: ScriptedServer, seen: Seen) -> None:
    server.script = {"deltas": ["half of "], "cut_in_body": 200}
    list(run(TurnRequest(model, "a question"), deps))
    [turn] = seen
    assert (turn.status, turn.error, turn.spans[-1].error) == ("failed", "connect_failed", "connect_failed")
    assert turn.content.error not in {None, turn.error}


def test_a_turn_that_is_closed_is_told_as_stopped(
    deps: TurnDeps, model: Model, server: ScriptedServer, seen: Seen
) -> None:
    server.script = {"deltas": ["one", "two"], "stall_after": 1}
    events = run(TurnRequest(model, "a question"), deps)
    next(event for event in events if isinstance(event, TextDelta))
    events.close()
    assert seen.steps == [("model", "first", None)]
    assert seen[0].status == "stopped"


def test_a_search_in_documents_is_the_first_step(
    deps: TurnDeps, model: Model, server: ScriptedServer, seen: Seen
) -> None:
    server.script = {"text": "In the safe[1]."}
    list(run(TurnRequest(model, "keys?", docs="work"), deps))
    assert seen.steps == [("retrieval", "work", None), ("model", "first", None)]
    assert (seen[0].content.question, seen[0].content.passages) == ("keys?", (PASSAGE,))
    search, asked = seen[0].spans
    assert seen[0].started_at <= search.started_at <= search.ended_at <= asked.started_at


def test_what_the_user_does_not_want_kept_is_told_as_such(
    deps: TurnDeps, model: Model, server: ScriptedServer, seen: Seen
) -> None:
    list(run(TurnRequest(model, "a question"), replace(deps, is_kept=False)))
    assert not seen[0].is_kept


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def test_a_pause_between_attempts_belongs_to_none(model: Model) -> None:
    clock = Clock()
    trace = Trace(clock)
    trace.ask(model)
    clock.at = 101.0
    trace.take(Retrying(ConnectFailed("no"), attempt=1, delay=4.0), model)
    clock.at = 107.0
    trace.end()
    assert [(span.started_at, span.ended_at, span.error) for span in trace.spans()] == [
        (100.0, 101.0, "connect_failed"),
        (105.0, 107.0, None),
    ]


def test_an_attempt_that_was_yet_to_come_is_no_step(model: Model) -> None:
    clock = Clock()
    trace = Trace(clock)
    trace.ask(model)
    trace.take(Retrying(ConnectFailed("no"), attempt=1, delay=4.0), model)
    clock.at = 102.0
    trace.end()
    trace.end()
    assert [span.error for span in trace.spans()] == ["connect_failed"]


def test_a_refusal_for_money_is_told_as_one_that_was_not_sent(
    deps: TurnDeps, model: Model, server: ScriptedServer, seen: Seen
) -> None:
    capped = replace(deps, limits=Limits(monthly_nano=1))
    with pytest.raises(CapReached):
        list(run(TurnRequest(model, "a question"), capped))
    [turn] = seen
    assert (turn.was_sent, turn.status, turn.error, turn.spans) == (False, "failed", "cap_reached", ())
    assert not server.requests
