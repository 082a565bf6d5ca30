"""What machines ask the gateway: whether it lives, whether it can serve, what it has counted."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from aichat_cli.accounts.protocol import CallBooks
from aichat_cli.core.errors import HostedError, KeyRefused, StorageError
from aichat_cli.core.struct import to_json
from aichat_cli.gateway.deps import deps_of
from aichat_cli.gateway.errors import BadRequest
from aichat_cli.gateway.metrics import CONTENT_TYPE
from aichat_cli.gateway.traffic import traffic_of

PATIENCE_SECONDS = 2.0
"""With the database."""
FRESH_SECONDS = 1.0
"""So long an answer of the database is good for whoever asks again: this path takes no key."""
_FORWARDED = ("x-forwarded-for", "forwarded", "via")


def routes() -> list[BaseRoute]:
    """Its paths."""
    return [
        Route("/healthz", healthz, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
    ]


async def healthz(_: Request) -> Response:
    """The process answers."""
    return _state("ok", 200)


async def readyz(request: Request) -> Response:
    """Calls can be served: the database answers, and the gateway is not about to end."""
    deps = deps_of(request)
    if deps.watch.is_ending:
        return _state("ending", 503)
    is_ready = deps.watch.readiness(FRESH_SECONDS)
    if is_ready is None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await deps.desk.ask(_answers)
            is_ready = True
        except (TimeoutError, StorageError, HostedError):
            is_ready = False
        deps.watch.found(is_ready=is_ready)
    return _state("ready", 200) if is_ready else _state("the database does not answer", 503)


async def metrics(request: Request) -> Response:
    """The counters, for whoever shows the token; without a token for this machine, and not for a proxy on it."""
    deps = deps_of(request)
    token = deps.watch.metrics_token
    if token is not None:
        shown = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        if not hmac.compare_digest(shown.encode(), token.encode()):
            raise KeyRefused("This is not the token of /metrics.")
    elif not _is_from_here(request):
        raise BadRequest(
            "Without a token /metrics is for the machine of the gateway itself.", status=403, code="forbidden"
        )
    text = deps.watch.metrics.text(
        desk_waiting=deps.desk.waiting, log_dropped=deps.watch.log.dropped, told=traffic_of(request).teller.told
    )
    return Response(text, headers={"Cache-Control": "no-store", "Content-Type": CONTENT_TYPE})


def _is_from_here(request: Request) -> bool:
    if request.client is None or any(name in request.headers for name in _FORWARDED):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def _answers(books: CallBooks) -> bool:
    """Ask the database anything at all: for a key that nobody has."""
    with suppress(KeyRefused):
        books.authenticate("", b"")
    return True


def _state(text: str, status: int) -> Response:
    headers = {"Cache-Control": "no-store"} | ({"Retry-After": "2"} if status == 503 else {})
    return Response(to_json({"status": text}), status, headers, media_type="application/json")
