"""Vectors of the model a collection is changing to, kept until all of them are there."""

from __future__ import annotations

from collections.abc import Iterable

from aichat_cli.core.documents import CollectionSeq
from aichat_cli.storage.chunks import IndexedText
from aichat_cli.storage.database import Database


def unstaged(db: Database, collection: CollectionSeq, model: str, *, after: int, limit: int) -> list[IndexedText]:
    """Chunks without a staged vector of that model, in the order of their seqs, from beyond `after`."""
    rows = db.rows(
        "SELECT c.seq, d.title, c.heading, c.content FROM document_chunks c JOIN documents d ON d.seq = c.document_seq"
        " WHERE d.collection_seq = ? AND c.seq > ? AND NOT EXISTS"
        " (SELECT 1 FROM staged_vectors s WHERE s.chunk_seq = c.seq AND s.model = ?) ORDER BY c.seq LIMIT ?",
        (collection, after, model, limit),
    )
    return [IndexedText(*row) for row in rows]


def add(db: Database, model: str, rows: Iterable[tuple[int, bytes]]) -> None:
    """Stage (seq, float16 vector) rows, inside the caller's transaction; chunks that are gone are left out."""
    db.execute_many(
        "INSERT OR REPLACE INTO staged_vectors (chunk_seq, model, vector)"
        " SELECT seq, ?2, ?3 FROM document_chunks WHERE seq = ?1",
        ((seq, model, vector) for seq, vector in rows),
    )


def promote(db: Database, collection: CollectionSeq, model: str) -> None:
    """Make the staged vectors of a collection its own, inside the caller's transaction. Zeros stand for none."""
    mine = "SELECT c.seq FROM document_chunks c JOIN documents d ON d.seq = c.document_seq WHERE d.collection_seq = ?1"
    db.execute(
        "INSERT INTO chunk_vectors (chunk_seq, vector) SELECT chunk_seq, vector FROM staged_vectors"  # noqa: S608
        f" WHERE model = ?2 AND chunk_seq IN ({mine}) AND vector <> zeroblob(length(vector))",
        (collection, model),
    )
    db.execute(f"DELETE FROM staged_vectors WHERE chunk_seq IN ({mine})", (collection,))  # noqa: S608
