"""A web server whose every byte is scripted: what each path answers, and the requests that came."""

from __future__ import annotations

import gzip
import socket
import time
from collections.abc import Callable, Mapping

from tests.servers.raw import RawServer, read_head

Script = bytes | Callable[[socket.socket, str], None]
"""A whole response, or what sends one: it is handed the connection and the request's head."""

MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class PageServer(RawServer):
    """Serves `pages`, by path with query; `heads` are the requests, `paths` what they asked for without robots.txt."""

    def __init__(self, pages: Mapping[str, Script] | None = None) -> None:
        super().__init__(self.answer)
        self.pages: dict[str, Script] = dict(pages or {})
        self.heads: list[str] = []

    @property
    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [path for head in self.heads if (path := head.split(" ")[1]) != "/robots.txt"]

    def url(self, path: str = "/") -> str:
        """Of a page."""
        return f"http://127.0.0.1:{self.port}{path}"

    def answer(self, connection: socket.socket) -> None:
        """Answer what is asked for through a connection."""
        head = read_head(connection).decode("latin-1")
        if not head:
            return
        self.heads.append(head)
        script = self.pages.get(head.split(" ")[1], MISSING)
        if callable(script):
            script(connection, head)
        else:
            connection.sendall(script)


def page(content: bytes | str, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """A response with a Content-Length, which may be a lie."""
    body = content.encode() if isinstance(content, str) else content
    length = len(body) if length is None else length
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", f"Content-Length: {length}", *headers))
    return f"{head}\r\n".encode() + body


def redirect(location: str, status: str = "302 Found") -> bytes:
    """A response that leads elsewhere."""
    return page("", f"Location: {location}", status=status)


def gzipped(content: bytes, *headers: str) -> bytes:
    """A response that came compressed."""
    return page(gzip.compress(content, mtime=0), "Content-Encoding: gzip", *headers)


def dripping(head: bytes, drop: bytes, seconds: float) -> Script:
    """Sends a head at once and then a drop again and again, for so long."""

    def drip(connection: socket.socket, _: str) -> None:
        connection.sendall(head)
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            connection.sendall(drop)
            time.sleep(0.02)

    return drip


def unless_known(response: bytes, header: str) -> Script:
    """Answers 304 to a request with that header, which is how a client says what it has."""

    def answer(connection: socket.socket, head: str) -> None:
        is_known = header.lower() in head.lower()
        connection.sendall(page("", status="304 Not Modified") if is_known else response)

    return answer
