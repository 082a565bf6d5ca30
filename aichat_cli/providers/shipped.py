"""The models that come with aichat by name: defaults, aliases, retired classics and the embedded model."""

from __future__ import annotations

from collections.abc import Mapping

from aichat_cli.core.messages import MediaKind
from aichat_cli.core.models import Model
from aichat_cli.core.money import FREE, NANO_PER_CENT, Price, Rates

DEFAULT_OPENAI = "gpt-4o-mini"
DEFAULT_ANTHROPIC = "claude-haiku-4-5"
DEFAULT_LOCAL = "smollm2"

LOCAL_CONTEXT_TOKENS = 8192
LOCAL_MAX_OUTPUT_TOKENS = 2048

READERS: Mapping[MediaKind, tuple[str, ...]] = {
    "image": (DEFAULT_OPENAI, DEFAULT_ANTHROPIC),
    "pdf": (DEFAULT_OPENAI, DEFAULT_ANTHROPIC),
    "audio": ("gpt-audio-mini", "gemini/gemini-2.5-flash"),
}
"""Models to name to a user whose model cannot read such a file."""

ALIASES: Mapping[str, str] = {
    "haiku": "claude-haiku-4-5",
    "sonnet": "claude-sonnet-5-5",
    "opus": "claude-opus-5-5",
    "local": DEFAULT_LOCAL,
}


def _cents(*, read: int, write: int, cached: int, cache_write: int) -> Price:
    """A price in cents per million tokens."""
    return Price(
        Rates(
            input=read * NANO_PER_CENT,
            output=write * NANO_PER_CENT,
            cached_input=cached * NANO_PER_CENT,
            cache_write=cache_write * NANO_PER_CENT,
        )
    )


def _retired_claude(name: str, wire_name: str, price: Price, successor: str) -> Model:
    return Model(
        name=name,
        wire_name=wire_name,
        provider="anthropic",
        wire="anthropic",
        context_tokens=200_000,
        max_output_tokens=8192,
        price=price,
        reads_images=True,
        reads_audio=False,
        retired=successor,
    )


MODELS: Mapping[str, Model] = {
    model.name: model
    for model in (
        _retired_claude(
            "claude-3.5-sonnet",
            "claude-3-5-sonnet-20241022",
            _cents(read=300, write=1500, cached=30, cache_write=375),
            "claude-sonnet-5-5",
        ),
        _retired_claude(
            "claude-3.5-haiku",
            "claude-3-5-haiku-20241022",
            _cents(read=80, write=400, cached=8, cache_write=100),
            "claude-haiku-4-5",
        ),
    )
}
"""Models that litellm's map no longer holds, at Anthropic's prices."""

NAMES = ("gpt-4o", "gpt-4o-mini", *MODELS, DEFAULT_LOCAL)
"""What a listing shows first."""


def local_model(name: str, wire_name: str) -> Model:
    """A model that runs on this machine; `wire_name` is a path to a GGUF file or a pulled name."""
    return Model(
        name=name,
        wire_name=wire_name,
        provider="local",
        wire="local",
        key_required=False,
        context_tokens=LOCAL_CONTEXT_TOKENS,
        max_output_tokens=LOCAL_MAX_OUTPUT_TOKENS,
        price=FREE,
        reads_images=False,
        reads_pdf=False,
        reads_audio=False,
    )
