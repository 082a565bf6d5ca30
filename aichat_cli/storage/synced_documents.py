"""What sync asks about documents: their text, the place they take, and what of them is not confirmed yet."""

from __future__ import annotations

from aichat_cli.storage import documents
from aichat_cli.storage.database import Database


def pending_clock(db: Database, document_id: str) -> int | None:
    """When a document was last read here, if that is not confirmed."""
    [(clock,)] = db.rows("SELECT max(clock) FROM outbox WHERE id = ? AND kind = 'document'", (document_id,))
    return None if clock is None else int(clock)


def digest(db: Database, document_id: str) -> str | None:
    """The SHA-256 of a document's content in hexadecimal, None where it is not here."""
    found = documents.find_id(db, document_id)
    return None if found is None else found.sha256.hex()


def at(db: Database, collection: str, path: str) -> str | None:
    """The id of the document that was read from a path."""
    row = db.row(
        "SELECT d.id FROM documents d JOIN collections c ON c.seq = d.collection_seq WHERE c.name = ? AND d.path = ?",
        (collection, path),
    )
    return None if row is None else str(row[0])


def text_of(db: Database, document_id: str) -> tuple[str, str] | None:
    """The name and the whole text of a document, None where it is not here."""
    found = documents.find_id(db, document_id)
    return None if found is None else (found.name, documents.text(db, found))


def enqueue_deletion(db: Database, document_id: str) -> None:
    """Have a document deleted elsewhere as well, inside the caller's transaction."""
    db.execute("INSERT INTO outbox (kind, id) VALUES ('document_delete', ?)", (document_id,))


def absent(db: Database) -> list[str]:
    """Documents that are here, are not among all that was staged, and were not read here since."""
    rows = db.rows(
        "SELECT id FROM documents d WHERE id NOT IN (SELECT id FROM sync_staged WHERE kind = 'document')"
        " AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.id = d.id AND o.kind = 'document')"
    )
    return [row[0] for row in rows]
