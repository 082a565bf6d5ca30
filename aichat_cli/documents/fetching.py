"""Pages of the web, fetched with limits: on size, time and redirects, and on whose machines may be asked.

Private addresses are refused unless they are allowed. A name is looked up once, all its addresses are checked, and the
connection is made to one of those that were: another answer to a second look-up changes nothing. Where a proxy is set,
the proxy looks names up; then what the name means here is checked, if anything.
"""

from __future__ import annotations

import http.client
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from aichat_cli.core.errors import AichatError, DocumentError

MOST_REDIRECTS = 5
ROBOTS_BYTES = 500_000
ROBOTS_SECONDS = 10.0
AGENT = "aichat"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_EMBEDDING_NETWORKS = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))
_REASONS = {
    401: "it asks for a login",
    403: "the server refuses it",
    404: "there is no such page",
    410: "the page is gone",
    429: "the server wants fewer requests",
}

Connect = Callable[[str, str, int, str | None, float], http.client.HTTPConnection]
"""Opens a connection: scheme, host, port, the address to connect to (None: as the proxy finds it), seconds."""


@dataclass(frozen=True, slots=True)
class FetchedPage:
    """A page: its final URL, its bytes, its Content-Type, and what tells the next time whether it changed."""

    url: str
    content: bytes
    media_type: str | None
    etag: str | None


@dataclass(frozen=True, slots=True)
class NotModified:
    """The page is as it was."""


class Fetcher:
    """Fetches pages, and remembers what the robots.txt of each server allows.

    Args:
        connect: opens a connection, through a proxy where one is set.
        is_proxied: whether a scheme, host and port are reached through a proxy.
        allow_private: whether machines of private networks, this one included, may be asked.
    """

    def __init__(
        self, connect: Connect, is_proxied: Callable[[str, str, int], bool], *, max_bytes: int, allow_private: bool
    ) -> None:
        self._connect = connect
        self._is_proxied = is_proxied
        self._max_bytes = max_bytes
        self._allow_private = allow_private
        self._robots: dict[str, Callable[[str], bool]] = {}

    def fetch(self, url: str, etag: str | None = None, *, timeout_s: float = 30.0) -> FetchedPage | NotModified:
        """A page, following redirects.

        Args:
            etag: what `FetchedPage.etag` was the last time.
            timeout_s: for each hop, from the look-up of its name to its last byte.

        Raises:
            DocumentError: it cannot be had, or must not be.
        """
        for _ in range(MOST_REDIRECTS + 1):
            parts = _checked(url)
            if not self._is_welcome(parts):
                raise DocumentError("The robots.txt of its server does not allow it to be fetched.")
            answer = self._get(parts, etag, self._max_bytes, timeout_s)
            if answer.status == 304 and etag is not None:
                return NotModified()
            if answer.status in _REDIRECTS and answer.location:
                url = urljoin(urlunsplit(parts), answer.location)
                continue
            if answer.status != 200:
                reason = _REASONS.get(answer.status, "the server failed" if answer.status >= 500 else "no page came")
                raise DocumentError(f"It cannot be fetched: {reason} (status {answer.status}).")
            return FetchedPage(urlunsplit(parts), answer.content, answer.media_type, answer.etag)
        raise DocumentError(f"It redirects more than {MOST_REDIRECTS} times.")

    def _is_welcome(self, parts: SplitResult) -> bool:
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin not in self._robots:
            self._robots[origin] = self._rules(parts)
        return self._robots[origin](urlunsplit(parts))

    def _rules(self, parts: SplitResult) -> Callable[[str], bool]:
        """What a server's robots.txt allows: everything where there is none."""
        from urllib.robotparser import RobotFileParser

        url = urlunsplit((parts.scheme, parts.netloc, "/robots.txt", "", ""))
        for _ in range(MOST_REDIRECTS + 1):
            answer = self._get(_checked(url), None, ROBOTS_BYTES, ROBOTS_SECONDS, cut=True)
            if answer.status not in _REDIRECTS or not answer.location:
                break
            url = urljoin(url, answer.location)
        if answer.status >= 500:
            raise DocumentError(f"The robots.txt of its server cannot be read (status {answer.status}).")
        if answer.status != 200:
            return lambda _: True
        robots = RobotFileParser()
        robots.parse(answer.content.decode("utf-8", "replace").splitlines())
        return lambda page: robots.can_fetch(AGENT, page)

    def _get(
        self, parts: SplitResult, etag: str | None, max_bytes: int, timeout_s: float, *, cut: bool = False
    ) -> _Answer:
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        address = self._address(parts.scheme, host, port)
        try:
            connection = self._connect(parts.scheme, host, port, address, timeout_s)
        except AichatError as exc:
            raise DocumentError(exc.message) from exc
        try:
            with _deadline(connection, timeout_s) as is_over:
                return _answer(connection, parts, etag, max_bytes, cut=cut)
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as exc:
            # A socket that the deadline shut down fails in any of these ways.
            if is_over.is_set() or isinstance(exc, TimeoutError):
                raise DocumentError(f"It took longer than {timeout_s:g} s.") from exc
            raise DocumentError("The connection broke before the whole page was there.") from exc
        finally:
            connection.close()

    def _address(self, scheme: str, host: str, port: int) -> str | None:
        """An address of the host that may be asked; None where a proxy is to find it."""
        is_proxied = self._is_proxied(scheme, host, port)
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as exc:
            if is_proxied:
                return None
            raise DocumentError(f"The host {host} was not found.") from exc
        addresses = [str(entry[4][0]) for entry in found]
        if not self._allow_private and not all(map(_is_public, addresses)):
            raise DocumentError(
                f"{host} is in a private network.",
                hint="To allow it: aichat config set documents.private_addresses true",
            )
        return None if is_proxied else addresses[0]


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    location: str | None
    content: bytes
    media_type: str | None
    etag: str | None


def _checked(url: str) -> SplitResult:
    """The parts of a URL that may be fetched, without its fragment."""
    try:
        parts = urlsplit(url.strip())
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        has_port = False
    if not has_port or not parts.hostname or any(character.isspace() for character in parts.netloc):
        raise DocumentError(f"{url} is no URL that can be fetched.")
    if parts.scheme not in {"http", "https"}:
        raise DocumentError(f"Only http and https are fetched, not {parts.scheme}.")
    if parts.username is not None or parts.password is not None:
        raise DocumentError("A URL with a user name or a password is not fetched, nor kept.")
    return parts._replace(fragment="", path=parts.path or "/")


def _is_public(address: str) -> bool:
    """Whether an address is one of the internet's, also of what an IPv6 address wraps."""
    plain = ip_address(address.partition("%")[0])
    if isinstance(plain, IPv6Address):
        wrapped = plain.ipv4_mapped or plain.sixtofour or (plain.teredo[1] if plain.teredo else None)
        if wrapped is None and any(plain in network for network in _EMBEDDING_NETWORKS):
            wrapped = IPv4Address(int(plain) & 0xFFFFFFFF)
        if wrapped is not None and not _is_public(str(wrapped)):
            return False
    return plain.is_global and not plain.is_multicast


@contextmanager
def _deadline(connection: http.client.HTTPConnection, seconds: float) -> Iterator[threading.Event]:
    """Shut the connection down after so long, whatever trickles in meanwhile."""
    is_over = threading.Event()

    def end() -> None:
        is_over.set()
        with suppress(OSError, AttributeError):
            connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield is_over
    finally:
        timer.cancel()


def _answer(
    connection: http.client.HTTPConnection, parts: SplitResult, etag: str | None, max_bytes: int, *, cut: bool
) -> _Answer:
    target = urlunsplit(("", "", parts.path, parts.query, ""))
    headers = {
        "Host": parts.netloc,
        "User-Agent": AGENT,
        "Accept": "text/html, text/plain;q=0.9, */*;q=0.5",
        "Accept-Encoding": "gzip",
        "Connection": "close",
    }
    if etag is not None:
        name, _, value = etag.partition(": ")
        headers[name] = value
    connection.request("GET", _quoted(target), headers=headers)
    response = connection.getresponse()
    content = b"" if response.status != 200 else _body(response, max_bytes, cut=cut)
    return _Answer(
        response.status, response.getheader("Location"), content, response.getheader("Content-Type"), _etag(response)
    )


def _body(response: http.client.HTTPResponse, max_bytes: int, *, cut: bool) -> bytes:
    """The decoded body, refused (or cut) where it is larger than allowed, however small it came."""
    encoding = (response.getheader("Content-Encoding") or "identity").strip().lower()
    if encoding not in {"identity", "gzip", "x-gzip"}:
        raise DocumentError(f"It came in an encoding that was not asked for: {encoding[:40]}.")
    inflate = zlib.decompressobj(wbits=31) if encoding != "identity" else None
    content = bytearray()
    while piece := response.read1(65536):
        room = max_bytes + 1 - len(content)
        try:
            content += piece[:room] if inflate is None else inflate.decompress(piece, room)
        except zlib.error as exc:
            raise DocumentError("What came is damaged.") from exc
        if len(content) > max_bytes:
            if cut:
                return bytes(content[:max_bytes])
            raise DocumentError(
                f"It is larger than {max_bytes // 1_000_000:,} MB.",
                hint="To take it: raise documents.max_mb with aichat config set",
            )
    if response.length or (inflate is not None and not inflate.eof):
        raise http.client.IncompleteRead(bytes(content))
    return bytes(content)


def _etag(response: http.client.HTTPResponse) -> str | None:
    """The header to send the next time."""
    if etag := response.getheader("ETag"):
        return f"If-None-Match: {etag}"
    modified = response.getheader("Last-Modified")
    return f"If-Modified-Since: {modified}" if modified else None


def _quoted(target: str) -> str:
    from urllib.parse import quote

    return quote(target, safe="/?&=%#:@!$'()*+,;~[]-._")
