from __future__ import annotations

import io
import signal
from collections.abc import Generator, Iterator

import pytest

from aichat_cli.core.errors import AichatError, DatabaseCorrupt, NotFound
from aichat_cli.core.events import (
    Failed,
    FellBack,
    Notice,
    NotSaved,
    ReasoningDelta,
    Retrying,
    Settled,
    Started,
    TextDelta,
    TurnEvent,
)
from aichat_cli.core.ids import RequestId
from aichat_cli.core.interrupts import Interrupted
from aichat_cli.core.money import TokenUsage
from aichat_cli.render.answer import ClosedPipe, HeldSink
from aichat_cli.render.diagnostics import Diagnostics
from aichat_cli.render.turn_view import show

STOPPED = Settled(RequestId("r"), "stopped", "m", TokenUsage(1, 1), 3, None)


class FailingSink:
    """A sink whose stream gives way at the first piece."""

    def __init__(self, failure: BaseException) -> None:
        self._failure = failure

    def write(self, text: str) -> None:
        raise self._failure

    def end(self) -> None:
        """Nothing is left to write."""


def turn(seen: list[str]) -> Generator[TurnEvent, None, None]:
    """A turn as `chat.turn.run` behaves: it settles on an interrupt, says so, and raises it again."""
    try:
        yield Started(None, None, "m")
        yield TextDelta("some")
        yield TextDelta("more")
    except KeyboardInterrupt as exc:
        seen.append("settled")
        yield STOPPED
        raise exc from None
    except GeneratorExit:
        seen.append("closed")
        raise


def events_of(*events: TurnEvent) -> Generator[TurnEvent, None, None]:
    yield from events


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    with io.StringIO() as opened:
        yield opened


def test_an_interrupt_while_showing_is_handed_into_the_turn_which_settles(stream: io.StringIO) -> None:
    seen: list[str] = []
    struck = Interrupted(signal.SIGTERM)

    result = show(turn(seen), FailingSink(struck), Diagnostics(stream=stream), show_reasoning=False)

    assert seen == ["settled"]
    assert (result.settled, result.interruption) == (STOPPED, struck)


def test_a_reader_that_left_closes_the_turn_quietly(stream: io.StringIO) -> None:
    seen: list[str] = []

    result = show(turn(seen), FailingSink(ClosedPipe()), Diagnostics(stream=stream), show_reasoning=False)

    assert (seen, result.reader_left, stream.getvalue()) == (["closed"], True, "")


def test_a_stdout_that_cannot_be_written_closes_the_turn_and_is_said_once(stream: io.StringIO) -> None:
    seen: list[str] = []

    result = show(turn(seen), FailingSink(AichatError("Disk full.")), Diagnostics(stream=stream), show_reasoning=False)

    assert seen == ["closed"]
    assert result.unwritable is not None
    assert stream.getvalue() == "aichat: Disk full.\n"


def test_a_turn_that_was_not_admitted_raises(stream: io.StringIO) -> None:
    def refused() -> Generator[TurnEvent, None, None]:
        raise NotFound("No such conversation.")
        yield

    with pytest.raises(NotFound):
        show(refused(), HeldSink(), Diagnostics(stream=stream), show_reasoning=False)


def test_everything_that_happens_is_told_on_stderr_and_only_text_goes_to_the_answer(stream: io.StringIO) -> None:
    sink = HeldSink()
    events = events_of(
        Started(None, None, "m"),
        Notice("a notice"),
        Retrying(AichatError("Busy."), 1, 0.5),
        FellBack(AichatError("Gone."), "m", "n"),
        ReasoningDelta("a thought"),
        TextDelta("the "),
        TextDelta("answer"),
        Failed(AichatError("It broke.")),
        NotSaved(DatabaseCorrupt("Not kept.")),
        Settled(RequestId("r"), "failed", "n", None, None, "length"),
    )

    result = show(events, sink, Diagnostics(stream=stream), show_reasoning=True)

    assert sink.text == "the answer"
    assert stream.getvalue().splitlines() == [
        "a notice",
        "Busy. Trying again in 0.5 s.",
        "aichat: Gone. Asking n instead.",
        "The answer stopped at the model's output limit.",
        "aichat: It broke.",
        "aichat: This turn is not saved. Not kept.",
    ]
    assert result.failure is not None
    assert result.unsaved is not None
