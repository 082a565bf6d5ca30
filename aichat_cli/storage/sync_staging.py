"""What came from the hosted database and is not applied yet. It is kept until all of it is here: a page may name what a
later one brings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from aichat_cli.core.struct import from_json, to_json
from aichat_cli.storage.database import Database

_NO_FILES = '"attachments":[]'
"""In a message as it is staged."""


def add(db: Database, rows: Iterable[dict[str, Any]], *, staged_to: int, horizon: int | None = None) -> None:
    """Keep a page, and how far it goes, in one transaction; of a thing that came before, the newest counts.

    Args:
        horizon: with the first page of all there is.
    """
    with db.transaction():
        db.execute_many(
            "INSERT OR REPLACE INTO sync_staged (kind, id, seq, change) VALUES (?, ?, ?, ?)",
            ((row["kind"], row["id"], row["seq"], to_json(row)) for row in rows),
        )
        db.execute("UPDATE sync_state SET staged_to = ?, horizon = coalesce(?, horizon)", (staged_to, horizon))


def of_kind(db: Database, kind: str) -> Iterator[dict[str, Any]]:
    """What is staged of one kind, in the order it was changed."""
    after = -1
    while rows := db.rows(
        "SELECT seq, change FROM sync_staged WHERE kind = ? AND seq > ? ORDER BY seq LIMIT 500", (kind, after)
    ):
        for _, change in rows:
            yield from_json(change)
        after = rows[-1][0]


def count(db: Database) -> int:
    """How many things are staged."""
    [(number,)] = db.rows("SELECT count(*) FROM sync_staged")
    return int(number)


def add_chunks(db: Database, document_id: str, stamp: str, chunks: Sequence[dict[str, Any]]) -> None:
    """Keep chunks of a version of a document."""
    with db.transaction():
        db.execute_many(
            "INSERT OR REPLACE INTO sync_staged_chunks (document_id, stamp, chunk_index, chunk) VALUES (?, ?, ?, ?)",
            ((document_id, stamp, chunk["chunk_index"], to_json(chunk)) for chunk in chunks),
        )


def last_chunk(db: Database, document_id: str, stamp: str) -> int:
    """The index of the last chunk that is here of a version, -1 where none is."""
    [(index,)] = db.rows(
        "SELECT coalesce(max(chunk_index), -1) FROM sync_staged_chunks WHERE document_id = ? AND stamp = ?",
        (document_id, stamp),
    )
    return int(index)


def chunks_of(db: Database, document_id: str, stamp: str) -> list[dict[str, Any]]:
    """The chunks that are here of a version, in their order."""
    rows = db.rows(
        "SELECT chunk FROM sync_staged_chunks WHERE document_id = ? AND stamp = ? ORDER BY chunk_index",
        (document_id, stamp),
    )
    return [from_json(chunk) for (chunk,) in rows]


def clear(db: Database) -> None:
    """Forget what is staged, inside the transaction that applied it."""
    db.execute("DELETE FROM sync_staged")
    db.execute("DELETE FROM sync_staged_chunks")


def add_file(db: Database, sha256: str, content: bytes) -> None:
    """Keep the content of an attached file, before the message it belongs to."""
    db.execute("INSERT OR IGNORE INTO blobs (sha256, content) VALUES (?, ?)", (sha256, content))


def missing_files(db: Database) -> list[dict[str, Any]]:
    """The files of staged messages whose content is not here."""
    found: dict[str, dict[str, Any]] = {}
    for (seq,) in db.rows(
        "SELECT seq FROM sync_staged WHERE kind = 'message' AND instr(change, CAST(? AS BLOB)) = 0", (_NO_FILES,)
    ):
        [(change,)] = db.rows("SELECT change FROM sync_staged WHERE kind = 'message' AND seq = ?", (seq,))
        for file in from_json(change)["attachments"]:
            found.setdefault(file["sha256"], file)
    return [file for sha256, file in found.items() if db.row("SELECT 1 FROM blobs WHERE sha256 = ?", (sha256,)) is None]
