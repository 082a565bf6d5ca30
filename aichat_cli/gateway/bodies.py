"""Bodies of requests: read within limits of size and time, and JSON or refused."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import ClientDisconnect, Request

from aichat_cli.core.struct import from_json
from aichat_cli.gateway.deps import deps_of
from aichat_cli.gateway.errors import BadRequest


async def read_body(request: Request, *, most_bytes: int | None = None) -> bytes:
    """The whole body.

    Raises:
        BadRequest: it is larger than it may be (413), takes too long (408), or ends before it is complete (400).
    """
    options = deps_of(request).options
    limit = options.most_body_bytes if most_bytes is None else most_bytes
    too_large = BadRequest(f"The body is larger than {limit:,} bytes.", status=413, code="body_too_large")
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(options.body_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise too_large
    except TimeoutError:
        raise BadRequest("The body took too long to arrive.", status=408, code="body_too_slow") from None
    except ClientDisconnect:
        raise BadRequest("The body ended before it was complete.", code="body_incomplete") from None
    return bytes(body)


async def json_object(request: Request, *, most_bytes: int | None = None) -> dict[str, Any]:
    """The body as a JSON object; raises BadRequest as `read_body` does, and where it is none."""
    body = await read_body(request, most_bytes=most_bytes)
    try:
        value = from_json(body)
    except (ValueError, RecursionError):
        raise BadRequest("The body is not JSON.", code="not_json") from None
    if not isinstance(value, dict):
        raise BadRequest("The body is not a JSON object.", code="not_json")
    return value
