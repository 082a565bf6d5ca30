"""Pages of the web, fetched with limits: on size, time and redirects, and on whose machines may be asked.

Private addresses are refused unless they are allowed. A name is looked up once, all its addresses are checked, and the
connection is made to one of those that were: another answer to a second look-up changes nothing. Where a proxy is set,
the proxy looks names up; then what the name means here is checked, if anything.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from aichat_cli.core.errors import AichatError, DocumentError
from aichat_cli.documents.page_request import AGENT, Answer, answer_to, target_of
from aichat_cli.documents.robots import Rule, is_allowed, rules_for

MOST_REDIRECTS = 5
ROBOTS_BYTES = 500_000
ROBOTS_SECONDS = 10.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_EMBEDDING_NETWORKS = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))
_REASONS = {
    401: "it asks for a login",
    403: "the server refuses it",
    404: "there is no such page",
    410: "the page is gone",
    429: "the server wants fewer requests",
}

_MOST_ADDRESSES = 4
"""Of one host, tried one after the other."""

Connect = Callable[[str, str, int, str | None, float], http.client.HTTPConnection]
"""Opens a connection: scheme, host, port, the address to connect to (None: as the proxy finds it), seconds."""

ProxyHeaders = Callable[[str, str, int], Mapping[str, str] | None]


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
        proxy_headers: what the proxy for a scheme, host and port has to be told, None where there is no proxy.
        max_bytes: the largest page to take, by the setting that `max_setting` names.
        allow_private: whether machines of private networks, this one included, may be asked.
    """

    def __init__(
        self,
        connect: Connect,
        proxy_headers: ProxyHeaders,
        *,
        max_bytes: int,
        max_setting: str = "documents.max_mb",
        allow_private: bool,
    ) -> None:
        self._connect = connect
        self._proxy_headers = proxy_headers
        self._max_bytes = max_bytes
        self._max_setting = max_setting
        self._allow_private = allow_private
        self._robots: dict[str, tuple[Rule, ...]] = {}

    def fetch(self, url: str, etag: str | None = None, *, timeout_s: float = 30.0) -> FetchedPage | NotModified:
        """A page, following redirects.

        Args:
            etag: what `FetchedPage.etag` was the last time.
            timeout_s: for each hop, from when its name is looked up, which itself takes as long as the system lets it.

        Raises:
            DocumentError: it cannot be had, or must not be.
        """
        for _ in range(MOST_REDIRECTS + 1):
            parts = _checked(url)
            if not is_allowed(self._rules(parts, timeout_s), target_of(parts)):
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
            if answer.is_cut:
                raise DocumentError(
                    f"It is larger than {self._max_bytes / 1_000_000:,g} MB.",
                    hint=f"To take it: raise {self._max_setting} with aichat config set",
                )
            return FetchedPage(urlunsplit(parts), answer.content, answer.media_type, answer.etag)
        raise DocumentError(f"It redirects more than {MOST_REDIRECTS} times.")

    def _rules(self, parts: SplitResult, timeout_s: float) -> tuple[Rule, ...]:
        """What the robots.txt of a page's server says: nothing where there is none."""
        origin = urlunsplit((parts.scheme, parts.netloc, "/robots.txt", "", ""))
        if origin not in self._robots:
            url = origin
            for _ in range(MOST_REDIRECTS + 1):
                answer = self._get(_checked(url), None, ROBOTS_BYTES, min(timeout_s, ROBOTS_SECONDS))
                if answer.status not in _REDIRECTS or not answer.location:
                    break
                url = urljoin(url, answer.location)
            if answer.status >= 500:
                raise DocumentError(f"The robots.txt of its server cannot be read (status {answer.status}).")
            text = answer.content.decode("utf-8", "replace") if answer.status == 200 else ""
            self._robots[origin] = rules_for(AGENT, text)
        return self._robots[origin]

    def _get(self, parts: SplitResult, etag: str | None, max_bytes: int, timeout_s: float) -> Answer:
        ends_at = time.monotonic() + timeout_s
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        proxy_headers = self._proxy_headers(parts.scheme, host, port)
        addresses = self._addresses(host, port, is_proxied=proxy_headers is not None)
        connection = self._connected(parts.scheme, host, port, addresses, ends_at)
        try:
            with _deadline(connection, ends_at - time.monotonic()) as is_over:
                answer = answer_to(connection, parts, etag, max_bytes, proxy_headers)
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as exc:
            # A socket that the deadline shut down fails in any of these ways, or seems to be at its end.
            if not is_over.is_set() and not isinstance(exc, TimeoutError):
                raise DocumentError("The connection broke before the whole page was there.") from exc
            raise DocumentError(f"It took longer than {timeout_s:g} s.") from exc
        finally:
            connection.close()
        if is_over.is_set():
            raise DocumentError(f"It took longer than {timeout_s:g} s.")
        return answer

    def _addresses(self, host: str, port: int, *, is_proxied: bool) -> Sequence[str | None]:
        """The addresses of the host, where all of them may be asked; one None where a proxy is to find it."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as exc:
            if is_proxied:
                return [None]
            raise DocumentError(f"The host {host} was not found.") from exc
        addresses = [str(entry[4][0]) for entry in found]
        if not self._allow_private and not all(map(_is_public, addresses)):
            raise DocumentError(
                f"{host} is in a private network.",
                hint="To allow it: aichat config set documents.private_addresses true",
            )
        return [None] if is_proxied else addresses[:_MOST_ADDRESSES]

    def _connected(
        self, scheme: str, host: str, port: int, addresses: Sequence[str | None], ends_at: float
    ) -> http.client.HTTPConnection:
        """A connection to the first address that answers; each gets a part of the time that is left."""
        for tried, address in enumerate(addresses):
            left = (ends_at - time.monotonic()) / (len(addresses) - tried)
            try:
                return self._connect(scheme, host, port, address, max(left, 0.01))
            except AichatError as exc:
                failure = exc
        raise DocumentError(failure.message) from failure


def _checked(url: str) -> SplitResult:
    """The parts of a URL that may be fetched, without its fragment."""
    try:
        parts = urlsplit(url.strip())
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        has_port = False
    if has_port and parts.scheme not in {"", "http", "https"}:
        raise DocumentError(f"Only http and https are fetched, not {parts.scheme}.")
    if not has_port or not parts.scheme or not parts.hostname or any(map(str.isspace, parts.netloc)):
        raise DocumentError(f"{url} is no URL that can be fetched.")
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
    # The connection forgets its socket where the response is the last on it.
    sock = connection.sock

    def end() -> None:
        is_over.set()
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield is_over
    finally:
        timer.cancel()
