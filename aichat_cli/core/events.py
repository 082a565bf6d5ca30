"""What happens during a turn, in the order it happens.

A provider yields `TextDelta`, `ReasoningDelta`, `Notice`, `Usage` and, last, `Finished`. `chat.turn.run` passes
them on, opens with `Started`, tells of `Retrieved`, `Citation`, `Retrying`, `FellBack` and `NotSaved`, and closes with `Settled`, after
`Failed` where it failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aichat_cli.core.errors import AichatError, StorageError
from aichat_cli.core.ids import ConversationId, MessageId, RequestId
from aichat_cli.core.messages import Status
from aichat_cli.core.money import TokenUsage

if TYPE_CHECKING:
    from aichat_cli.core.documents import Passage


@dataclass(frozen=True, slots=True)
class Started:
    """The prompt is stored and the request is about to be sent. The ids are None where nothing is kept."""

    conversation_id: ConversationId | None
    message_id: MessageId | None
    model: str


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the answer: valid text, never half a character."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """The next piece of what the model thinks, where it shows that."""

    text: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the user should know, in one line, such as an option that was not sent."""

    text: str


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The passages of documents that the model is shown, in the order of their numbers from 1; none were relevant
    where it is empty.
    """

    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True)
class Citation:
    """The answer cites a passage for the first time, by the number it has in `Retrieved`."""

    number: int
    passage: Passage


@dataclass(frozen=True, slots=True)
class Usage:
    """The provider's count so far; each replaces the one before."""

    tokens: TokenUsage


@dataclass(frozen=True, slots=True)
class Finished:
    """The provider ended the answer.

    `reason` is `stop`, `length`, `content_filter`, `refusal`, `tool_calls`, or the provider's own word where it is
    none of these. `provider_id` is the provider's id of the response, `served_model` the model it says it used.
    """

    reason: str
    provider_id: str | None = None
    served_model: str | None = None


@dataclass(frozen=True, slots=True)
class Retrying:
    """The attempt failed before its first byte; the next follows after `delay` seconds."""

    error: AichatError
    attempt: int
    delay: float


@dataclass(frozen=True, slots=True)
class FellBack:
    """One model failed and the next of the fallbacks is asked."""

    error: AichatError
    failed_model: str
    model: str


@dataclass(frozen=True, slots=True)
class NotSaved:
    """The turn goes on, but the database cannot keep it."""

    error: StorageError


@dataclass(frozen=True, slots=True)
class Failed:
    """The turn failed; whatever text came before it is kept."""

    error: AichatError


@dataclass(frozen=True, slots=True)
class Settled:
    """The turn is stored. `cost_nano` is None where the model has no known price; `tokens` where nothing was sent."""

    request_id: RequestId
    status: Status
    model: str
    tokens: TokenUsage | None
    cost_nano: int | None
    finish_reason: str | None


ProviderEvent = TextDelta | ReasoningDelta | Notice | Usage | Finished
TurnEvent = Started | Retrieved | Citation | ProviderEvent | Retrying | FellBack | NotSaved | Failed | Settled
