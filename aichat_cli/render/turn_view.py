"""Shows a turn: consumes its events, writes the answer to a sink and the rest to stderr."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from aichat_cli.core.errors import AichatError, StorageError
from aichat_cli.core.events import (
    Citation,
    Failed,
    FellBack,
    Notice,
    NotSaved,
    ReasoningDelta,
    Retrieved,
    Retrying,
    Settled,
    Started,
    TextDelta,
    TurnEvent,
)
from aichat_cli.core.struct import Struct, field
from aichat_cli.render.answer import AnswerSink, ClosedPipe, TerminalOwner
from aichat_cli.render.diagnostics import Diagnostics, one_line
from aichat_cli.render.sources_view import cited_lines

if TYPE_CHECKING:
    from aichat_cli.core.documents import Passage

REASONS_TOLD = {
    "length": "The answer stopped at the model's output limit.",
    "content_filter": "The provider's content filter ended the answer.",
    "refusal": "The model declined to answer.",
}


class TurnResult(Struct):
    """How a turn ended.

    `interruption` is set when a signal stopped it; `unwritable` when stdout could not be written;
    `reader_left` when whoever read stdout went away. `passages` are what the model was shown of documents, `cited` the
    numbers of those it cites.
    """

    started: Started | None = None
    passages: tuple[Passage, ...] = ()
    cited: list[int] = field(default_factory=list)
    settled: Settled | None = None
    failure: AichatError | None = None
    unsaved: StorageError | None = None
    interruption: KeyboardInterrupt | None = None
    unwritable: AichatError | None = None
    reader_left: bool = False


def show(
    events: Generator[TurnEvent, None, None],
    sink: AnswerSink,
    diagnostics: Diagnostics,
    *,
    show_reasoning: bool,
    result: TurnResult | None = None,
) -> TurnResult:
    """Run the turn to its end and report how it ended; errors are told here, once.

    A `result` that is handed in is filled as the turn goes, for a caller that goes on whatever strikes it.

    A signal that strikes while something is shown is handed into the turn, which settles before it goes on.
    """
    result = result or TurnResult()
    view = _View(result, sink, diagnostics, show_reasoning=show_reasoning and diagnostics.is_terminal)
    with closing(events), diagnostics.beside(view.owner):
        try:
            _consume(events, view)
        except KeyboardInterrupt as exc:
            result.interruption = exc
        except ClosedPipe:
            result.reader_left = True
        except AichatError as exc:
            if result.started is None:
                raise
            result.unwritable = exc
    view.end()
    return result


def _consume(events: Generator[TurnEvent, None, None], view: _View) -> None:
    try:
        for event in events:
            view.take(event)
    except KeyboardInterrupt as struck:
        if view.result.settled is None:
            # The signal hit this side of the iterator: the turn has not heard of it yet.
            for event in _after_throwing(events, struck):
                view.take(event)
        raise


def _after_throwing(events: Generator[TurnEvent, None, None], struck: KeyboardInterrupt) -> Iterator[TurnEvent]:
    try:
        yield events.throw(struck)
        yield from events
    except (KeyboardInterrupt, StopIteration):
        return


class _View:
    def __init__(self, result: TurnResult, sink: AnswerSink, diagnostics: Diagnostics, *, show_reasoning: bool) -> None:
        self.result = result
        self._sink = sink
        self.owner = sink if isinstance(sink, TerminalOwner) else None
        self._diagnostics = diagnostics
        self._show_reasoning = show_reasoning

    def take(self, event: TurnEvent) -> None:
        if isinstance(event, TextDelta):
            self._diagnostics.end_reasoning()
            self._sink.write(event.text)
        elif isinstance(event, ReasoningDelta):
            if self._show_reasoning:
                self._diagnostics.reasoning(event.text)
        elif isinstance(event, Started):
            self.result.started = event
            if self.owner is not None:
                self.owner.warm()
        elif isinstance(event, Notice):
            self._diagnostics.notice(event.text)
        elif isinstance(event, Retrying):
            when = f" in {event.delay:.1f} s" if event.delay >= 0.05 else ""
            self._diagnostics.notice(f"{event.error.message} Trying again{when}.")
        elif isinstance(event, FellBack):
            self._diagnostics.warning(f"{one_line(event.error)} Asking {event.model} instead.")
        else:
            self._remember(event)

    def _remember(self, event: TurnEvent) -> None:
        """Keep what is told at the end."""
        if isinstance(event, NotSaved):
            self.result.unsaved = event.error
        elif isinstance(event, Failed):
            self.result.failure = event.error
        elif isinstance(event, Settled):
            self.result.settled = event
        elif isinstance(event, Retrieved):
            self.result.passages = event.passages
        elif isinstance(event, Citation):
            self.result.cited.append(event.number)

    def end(self) -> None:
        result = self.result
        self._diagnostics.end_reasoning()
        try:
            self._sink.end()
        except ClosedPipe:
            result.reader_left = True
        except AichatError as exc:
            result.unwritable = exc
        if result.settled is not None and result.settled.finish_reason in REASONS_TOLD:
            self._diagnostics.notice(REASONS_TOLD[result.settled.finish_reason])
        if result.settled is not None and not result.reader_left:
            for line in cited_lines(result.passages, result.cited):
                self._diagnostics.notice(line)
        for error in (result.failure, result.unwritable):
            if error is not None:
                self._diagnostics.error(error)
        if result.unsaved is not None:
            self._diagnostics.error(result.unsaved, consequence="This turn is not saved. ")
