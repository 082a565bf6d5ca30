"""What is known of a model: where it is served, what it can, what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aichat_cli.core.money import Price

Wire = Literal["openai", "anthropic", "litellm", "local"]
"""The protocol a model is spoken to in: one adapter each."""


@dataclass(frozen=True, slots=True)
class Model:
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
        retired: the successor's name, or None while it is served.
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
    retired: str | None = None
