"""The process that serves: its socket, its certificate, and how it ends. Calls under way are finished, or cut and settled."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from uvicorn import Config, Server

from aichat_cli.core.errors import AichatError, ConfigError, UsageError
from aichat_cli.core.struct import Struct
from aichat_cli.gateway.app import create_app
from aichat_cli.gateway.deps import GatewayDeps
from aichat_cli.gateway.logs import LogHandler
from aichat_cli.gateway.protocol import LimitedProtocol, WireLimits

BACKLOG = 1024
KEEP_ALIVE_SECONDS = 75
"""Longer than the 60 s after which the usual proxies close a connection they do not use."""
SETTLE_SECONDS = 10.0
"""For calls that were cut to be settled."""
SETTLE_IN_HASTE_SECONDS = 2.0
"""The same, where somebody has asked twice."""
_TICK = 0.05


class Listening(Struct, frozen=True):
    """Where and how the gateway listens.

    Attributes:
        proxies: addresses or networks whose X-Forwarded-For and -Proto are believed.
        shutdown_seconds: how long calls under way may take to end.
    """

    host: str = "127.0.0.1"
    port: int = 8088
    tls_cert: Path | None = None
    tls_key: Path | None = None
    proxies: tuple[str, ...] = ()
    shutdown_seconds: float = 30.0
    limits: WireLimits = WireLimits()


class GatewayServer(Server):
    """Uvicorn's server, which waits for calls to be settled, and ends as it was asked: with 0."""

    def __init__(self, config: Config, deps: GatewayDeps, listening: Listening, context: ssl.SSLContext | None) -> None:
        super().__init__(config)
        self._context = context
        self._deps = deps
        self._listening = listening

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 (the signature is a handler's)
        """The first signal ends the gateway in peace, the second at once."""
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True
        self._deps.watch.is_ending = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Raises AichatError where the accounts cannot be opened."""
        try:
            await super().startup(sockets)
        except SystemExit:
            raise AichatError("The gateway could not start.", hint="The log tells why") from None

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, let answers under way finish, cut what takes too long, and have all of it settled."""
        self._deps.watch.is_ending = True
        state, log = self.server_state, self._deps.watch.log
        for server in self.servers:
            server.close()
        for each in sockets or []:
            each.close()
        for connection in list(state.connections):
            connection.shutdown()
        log.write("info", "ending", calls=len(state.tasks), seconds=self._listening.shutdown_seconds)
        await self._until(lambda: not state.tasks or self.force_exit, self._listening.shutdown_seconds)
        if state.tasks:
            log.write("warning", "cut", calls=len(state.tasks))
            for task in list(state.tasks):
                task.cancel()
            await self._until(lambda: not state.tasks, SETTLE_IN_HASTE_SECONDS if self.force_exit else SETTLE_SECONDS)
        for connection in list(state.connections):
            connection.transport.close()
        await self.lifespan.shutdown()
        log.write("info", "ended")

    async def _until(self, is_so: Callable[[], bool], seconds: float) -> None:
        for _ in range(int(seconds / _TICK)):
            if is_so():
                return
            await asyncio.sleep(_TICK)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals, and give them back; none is raised again."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = {signal.SIGINT: self.handle_exit, signal.SIGTERM: self.handle_exit}
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            handlers[signal.SIGHUP] = self._reread if self._context is not None else self.handle_exit
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _reread(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Read the certificate anew, for connections from now on; a bad one changes nothing."""
        assert self._context is not None
        log = self._deps.watch.log
        try:
            tls_context(self._listening)
            _load(self._context, self._listening)
        except AichatError as exc:
            log.write("error", "certificate.refused", message=exc.message)
        else:
            log.write("info", "certificate.reread")


def serve(deps: GatewayDeps, listening: Listening, listener: socket.socket) -> None:
    """Serve until a signal ends it.

    Raises:
        ConfigError: the certificate or its key cannot be used.
    """
    server = made(deps, listening)
    _take_logs_of_libraries(deps)
    _allow_files(listening.limits.most_connections)
    deps.watch.log.open()
    try:
        server.run(sockets=[listener])
    finally:
        deps.watch.log.close()


def made(deps: GatewayDeps, listening: Listening) -> GatewayServer:
    """The server, which does not listen yet; raises ConfigError as `serve` does."""
    context = tls_context(listening)
    config = Config(
        create_app(deps),
        http=type("Protocol", (LimitedProtocol,), {"limits": listening.limits}),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(listening.proxies),
        forwarded_allow_ips=list(listening.proxies),
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        ssl_context_factory=None if context is None else lambda *_: context,
    )
    return GatewayServer(config, deps, listening, context)


def bound(listening: Listening) -> socket.socket:
    """The socket, bound and listening, so that what keeps it from being so is told before anything else.

    Raises:
        UsageError: there is no such address here.
        ConfigError: the port is taken, or may not be used.
    """
    host, port = listening.host, listening.port
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        made = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except socket.gaierror:
        raise _no_address(host) from None
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"Port {port} of {host} is taken by another program.",
                hint="Name another with --port; 0 takes a free one",
            ) from None
        if exc.errno == errno.EACCES:
            raise ConfigError(
                f"Port {port} may not be used by this user.", hint="Name one above 1023 with --port, or use a proxy"
            ) from None
        if exc.errno == errno.EADDRNOTAVAIL:
            raise UsageError(f"{host} is not an address of this machine.") from None
        raise ConfigError(f"Cannot listen at {host}, port {port}: {exc.strerror}.") from None
    made.setblocking(False)
    return made


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there; raises UsageError where there is no such address."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise _no_address(host) from None
    return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)


def _no_address(host: str) -> UsageError:
    return UsageError(f'--host cannot be "{host}": there is no such address.')


def tls_context(listening: Listening) -> ssl.SSLContext | None:
    """What encrypts connections, None where nothing does.

    Raises:
        UsageError: a certificate without its key, or the other way round.
        ConfigError: they cannot be read, or do not belong together.
    """
    if listening.tls_cert is None and listening.tls_key is None:
        return None
    if listening.tls_cert is None or listening.tls_key is None:
        raise UsageError("--tls-cert and --tls-key go together.")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    _load(context, listening)
    return context


def _load(context: ssl.SSLContext, listening: Listening) -> None:
    assert listening.tls_cert is not None
    for path in (listening.tls_cert, listening.tls_key):
        try:
            assert path is not None
            path.read_bytes()
        except OSError as exc:
            raise ConfigError(f"Cannot read {path}: {exc.strerror}.") from None
    try:
        # Without a password of our own OpenSSL would ask for one on the terminal.
        context.load_cert_chain(listening.tls_cert, listening.tls_key, password=lambda: "")
    except (ssl.SSLError, OSError, ValueError) as exc:
        reason = getattr(exc, "reason", None) or type(exc).__name__
        raise ConfigError(
            f"{listening.tls_cert} and {listening.tls_key} are not a certificate and its key, as PEM and without a"
            f" password ({reason})."
        ) from None


def _take_logs_of_libraries(deps: GatewayDeps) -> None:
    handler = LogHandler(deps.watch.log)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger().handlers = [handler]


def _allow_files(connections: int) -> None:
    """Raise the limit of open files as far as it may be: each connection is one, and another leads to the provider."""
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * connections + 1024
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
