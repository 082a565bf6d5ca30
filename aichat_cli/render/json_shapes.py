"""The documented JSON shapes. Fields may be added, never renamed."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from aichat_cli.config.roles import ChatRole
from aichat_cli.core.messages import KIND_NAMES, Conversation, Message
from aichat_cli.core.models import Model
from aichat_cli.core.money import NANO_PER_DOLLAR, usd_number
from aichat_cli.render.sources_view import passage_rows, source_rows
from aichat_cli.render.turn_view import TurnResult
from aichat_cli.storage.search import SearchHit

_UNSAFE = re.compile("[\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def dumps(value: object) -> str:
    """JSON for people and programs: indented, UTF-8, with control characters escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    # json escapes C0; C1 and BiDi controls would still reach a terminal.
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"


def turn(result: TurnResult, content: str) -> dict[str, Any]:
    """One answer, as `aichat --json` prints it."""
    settled, started = result.settled, result.started
    tokens = settled.tokens if settled else None
    return {
        "conversation_id": started.conversation_id if started else None,
        "message_id": started.message_id if started else None,
        "model": settled.model if settled else None,
        "content": content,
        "status": settled.status if settled else None,
        "finish_reason": settled.finish_reason if settled else None,
        "input_tokens": tokens.input_tokens if tokens else None,
        "cached_tokens": tokens.cached_tokens if tokens else None,
        "output_tokens": tokens.output_tokens if tokens else None,
        "reasoning_tokens": tokens.reasoning_tokens if tokens else None,
        "cost_usd": usd_number(settled.cost_nano) if settled else None,
        "sources": passage_rows(result.passages, result.cited),
    }


def conversation_rows(listed: Sequence[Conversation]) -> list[dict[str, Any]]:
    """`history list`."""
    return [
        {
            "id": conversation.id,
            "title": conversation.title,
            "model": conversation.model,
            "created_at": conversation.created_at,
            "updated_at": conversation.updated_at,
            "messages": conversation.message_count,
        }
        for conversation in listed
    ]


def conversation(shown: Conversation, messages: Sequence[Message]) -> dict[str, Any]:
    """`history show`."""
    return {
        "id": shown.id,
        "title": shown.title,
        "model": shown.model,
        "system_prompt": shown.system_prompt,
        "messages": [_message(message) for message in messages],
    }


def _message(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "parent_id": message.parent_id,
        "role": message.role,
        "content": message.content,
        "reasoning": message.reasoning,
        "status": message.status,
        "error": message.error,
        "model": message.model,
        "input_tokens": message.input_tokens,
        "output_tokens": message.output_tokens,
        "cost_usd": usd_number(message.cost_nano),
        "created_at": message.created_at,
        "attachments": [
            {"name": file.name, "media_type": file.media_type, "bytes": file.bytes} for file in message.attachments
        ],
        "sources": source_rows(message.sources),
    }


def role(shown: ChatRole) -> dict[str, Any]:
    """`roles list` and `roles show`."""
    return {"name": shown.name, "prompt": shown.prompt, "model": shown.model, "options": dict(shown.options)}


def search_hits(hits: Sequence[SearchHit]) -> list[dict[str, Any]]:
    """`history search`."""
    return [
        {
            "conversation_id": hit.conversation_id,
            "message_id": hit.message_id,
            "title": hit.title,
            "role": hit.role,
            "snippet": hit.snippet,
            "created_at": hit.created_at,
        }
        for hit in hits
    ]


def models(listed: Sequence[Model]) -> list[dict[str, Any]]:
    """`models list`."""
    return [
        {
            "name": model.name,
            "provider": model.provider,
            "input_usd_per_mtok": model.price.rates.input / NANO_PER_DOLLAR if model.price else None,
            "output_usd_per_mtok": model.price.rates.output / NANO_PER_DOLLAR if model.price else None,
            "context": model.context_tokens,
            "reads": [kind for kind in KIND_NAMES if model.reads(kind)],
            "retired": model.retired is not None,
            "successor": model.retired,
        }
        for model in listed
    ]
