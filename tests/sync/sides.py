"""What devices sync with in tests: a hosted database itself, or a gateway in front of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from aichat_cli.account.sync_transport import GatewayTransport
from aichat_cli.accounts.postgres import PostgresAccounts
from aichat_cli.core.secret import Secret
from aichat_cli.hosted.connection import Connection
from aichat_cli.providers.base import Timeouts
from aichat_cli.sync.direct import DirectTransport
from aichat_cli.sync.protocol import Transport
from tests.servers.gateway import RunningGateway
from tests.servers.scripted import ScriptedServer

Kind = Literal["direct", "gateway"]
KINDS: tuple[Kind, ...] = ("direct", "gateway")
PATIENCE = Timeouts(connect=5.0, first_byte=30.0, idle=30.0)


class Side(Protocol):
    """The other side, for one user."""

    def transport(self, device_name: str) -> Transport:
        """A way there, for one device."""
        ...


@dataclass(frozen=True)
class DirectSide:
    """A database of one's own."""

    dsn: str
    user_id: str | None = None

    def transport(self, device_name: str) -> Transport:
        return DirectTransport(Connection.open(Secret(self.dsn, "test")), user_id=self.user_id, device_name=device_name)


@dataclass(frozen=True)
class GatewaySide:
    """An account at a gateway."""

    url: str
    key: str

    def transport(self, device_name: str) -> Transport:
        return GatewayTransport(self.url, Secret(self.key, "test"), device_name=device_name, timeouts=PATIENCE)


class Sides:
    """Opens the other side of databases; at gateways, always as the same user with the same key."""

    def __init__(self, kind: Kind, folder: Path, provider: ScriptedServer, stack: ExitStack) -> None:
        self.kind = kind
        self._folder = folder
        self._provider = provider
        self._stack = stack
        self._key: str | None = None
        self._opened: dict[str, Side] = {}

    def at(self, dsn: str) -> Side:
        """The other side that is kept there."""
        if dsn not in self._opened:
            self._opened[dsn] = DirectSide(dsn) if self.kind == "direct" else self._gateway(dsn)
        return self._opened[dsn]

    def _gateway(self, dsn: str) -> Side:
        running = self._stack.enter_context(gateway_at(dsn, self._folder, self._provider))
        self._key = self._key or running.key("anna")
        return GatewaySide(running.url, self._key)


@contextmanager
def gateway_at(dsn: str, folder: Path, provider: ScriptedServer) -> Iterator[RunningGateway]:
    """A gateway whose accounts are in a database."""
    with RunningGateway(folder, provider, store=PostgresAccounts(Secret(dsn, "test"))) as running:
        yield running
