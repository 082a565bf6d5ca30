"""Opening a connection: TCP, through a proxy where one is set, and TLS. What fails is said in the user's words."""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aichat_cli.core.errors import AichatError, ConfigError, ConnectFailed, ProviderError, TimedOut
from aichat_cli.core.struct import Struct

if TYPE_CHECKING:
    import ssl

_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")

_tls: dict[tuple[str | None, str | None], ssl.SSLContext] = {}


class Proxy(Struct, frozen=True):
    """An HTTP proxy. `headers` hold its password and stay out of a repr."""

    host: str
    port: int
    authorization: str | None = None

    def __repr__(self) -> str:
        return f"Proxy(host={self.host!r}, port={self.port!r})"

    @property
    def headers(self) -> dict[str, str]:
        """What to send to the proxy itself."""
        return {"Proxy-Authorization": self.authorization} if self.authorization else {}


class Route(Struct, frozen=True):
    """Where a connection leads, and through what; `address` is the host's, where it was looked up before."""

    scheme: str
    host: str
    port: int
    proxy: Proxy | None = None
    address: str | None = None

    @property
    def origin(self) -> str:
        """Scheme, host and port, as users know them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default_port = 443 if self.scheme == "https" else 80
        return f"{self.scheme}://{host}" + ("" if self.port == default_port else f":{self.port}")


def open_connection(route: Route, timeout: float) -> http.client.HTTPConnection:
    """Connect, within `timeout` seconds for each step.

    Raises:
        ConnectFailed, TimedOut: worth another attempt.
        ProviderError: the certificate is not trusted, or the proxy refuses.
    """
    near = (route.proxy.host, route.proxy.port) if route.proxy else (route.address or route.host, route.port)
    connection = http.client.HTTPConnection(*near, timeout=timeout)
    connection.auto_open = 0
    try:
        if route.proxy and route.scheme == "https":
            connection.set_tunnel(route.host, route.port, route.proxy.headers)
        connection.connect()
        if route.scheme == "https":
            connection.sock = tls_context().wrap_socket(connection.sock, server_hostname=route.host)
    except (OSError, http.client.HTTPException, UnicodeError) as exc:
        connection.close()
        raise _failure(route, exc, timeout) from exc
    except BaseException:
        connection.close()
        raise
    return connection


def connect_to(scheme: str, host: str, port: int, address: str | None, timeout: float) -> http.client.HTTPConnection:
    """Connect to a host at an address that was looked up before, or through the proxy that is set, which finds it.

    Raises: as `open_connection`.
    """
    return open_connection(Route(scheme, host, port, proxy_for(scheme, host, port), address), timeout)


def is_alive(sock: socket.socket | None) -> bool:
    """Whether an idle connection is still open: it has nothing to read, not even an end."""
    if sock is None:
        return False
    sock.setblocking(False)
    try:
        sock.recv(1)
    except OSError as exc:
        # TLS session tickets make a healthy socket readable; reading them says that more is wanted.
        return isinstance(exc, BlockingIOError) or type(exc).__name__ == "SSLWantReadError"
    return False


def is_proxy_set() -> bool:
    """Whether a variable asks for a proxy, for whatever."""
    return any(name in os.environ for name in _PROXY_VARIABLES)


def proxy_for(scheme: str, host: str, port: int) -> Proxy | None:
    """The proxy that HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY ask for, in either case.

    Raises:
        ConfigError: the variable does not hold an http:// proxy.
    """
    if not is_proxy_set():
        return None
    from urllib.request import getproxies_environment, proxy_bypass

    proxies = getproxies_environment()
    url = proxies.get(scheme) or proxies.get("all")
    if not url or proxy_bypass(f"{host}:{port}"):
        return None
    return _proxy(url, f"{scheme.upper()}_PROXY" if proxies.get(scheme) else "ALL_PROXY")


def proxy_headers(scheme: str, host: str, port: int) -> Mapping[str, str] | None:
    """What a request through the proxy that is set tells the proxy, None where there is none; raises as `proxy_for`."""
    proxy = proxy_for(scheme, host, port)
    return None if proxy is None else proxy.headers


def basic_authorization(user: str, password: str) -> str:
    """The value of an Authorization header."""
    from base64 import b64encode

    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def _proxy(url: str, variable: str) -> Proxy:
    from urllib.parse import unquote, urlsplit

    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host = None
    if not host or not host.isprintable() or " " in host:
        raise ConfigError(f"${variable} does not hold the URL of a proxy.", hint="Set it as http://proxy:3128")
    if parts.scheme != "http":
        raise ConfigError(
            f"${variable} names a proxy of kind {parts.scheme!r}; only http:// proxies are supported.",
            hint="Set it as http://proxy:3128",
        )
    if parts.username is None:
        return Proxy(host, port)
    return Proxy(host, port, basic_authorization(unquote(parts.username), unquote(parts.password or "")))


def tls_context() -> ssl.SSLContext:
    """The context of OpenSSL's own defaults, which honour SSL_CERT_FILE and SSL_CERT_DIR; certifi's where it has none."""
    wanted = (os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    if wanted not in _tls:
        import ssl

        context = ssl.create_default_context()
        if not any(wanted) and not context.cert_store_stats()["x509_ca"] and not _has_default_folder():
            try:
                import certifi
            except ImportError:
                pass
            else:
                context.load_verify_locations(certifi.where())
        _tls[wanted] = context
    return _tls[wanted]


def _has_default_folder() -> bool:
    """Whether OpenSSL's default folder holds certificates: they are read from it only when needed."""
    import ssl

    folder = ssl.get_default_verify_paths().capath
    return folder is not None and any(os.scandir(folder))


def _failure(route: Route, error: Exception, timeout: float) -> AichatError:
    via = f" through the proxy {route.proxy.host}:{route.proxy.port}" if route.proxy else ""
    what = f"Could not connect to {route.origin}{via}"
    hint = "Check $HTTPS_PROXY, $HTTP_PROXY and $NO_PROXY" if route.proxy else "Check the network and the base URL"
    if isinstance(error, TimeoutError):
        return TimedOut(f"{what}: no connection within {timeout:g} s.", hint=hint)
    if isinstance(error, ConnectionRefusedError):
        return ConnectFailed(f"{what}: connection refused.", hint="Is it running?" if not via else hint)
    if isinstance(error, socket.gaierror):
        return ConnectFailed(f"{what}: the host was not found.", hint=hint)
    if type(error).__name__ == "SSLCertVerificationError":
        reason = getattr(error, "verify_message", "") or "it cannot be verified"
        return ProviderError(
            f"{what}: its certificate is not trusted: {reason}.",
            hint="Set SSL_CERT_FILE to the certificates of your authority",
        )
    reason = str(error.args[-1] if error.args else error).strip() or type(error).__name__
    if route.proxy and reason.startswith("Tunnel connection failed: 4"):
        return ProviderError(f"{what}: it answered {reason.partition(': ')[2]}.", hint=hint)
    return ConnectFailed(f"{what}: {_lower_first(reason)}.", hint=hint)


def _lower_first(text: str) -> str:
    clean = "".join(char for char in text if char.isprintable())[:200].rstrip(".")
    return clean[:1].lower() + clean[1:]
