"""Requests to providers through aiohttp, and what its exceptions mean in the house's words. No protocol of any provider."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp

from aichat_cli import __version__
from aichat_cli.core.errors import AichatError, BadResponse, ConfigError, ConnectFailed, ProviderError, TimedOut
from aichat_cli.core.struct import to_json
from aichat_cli.providers.base import Call, Timeouts
from aichat_cli.providers.connect import Proxy, basic_authorization, is_proxy_set, proxy_for, tls_context
from aichat_cli.providers.failures import ERROR_BODY_BYTES, said_in, who
from aichat_cli.providers.said import Said

_DRAIN_SECONDS = 0.25
_HEADERS = {
    "Content-Type": "application/json",
    "User-Agent": f"aichat-gateway/{__version__}",
    # What is compressed arrives in lumps.
    "Accept-Encoding": "identity",
}

_Kinds = type[Exception] | tuple[type[Exception], ...]

# The first that fits counts: some are kinds of others.
_MEANINGS: tuple[tuple[_Kinds, type[AichatError], str], ...] = (
    (aiohttp.ConnectionTimeoutError, TimedOut, "Could not connect to {name}: no connection within {connect:g} s."),
    (TimeoutError, TimedOut, "{name} did not answer within {first_byte:g} s."),
    (
        aiohttp.ClientConnectorCertificateError,
        ProviderError,
        "Could not connect to {name}: its certificate is not trusted.",
    ),
    (aiohttp.ClientConnectorDNSError, ConnectFailed, "Could not connect to {name}: the host was not found."),
    ((aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError), ConnectFailed, "Could not connect to {name}."),
    (aiohttp.ClientPayloadError, ConnectFailed, "{name} closed the connection before the answer was complete."),
    (aiohttp.ClientConnectionError, ConnectFailed, "{name} closed the connection without an answer."),
    ((aiohttp.InvalidURL, ValueError), ConfigError, "The address or a header of {name} cannot be used."),
)


class Network:
    """Connections to all providers, as many as are wanted at once, kept alive, through the proxies that are set.

    Made, used and closed in one event loop.
    """

    def __init__(self, timeouts: Timeouts) -> None:
        self.timeouts = timeouts
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, ssl=tls_context()),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect),
        )
        self._has_proxy = is_proxy_set()
        self._draining: set[asyncio.Task[None]] = set()

    async def post(self, call: Call, url: str, headers: dict[str, str], body: dict[str, Any]) -> aiohttp.ClientResponse:
        """The response, once its head has arrived, whatever its status.

        Raises:
            AichatError: no connection, or no response; it redirects; the address or a header cannot be used.
        """
        payload = to_json(body)
        if "@" in url:
            url, headers = _without_login(url, headers)
        try:
            async with asyncio.timeout(self.timeouts.first_byte):
                try:
                    response = await self._sent(url, headers, payload)
                except aiohttp.ServerDisconnectedError:
                    # A connection that was kept may have been closed by the other side just now.
                    response = await self._sent(url, headers, payload)
        except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
            raise network_error(call, exc, self.timeouts) from exc
        if 300 <= response.status < 400:
            response.close()
            raise BadResponse(f"{who(call)} redirects to another place, which is not followed.")
        return response

    async def said(self, call: Call, response: aiohttp.ClientResponse) -> Said:
        """What the body of an error says; closes the response."""
        try:
            async with asyncio.timeout(self.timeouts.idle):
                body = await read_whole(call, response, ERROR_BODY_BYTES)
            return said_in(body, call.key)
        except (aiohttp.ClientError, TimeoutError, BadResponse):
            return Said("", is_structured=False)
        finally:
            self.leave(response, is_done=False)

    def leave(self, response: aiohttp.ClientResponse, *, is_done: bool) -> None:
        """Keep the connection where the answer has come to its end, or is about to; else close it, which tells the provider
        to stop.
        """
        if response.content.at_eof():
            return
        if not is_done:
            response.close()
            return
        task = asyncio.get_running_loop().create_task(_drained(response))
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)

    async def close(self) -> None:
        """Close all connections."""
        for task in list(self._draining):
            task.cancel()
        await self._session.close()

    async def _sent(self, url: str, headers: dict[str, str], payload: bytes) -> aiohttp.ClientResponse:
        # aiohttp itself would look for proxies in a thread, at every request.
        way: dict[str, Any] = {}
        if self._has_proxy and (proxy := _proxy_of(url)) is not None:
            way = {"proxy": f"http://{proxy.host}:{proxy.port}", "proxy_headers": proxy.headers}
        return await self._session.post(url, data=payload, headers=_HEADERS | headers, allow_redirects=False, **way)


async def read_whole(
    call: Call, response: aiohttp.ClientResponse, most_bytes: int, arrived: Callable[[], None] = lambda: None
) -> bytes:
    """The whole body; `arrived` is called whenever some of it has arrived.

    Raises:
        BadResponse: it is larger than it may be.
        aiohttp.ClientError: it breaks off.
    """
    body = bytearray()
    while chunk := await response.content.readany():
        arrived()
        body += chunk
        if len(body) > most_bytes:
            raise BadResponse(f"{who(call)} sent an answer larger than {most_bytes} bytes.")
    return bytes(body)


def _proxy_of(url: str) -> Proxy | None:
    parts = urlsplit(url)
    return proxy_for(parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))


def _without_login(url: str, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
    """The URL and the headers, where a name and a password in the URL become a header if there is none."""
    parts = urlsplit(url)
    if parts.username and "Authorization" not in headers:
        basic = basic_authorization(unquote(parts.username), unquote(parts.password or ""))
        headers = headers | {"Authorization": basic}
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(), headers


async def _drained(response: aiohttp.ClientResponse) -> None:
    """Read what is left of a body that should be at its end."""
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while await response.content.readany():
                pass
    except (aiohttp.ClientError, TimeoutError):
        pass
    finally:
        if not response.content.at_eof():
            response.close()


def network_error(request: Call, error: Exception, timeouts: Timeouts) -> AichatError:
    """What kept a request from being sent, or its answer from arriving."""
    name = who(request)
    for kinds, error_class, what in _MEANINGS:
        if isinstance(error, kinds):
            seconds = {"connect": timeouts.connect, "first_byte": timeouts.first_byte}
            return error_class(what.format(name=name, **seconds))
    return BadResponse(f"{name} does not answer in HTTP.")
