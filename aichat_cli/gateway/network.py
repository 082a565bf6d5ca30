"""The one place that knows how aiohttp connects, and what its exceptions mean in the house's words."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import aiohttp

from aichat_cli.core.errors import AichatError, BadResponse, ConfigError, ConnectFailed, ProviderError, TimedOut
from aichat_cli.core.struct import Struct
from aichat_cli.providers.base import Call, Timeouts
from aichat_cli.providers.connect import basic_authorization, tls_context
from aichat_cli.providers.failures import who


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
    match error:
        case aiohttp.ConnectionTimeoutError():
            return TimedOut(f"Could not connect to {name}: no connection within {timeouts.connect:g} s.")
        case TimeoutError():
            return TimedOut(f"{name} did not answer within {timeouts.first_byte:g} s.")
        case aiohttp.ClientConnectorCertificateError():
            return ProviderError(f"Could not connect to {name}: its certificate is not trusted.")
        case aiohttp.ClientConnectorDNSError():
            return ConnectFailed(f"Could not connect to {name}: the host was not found.")
        case aiohttp.ClientConnectorError() | aiohttp.ClientHttpProxyError():
            return ConnectFailed(f"Could not connect to {name}.")
        case aiohttp.ClientPayloadError():
            return ConnectFailed(f"{name} closed the connection before the answer was complete.")
        case aiohttp.ClientConnectionError():
            return ConnectFailed(f"{name} closed the connection without an answer.")
        case aiohttp.InvalidURL() | ValueError():
            return ConfigError(f"The address or a header of {name} cannot be used.")
        case _:
            return BadResponse(f"{name} does not answer in HTTP.")
