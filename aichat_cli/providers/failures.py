"""From what a provider says went wrong to our errors: one wording per failure, no key in any of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from aichat_cli.core.errors import (
    AichatError,
    ContextTooLong,
    KeyRejected,
    ModelNotFound,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
)
from aichat_cli.core.models import GATEWAY
from aichat_cli.core.secret import Secret
from aichat_cli.providers.base import Call
from aichat_cli.providers.said import Said

ERROR_BODY_BYTES = 65536
_MESSAGE_CHARS = 400
_SNIPPET_CHARS = 120

_NO_MONEY = re.compile(
    r"insufficient_quota|billing_error|credit balance is too low|insufficient (credits|balance)", re.IGNORECASE
)
_TOO_LONG = re.compile(
    r"context_length_exceeded|context[ _](length|window|size)|maximum context|prompt is too long|too many (input )?tokens"
    r"|(input|prompt) (is|was) too (long|large)|exceeds? .{0,40}(context|number of (input )?tokens)",
    re.IGNORECASE,
)
_BAD_KEY = re.compile(
    r"invalid_api_key|incorrect api key|(api|x-api-)key (is )?(not valid|invalid)|invalid api key", re.IGNORECASE
)
_NO_MODEL = re.compile(r"model_not_found", re.IGNORECASE)


def who(request: Call) -> str:
    """How messages name the other side."""
    model = request.model
    if model.provider not in ("custom", GATEWAY) or model.base_url is None:
        return model.provider if model.via is None else f"{model.provider} through {model.via}"
    from urllib.parse import urlsplit

    parts = urlsplit(model.base_url)
    return f"{parts.scheme}://{parts.netloc.rsplit('@', 1)[-1]}"


def clean_line(text: str, key: Secret | None, limit: int = _MESSAGE_CHARS) -> str:
    """One printable line without the key, bounded."""
    if key is not None:
        text = key.hidden_in(text)
    line = " ".join("".join(char if char.isprintable() else " " for char in text[: limit * 8]).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def said_in(body: bytes, key: Secret | None) -> Said:
    """Read the body of an error response."""
    text = body.decode("utf-8", "replace")
    try:
        return said_by(json.loads(text), key)
    except (ValueError, RecursionError):
        return Said(snippet(text, key), is_structured=False)


def said_by(answer: Any, key: Secret | None) -> Said:
    """Read an error object: OpenAI's, Anthropic's, Google's list of one, or whatever else has a message."""
    if isinstance(answer, list) and answer:
        answer = answer[0]
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    if not isinstance(error, dict):
        return Said(clean_line(str(error), key))
    message = next(
        (error[name] for name in ("message", "detail", "error", "type", "helicone-message") if error.get(name)), error
    )
    text = message if isinstance(message, str) else json.dumps(message)
    kinds = tuple(clean_line(str(error[name]), key) for name in ("code", "type", "status") if error.get(name))
    return Said(clean_line(text, key), kinds)


def snippet(text: str, key: Secret | None) -> str:
    """The beginning of something that should not be there, to recognise it by."""
    return clean_line(text, key, _SNIPPET_CHARS)


def retry_after(header: Callable[[str], str | None]) -> float | None:
    """Seconds to wait as `retry-after-ms` or `Retry-After` (seconds or a date) say; None where they do not."""
    try:
        if milliseconds := header("retry-after-ms"):
            return _seconds(float(milliseconds) / 1000)
        value = header("retry-after")
        if not value:
            return None
        if value.strip().replace(".", "", 1).isdigit():
            return _seconds(float(value))
        import time
        from email.utils import parsedate_to_datetime

        return _seconds(parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _seconds(value: float) -> float | None:
    return max(0.0, value) if value < float("inf") else None


def status_error(request: Call, status: int, said: Said, wait: float | None = None) -> AichatError:
    """The error for a status of 400 and above."""
    if error := _of_another(request, status, said, wait):
        return error
    name, words = who(request), _after_colon(said.message)
    if status == 402 or said.matches(_NO_MONEY):
        return ProviderError(
            f"{name} says that your account there has no money left{words}",
            hint=f"Add credit to your account at {name}",
        )
    if status == 401 or (status == 400 and said.matches(_BAD_KEY)):
        return _key_error(request, words)
    if status == 429:
        when = "" if wait is None else f" Try again in {_duration(wait)}."
        return RateLimited(f"{name} limits how often you may ask{words}{when}", retry_after=wait)
    if status == 408 or status >= 500:
        return ProviderUnavailable(f"{name} cannot answer now ({status}){words}", retry_after=wait)
    return _refusal(request, status, said)


def _of_another(request: Call, status: int, said: Said, wait: float | None) -> AichatError | None:
    """What is no provider's refusal but that of a gateway, or of what stands between."""
    if request.model.provider == GATEWAY:
        from aichat_cli.providers.gateway import refusal

        return refusal(who(request), status, said, wait)
    if request.model.via is not None:
        from aichat_cli.providers.helicone_refusals import refusal_of

        return refusal_of(status, said, wait)
    return None


def _refusal(request: Call, status: int, said: Said) -> AichatError:
    """The provider read the request and will not serve it."""
    name, words = who(request), _after_colon(said.message)
    if status == 404 or said.matches(_NO_MODEL):
        return _not_found(request, said)
    if status in (400, 413, 422) and said.matches(_TOO_LONG):
        return ContextTooLong(
            f"The conversation is too long for {request.model.name}{words}",
            hint="Start a new one, or use a model with a larger window: aichat models list",
        )
    return RequestRejected(f"{name} rejected the request ({status}){words}")


def _key_error(request: Call, words: str) -> KeyRejected:
    name, key_name = who(request), request.model.key_name
    hint = f"Run: aichat keys set {key_name}" if key_name else "Give it one with --key"
    if request.key is not None and request.key.source.startswith("$"):
        hint = f"Correct or unset {request.key.source[1:]}, then: aichat keys set {key_name}"
    if request.key is None:
        return KeyRejected(f"{name} asks for an API key and none was sent{words}", hint=hint)
    return KeyRejected(f"{name} refused the API key from {request.key.source}{words}", hint=hint)


def _not_found(request: Call, said: Said) -> ModelNotFound:
    name = who(request)
    if said.is_structured:
        return ModelNotFound(
            f'{name} has no model "{request.model.wire_name}"{_after_colon(said.message)}',
            hint="Run: aichat models list",
        )
    return ModelNotFound(
        f'{name} found nothing to answer for "{request.model.wire_name}" (404){_after_colon(said.message)}',
        hint="Check the base URL and the model name",
    )


def _after_colon(message: str) -> str:
    if not message:
        return "."
    return f": {message}" + ("" if message[-1] in ".!?…" else ".")


def _duration(seconds: float) -> str:
    whole = max(1, round(seconds))
    if whole < 120:
        return f"{whole} s"
    return f"{round(whole / 60)} min" if whole < 7200 else f"{round(whole / 3600)} h"
