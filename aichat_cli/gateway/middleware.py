"""What wraps every request: an id, headers of safety, one line in the log, and an answer where the code fails.

Plain ASGI: it is on the way of every piece of every answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from aichat_cli.core.errors import AichatError
from aichat_cli.core.ids import new_id
from aichat_cli.core.struct import to_json
from aichat_cli.gateway.errors import error_body
from aichat_cli.gateway.watch import RequestNotes, Watch

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_ASKED_ID = b"x-aichat-request-id"
_SAFE = (b"x-content-type-options", b"nosniff")
UNMATCHED = "(none)"
"""The route of a path that leads nowhere: what was asked for is neither logged nor counted by name."""


class Watched:
    """The middleware."""

    def __init__(self, app: ASGIApp, watch: Watch) -> None:
        self._app = app
        self._watch = watch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        notes = RequestNotes(_request_id(scope["headers"]))
        state = scope.setdefault("state", {})
        state["request_id"] = notes.request_id
        state["notes"] = notes
        own_headers = [(b"x-request-id", notes.request_id.encode()), _SAFE]
        status, sent, is_over = 0, 0, False

        async def counted(message: MutableMapping[str, Any]) -> None:
            nonlocal status, sent, is_over
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *own_headers]
            else:
                sent += len(message.get("body", b""))
                is_over = not message.get("more_body", False)
            await send(message)

        # An answer that breaks off is left incomplete: the server closes the connection, so that nobody takes it for all.
        failure: Exception | None = None
        try:
            await self._app(scope, receive, counted)
        except Exception as exc:  # noqa: BLE001 (the last resort: nobody sees a traceback but whoever reads the log)
            failure = exc
            if not status:
                defect = f"The gateway failed. Its operator finds more in the log, under {notes.request_id}."
                await _fail(scope, notes.request_id, _Defect(defect), counted)
        except asyncio.CancelledError:
            if not self._watch.is_ending:
                raise
            # It took too long for a gateway that ends. That is no failure of the code, and the log has a line of it.
            if not status:
                await _fail(scope, notes.request_id, _Ending("The gateway is being ended. Try again."), counted)
        finally:
            self._told(scope, notes, status if is_over else 499 if status < 400 else status, sent, began, failure)

    def _told(
        self, scope: Scope, notes: RequestNotes, status: int, sent: int, began: float, failure: Exception | None
    ) -> None:
        seconds = time.perf_counter() - began
        route = getattr(scope.get("route"), "path", UNMATCHED)
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        self._watch.metrics.request(route, method, status, seconds)
        log, caller, call = self._watch.log, notes.caller, notes.call
        client = scope.get("client") if self._watch.logs_addresses else None
        fields = {
            "id": notes.request_id,
            "method": method,
            "route": route,
            "status": status,
            "ms": round(seconds * 1000, 1),
            "bytes": sent,
            "user": caller.user_id if caller else None,
            "key": notes.key_prefix,
            "model": call.model if call else None,
            "input_tokens": call.input_tokens if call else None,
            "output_tokens": call.output_tokens if call else None,
            "cost_nano": call.cost_nano if call else None,
            "address": client[0] if client else None,
        }
        if failure is not None:
            log.failure("request.failed", failure, id=notes.request_id)
        log.write("debug" if route in _QUIET and status < 400 else "info", "request", **fields)


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
"""What machines ask every few seconds."""


class _Defect(AichatError):
    """What the caller is told of a failure of ours."""

    code = "internal_error"


class _Ending(AichatError):
    """What the caller is told of whom nothing was answered yet when the gateway ended."""

    code = "ending"
    http_status = 503


async def _fail(scope: Scope, request_id: str, error: AichatError, send: Send) -> None:
    body = to_json(error_body(scope["path"], error, request_id))
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if error.http_status == 503:
        headers.append((b"retry-after", b"2"))
    await send({"type": "http.response.start", "status": error.http_status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def asked_id(given: str) -> str | None:
    """The id that a caller names for a request, None where it is no UUID."""
    try:
        return str(UUID(given))
    except ValueError:
        return None


def _request_id(headers: list[tuple[bytes, bytes]]) -> str:
    """The id the caller names, where it is one, else a new one."""
    for name, value in headers:
        if name == _ASKED_ID:
            return asked_id(value.decode("latin-1")) or new_id()
    return new_id()
