"""What happens during a turn, in the order it happens.

A provider yields `TextDelta`, `ReasoningDelta`, `Notice`, `Usage` and, last, `Finished`. `chat.turn.run` passes
them on, opens with `Started`, tells of `Retrieved`, `Citation`, `Retrying`, `FellBack` and `NotSaved`, and closes with `Settled`, after
`Failed` where it failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aichat_cli.core.errors import AichatError, StorageError
from aichat_cli.core.ids import ConversationId, MessageId, RequestId
from aichat_cli.core.messages import Status
from aichat_cli.core.money import TokenUsage
from aichat_cli.core.struct import Struct

if TYPE_CHECKING:
    from aichat_cli.core.documents import Passage


class Started(Struct, frozen=True):
    """The prompt is stored and the request is about to be sent. The ids are None where nothing is kept."""

    conversation_id: ConversationId | None
    message_id: MessageId | None
    model: str


class TextDelta(Struct, frozen=True):
    """The next piece of the answer: valid text, never half a character."""

    text: str


class ReasoningDelta(Struct, frozen=True):
    """The next piece of what the model thinks, where it shows that."""

    text: str


class Notice(Struct, frozen=True):
    """Something the user should know, in one line, such as an option that was not sent."""

    text: str


class Retrieved(Struct, frozen=True):
    """The passages of documents that the model is shown, in the order of their numbers from 1; none were relevant
    where it is empty.
    """

    passages: tuple[Passage, ...]


class Citation(Struct, frozen=True):
    """The answer cites a passage for the first time, by the number it has in `Retrieved`."""

    number: int
    passage: Passage


class Usage(Struct, frozen=True):
    """The provider's count so far; each replaces the one before."""

    tokens: TokenUsage


class Finished(Struct, frozen=True):
    """The provider ended the answer.

    `reason` is `stop`, `length`, `content_filter`, `refusal`, `tool_calls`, or the provider's own word where it is
    none of these. `provider_id` is the provider's id of the response, `served_model` the model it says it used.
    """

    reason: str
    provider_id: str | None = None
    served_model: str | None = None


class Retrying(Struct, frozen=True):
    """The attempt failed before its first byte; the next follows after `delay` seconds."""

    error: AichatError
    attempt: int
    delay: float


class FellBack(Struct, frozen=True):
    """One model failed and the next of the fallbacks is asked."""

    error: AichatError
    failed_model: str
    model: str


class NotSaved(Struct, frozen=True):
    """The turn goes on, but the database cannot keep it."""

    error: StorageError


class Failed(Struct, frozen=True):
    """The turn failed; whatever text came before it is kept."""

    error: AichatError


class Settled(Struct, frozen=True):
    """The turn is stored. `cost_nano` is None where the model has no known price; `tokens` where nothing was sent."""

    request_id: RequestId
    status: Status
    model: str
    tokens: TokenUsage | None
    cost_nano: int | None
    finish_reason: str | None


ProviderEvent = TextDelta | ReasoningDelta | Notice | Usage | Finished
TurnEvent = Started | Retrieved | Citation | ProviderEvent | Retrying | FellBack | NotSaved | Failed | Settled
