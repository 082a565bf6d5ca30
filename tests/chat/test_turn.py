from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from aichat_cli.billing.limits import Limits
from aichat_cli.chat.request import TurnDeps, TurnRequest
from aichat_cli.chat.turn import run
from aichat_cli.core import interrupts
from aichat_cli.core.errors import CapReached, DatabaseCorrupt, KeyMissing, NotFound, StorageError
from aichat_cli.core.events import (
    Failed,
    FellBack,
    Finished,
    Notice,
    NotSaved,
    ReasoningDelta,
    Retrying,
    Settled,
    Started,
    TextDelta,
    TurnEvent,
)
from aichat_cli.core.interrupts import Interrupted
from aichat_cli.core.models import Model
from aichat_cli.core.money import Price, Rates
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import replace
from aichat_cli.providers.anthropic_wire import AnthropicWire
from aichat_cli.providers.base import Provider, Timeouts
from aichat_cli.providers.openai_wire import OpenAIWire
from aichat_cli.providers.retry import RetryPolicy
from aichat_cli.storage import conversations, messages
from aichat_cli.storage.database import Database
from tests import blank
from tests.servers.scripted import ScriptedServer

T = TypeVar("T")
PRICE = Price(Rates(1_000_000, 2_000_000, cached_input=500_000))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(blank.put(tmp_path / "aichat.db")) as opened:
        yield opened


@pytest.fixture
def wires() -> Iterator[dict[str, Provider]]:
    opened: dict[str, Provider] = {"openai": OpenAIWire(), "anthropic": AnthropicWire()}
    yield opened
    for wire in opened.values():
        wire.close()


@pytest.fixture
def model(server: ScriptedServer) -> Model:
    return Model(
        "model-a", "model-a", "openai", "openai", server.openai_url, "openai", price=PRICE, context_tokens=1000
    )


@pytest.fixture
def deps(database: Database, wires: dict[str, Provider]) -> TurnDeps:
    return TurnDeps(
        transcript=database,
        provider_for=lambda asked: wires[asked.wire],
        key_for=lambda _: Secret("sk-test", "a test"),
        timeouts=Timeouts(connect=5, first_byte=5, idle=5),
        retry=RetryPolicy(attempts=2, base_delay=0),
        sleep=lambda _: None,
    )


def of_type(events: list[TurnEvent], kind: type[T]) -> list[T]:
    return [event for event in events if isinstance(event, kind)]


def settled(events: list[TurnEvent]) -> Settled:
    last = events[-1]
    assert isinstance(last, Settled)
    return last


def stored(database: Database) -> list[tuple[object, ...]]:
    return database.rows("SELECT role, content, status FROM messages ORDER BY seq")


def test_a_turn_begins_with_started_and_ends_with_settled(
    database: Database, deps: TurnDeps, model: Model, server: ScriptedServer
) -> None:
    server.script = {"deltas": [{"reasoning": "hm"}, "an ", "answer"], "usage": {"input": 8, "output": 4, "cached": 2}}

    events = list(run(TurnRequest(model, "a question", system="be brief"), deps))

    assert isinstance(events[0], Started)
    assert "".join(e.text for e in of_type(events, TextDelta)) == "an answer"
    assert settled(events).status == "complete"
    assert settled(events).cost_nano == 6 * 1 + 2 * 0.5 + 4 * 2
    conversation = conversations.get(database, events[0].conversation_id)  # type: ignore[arg-type]
    assert (conversation.title, conversation.system_prompt) == ("a question", "be brief")
    assert conversation.head_id == events[0].message_id
    [_, answer] = messages.branch(database, conversation.head_id)
    assert (answer.content, answer.reasoning, answer.finish_reason) == ("an answer", "hm", "stop")
    assert (answer.input_tokens, answer.output_tokens, answer.cost_nano) == (8, 4, 15)


def test_the_prompt_is_stored_before_a_byte_is_sent(
    database: Database, deps: TurnDeps, model: Model, server: ScriptedServer
) -> None:
    events = run(TurnRequest(model, "a question"), deps)

    assert isinstance(next(events), Started)
    assert stored(database) == [("user", "a question", "complete"), ("assistant", "", "streaming")]
    assert server.requests == []
    events.close()


def test_text_is_in_the_database_within_a_second_also_while_the_provider_is_silent(
    tmp_path: Path, database: Database, deps: TurnDeps, model: Model, server: ScriptedServer
) -> None:
    server.script = {"deltas": ["some text", {"reasoning": "and thought"}, "never"], "stall_after": 2}
    events = run(TurnRequest(model, "a question"), deps)
    for event in events:
        if isinstance(event, ReasoningDelta):
            break
    deadline = time.monotonic() + 1.0

    while time.monotonic() < deadline:
        row = database.row("SELECT content, reasoning, status FROM messages WHERE role = 'assistant'")
        if row and row[0]:
            break
        time.sleep(0.02)

    assert row == ("some text", "and thought", "streaming")
    events.close()
    assert stored(database)[1] == ("assistant", "some text", "stopped")


def test_the_next_turn_shows_the_branch_above_it(
    database: Database, deps: TurnDeps, model: Model, server: ScriptedServer
) -> None:
    [first] = of_type(list(run(TurnRequest(model, "one", system="rule"), deps)), Started)

    list(run(TurnRequest(model, "two", conversation_id=first.conversation_id, parent_id=first.message_id), deps))

    assert [m["content"] for m in server.requests[1].body["messages"]] == ["rule", "one", "You said: one", "two"]


def test_a_question_is_answered_again_as_a_branch(
    database: Database, deps: TurnDeps, model: Model, server: ScriptedServer
) -> None:
    [first] = of_type(list(run(TurnRequest(model, "one"), deps)), Started)
    question = messages.branch(database, first.message_id)[0]

    again = TurnRequest(model, None, conversation_id=first.conversation_id, parent_id=question.id)
    list(run(again, deps))

    assert [m["content"] for m in server.requests[1].body["messages"]] == ["one"]
    assert len(messages.children(database, question.id, question.conversation_id)) == 2


def test_a_failure_keeps_what_came_and_is_told_before_it_settles(
    database: Database, deps: TurnDeps, model: Model, server: ScriptedServer
) -> None:
    server.script = {"deltas": ["some ", "text", {"error": {"message": "overloaded"}}]}

    events = list(run(TurnRequest(model, "a question"), deps))

    assert [type(event) for event in events[-2:]] == [Failed, Settled]
    assert stored(database)[1] == ("assistant", "some text", "failed")
    assert settled(events).tokens is not None
    assert database.rows("SELECT provenance, status FROM usage") == [("estimated", "failed")]
    [error] = database.rows("SELECT error FROM messages WHERE role = 'assistant'")
    assert "overloaded" in str(error[0])


def test_a_failure_before_anything_came_costs_nothing(
    database: Database, deps: TurnDeps, model: Model, server: ScriptedServer
) -> None:
    server.script = {"status": 400}

    events = list(run(TurnRequest(model, "a question"), deps))

    assert settled(events).tokens is None
    assert database.rows("SELECT count(*) FROM usage") == [(0,)]


def test_what_the_provider_counted_of_an_interrupted_answer_is_kept_and_the_rest_estimated(
    database: Database, deps: TurnDeps, server: ScriptedServer
) -> None:
    claude = Model("claude", "claude", "anthropic", "anthropic", server.anthropic_url, "anthropic", price=PRICE)
    server.script = {"deltas": ["four words of text", "x"], "stall_after": 1, "usage": {"input": 700, "output": 9}}
    events = run(TurnRequest(claude, "a question"), deps)
    for event in events:
        if isinstance(event, TextDelta):
            break
    events.close()

    [(tokens_in, tokens_out, provenance)] = database.rows("SELECT input_tokens, output_tokens, provenance FROM usage")
    assert (tokens_in, provenance) == (700, "estimated")
    assert 2 <= tokens_out <= 8


def test_the_tokens_of_an_interrupted_answer_are_counted_where_the_provider_said_nothing(
    database: Database, deps: TurnDeps, model: Model, server: ScriptedServer
) -> None:
    server.script = {"deltas": ["four words of text", "x"], "stall_after": 1}
    events = run(TurnRequest(model, "a question of six words here", system="be brief"), deps)
    for event in events:
        if isinstance(event, TextDelta):
            break
    events.close()

    [(tokens_in, tokens_out, cost)] = database.rows("SELECT input_tokens, output_tokens, cost_nano FROM usage")
    assert 10 <= tokens_in <= 25
    assert tokens_out == 4
    assert cost == tokens_in * 1 + 4 * 2


def test_an_answer_without_a_count_is_estimated(
    database: Database, deps: TurnDeps, model: Model, server: ScriptedServer
) -> None:
    server.script = {"text": "four words of text", "usage": None}

    events = list(run(TurnRequest(model, "a question"), deps))

    assert settled(events).status == "complete"
    assert database.rows("SELECT output_tokens, provenance FROM usage") == [(4, "estimated")]


def test_a_model_without_a_price_costs_an_unknown_amount_not_nothing(
    database: Database, deps: TurnDeps, model: Model
) -> None:
    events = list(run(TurnRequest(replace(model, price=None), "a question"), deps))

    assert settled(events).cost_nano is None
    assert database.rows("SELECT cost_nano FROM usage") == [(None,)]


def test_a_retry_is_told_and_charged_once(
    database: Database, deps: TurnDeps, model: Model, server: ScriptedServer
) -> None:
    server.script = [{"status": 503}, {"text": "fine"}]

    events = list(run(TurnRequest(model, "a question"), deps))

    assert len(of_type(events, Retrying)) == 1
    assert settled(events).status == "complete"
    assert database.rows("SELECT count(*) FROM usage") == [(1,)]


def test_fallbacks_are_asked_in_order_until_one_answers(
    database: Database, deps: TurnDeps, model: Model, server: ScriptedServer
) -> None:
    server.script = [{"status": 400}, {"status": 404}, {"text": "third time lucky"}]
    others = (replace(model, name="model-b"), replace(model, name="model-c"))

    events = list(run(TurnRequest(model, "a question", fallbacks=others), deps))

    assert [(e.failed_model, e.model) for e in of_type(events, FellBack)] == [
        ("model-a", "model-b"),
        ("model-b", "model-c"),
    ]
    assert settled(events).model == "model-c"
    assert stored(database)[1] == ("assistant", "third time lucky", "complete")


def test_a_missing_key_fails_the_turn_and_keeps_the_prompt(database: Database, deps: TurnDeps, model: Model) -> None:
    def no_key(_: Model) -> Secret:
        raise KeyMissing("No API key.")

    events = list(run(TurnRequest(model, "a question"), replace(deps, key_for=no_key)))

    assert isinstance(of_type(events, Failed)[0].error, KeyMissing)
    assert stored(database) == [("user", "a question", "complete"), ("assistant", "", "failed")]


def test_what_does_not_fit_is_said(database: Database, deps: TurnDeps, model: Model, server: ScriptedServer) -> None:
    server.script = {"text": "ok " * 1500}
    [first] = of_type(list(run(TurnRequest(model, "one"), deps)), Started)

    again = TurnRequest(model, "two", conversation_id=first.conversation_id, parent_id=first.message_id)
    events = list(run(again, deps))

    assert "2 earlier messages do not fit in the window of model-a" in of_type(events, Notice)[0].text
    assert [m["content"] for m in server.requests[1].body["messages"]] == ["two"]


def test_a_retired_model_is_named_with_its_successor(deps: TurnDeps, model: Model) -> None:
    events = list(run(TurnRequest(replace(model, retired="model-z"), "a question"), deps))

    assert "model-z" in of_type(events, Notice)[0].text


def test_an_unknown_conversation_raises_before_anything_is_stored(
    database: Database, deps: TurnDeps, model: Model, server: ScriptedServer
) -> None:
    request = TurnRequest(model, "a question", conversation_id="no-such-one")  # type: ignore[arg-type]

    with pytest.raises(NotFound):
        list(run(request, deps))
    assert stored(database) == []
    assert server.requests == []


def test_without_a_log_only_the_usage_is_kept(database: Database, deps: TurnDeps, model: Model) -> None:
    with Database.in_memory() as memory:
        events = list(run(TurnRequest(model, "a question"), replace(deps, transcript=memory, ledger=database)))
        assert len(stored(memory)) == 2

    assert settled(events).status == "complete"
    assert stored(database) == []
    assert database.rows("SELECT conversation_id, message_id, output_tokens FROM usage") == [(None, None, 4)]


def test_a_known_storage_error_is_told_first_and_the_answer_comes_all_the_same(deps: TurnDeps, model: Model) -> None:
    error = DatabaseCorrupt("broken")
    with Database.in_memory() as memory:
        events = list(run(TurnRequest(model, "hi"), replace(deps, transcript=memory, storage_error=error)))

    assert events[0] == NotSaved(error)
    assert settled(events).status == "complete"


def test_a_database_that_fails_at_the_start_does_not_stop_the_answer(
    tmp_path: Path, deps: TurnDeps, model: Model, database: Database
) -> None:
    with Database.open(tmp_path / "aichat.db", read_only=True) as read_only:
        events = list(run(TurnRequest(model, "hi"), replace(deps, transcript=read_only)))

    assert isinstance(events[0], NotSaved)
    assert of_type(events, Started) == [Started(None, None, "model-a")]
    assert "".join(e.text for e in of_type(events, TextDelta)) == "You said: hi"


def test_a_database_that_fails_at_the_end_is_told_and_the_answer_was_there(
    database: Database, deps: TurnDeps, model: Model
) -> None:
    events: list[TurnEvent] = []
    for event in run(TurnRequest(model, "hi"), deps):
        events.append(event)
        if isinstance(event, Finished):
            database.execute("DROP TABLE usage")

    assert len(of_type(events, NotSaved)) == 1
    assert isinstance(of_type(events, NotSaved)[0].error, StorageError)
    assert settled(events).status == "complete"


@pytest.fixture
def signals() -> Iterator[None]:
    previous = signal.getsignal(signal.SIGINT)
    interrupts.install()
    yield
    signal.signal(signal.SIGINT, previous)


def test_an_interrupt_inside_the_turn_settles_it_and_is_raised_again(
    database: Database, deps: TurnDeps, model: Model, server: ScriptedServer, signals: None
) -> None:
    server.script = {"deltas": ["some ", "more"], "stall_after": 1}
    events: list[TurnEvent] = []

    with pytest.raises(Interrupted):
        for event in run(TurnRequest(model, "hi"), deps):
            events.append(event)
            if isinstance(event, TextDelta):
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
                signal.setitimer(signal.ITIMER_REAL, 0.2)

    assert settled(events).status == "stopped"
    assert stored(database)[1] == ("assistant", "some ", "stopped")


def test_an_interrupt_of_the_front_end_is_handed_in_and_settles_too(
    database: Database, deps: TurnDeps, model: Model, server: ScriptedServer
) -> None:
    server.script = {"deltas": ["some ", "more"], "stall_after": 1}
    events = run(TurnRequest(model, "hi"), deps)
    for event in events:
        if isinstance(event, TextDelta):
            break

    last = events.throw(Interrupted(signal.SIGINT))

    assert isinstance(last, Settled)
    with pytest.raises(Interrupted):
        next(events)
    assert stored(database)[1] == ("assistant", "some ", "stopped")


def test_a_defect_of_ours_settles_the_turn_as_failed_and_is_not_hidden(
    database: Database, deps: TurnDeps, model: Model
) -> None:
    def broken(_: Model) -> Provider:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(run(TurnRequest(model, "hi"), replace(deps, provider_for=broken)))
    assert database.rows("SELECT status, error FROM messages WHERE role = 'assistant'") == [
        ("failed", "ZeroDivisionError")
    ]


def test_a_signal_in_the_middle_of_settling_waits_until_it_is_stored(
    database: Database, deps: TurnDeps, model: Model, signals: None
) -> None:
    def strike() -> bool:
        signal.raise_signal(signal.SIGINT)
        return False

    with pytest.raises(Interrupted):
        for event in run(TurnRequest(model, "hi"), deps):
            if isinstance(event, Finished):
                database._connection.set_commit_hook(strike)

    database._connection.set_commit_hook(None)
    assert stored(database)[1] == ("assistant", "You said: hi", "complete")
    assert database.rows("SELECT count(*) FROM usage") == [(1,)]


def test_a_new_conversation_is_named_after_the_question_not_the_data(
    database: Database, deps: TurnDeps, model: Model
) -> None:
    list(run(TurnRequest(model, "line 1\nline 2\n\nwhat broke?", question="what broke?"), deps))

    assert database.rows("SELECT title FROM conversations") == [("what broke?",)]


def test_what_a_failed_model_counted_is_not_charged_to_the_one_that_answers(
    database: Database, deps: TurnDeps, model: Model, server: ScriptedServer
) -> None:
    claude = Model("claude", "claude", "anthropic", "anthropic", server.anthropic_url, "anthropic", price=PRICE)
    server.script = [
        {
            "deltas": [{"error": {"type": "overloaded_error", "message": "busy"}}],
            "usage": {"input": 70_000, "output": 1},
        },
        {
            "deltas": [{"error": {"type": "overloaded_error", "message": "busy"}}],
            "usage": {"input": 70_000, "output": 1},
        },
        {"text": "four words of text", "usage": None},
    ]

    list(run(TurnRequest(claude, "a question", fallbacks=(model,)), deps))

    [(name, tokens_in)] = database.rows("SELECT model, input_tokens FROM usage")
    assert name == "model-a"
    assert tokens_in < 100


def test_ctrl_c_while_admission_waits_for_the_books_ends_it_at_once_and_holds_nothing(
    database: Database, deps: TurnDeps, model: Model, server: ScriptedServer
) -> None:
    limited = replace(deps, limits=Limits(daily_nano=1_000_000_000))
    before = signal.signal(signal.SIGINT, interrupts.deliver)
    try:
        with database.reopen() as other, other.transaction():
            timer = threading.Timer(0.3, lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT))
            timer.start()
            began = time.monotonic()
            with pytest.raises(Interrupted):
                list(run(TurnRequest(model, "a question"), limited))
            assert time.monotonic() - began < 5
    finally:
        signal.signal(signal.SIGINT, before)
    assert database.rows("SELECT count(*) FROM credit_holds") == [(0,)]
    assert stored(database) == []
    assert server.requests == []
    assert settled(list(run(TurnRequest(model, "a question"), limited))).status == "complete"


def test_a_turn_that_cannot_be_admitted_leaves_nothing_held(
    database: Database, deps: TurnDeps, model: Model, server: ScriptedServer
) -> None:
    limited = replace(deps, limits=Limits(daily_nano=1))
    with pytest.raises(CapReached):
        list(run(TurnRequest(model, "a question"), limited))
    assert database.rows("SELECT count(*) FROM credit_holds") == [(0,)]
    assert stored(database) == []
