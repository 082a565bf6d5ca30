"""What is known of a model: where it is served, what it can, what it costs."""

from __future__ import annotations

from typing import Literal

from aichat_cli.core.messages import MediaKind
from aichat_cli.core.money import Price
from aichat_cli.core.struct import Struct

Wire = Literal["openai", "anthropic", "litellm", "local", "plugin"]
"""The protocol a model is spoken to in: one adapter each, and one for each provider that another package adds."""

GATEWAY = "gateway"
"""The provider of the models that somebody's account on a gateway pays for, and the name its key is kept under."""


class Model(Struct, frozen=True):
    """One model, resolved from what the user typed.

    Attributes:
        name: what users call it and what is stored, such as `gpt-4o-mini` or `groq/llama-3.3-70b`.
        wire_name: what the provider calls it, as sent on the wire; for `local` a path to a GGUF file or a pulled name.
        provider: whose it is, such as `openai`; also the name its key is kept under, unless `key_name` differs.
        base_url: the endpoint without a trailing slash, None where the adapter knows (litellm, local).
        key_name: the name the key is looked up under; None where none is needed.
        key_required: False for endpoints that may be open, such as one of your own.
        context_tokens, max_output_tokens: the window and the longest answer, None where unknown.
        price: None where unknown; never a guess.
        takes_sampling: False for reasoning models that refuse temperature and top_p.
        output_limit_field: `max_tokens` or `max_completion_tokens`.
        reads_images, reads_pdf, reads_audio: whether it takes such files; None where unknown.
        retired: the successor's name, or None while it is served.
        dimensions: of an embedding model's vectors, None where unknown.
        via: who stands between us and the provider, as messages name them; `base_url` is theirs then.
    """

    name: str
    wire_name: str
    provider: str
    wire: Wire
    base_url: str | None = None
    key_name: str | None = None
    key_required: bool = True
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    price: Price | None = None
    takes_sampling: bool = True
    output_limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    reads_images: bool | None = None
    reads_pdf: bool | None = None
    reads_audio: bool | None = None
    retired: str | None = None
    dimensions: int | None = None
    via: str | None = None

    @property
    def adapter(self) -> str:
        """What serves it: models with the same one can share it."""
        return f"plugin {self.provider}" if self.wire == "plugin" else self.wire

    def reads(self, kind: MediaKind) -> bool | None:
        """Whether it takes files of this kind; None where unknown."""
        return {"image": self.reads_images, "pdf": self.reads_pdf, "audio": self.reads_audio}[kind]
