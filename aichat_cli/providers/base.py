"""The interface every wire implements, and what it is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from aichat_cli.core.messages import ChatMessage
from aichat_cli.core.models import Model
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import Struct, field

if TYPE_CHECKING:
    from aichat_cli.core.events import ProviderEvent

OptionValue = str | int | float | bool | None | list["OptionValue"] | dict[str, "OptionValue"]


class Timeouts(Struct, frozen=True):
    """Seconds: to connect, from the request to the first byte of the response, and between two reads."""

    connect: float = 10.0
    first_byte: float = 120.0
    idle: float = 60.0


class ChatRequest(Struct, frozen=True):
    """One call to one model.

    Attributes:
        model: as resolved by the registry.
        messages: the branch of the conversation, oldest first, ending with a user message.
        system: the system prompt, or None.
        options: what the user gave with `-o`, such as `temperature`; names are OpenAI's, translated by the wire.
        key: the provider's key, or None where none is needed.
        request_id: what the call is called in the books, for a gateway to call it the same in its own.
        conversation_id: what it belongs to, None where that is nothing of the user's.
        user_id: who asks, where it is not the user of this machine.
        stream: False asks for the whole answer in one response, for endpoints that cannot stream.
    """

    model: Model
    messages: tuple[ChatMessage, ...]
    system: str | None = None
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    key: Secret | None = None
    stream: bool = True
    timeouts: Timeouts = Timeouts()
    request_id: str | None = None
    conversation_id: str | None = None
    user_id: str | None = None


class EmbeddingRequest(Struct, frozen=True):
    """One call, of texts or of their tokens by OpenAI's vocabulary. `is_query` tells models that embed questions otherwise
    than passages which these are; `dimensions` is how many a vector is to have, None for the model's own; `request_id` is
    what the call is called in the books, for a gateway to call it the same in its own; `user_id` is who asks, where it is not
    the user of this machine.
    """

    model: Model
    texts: tuple[str, ...] | tuple[tuple[int, ...], ...]
    key: Secret | None = None
    timeouts: Timeouts = Timeouts()
    is_query: bool = False
    dimensions: int | None = None
    request_id: str | None = None
    user_id: str | None = None


UNKNOWN_LONGEST_ANSWER = 4096
"""Tokens, of a model whose longest answer nobody knows: every model that is served today can write as much."""

_ANTHROPIC_DEFAULT = 8192
"""Anthropic demands a limit, and the window must hold the prompt and the limit together: asking for all a model can write
would leave less room for the conversation."""


def longest_answer(model: Model) -> int:
    """How long an answer may be where the user set no limit, in tokens."""
    known = model.max_output_tokens or UNKNOWN_LONGEST_ANSWER
    return min(known, _ANTHROPIC_DEFAULT) if model.wire == "anthropic" else known


class Call(Protocol):
    """What messages about a failed call are made of: whom it went to, and which key not to show."""

    @property
    def model(self) -> Model: ...

    @property
    def key(self) -> Secret | None: ...


class Provider(Protocol):
    """A wire. One instance serves one thread at a time and may keep a connection alive between calls."""

    def stream(self, request: ChatRequest) -> Iterator[ProviderEvent]:
        """Send the request and yield what comes back, ending with `Finished`.

        Closing the iterator closes the connection at once. Nothing is retried here.

        Raises:
            AichatError: one of `KeyRejected`, `RateLimited` or a `ProviderError`, in the wording of `core.errors`;
                `StreamBroken` once a delta was yielded, another class before.
        """
        ...

    def warm(self, request_model: Model, timeouts: Timeouts) -> None:
        """Connect (or load) in advance, from another thread. Failures are silent: the call itself will tell."""
        ...

    def close(self) -> None:
        """Close what is kept alive."""
        ...
