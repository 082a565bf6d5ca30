"""What two sides say to each other, whatever carries it: a connection to Postgres, or requests to a gateway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from aichat_cli.core.struct import Struct
from aichat_cli.core.sync import Device

Answer = Literal["ok", "behind", "copied", "gap", "purged"]
"""`behind`: pull first. `copied`: the other side knows another last change of this device. `gap`: it has lost some.
`purged`: it no longer knows what was deleted since. schema.sql, section 7, tells more.
"""


class Page(Struct, frozen=True):
    """Rows that changed, in the order of their numbers.

    Attributes:
        head: the newest number there is.
        horizon: the newest number of a deletion that is forgotten.
        clock: the clock of the other side, for this one to advance to.
        last_mid, last_uid: the last change of this device that was received.
        next: what to ask for after.
        is_all: whether nothing is left.
    """

    status: Answer
    head: int
    clock: int
    horizon: int = -1
    last_mid: int = 0
    last_uid: str | None = None
    rows: Sequence[dict[str, Any]] = ()
    next: int = 0
    is_all: bool = True


class Receipt(Struct, frozen=True):
    """What became of a batch of changes."""

    status: Answer
    last_mid: int = 0
    last_uid: str | None = None
    clock: int = 0


class Transport(Protocol):
    """The other side. Each call is done or not at all, and may be repeated; all raise HostedError."""

    @property
    def round_trips(self) -> int:
        """How often the other side was asked."""
        ...

    @property
    def largest_file(self) -> int:
        """Bytes of the largest file it takes."""
        ...

    def pull(self, device: str, after: int, *, most: int, most_bytes: int, horizon: int = -1) -> Page:
        """What changed after a number: at most `most` rows and about `most_bytes`, but one at least.

        Who reads everything says what the `horizon` was at the first page.
        """
        ...

    def push(self, device: str, seen: int, changes: Sequence[dict[str, Any]]) -> Receipt:
        """Send changes; `seen` is the number up to which those of others are applied."""
        ...

    def stage_chunks(self, document_id: str, version: str, chunks: Sequence[dict[str, Any]]) -> None:
        """Send a part of a document, before the change that brings it."""
        ...

    def chunks(
        self, document_id: str, stamp: str, after: int, *, most: int, most_bytes: int
    ) -> Sequence[dict[str, Any]]:
        """Chunks of a version from beyond one; none where there are no more, or the version was replaced."""
        ...

    def missing_files(self, hashes: Sequence[str]) -> list[str]:
        """Which of some files are not there."""
        ...

    def put_file(self, sha256: str, content: bytes) -> None:
        """Send a file."""
        ...

    def file(self, sha256: str) -> bytes | None:
        """Fetch a file, None where it was never sent."""
        ...

    def devices(self) -> list[Device]:
        """Who syncs, the last seen first."""
        ...

    def forget(self, device: str) -> None:
        """A device no longer syncs."""
        ...

    def close(self) -> None:
        """End the connection."""
        ...


class DocumentSink(Protocol):
    """Where documents of others go: what makes them searchable is not sync's business.

    Both are called within the transaction that applies what was received.
    """

    def store(self, document: dict[str, Any], chunks: Sequence[dict[str, Any]]) -> str | None:
        """Write a document with its chunks in the place of what is there under its id or its path.

        Returns the name of its collection where its chunks have no vectors of that collection's model.
        """
        ...

    def remove(self, document_id: str) -> bool:
        """Remove a document; whether it was here."""
        ...


class NoDocuments:
    """Where documents are not synced."""

    def store(self, document: dict[str, Any], chunks: Sequence[dict[str, Any]]) -> str | None:  # noqa: ARG002
        """Leave it."""
        return None

    def remove(self, document_id: str) -> bool:  # noqa: ARG002
        """There is none."""
        return False
