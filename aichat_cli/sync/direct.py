"""Sync with a Postgres of one's own: a connection as its owner, who is its one user."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from aichat_cli.core.sync import Device
from aichat_cli.hosted import sync_calls
from aichat_cli.hosted.connection import Connection
from aichat_cli.hosted.sync_calls import HostedUser
from aichat_cli.sync.protocol import Page, Receipt


class DirectTransport:
    """A `Transport` through one connection.

    Args:
        user_id: whose rows; None asks the database whose it is.

    Raises:
        HostedSchema: the database is not set up, or by another version.
    """

    def __init__(self, connection: Connection, *, user_id: str | None = None, device_name: str | None = None) -> None:
        self._connection = connection
        self._user_id = user_id
        self._device_name = (device_name or socket.gethostname() or "unnamed")[:100]

    @property
    def round_trips(self) -> int:
        """How often the other side was asked."""
        return self._connection.round_trips

    @property
    def largest_file(self) -> int:
        """`Transport.largest_file`: what Postgres keeps in one field."""
        return 1_000_000_000

    @property
    def user(self) -> HostedUser:
        """Whose rows; asked once."""
        if self._user_id is None:
            self._user_id = sync_calls.personal_user(self._connection)
        return HostedUser(self._user_id, self._device_name)

    def pull(self, device: str, after: int, *, most: int, most_bytes: int, horizon: int = -1) -> Page:
        """`Transport.pull`."""
        answer = sync_calls.pull(self._connection, self.user, device, after, most, most_bytes, horizon)
        return Page(**_known(Page, answer))

    def push(self, device: str, seen: int, changes: Sequence[dict[str, Any]]) -> Receipt:
        """`Transport.push`."""
        return Receipt(**_known(Receipt, sync_calls.push(self._connection, self.user, device, seen, changes)))

    def stage_chunks(self, document_id: str, version: str, chunks: Sequence[dict[str, Any]]) -> None:
        """`Transport.stage_chunks`."""
        sync_calls.stage_chunks(self._connection, self.user, document_id, version, chunks)

    def chunks(
        self, document_id: str, stamp: str, after: int, *, most: int, most_bytes: int
    ) -> Sequence[dict[str, Any]]:
        """`Transport.chunks`."""
        return sync_calls.chunks(self._connection, self.user, document_id, stamp, after, most, most_bytes)

    def missing_files(self, hashes: Sequence[str]) -> list[str]:
        """`Transport.missing_files`."""
        return sync_calls.missing_files(self._connection, self.user, hashes)

    def put_file(self, sha256: str, content: bytes) -> None:
        """`Transport.put_file`."""
        sync_calls.put_file(self._connection, self.user, sha256, content)

    def file(self, sha256: str) -> bytes | None:
        """`Transport.file`."""
        return sync_calls.file(self._connection, self.user, sha256)

    def devices(self) -> list[Device]:
        """`Transport.devices`."""
        return [Device(**each) for each in sync_calls.devices(self._connection, self.user)]

    def forget(self, device: str) -> None:
        """`Transport.forget`."""
        sync_calls.forget(self._connection, self.user, device)

    def close(self) -> None:
        """`Transport.close`."""
        self._connection.close()


def _known(kind: type[Any], answer: dict[str, Any]) -> dict[str, Any]:
    return {name: answer[name] for name in kind.__struct_fields__ if name in answer}
