"""The turn: admit, remember, show, stream, settle. The only way to talk to a model.

`run` yields `core.events.TurnEvent`s. An interrupt (Ctrl-C, SIGTERM) settles the turn with what arrived, yields
`Settled`, and is raised again; an interrupt that strikes the front end is handed in by `events.throw`. Closing the
iterator settles too, silently.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from aichat_cli.billing.estimates import Call
from aichat_cli.chat import context
from aichat_cli.chat.payment import Payment, call_of
from aichat_cli.chat.recorder import Recorder
from aichat_cli.chat.request import TurnDeps, TurnRequest
from aichat_cli.chat.titles import title_from, title_from_answer
from aichat_cli.core.errors import AichatError, PaymentRequired, StorageError
from aichat_cli.core.events import (
    Citation,
    Failed,
    FellBack,
    Finished,
    Notice,
    NotSaved,
    ReasoningDelta,
    Retrieved,
    Retrying,
    Settled,
    Started,
    TextDelta,
    TurnEvent,
    Usage,
)
from aichat_cli.core.ids import RequestId, new_id
from aichat_cli.core.interrupts import shielded
from aichat_cli.core.messages import ChatMessage, Status
from aichat_cli.core.models import Model
from aichat_cli.core.money import TokenUsage
from aichat_cli.providers import tokens as token_counts
from aichat_cli.providers.base import ChatRequest
from aichat_cli.providers.retry import stream_with_retries
from aichat_cli.storage import attachments, conversations, messages, turns

if TYPE_CHECKING:
    from aichat_cli.chat.citations import CitationFilter
    from aichat_cli.chat.grounding import Grounding
    from aichat_cli.chat.observing import FinishedTurn, Trace


def run(request: TurnRequest, deps: TurnDeps) -> Generator[TurnEvent, None, None]:
    """Run one turn and yield what happens.

    Raises:
        AichatError: the turn was not admitted, the model cannot read an attachment, or the conversation or the
            documents cannot be read; nothing was stored or sent.
    """
    context.require_readable(request.attachments, request.model)
    turn = _Turn(request, deps)
    interruption: KeyboardInterrupt | None = None
    failure: AichatError | None = None
    try:
        turn.admit()
        yield from turn.open()
        yield from turn.stream()
    except BaseException as exc:
        if not turn.has_begun:
            turn.refuse(exc)
            raise
        if isinstance(exc, KeyboardInterrupt):
            interruption = exc
        elif isinstance(exc, AichatError):
            failure = exc
            yield from turn.flush()
        else:
            turn.settle("stopped" if isinstance(exc, GeneratorExit) else "failed", exc)
            raise
    status: Status = "stopped" if interruption else "failed" if failure else "complete"
    settled, unsaved = turn.settle(status, failure)
    if failure is not None:
        yield Failed(failure)
    if unsaved is not None:
        yield NotSaved(unsaved)
    for warning in turn.payment.warnings():
        yield Notice(warning)
    yield settled
    if interruption is not None:
        raise interruption


class _Turn:
    """The state of one turn while it runs."""

    def __init__(self, request: TurnRequest, deps: TurnDeps) -> None:
        self._request = request
        self._deps = deps
        self.payment = Payment(deps.limits, deps.books, deps.storage_error, deps.confirm)
        self._model = request.model
        self._tokens: TokenUsage | None = None
        self._finished: Finished | None = None
        self._branch = messages.branch(deps.transcript, request.parent_id) if request.conversation_id else []
        conversation = conversations.get(deps.transcript, request.conversation_id) if request.conversation_id else None
        self._system = request.system
        if conversation is not None and request.system is None:
            self._system = conversation.system_prompt
        self._changes_model = conversation is not None and conversation.model != request.model.name
        self._recorder = Recorder(None, None, deps.ledger)
        self._context: tuple[Model, context.Context] | None = None
        self._shown: tuple[ChatMessage, ...] = ()
        self._opened: turns.OpenTurn | None = None
        self.has_begun = False
        self._trace = _new_trace() if deps.observe is not None else None
        self._title = title_from(request.question or request.prompt or "")
        self._grounding = None if request.docs is None else self._grounded(request.docs)
        self._citations: CitationFilter | None = None

    def admit(self) -> None:
        """Whether this may be sent, by what it may cost; raises the refusal."""
        shown: tuple[ChatMessage, ...] = ()
        with suppress(
            AichatError
        ):  # told where the model would be asked, once the prompt is kept: nothing will be sent
            shown = self._context_for(self._model).messages
        self.payment.admit(self._call(self._model, shown))

    def refuse(self, exc: BaseException) -> None:
        """Nothing will be sent: give back what was held, and tell a refusal to those who observe money."""
        self.payment.release()
        if isinstance(exc, PaymentRequired) and self._deps.observe is not None and self._trace is not None:
            settled = Settled(RequestId(new_id()), "failed", self._model.name, None, None, None)
            self._deps.observe(self._seen(self._trace, settled, exc, exc.message))

    def open(self) -> Iterator[TurnEvent]:
        """Store the prompt and an empty answer, before a byte is sent."""
        self.has_begun = True
        if self._deps.storage_error is not None:
            yield NotSaved(self._deps.storage_error)
        unsaved: StorageError | None = None
        with shielded():
            try:
                begun = turns.begin(self._deps.transcript, self._opening())
                self._opened = begun
                self._recorder = Recorder(self._deps.transcript, begun, self._deps.ledger)
                if self._changes_model:
                    conversations.set_model(self._deps.transcript, begun.conversation_id, self._model.name)
            except StorageError as exc:
                unsaved = exc
        if unsaved is not None:
            yield NotSaved(unsaved)
        opened = self._opened
        yield Started(
            opened.conversation_id if opened else None, opened.message_id if opened else None, self._model.name
        )

    def flush(self) -> Iterator[TurnEvent]:
        """What was held back of the answer until it could be told whether it cites something."""
        if self._grounding is not None and self._citations is not None:
            yield from self._made_true(self._grounding, self._citations, None)

    def _grounded(self, collection: str) -> Grounding:
        question = self._request.question or self._request.prompt
        branch = self._branch
        if question is None and branch:
            question, branch = branch[-1].content, branch[:-1]
        from aichat_cli.chat.grounding import ground

        if self._trace is not None:
            self._trace.begin("retrieval", collection)
        found = ground(collection, question or "", branch, self._model, self._deps.retrieve)
        if self._trace is not None:
            self._trace.end()
        return found

    def stream(self) -> Iterator[TurnEvent]:
        """Ask the model, then each fallback in turn while nothing arrived."""
        if self._grounding is not None:
            yield from self._tell_what_was_found(self._grounding)
        candidates = (self._request.model, *self._request.fallbacks)
        for position, model in enumerate(candidates):
            self._model, self._tokens = model, None
            try:
                yield from self._ask(model)
                return
            except AichatError as error:
                if self._trace is not None:
                    self._trace.end(error)
                if self._recorder.has_content or position + 1 == len(candidates):
                    raise
                yield FellBack(error, model.name, candidates[position + 1].name)

    def settle(self, status: Status, failure: BaseException | None) -> tuple[Settled, StorageError | None]:
        """Store the end of the turn: the text, the status and the usage row, in one transaction."""
        error = failure.message if isinstance(failure, AichatError) else type(failure).__name__ if failure else None
        with shielded():
            record = self.payment.usage(
                self._model,
                self._tokens,
                self._finished,
                status,
                arrived=self._recorder.reasoning + self._recorder.text,
                prompt_tokens=lambda: token_counts.count_messages(self._shown, self._system, self._model),
            )
            reason = self._finished.reason if self._finished else None
            unsaved = self._recorder.settle(
                status=status,
                model=self._model.name,
                finish_reason=reason,
                error=error,
                request_id=self.payment.request_id,
                record=record,
                sources=self._grounding.sources(self._citations.cited if self._citations else ())
                if self._grounding
                else (),
            )
            self.payment.settled(record.cost_nano if record else None)
            if unsaved is None:
                self._name_after_answer()
            settled = Settled(
                request_id=self.payment.request_id,
                status=status,
                model=self._model.name,
                tokens=record.tokens if record else None,
                cost_nano=record.cost_nano if record else None,
                finish_reason=reason,
            )
            if self._deps.observe is not None and self._trace is not None:
                self._deps.observe(self._seen(self._trace, settled, failure, error))
        return settled, unsaved

    def _seen(self, trace: Trace, settled: Settled, failure: BaseException | None, error: str | None) -> FinishedTurn:
        """The turn as observers are told of it."""
        from aichat_cli.chat.observing import FinishedTurn, TurnContent

        trace.end()
        grounding, opened = self._grounding, self._opened
        content = TurnContent(
            system=self._system or None,
            messages=self._shown,
            answer=self._recorder.text,
            reasoning=self._recorder.reasoning,
            question=grounding.question if grounding else "",
            passages=grounding.passages if grounding else (),
            error=error,
        )
        return FinishedTurn(
            id=settled.request_id,
            type=self._request.usage_type,
            model=settled.model,
            provider=self._model.provider,
            status=settled.status,
            started_at=trace.started_at,
            ended_at=trace.now(),
            first_at=trace.first_at,
            spans=trace.spans(),
            content=content,
            conversation_id=opened.conversation_id if opened else None,
            message_id=opened.message_id if opened else None,
            is_kept=self._deps.is_kept,
            was_sent=self.has_begun,
            served_model=self._finished.served_model if self._finished else None,
            error=failure.code if isinstance(failure, AichatError) else error,
            finish_reason=settled.finish_reason,
            is_streamed=self._request.stream,
            tokens=settled.tokens,
            cost_nano=settled.cost_nano,
            books=self._deps.books,
            limits=self._deps.limits,
        )

    def _name_after_answer(self) -> None:
        """A new conversation that began with a text handed in, not with a question, is named after what it is about."""
        is_unasked = self._request.question == "" and self._request.conversation_id is None
        if is_unasked and self._opened is not None and self._recorder.text.strip():
            title = title_from_answer(self._recorder.text)
            with suppress(StorageError):  # a name is worth no error
                conversations.rename_untouched(self._deps.transcript, self._opened.conversation_id, self._title, title)

    def _call(self, model: Model, shown: tuple[ChatMessage, ...]) -> Call:
        return call_of(model, shown, self._system, self._request.options, self._request.usage_type)

    def _context_for(self, model: Model) -> context.Context:
        if self._context is None or self._context[0] is not model:
            shown = context.build(
                self._branch,
                self._request.prompt,
                self._system,
                model,
                attachments=self._request.attachments,
                load=lambda ids: attachments.of_messages(self._deps.transcript, ids) if ids else {},
                preface=self._grounding.preface if self._grounding else "",
            )
            self._context = (model, shown)
        return self._context[1]

    def _opening(self) -> turns.BeginTurn:
        request = self._request
        return turns.BeginTurn(
            conversation_id=request.conversation_id,
            parent_id=request.parent_id,
            prompt=request.prompt,
            title=self._title,
            system_prompt=self._system or None,
            model=self._model.name,
            attachments=request.attachments,
            request_id=self.payment.request_id if self._deps.ledger is None else None,
            hold=self.payment.hold,
        )

    def _ask(self, model: Model) -> Iterator[TurnEvent]:
        if model.retired:
            yield Notice(f"{model.name} is retired by its provider; its successor is {model.retired}.")
        shown = self._context_for(model)
        if model is not self._request.model:
            seq = self._opened.seq if self._opened and self._deps.ledger is None else None
            self.payment.admit(self._call(model, shown.messages), message_seq=seq)
        if self.payment.admission.notice:
            yield Notice(self.payment.admission.notice)
        self._shown = shown.messages
        if shown.left_out:
            yield Notice(
                f"{shown.left_out} earlier messages do not fit in the window of {model.name} and are not sent."
            )
        if shown.unread_files:
            yield Notice(f"Earlier files that {model.name} is not shown: {', '.join(shown.unread_files)}.")
        if self._grounding is not None:
            from aichat_cli.chat.citations import CitationFilter

            self._citations = CitationFilter(self._grounding.passages, attributes=self._grounding.is_for_small_model)
        self._deps.prepare(model)
        chat_request = ChatRequest(
            model=model,
            messages=shown.messages,
            system=self._system or None,
            options=self.payment.limited(self._request.options),
            key=self._deps.key_for(model),
            stream=self._request.stream,
            timeouts=self._deps.timeouts,
            request_id=self.payment.request_id,
            conversation_id=self._opened.conversation_id if self._opened else None,
        )
        if self._trace is not None:
            self._trace.ask(model)
        events = stream_with_retries(
            self._deps.provider_for(model), chat_request, self._deps.retry, sleep=self._deps.sleep
        )
        with closing(events):
            for event in events:
                yield from self._passed_on(event)

    def _tell_what_was_found(self, grounding: Grounding) -> Iterator[TurnEvent]:
        for notice in grounding.notices:
            yield Notice(notice)
        if grounding.left_out:
            places = ", ".join(grounding.left_out)
            yield Notice(f"Passages that do not fit in the window of {self._model.name}: {places}.")
        yield Retrieved(grounding.passages)

    def _passed_on(self, event: TurnEvent | Retrying) -> Iterator[TurnEvent]:
        """Take an event of the provider and pass it on, its citations made true."""
        if self._grounding is None or self._citations is None or not isinstance(event, TextDelta | Finished):
            self._take(event)
            yield event
            return
        delta = event.text if isinstance(event, TextDelta) else None
        yield from self._made_true(self._grounding, self._citations, delta)
        if isinstance(event, Finished):
            self._take(event)
            yield event

    def _made_true(self, grounding: Grounding, citations: CitationFilter, delta: str | None) -> Iterator[TurnEvent]:
        """What can be shown of the answer with its next piece, and what that cites; None ends it."""
        known = len(citations.cited)
        text = citations.finish() if delta is None else citations.feed(delta)
        if text:
            self._take(TextDelta(text))
            yield TextDelta(text)
        for number in citations.cited[known:]:
            yield Citation(number, grounding.passages[number - 1])

    def _take(self, event: TurnEvent | Retrying) -> None:
        if self._trace is not None:
            self._trace.take(event, self._model)
        if isinstance(event, TextDelta):
            self._recorder.add_text(event.text)
        elif isinstance(event, ReasoningDelta):
            self._recorder.add_reasoning(event.text)
        elif isinstance(event, Usage):
            self._tokens = event.tokens
        elif isinstance(event, Finished):
            self._finished = event


def _new_trace() -> Trace:
    from aichat_cli.chat.observing import Trace

    return Trace()
