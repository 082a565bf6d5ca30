"""The one place that knows how aiohttp connects, and what its exceptions mean in the house's words."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import aiohttp

from aichat_cli.core.errors import AichatError, BadResponse, ConfigError, ConnectFailed, ProviderError, TimedOut
from aichat_cli.core.struct import Struct
from aichat_cli.providers.base import Call, Timeouts
from aichat_cli.providers.connect import basic_authorization, tls_context
from aichat_cli.providers.failures import who

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


class Target(Struct, frozen=True):
    """Where a request goes, and with which headers."""

    url: str
    headers: dict[str, str]


def session(timeouts: Timeouts) -> aiohttp.ClientSession:
    """Connections to all providers, as many as are wanted at once, kept alive, through the proxies that are set."""
    connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, ssl=tls_context())
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect),
        trust_env=True,
    )


def target(url: str, headers: dict[str, str]) -> Target:
    """The request as aiohttp takes it: a name and password in the URL become a header, where there is none."""
    if "@" not in url:
        return Target(url, headers)
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    if parts.username and "Authorization" not in headers:
        basic = basic_authorization(unquote(parts.username), unquote(parts.password or ""))
        headers = headers | {"Authorization": basic}
    return Target(parts._replace(netloc=place).geturl(), headers)


def network_error(request: Call, error: Exception, timeouts: Timeouts) -> AichatError:
    """What kept a request from being sent, or its answer from arriving."""
    name = who(request)
    for kinds, error_class, what in _MEANINGS:
        if isinstance(error, kinds):
            seconds = {"connect": timeouts.connect, "first_byte": timeouts.first_byte}
            return error_class(what.format(name=name, **seconds))
    return BadResponse(f"{name} does not answer in HTTP.")
