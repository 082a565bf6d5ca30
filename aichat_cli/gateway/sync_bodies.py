"""Bodies of requests of sync: larger than others, packed or not, and bounded as they are unpacked."""

from __future__ import annotations

import asyncio
import zlib

from starlette.requests import ClientDisconnect, Request

from aichat_cli.gateway.deps import deps_of
from aichat_cli.gateway.errors import BadRequest
from aichat_cli.gateway.sync_desk import Room

MOST_JSON = 32_000_000
MOST_FILE = 100_000_000
LONGEST_SECONDS = 900.0
"""For a large file on a slow network. In between, silence lasts no longer than for any other body."""
WORTH_PACKING = 1024
_GZIP = 31
"""For zlib: with a header of gzip's, and the largest window."""


async def read_sync_body(request: Request, room: Room, most_bytes: int) -> bytes:
    """The whole body, unpacked.

    Raises:
        BadRequest: it is larger than it may be, also once it is unpacked (413), packed in a way nobody knows here (415), takes
            too long (408), or is not complete (400).
        ProviderUnavailable: there is no room for it now.
    """
    too_large = BadRequest(f"The body is larger than {most_bytes:,} bytes.", status=413, code="body_too_large")
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > most_bytes:
        raise too_large
    unpacker = _unpacker(request.headers.get("content-encoding", ""))
    body = bytearray()
    silence = deps_of(request).options.body_seconds
    now = asyncio.get_running_loop().time
    end = now() + LONGEST_SECONDS
    try:
        async with asyncio.timeout(silence) as patience:
            async for chunk in request.stream():
                piece = chunk if unpacker is None else _unpacked(unpacker, chunk, most_bytes + 1 - len(body))
                room.take(len(piece))
                body += piece
                if len(body) > most_bytes:
                    raise too_large
                patience.reschedule(min(now() + silence, end))
    except TimeoutError:
        raise BadRequest("The body took too long to arrive.", status=408, code="body_too_slow") from None
    except ClientDisconnect:
        raise BadRequest("The body ended before it was complete.", code="body_incomplete") from None
    if unpacker is not None and not unpacker.eof:
        raise _not_gzip()
    return bytes(body)


def packed(content: bytes) -> bytes:
    """Content in gzip, as quickly as it can be had."""
    packer = zlib.compressobj(1, wbits=_GZIP)
    return packer.compress(content) + packer.flush()


def _unpacker(encoding: str) -> zlib._Decompress | None:
    if encoding in {"", "identity"}:
        return None
    if encoding.lower() != "gzip":
        raise BadRequest("Of encodings of a body only gzip is known here.", status=415, code="encoding_unknown")
    return zlib.decompressobj(_GZIP)


def _unpacked(unpacker: zlib._Decompress, chunk: bytes, most_bytes: int) -> bytes:
    """What a piece of a packed body holds, or the first bytes of it: what is more than `most_bytes` is too much anyway."""
    try:
        piece = unpacker.decompress(chunk, most_bytes)
    except zlib.error:
        raise _not_gzip() from None
    if unpacker.unused_data:
        raise _not_gzip()
    return piece


def _not_gzip() -> BadRequest:
    return BadRequest("The body is not gzip, or not one whole.", code="not_gzip")
