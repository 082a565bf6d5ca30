"""One request for a page over an open connection, and what came: decoded, whole, and no larger than allowed."""

from __future__ import annotations

import http.client
import io
import socket
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import SplitResult, quote

from aichat_cli.core.errors import DocumentError
from aichat_cli.core.struct import Struct

AGENT = "aichat"
_PIECE_BYTES = 65_536
_INFLATED_BYTES = 1_000_000
"""Of one piece: however small it came, it does not fill the memory."""


class Answer(Struct, frozen=True):
    """A response. `content` is there with status 200 only; `is_cut` where there is more of it; `etag` is a header."""

    status: int
    location: str | None
    content: bytes
    media_type: str | None
    etag: str | None
    is_cut: bool


class _Head(io.BufferedReader):
    """A response's bytes. A line that ends with the connection is an error, which http.client takes for the last one."""

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        if not line.endswith(b"\n") and (size is None or size < 0 or len(line) < size):
            raise http.client.IncompleteRead(line)
        return line


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp = _Head(self.fp.detach())


def answer_to(
    connection: http.client.HTTPConnection,
    parts: SplitResult,
    etag: str | None,
    max_bytes: int,
    proxy_headers: Mapping[str, str] | None,
) -> Answer:
    """Ask for a page.

    Args:
        etag: the header that asks whether it changed.
        proxy_headers: what the proxy has to be told, None without one.

    Raises:
        DocumentError: what came is damaged.
        OSError, HTTPException, ValueError: the connection broke, or no HTTP came.
    """
    host = parts.netloc if parts.netloc.isascii() else (parts.hostname or "").encode("idna").decode()
    if not parts.netloc.isascii() and parts.port:
        host += f":{parts.port}"
    headers = {
        "Host": host,
        "User-Agent": AGENT,
        "Accept": "text/html, text/plain;q=0.9, */*;q=0.5",
        "Accept-Encoding": "gzip",
        "Connection": "close",
    }
    if etag is not None:
        name, _, value = etag.partition(": ")
        headers[name] = value
    target = target_of(parts)
    if proxy_headers is not None and parts.scheme == "http":
        target = f"http://{host}{target}"
        headers |= proxy_headers
    connection.response_class = _Response
    connection.request("GET", target, headers=headers)
    with connection.getresponse() as response:
        content = b"" if response.status != 200 else _body(response, max_bytes)
        return Answer(
            response.status,
            _location(response),
            content[:max_bytes],
            response.getheader("Content-Type"),
            _etag(response),
            len(content) > max_bytes,
        )


def _body(response: http.client.HTTPResponse, max_bytes: int) -> bytes:
    """The decoded body, however small it came; of one that is larger than allowed a byte too many."""
    encoding = (response.getheader("Content-Encoding") or "identity").strip().lower()
    if encoding not in {"identity", "gzip", "x-gzip"}:
        raise DocumentError(f"It came in an encoding that was not asked for: {encoding[:40]}.")
    content = bytearray()
    for piece in _pieces(response) if encoding == "identity" else _inflated(_pieces(response)):
        content += piece[: max_bytes + 1 - len(content)]
        if len(content) > max_bytes:
            break
    return bytes(content)


def _pieces(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while piece := response.read1(_PIECE_BYTES):
        yield piece
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)


def _inflated(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """What gzip made smaller, which may be several files of it one after the other."""
    inflate = zlib.decompressobj(wbits=31)
    for piece in pieces:
        data = piece
        while data:
            if inflate.eof:
                inflate = zlib.decompressobj(wbits=31)
            try:
                yield inflate.decompress(data, _INFLATED_BYTES)
            except zlib.error as exc:
                raise DocumentError("What came is damaged.") from exc
            data = inflate.unused_data or inflate.unconsumed_tail
    if not inflate.eof:
        raise http.client.IncompleteRead(b"")


def _location(response: http.client.HTTPResponse) -> str | None:
    """Where a redirect leads. Headers are read as Latin-1; what is UTF-8 in truth is meant as that."""
    location = response.getheader("Location")
    with suppress(UnicodeError):
        return location and location.encode("latin-1").decode("utf-8")
    return location


def _etag(response: http.client.HTTPResponse) -> str | None:
    """The header to send the next time, None where it could not be sent."""
    for header, name in (("ETag", "If-None-Match"), ("Last-Modified", "If-Modified-Since")):
        value = response.getheader(header)
        if value:
            return f"{name}: {value}" if value.isprintable() else None
    return None


def target_of(parts: SplitResult) -> str:
    """The path with its query, escaped."""
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return quote(target, safe="/?&=%#:@!$'()*+,;~[]-._")
