"""Anthropic's objects, as a gateway makes them."""

from __future__ import annotations

from typing import Any

from aichat_cli.core.money import TokenUsage


def message_id(request_id: str) -> str:
    """What an answer calls itself."""
    return f"msg_{request_id}"


def usage_shape(tokens: TokenUsage | None) -> dict[str, Any]:
    """Tokens as Anthropic reports them: what came from or went to the cache is not part of `input_tokens`."""
    tokens = tokens or TokenUsage(0, 0)
    return {
        "input_tokens": max(tokens.input_tokens - tokens.cached_tokens - tokens.cache_write_tokens, 0),
        "cache_read_input_tokens": tokens.cached_tokens,
        "cache_creation_input_tokens": tokens.cache_write_tokens,
        "output_tokens": tokens.output_tokens,
    }
