"""The values of the gateway's description: what is asked, what is answered. Objects may have more fields than are told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """The schema of that name."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: Sequence[str] | None = None, **properties: Schema) -> Schema:
    """An object; all its properties are there unless it is said which."""
    return {"type": "object", "required": list(properties if required is None else required), "properties": properties}


def _strict(required: Sequence[str], **properties: Schema) -> Schema:
    """What is asked: a field that is not known is refused."""
    return {**_object(required, **properties), "additionalProperties": False}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _list(items: Schema, **limits: int) -> Schema:
    return {"type": "array", "items": items, **limits}


_TEXT: Schema = {"type": "string"}
_NAME: Schema = {"type": "string", "minLength": 1}
_FLAG: Schema = {"type": "boolean"}
_NUMBER: Schema = {"type": "number"}
_WHOLE: Schema = {"type": "integer"}
_POSITIVE: Schema = {"type": "integer", "minimum": 1}
_FREE: Schema = {"type": "object"}
_TEXTS: Schema = {"anyOf": [_TEXT, _list(_FREE)]}

_SAMPLING: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_CHARGES: dict[str, Schema] = {
    "cost": {"type": "number", "description": "US dollars."},
    "credits_charged": _WHOLE,
    "credits_left": _WHOLE,
}
_WINDOW = _object(limit=_WHOLE, remaining=_WHOLE, reset_at=_or_null(_NUMBER))

_CHAT_FIELDS: dict[str, Schema] = {
    "model": _NAME,
    "messages": _list(
        _object(("role",), role={"enum": ["system", "developer", "user", "assistant", "tool"]}, content=_TEXTS),
        minItems=1,
    ),
    "stream": _FLAG,
    "stream_options": _strict((), include_usage=_FLAG),
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "n": {"type": "integer", "minimum": 1, "maximum": 8},
    "stop": {"anyOf": [_TEXT, _list(_TEXT)]},
    "max_tokens": _POSITIVE,
    "max_completion_tokens": _POSITIVE,
    "presence_penalty": _NUMBER,
    "frequency_penalty": _NUMBER,
    "logit_bias": {"type": "object", "additionalProperties": _NUMBER},
    "logprobs": _FLAG,
    "top_logprobs": {"type": "integer", "minimum": 0, "maximum": 20},
    "seed": _WHOLE,
    "user": _TEXT,
    "response_format": _FREE,
    "tools": _list(_FREE),
    "tool_choice": {"anyOf": [_TEXT, _FREE]},
}
_MESSAGES_FIELDS: dict[str, Schema] = {
    "model": _NAME,
    "messages": _list(_object(role={"enum": ["user", "assistant"]}, content=_TEXTS), minItems=1),
    "max_tokens": _POSITIVE,
    "system": _TEXTS,
    "stream": _FLAG,
    "temperature": _SAMPLING,
    "top_p": _SAMPLING,
    "top_k": _WHOLE,
    "stop_sequences": _list(_TEXT),
    "metadata": _FREE,
    "tools": _list(_FREE),
    "tool_choice": _FREE,
    "thinking": _FREE,
    "output_config": _FREE,
}

SCHEMAS: dict[str, Schema] = {
    "Any": {},
    "Object": _FREE,
    "State": _object(status=_TEXT),
    "Error": _object(
        error=_object(message=_TEXT, type=_TEXT, param=_or_null(_TEXT), code=_or_null(_TEXT)),
    ),
    "AnthropicError": _object(
        type={"const": "error"}, error=_object(type=_TEXT, message=_TEXT), request_id=_TEXT
    ),
    "ChatRequest": _object(("model", "messages"), **_CHAT_FIELDS),
    "ChatAnswer": _object(
        id=_TEXT,
        object={"const": "chat.completion"},
        created=_WHOLE,
        model=_TEXT,
        choices=_list(_object(("index", "message"), index=_WHOLE, message=_FREE, finish_reason=_or_null(_TEXT))),
        usage=_object(
            ("prompt_tokens", "completion_tokens", "total_tokens"),
            prompt_tokens=_WHOLE, completion_tokens=_WHOLE, total_tokens=_WHOLE, **_CHARGES,
        ),
    ),
    "MessagesRequest": _object(("model", "messages", "max_tokens"), **_MESSAGES_FIELDS),
    "MessagesAnswer": _object(
        id=_TEXT,
        type={"const": "message"},
        role={"const": "assistant"},
        model=_TEXT,
        content=_list(_FREE),
        stop_reason=_or_null(_TEXT),
        usage=_object(("input_tokens", "output_tokens"), input_tokens=_WHOLE, output_tokens=_WHOLE, **_CHARGES),
    ),
    "EmbeddingRequest": _strict(
        ("model", "input"),
        model=_NAME,
        input={"anyOf": [_TEXT, _list(_TEXT, minItems=1, maxItems=2048), _list(_WHOLE, minItems=1)]},
        dimensions=_POSITIVE,
        encoding_format={"enum": ["float", "base64"]},
        user=_TEXT,
    ),
    "EmbeddingAnswer": _object(
        object={"const": "list"},
        model=_TEXT,
        data=_list(
            _object(object=_TEXT, index=_WHOLE, embedding={"anyOf": [_list(_NUMBER), _TEXT]}),
        ),
        usage=_object(("prompt_tokens", "total_tokens"), prompt_tokens=_WHOLE, total_tokens=_WHOLE, **_CHARGES),
    ),
    "Model": _object(
        id=_TEXT,
        object={"const": "model"},
        type={"const": "model"},
        created=_WHOLE,
        created_at=_TEXT,
        display_name=_TEXT,
        owned_by=_TEXT,
        mode={"enum": ["chat", "embedding"]},
        context_tokens=_or_null(_WHOLE),
        max_output_tokens=_or_null(_WHOLE),
        dimensions=_or_null(_WHOLE),
        input_usd_per_mtok=_NUMBER,
        output_usd_per_mtok=_NUMBER,
        cached_usd_per_mtok=_NUMBER,
        reads_images=_or_null(_FLAG),
        reads_pdf=_or_null(_FLAG),
        reads_audio=_or_null(_FLAG),
    ),
    "Models": _object(
        object={"const": "list"},
        data=_list(ref("Model")),
        has_more=_FLAG,
        first_id=_or_null(_TEXT),
        last_id=_or_null(_TEXT),
    ),
    "Account": _object(
        user=_object(id=_TEXT, name=_TEXT),
        plan=_TEXT,
        key=_object(("id", "name", "scopes", "plan"), id=_TEXT, name=_TEXT, scopes=_list(_TEXT), plan=_TEXT),
        credits=_object(balance=_NUMBER, held=_NUMBER, available=_NUMBER),
        window=_WINDOW,
        sync=_FLAG,
    ),
    "Credits": _object(
        balance=_NUMBER, held=_NUMBER, available=_NUMBER, plan=_TEXT, mode={"const": "credits"}, window=_WINDOW
    ),
    "Usage": _object(rows={"type": "array", "items": {"type": "object"}}, total={"type": "object"}),
    "PurchaseRequest": _object(package={"enum": ["small", "medium", "large"]}),
    "Purchase": _object(
        id=_TEXT,
        url=_or_null(_TEXT),
        state={"enum": ["created", "open", "processing", "paid", "expired", "refused"]},
        package=_or_null(_TEXT),
        credits=_WHOLE,
        amount_cents=_WHOLE,
        currency=_TEXT,
        balance=_NUMBER,
    ),
}  # fmt: skip
