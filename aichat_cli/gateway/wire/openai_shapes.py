"""OpenAI's objects, as a gateway makes them."""

from __future__ import annotations

from typing import Any

from aichat_cli.core.money import TokenUsage
from aichat_cli.gateway.wire.shared import event_bytes

DONE = b"data: [DONE]\n\n"


def completion_id(request_id: str) -> str:
    """What an answer calls itself."""
    return f"chatcmpl-{request_id}"


def usage_shape(tokens: TokenUsage | None) -> dict[str, Any]:
    """Tokens as OpenAI reports them."""
    tokens = tokens or TokenUsage(0, 0)
    return {
        "prompt_tokens": tokens.input_tokens,
        "completion_tokens": tokens.output_tokens,
        "total_tokens": tokens.input_tokens + tokens.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": tokens.cached_tokens,
            "cache_write_tokens": tokens.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": tokens.reasoning_tokens},
    }


def usage_chunk(identifier: str, created: int, model: str, usage: dict[str, Any]) -> bytes:
    """The chunk before the end of a stream."""
    return event_bytes(
        {
            "id": identifier,
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
            "choices": [],
            "usage": usage,
        }
    )
