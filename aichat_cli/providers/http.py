"""HTTP/1.1 for the wires: one request at a time, connections kept alive, proxies and timeouts. No protocol of any provider.

Errors name the origin (scheme, host and port) and never a header, a key, a path or a query.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import SplitResult, urlsplit

from aichat_cli import __version__
from aichat_cli.core.errors import BadResponse, ConfigError, ConnectFailed, TimedOut
from aichat_cli.core.struct import Struct
from aichat_cli.providers.base import Timeouts
from aichat_cli.providers.connect import Route, basic_authorization, is_alive, open_connection, proxy_for

_READ_SIZE = 65536
_PIECE_SIZE = 1_000_000
_DRAIN_SECONDS = 0.05
_DRAIN_BYTES = 65536


class _Message(Struct, frozen=True):
    """A request as it goes over a connection; a GET has no body."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes | None

    @property
    def pieces(self) -> Iterable[memoryview] | None:
        """The body in pieces: a timeout is for each, and not for all of a large one."""
        if self.body is None:
            return None
        whole = memoryview(self.body)
        return (whole[start : start + _PIECE_SIZE] for start in range(0, len(whole), _PIECE_SIZE))


class _Connection(Struct):
    """An open connection; `unread` is a response whose end was not awaited."""

    route: Route
    http: http.client.HTTPConnection
    unread: HttpResponse | None = None

    def set_timeout(self, seconds: float) -> None:
        if self.http.sock is not None:
            self.http.sock.settimeout(seconds)

    def close(self) -> None:
        if self.unread is not None:
            self.unread.discard()
        self.http.close()


class HttpResponse:
    """A response whose body is read piece by piece. Close it; that gives the connection back, or ends it."""

    def __init__(
        self, transport: HttpTransport, connection: _Connection, raw: http.client.HTTPResponse, idle: float
    ) -> None:
        self.status = raw.status
        self.headers = raw.headers
        self._transport = transport
        self._connection = connection
        self._raw = raw
        self._idle = idle
        self._is_whole = False
        self._is_closed = False

    @property
    def origin(self) -> str:
        """Who answered, for messages."""
        return self._connection.route.origin

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives, in pieces of any size.

        Raises:
            TimedOut: nothing came for the idle timeout.
            ConnectFailed: the connection died before the end that the framing promised.
        """
        try:
            while data := self._raw.read1(_READ_SIZE):
                yield data
        except TimeoutError as exc:
            raise TimedOut(
                f"{self.origin} sent nothing for {self._idle:g} s.",
                hint="Raise it: aichat config set timeouts.idle 300",
            ) from exc
        except (OSError, http.client.HTTPException) as exc:
            raise ConnectFailed(f"{self.origin} closed the connection before the answer was complete.") from exc
        if self._raw.length:
            raise ConnectFailed(f"{self.origin} closed the connection before the answer was complete.")
        self._is_whole = True

    def read_limited(self, limit: int) -> bytes:
        """The body, or its first `limit` bytes. Raises as `chunks` does."""
        body = bytearray()
        for chunk in self.chunks():
            body += chunk
            if len(body) > limit:
                return bytes(body[:limit])
        return bytes(body)

    def close(self) -> None:
        """Keep the connection if the body was read to its end; else close it, which tells the provider to stop."""
        if self._is_closed:
            return
        if self._is_whole and not self._raw.will_close:
            self._is_closed = True
            self._raw.close()
            self._transport.keep(self._connection)
        else:
            self.discard()
            self._connection.close()

    def finish(self) -> None:
        """Close a response whose content ended: what may follow is read when the connection is next wanted."""
        if self._is_whole or self._raw.will_close:
            self.close()
        elif not self._is_closed:
            self._is_closed = True
            self._connection.unread = self
            self._transport.keep(self._connection)

    def discard(self) -> None:
        """Close the body without reading it."""
        self._is_closed = True
        self._raw.close()

    def drain(self) -> bool:
        """Read what is left of a body that should be at its end; whether the connection can be used again."""
        left = _DRAIN_BYTES
        try:
            for chunk in self.chunks():
                left -= len(chunk)
                if left < 0:
                    break
        except (TimedOut, ConnectFailed):
            pass
        self._raw.close()
        return self._is_whole


class HttpTransport:
    """Sends requests, and keeps one connection per route alive. `warm` may run in another thread."""

    def __init__(self) -> None:
        self._kept: dict[Route, _Connection] = {}
        self._warming: dict[Route, threading.Event] = {}
        self._lock = threading.Lock()
        self._is_closed = False

    def post_json(self, url: str, headers: Mapping[str, str], body: bytes, timeouts: Timeouts) -> HttpResponse:
        """Send a JSON body and return the response once its head has arrived, whatever its status.

        A kept connection that turns out to be dead before a byte of the response came is opened anew, once.

        Raises:
            ConfigError: the URL, a header or a proxy cannot be used.
            ConnectFailed, TimedOut: no connection, or no response.
            BadResponse: what answers does not speak HTTP, or redirects.
        """
        return self._request("POST", url, headers, body, timeouts)

    def get(self, url: str, headers: Mapping[str, str], timeouts: Timeouts) -> HttpResponse:
        """Ask for what is at a URL; as `post_json` otherwise."""
        return self._request("GET", url, headers, None, timeouts)

    def put(self, url: str, headers: Mapping[str, str], body: bytes, timeouts: Timeouts) -> HttpResponse:
        """Put a body where a URL says, to stay there; as `post_json` otherwise."""
        return self._request("PUT", url, headers, body, timeouts)

    def warm(self, url: str, timeouts: Timeouts) -> None:
        """Open the connection that a request to this URL will need. Failures are silent."""
        try:
            route = _route(_split(url))
        except ConfigError:
            return
        with self._lock:
            if self._is_closed or route in self._kept or route in self._warming:
                return
            opened = self._warming[route] = threading.Event()
        try:
            self.keep(self._open(route, timeouts))
        except Exception:  # noqa: BLE001, S110 - the request itself will tell
            pass
        finally:
            with self._lock:
                del self._warming[route]
            opened.set()

    def close(self) -> None:
        """Close what is kept."""
        with self._lock:
            self._is_closed = True
            kept = list(self._kept.values())
            self._kept.clear()
        for connection in kept:
            connection.close()

    def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeouts: Timeouts
    ) -> HttpResponse:
        parts = _split(url)
        route = _route(parts)
        message = _Message(method, _target(parts, route), _checked_headers(headers, parts, route, body), body)
        connection = self._take(route)
        if connection is not None:
            try:
                return self._exchange(connection, message, timeouts)
            except ConnectFailed:
                pass
        return self._exchange(self._open(route, timeouts), message, timeouts)

    def _open(self, route: Route, timeouts: Timeouts) -> _Connection:
        return _Connection(route, open_connection(route, timeouts.connect))

    def keep(self, connection: _Connection) -> None:
        """Hold on to a connection for the next request on its route."""
        with self._lock:
            surplus = connection if self._is_closed else self._kept.get(connection.route)
            if not self._is_closed:
                self._kept[connection.route] = connection
        if surplus is not None:
            surplus.close()

    def _take(self, route: Route) -> _Connection | None:
        """The kept connection, if it is still good; waits for one that is being opened."""
        with self._lock:
            opening = self._warming.get(route)
        if opening is not None:
            opening.wait()
        with self._lock:
            connection = self._kept.pop(route, None)
        if connection is None:
            return None
        try:
            connection.set_timeout(_DRAIN_SECONDS)
            unread, connection.unread = connection.unread, None
            if (unread is None or unread.drain()) and is_alive(connection.http.sock):
                return connection
        except BaseException:
            connection.close()
            raise
        connection.close()
        return None

    def _exchange(self, connection: _Connection, message: _Message, timeouts: Timeouts) -> HttpResponse:
        try:
            connection.set_timeout(timeouts.first_byte)
            sock = connection.http.sock
            raw = _send(connection, message, timeouts)
            sock.settimeout(timeouts.idle)
            response = HttpResponse(self, connection, raw, timeouts.idle)
        except BaseException:
            connection.close()
            raise
        if 300 <= response.status < 400:
            location = _without_query(response.headers.get("Location", ""))
            response.close()
            raise BadResponse(
                f"{response.origin} redirects to {location or 'another place'}, which is not followed.",
                hint="Set the base URL to where the service is",
            )
        return response


def _send(connection: _Connection, message: _Message, timeouts: Timeouts) -> http.client.HTTPResponse:
    origin = connection.route.origin
    try:
        try:
            connection.http.request(message.method, message.target, body=message.pieces, headers=dict(message.headers))
        except (BrokenPipeError, ConnectionResetError):
            # A server may refuse a body before it has read it all: its answer is already here.
            return connection.http.getresponse()
        return connection.http.getresponse()
    except TimeoutError as exc:
        raise TimedOut(
            f"{origin} did not answer within {timeouts.first_byte:g} s.",
            hint="Raise it: aichat config set timeouts.first_byte 600",
        ) from exc
    except OSError as exc:
        raise ConnectFailed(f"{origin} closed the connection without an answer.") from exc
    except http.client.InvalidURL as exc:
        raise ConfigError("The base URL holds characters that a URL cannot have.") from exc
    except http.client.HTTPException as exc:
        raise BadResponse(f"{origin} does not answer in HTTP.", hint="Check the base URL") from exc


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or not url.isprintable() or " " in url:
        raise ConfigError(
            "The base URL is not one that can be called.", hint="Give one such as http://127.0.0.1:8080/v1"
        )
    return parts


def _route(parts: SplitResult) -> Route:
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return Route(parts.scheme, host, port, proxy_for(parts.scheme, host, port))


def _target(parts: SplitResult, route: Route) -> str:
    """The request target: the path, or the whole URL for a proxy that is to fetch it."""
    from urllib.parse import quote

    path = quote(parts.path, safe="/%:@!$&'()*+,;=~-._") or "/"
    path += f"?{quote(parts.query, safe='/%:@!$&()*+,;=~-._?')}" if parts.query else ""
    return f"{route.origin}{path}" if route.proxy and route.scheme == "http" else path


def _checked_headers(
    headers: Mapping[str, str], parts: SplitResult, route: Route, body: bytes | None
) -> dict[str, str]:
    kind = {} if body is None else {"Content-Type": "application/json", "Content-Length": str(len(body))}
    sent = {**kind, "User-Agent": f"aichat/{__version__}", **headers}
    if parts.username and "Authorization" not in sent:
        from urllib.parse import unquote

        sent["Authorization"] = basic_authorization(unquote(parts.username), unquote(parts.password or ""))
    if route.proxy and route.scheme == "http":
        sent |= route.proxy.headers
    for name, value in sent.items():
        if not value.isascii() or not value.isprintable():
            raise ConfigError(f"The header {name} holds characters that cannot be sent.")
    return sent


def _without_query(url: str) -> str:
    plain = "".join(char for char in url if char.isascii() and char.isprintable())
    parts = urlsplit(plain.split("?")[0].split("#")[0])
    netloc = parts.netloc.rsplit("@", 1)[-1]
    return (f"{parts.scheme}://{netloc}" if netloc else "") + parts.path[:200]
