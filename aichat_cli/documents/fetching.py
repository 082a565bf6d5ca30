"""Pages of the web, fetched with limits: on size, time and redirects, and on whose machines may be asked.

Private addresses are refused unless they are allowed. A name is looked up once, all its addresses are checked, and the
connection is made to one of those that were: another answer to a second look-up changes nothing. Where a proxy is set,
the proxy looks names up; then what the name means here is checked, and a name that means nothing here has to look public.
"""

from __future__ import annotations

import http.client
import re
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import SplitResult, urljoin, urlsplit, urlunsplit

from aichat_cli.core.errors import AichatError, ConnectFailed, DocumentError, TimedOut
from aichat_cli.core.struct import Struct
from aichat_cli.documents.abandonable import Abandonable, Stopped
from aichat_cli.documents.addresses import is_local_name, is_public
from aichat_cli.documents.page_request import AGENT, Answer, answer_to, target_of
from aichat_cli.documents.robots import Rule, is_allowed, rules_for

MOST_REDIRECTS = 5
ROBOTS_BYTES = 500_000
ROBOTS_SECONDS = 10.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NO_HOST = re.compile(r"""[\s\x00-\x1f\x7f"<>\\^`{|}]""")
_CHECK = "Check the address and the network"
_BY_HAND = "Save it with a browser and name the file"
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


class FetchedPage(Struct, frozen=True):
    """A page: its final URL, its bytes, its Content-Type, and what tells the next time whether it changed."""

    url: str
    content: bytes
    media_type: str | None
    etag: str | None


class NotModified(Struct, frozen=True):
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
        self._under_way: Abandonable[Answer] | None = None

    def fetch(self, url: str, etag: str | None = None, *, timeout_s: float = 30.0) -> FetchedPage | NotModified:
        """A page, following redirects.

        Args:
            etag: what `FetchedPage.etag` was the last time.
            timeout_s: for all of it: looking names up, robots.txt, every redirect.

        Raises:
            DocumentError: it cannot be had, or must not be.
        """
        limit = _TimeLimit.of(timeout_s)
        for _ in range(MOST_REDIRECTS + 1):
            parts = _checked(url)
            if not is_allowed(self._rules(parts, limit), target_of(parts)):
                raise DocumentError("The robots.txt of its server does not allow it to be fetched.", hint=_BY_HAND)
            answer = self._get(parts, etag, self._max_bytes, limit)
            if answer.status == 304 and etag is not None:
                return NotModified()
            if answer.status in _REDIRECTS and answer.location:
                url = _joined(parts, answer.location)
                continue
            if answer.status != 200:
                raise _status_error(answer.status)
            if answer.is_cut:
                raise DocumentError(
                    f"It is larger than {self._max_bytes / 1_000_000:,g} MB.",
                    hint=f"To take it: raise {self._max_setting} with aichat config set",
                )
            return FetchedPage(urlunsplit(parts), answer.content, answer.media_type, answer.etag)
        raise DocumentError(f"It redirects more than {MOST_REDIRECTS} times.")

    def interrupt(self) -> None:
        """End the fetch that another thread waits for, if there is one: it raises DocumentError."""
        under_way = self._under_way
        if under_way is not None:
            under_way.stop()

    def _rules(self, parts: SplitResult, whole: _TimeLimit) -> tuple[Rule, ...]:
        """What the robots.txt of a page's server says, a server of this machine too: nothing where there is none."""
        origin = urlunsplit((parts.scheme, parts.netloc, "/robots.txt", "", ""))
        if origin not in self._robots:
            url = origin
            limit = whole.at_most(ROBOTS_SECONDS)
            for _ in range(MOST_REDIRECTS + 1):
                asked = _checked(url)
                answer = self._get(asked, None, ROBOTS_BYTES, limit, for_robots=True)
                if answer.status not in _REDIRECTS or not answer.location:
                    break
                url = _joined(asked, answer.location)
            if answer.status >= 500:
                raise DocumentError(
                    f"The robots.txt of its server cannot be read (status {answer.status}).", hint="Try again later"
                )
            text = answer.content.decode("utf-8", "replace") if answer.status == 200 else ""
            self._robots[origin] = rules_for(AGENT, text)
        return self._robots[origin]

    def _get(
        self, parts: SplitResult, etag: str | None, max_bytes: int, limit: _TimeLimit, *, for_robots: bool = False
    ) -> Answer:
        subject, whole = ("The robots.txt of its server", "its robots.txt") if for_robots else ("It", "the whole page")
        self._under_way = Abandonable(lambda waited: self._answer(waited, parts, etag, max_bytes, limit))
        try:
            return self._under_way.result(limit.left)
        except TimeoutError:
            raise DocumentError(f"{subject} took longer than {limit.seconds:g} s.", hint="Try again later") from None
        except Stopped:
            raise DocumentError("The fetching was stopped.") from None
        except (OSError, http.client.HTTPException, ValueError) as exc:
            raise DocumentError(f"The connection broke before {whole} was there.", hint="Try again") from exc
        finally:
            self._under_way = None

    def _answer(
        self, waited: Abandonable[Answer], parts: SplitResult, etag: str | None, max_bytes: int, limit: _TimeLimit
    ) -> Answer:
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        proxy_headers = self._proxy_headers(parts.scheme, host, port)
        addresses = self._addresses(host, port, is_proxied=proxy_headers is not None)
        connection = self._connected(parts.scheme, host, port, addresses, limit)
        try:
            waited.uses(connection)
            return answer_to(connection, parts, etag, max_bytes, proxy_headers)
        finally:
            connection.close()

    def _addresses(self, host: str, port: int, *, is_proxied: bool) -> Sequence[str | None]:
        """The addresses of the host, where all of them may be asked; one None where a proxy is to find it."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, ValueError) as exc:
            if is_proxied and (self._allow_private or not is_local_name(host)):
                return [None]
            raise DocumentError(f"The host {host} was not found.", hint=_CHECK) from exc
        addresses = [str(entry[4][0]) for entry in found]
        if not self._allow_private and not all(map(is_public, addresses)):
            raise DocumentError(
                f"{host} is in a private network.",
                hint="To allow it: aichat config set documents.private_addresses true",
            )
        return [None] if is_proxied else addresses[:_MOST_ADDRESSES]

    def _connected(
        self, scheme: str, host: str, port: int, addresses: Sequence[str | None], limit: _TimeLimit
    ) -> http.client.HTTPConnection:
        """A connection to the first address that answers; each gets a part of the time that is left."""
        for tried, address in enumerate(addresses):
            try:
                return self._connect(scheme, host, port, address, max(limit.left / (len(addresses) - tried), 0.01))
            except AichatError as exc:
                failure = exc
        is_unreached = isinstance(failure, ConnectFailed | TimedOut) and addresses != [None]
        raise DocumentError(failure.message, hint=_CHECK if is_unreached else failure.hint) from failure


class _TimeLimit(Struct, frozen=True):
    """So many seconds, which end at a moment of the monotonic clock."""

    seconds: float
    ends_at: float

    @classmethod
    def of(cls, seconds: float) -> _TimeLimit:
        return cls(seconds, time.monotonic() + seconds)

    @property
    def left(self) -> float:
        return self.ends_at - time.monotonic()

    def at_most(self, seconds: float) -> _TimeLimit:
        """The same, or the shorter one of so many seconds from now."""
        return min(self, _TimeLimit.of(seconds), key=lambda limit: limit.ends_at)


def _status_error(status: int) -> DocumentError:
    reason = _REASONS.get(status, "the server failed" if status >= 500 else "no page came")
    hint = _BY_HAND if status in {401, 403} else "Try again later" if status == 429 or status >= 500 else None
    return DocumentError(f"It cannot be fetched: {reason} (status {status}).", hint=hint)


def _joined(parts: SplitResult, location: str) -> str:
    """Where a redirect leads."""
    try:
        return urljoin(urlunsplit(parts), location)
    except ValueError as exc:
        raise DocumentError("It redirects to what is no URL.") from exc


def _checked(url: str) -> SplitResult:
    """The parts of a URL that may be fetched, without its fragment. What is refused may hold a password: it is not said."""
    try:
        url.encode()
        parts = urlsplit(url.strip())
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        has_port = False
    if has_port and parts.scheme not in {"", "http", "https"}:
        raise DocumentError(f"Only http and https are fetched, not {parts.scheme}.")
    if has_port and "@" in parts.netloc:
        raise DocumentError("A URL with a user name or a password is not fetched, nor kept.", hint="Leave them out")
    if not has_port or not parts.scheme or not parts.hostname or _NO_HOST.search(parts.netloc):
        raise DocumentError("That is no URL that can be fetched.", hint="As in: https://example.com/page")
    return parts._replace(fragment="", path=parts.path or "/")
