"""A finished turn as an observer sees it: what happened and when, what it cost and, where that may be told, what was said.

Observers are told once a turn is stored. Whatever they do with it is theirs: the turn is over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from aichat_cli.billing.limits import NO_LIMITS, Limits
from aichat_cli.core.errors import AichatError
from aichat_cli.core.events import ReasoningDelta, Retrying, TextDelta, TurnEvent
from aichat_cli.core.ids import ConversationId, MessageId, RequestId
from aichat_cli.core.messages import ChatMessage, Status
from aichat_cli.core.models import Model
from aichat_cli.core.money import TokenUsage
from aichat_cli.core.struct import Struct
from aichat_cli.core.usage import UsageType
from aichat_cli.storage.database import Database

if TYPE_CHECKING:
    from aichat_cli.core.documents import Passage

SpanKind = Literal["retrieval", "model"]


class Span(Struct, frozen=True):
    """One step of a turn: a search in documents, or one attempt to get an answer. Times are seconds of Unix time.

    Attributes:
        name: of the collection, or of the model.
        provider: of the model, empty for a search.
        first_at: when the first piece of an answer came, None where none did.
        error: the code of the error it ended with, such as `rate_limited`; None where it ended well.
    """

    kind: SpanKind
    name: str
    provider: str
    started_at: float
    ended_at: float
    first_at: float | None = None
    error: str | None = None


class TurnContent(Struct, frozen=True):
    """What was said in a turn: nothing of this leaves the machine unless the user allows it.

    Attributes:
        messages: what the model was shown, oldest first, with what was found in documents in the last of them.
        question: what documents were searched for, empty where they were not.
        error: what went wrong, in words that may quote what was sent.
    """

    system: str | None
    messages: tuple[ChatMessage, ...]
    answer: str
    reasoning: str
    question: str = ""
    passages: tuple[Passage, ...] = ()
    error: str | None = None


class FinishedTurn(Struct, frozen=True):
    """A turn that is over, however it ended. Times are seconds of Unix time, money is in nano-dollars.

    Attributes:
        id: of its last call, under which it is in the books.
        conversation_id, message_id: of the answer, None where nothing was kept of it.
        is_kept: whether the user wants it kept at all: what they do not want kept here is told nobody else, either.
        was_sent: False where it was refused for what it might cost: then it is told to those alone who ask for refusals.
        user: who asked, on a gateway; empty for the user of this machine.
        error: the code of what it failed with, None where it did not fail.
        tokens, cost_nano: None where nothing was counted, and where the model has no known price.
        first_at: when the first piece of the answer came.
        spans: what it was made of, in the order in which that began.
        content: what was said, for observers that may have it.
        books: where money is kept, through a connection of the calling thread; on a gateway the operator's own database,
            which knows nothing of the money of its users.
        limits: what may be spent.
    """

    id: RequestId
    type: UsageType
    model: str
    provider: str
    status: Status
    started_at: float
    ended_at: float
    content: TurnContent
    conversation_id: ConversationId | None = None
    message_id: MessageId | None = None
    is_kept: bool = True
    was_sent: bool = True
    user: str = ""
    served_model: str | None = None
    error: str | None = None
    finish_reason: str | None = None
    is_streamed: bool = True
    tokens: TokenUsage | None = None
    cost_nano: int | None = None
    first_at: float | None = None
    spans: tuple[Span, ...] = ()
    books: Database | None = None
    limits: Limits = NO_LIMITS


Observe = Callable[[FinishedTurn], None]
"""Is told of a finished turn, in the thread that ran it. Never raises, and takes a few milliseconds at most."""


class Trace:
    """Takes down when the steps of one turn begin and end."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.now = now
        self._spans: list[Span] = []
        self._open: Span | None = None
        self._first_at: float | None = None
        self.started_at = now()
        self.first_at: float | None = None

    def begin(self, kind: SpanKind, name: str, provider: str = "", *, after: float = 0.0) -> None:
        """A step begins, `after` seconds from now."""
        at = self.now() + after
        self._first_at = None
        self._open = Span(kind, name, provider, at, at)

    def ask(self, model: Model, *, after: float = 0.0) -> None:
        """A model is asked."""
        self.begin("model", model.name, model.provider, after=after)

    def take(self, event: TurnEvent, model: Model) -> None:
        """What came of a model that was asked."""
        if isinstance(event, TextDelta | ReasoningDelta):
            self.arrives()
        elif isinstance(event, Retrying):
            self.end(event.error)
            self.ask(model, after=event.delay)

    def arrives(self) -> None:
        """Something of the answer is here."""
        if self._first_at is None:
            self._first_at = self.now()
            self.first_at = self.first_at or self._first_at

    def end(self, error: AichatError | None = None) -> None:
        """The step that is open ends; where there is none, or it was yet to begin, this does nothing."""
        step, self._open = self._open, None
        ended_at = self.now()
        if step is None or ended_at < step.started_at:
            return
        code = error.code if error is not None else None
        self._spans.append(Span(step.kind, step.name, step.provider, step.started_at, ended_at, self._first_at, code))

    def spans(self) -> tuple[Span, ...]:
        """The steps that have ended."""
        return tuple(self._spans)
