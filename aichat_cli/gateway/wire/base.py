"""What a request asks and an answer says, whichever of the two protocols the client speaks.

An answer reaches the client in one of two ways. A provider that speaks the client's protocol is passed on byte by byte, and a
`Tap` reads along what has to be counted. Any other gives events, which an `Encoder` says in the client's protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from aichat_cli.core.errors import AichatError
from aichat_cli.core.events import Finished, ProviderEvent
from aichat_cli.core.messages import ChatMessage
from aichat_cli.core.models import Model
from aichat_cli.core.money import TokenUsage
from aichat_cli.core.struct import Struct
from aichat_cli.providers.base import OptionValue

Dialect = Literal["openai", "anthropic"]


class Asked(Struct, frozen=True):
    """A request to a model.

    Attributes:
        model_name: as the client typed it.
        messages, system: what billing counts, and what is sent to a provider of another protocol.
        options: by OpenAI's names, as `providers.base.ChatRequest` takes them.
        other_input: whatever else the model reads, such as definitions of tools, as text to be counted.
        include_usage: whether a stream ends with its usage.
        native_only: the field that no other protocol can say, such as `tools`, None where there is none.
        body: the request itself, checked.
    """

    dialect: Dialect
    model_name: str
    messages: tuple[ChatMessage, ...]
    system: str | None
    options: Mapping[str, OptionValue]
    stream: bool
    body: Mapping[str, Any]
    other_input: str = ""
    include_usage: bool = True
    native_only: str | None = None


class Totals(Struct, frozen=True):
    """What an answer came to, told at its end: the tokens as they are charged, US dollars, and whole credits."""

    tokens: TokenUsage
    cost_usd: float
    credits_charged: int
    credits_left: int


class Reading(Protocol):
    """What is known of an answer so far."""

    @property
    def text(self) -> str:
        """All that arrived of it that was written by the model: text, reasoning, arguments of tools; of all choices."""
        ...

    @property
    def output_tokens(self) -> int:
        """A cheap estimate of the tokens of `text`, at least 1 where anything arrived."""
        ...

    @property
    def tokens(self) -> TokenUsage | None:
        """The provider's count, as far as it has told."""
        ...

    @property
    def finished(self) -> Finished | None:
        """How it ended, None where it has not."""
        ...


class Tap(Reading, Protocol):
    """Reads an answer in the client's own protocol as it is passed on."""

    @property
    def is_done(self) -> bool:
        """The provider said that nothing more follows."""
        ...

    def feed(self, chunk: bytes) -> bytes:
        """What to pass on of the next bytes of a stream: whole events; the usage and the end are held back.

        Raises:
            AichatError: the provider reports an error, or sends what is not its protocol; what came before that in the same
                bytes is `unsent`.
        """
        ...

    @property
    def unsent(self) -> bytes:
        """What `feed` could not return because it raised an error: passed on before the error is told."""
        ...

    def end(self, totals: Totals | None) -> bytes:
        """What was held back, with what it came to."""
        ...

    def whole(self, body: bytes) -> None:
        """Read an answer in one object; raises as `feed` does."""
        ...

    def whole_answer(self, totals: Totals | None) -> dict[str, Any]:
        """The object, with what it came to."""
        ...


class Encoder(Reading, Protocol):
    """Says events in the client's protocol."""

    def event(self, event: ProviderEvent) -> bytes:
        """The next bytes of a stream; a whole answer collects and gives none."""
        ...

    def end(self, totals: Totals | None) -> bytes:
        """The end of a stream."""
        ...

    def whole_answer(self, totals: Totals | None) -> dict[str, Any]:
        """The answer in one object."""
        ...


class Wire(Protocol):
    """One of the two protocols: `wire.openai.WIRE`, `wire.anthropic.WIRE`."""

    dialect: Dialect

    def asked(self, body: dict[str, Any]) -> Asked:
        """Read a request.

        Raises:
            BadRequest: a field is missing, has the wrong type, or costs what is not priced by tokens; names it.
        """
        ...

    def native_body(self, asked: Asked, model: Model, output_limit: int | None) -> dict[str, Any]:
        """What is sent to a provider of the same protocol: the model by its wire name, the longest answer that is paid for,
        and usage asked for; all else as it came.
        """
        ...

    def tap(self, asked: Asked, model: Model, request_id: str) -> Tap:
        """Reads the answer of a provider of the same protocol."""
        ...

    def encoder(self, asked: Asked, model: Model, request_id: str) -> Encoder:
        """Says the answer of any other."""
        ...

    def error_event(self, error: AichatError, request_id: str) -> bytes:
        """An error in the middle of a stream."""
        ...
