"""Documents: where each came from, what it was like when it was read, and its chunks, replaced as one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from aichat_cli.core.clock import utc_now
from aichat_cli.core.documents import CollectionSeq, Document, DocumentId
from aichat_cli.core.errors import NotFound
from aichat_cli.core.ids import LOCAL_PROFILE, ProfileId, new_id
from aichat_cli.core.struct import Struct
from aichat_cli.storage import chunks
from aichat_cli.storage.database import Database

_SELECT = """
SELECT d.seq, d.id, c.name, d.name, d.path, d.root, d.title, d.media_type, d.size, d.modified_ns, d.etag, d.sha256,
       d.settings, d.chunk_count, c.embedding_model, d.updated_at
FROM documents d JOIN collections c ON c.seq = d.collection_seq
"""


class NewDocument(Struct, frozen=True):
    """A document to store; the fields are those of `core.documents.Document`."""

    name: str
    path: str
    root: str | None
    title: str | None
    media_type: str
    size: int
    modified_ns: int | None
    etag: str | None
    sha256: bytes
    settings: str


def in_collection(db: Database, collection: CollectionSeq) -> dict[str, Document]:
    """Every document of a collection, by its path."""
    rows = db.rows(f"{_SELECT} WHERE d.collection_seq = ?", (collection,))
    return {row[4]: _document(row) for row in rows}


def of_paths(db: Database, collection: CollectionSeq, paths: Sequence[str]) -> dict[str, Document]:
    """The documents that came from some paths, by path."""
    rows = db.rows(
        f"{_SELECT} WHERE d.collection_seq = ? AND d.path IN (SELECT value FROM json_each(?))",  # noqa: S608
        (collection, json.dumps(list(paths))),
    )
    return {row[4]: _document(row) for row in rows}


def by_id(db: Database, document_id: DocumentId) -> Document:
    """The document with that id; raises NotFound."""
    found = find_id(db, document_id)
    if found is None:
        raise NotFound("This document is no longer here.", hint="Run: aichat docs list")
    return found


def find_id(db: Database, document_id: str) -> Document | None:
    """The document with that id, None where it is not here."""
    row = db.row(f"{_SELECT} WHERE d.id = ?", (document_id,))
    return None if row is None else _document(row)


def listing(
    db: Database, *, collection: str | None = None, limit: int | None = None, user_id: ProfileId = LOCAL_PROFILE
) -> list[Document]:
    """Documents, the last changed first."""
    rows = db.rows(
        f"{_SELECT} WHERE d.user_id = ?1 AND (?2 IS NULL OR c.name = ?2) ORDER BY d.updated_at DESC, d.seq DESC LIMIT ?3",
        (user_id, collection, -1 if limit is None else limit),
    )
    return [_document(row) for row in rows]


def find(
    db: Database, reference: str, *, collection: str | None = None, user_id: ProfileId = LOCAL_PROFILE
) -> list[Document]:
    """The documents a user means: by id or its beginning, by path, by name, or by the end of a path.

    Raises:
        NotFound: there is none; names a near one.
    """
    everything = listing(db, collection=collection, user_id=user_id)
    meanings: tuple[Callable[[Document], bool], ...] = (
        lambda document: reference in {document.id, document.path},
        lambda document: document.name == reference,
        lambda document: len(reference) >= 8 and document.id.startswith(reference),
        lambda document: document.path.endswith(f"/{reference}"),
    )
    for is_meant in meanings:
        if found := [document for document in everything if is_meant(document)]:
            return found
    import difflib

    near = difflib.get_close_matches(reference, [document.name for document in everything], n=1)
    meant = f' Did you mean "{near[0]}"?' if near else ""
    raise NotFound(f'There is no document "{reference}".{meant}', hint="Run: aichat docs list")


def store(
    db: Database,
    collection: CollectionSeq,
    document: NewDocument,
    *,
    chunk_count: int,
    document_id: DocumentId | None = None,
    user_id: ProfileId = LOCAL_PROFILE,
) -> int:
    """Store a document without its chunks, inside the caller's transaction; its seq.

    One from the same path is replaced; its id and the time it was first stored stay. `document_id` is that of a new one
    that has an id already.
    """
    [(seq,)] = db.rows(
        "INSERT INTO documents (id, user_id, collection_seq, name, path, root, title, media_type, size, modified_ns,"
        " etag, sha256, settings, chunk_count, created_at, updated_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?15, ?15)"
        " ON CONFLICT (collection_seq, path) DO UPDATE SET name = excluded.name, root = excluded.root,"
        " title = excluded.title, media_type = excluded.media_type, size = excluded.size,"
        " modified_ns = excluded.modified_ns, etag = excluded.etag, sha256 = excluded.sha256,"
        " settings = excluded.settings, chunk_count = excluded.chunk_count, updated_at = excluded.updated_at"
        " RETURNING seq",
        (
            document_id or new_id(),
            user_id,
            collection,
            document.name,
            document.path,
            document.root,
            document.title,
            document.media_type,
            document.size,
            document.modified_ns,
            document.etag,
            document.sha256,
            document.settings,
            chunk_count,
            utc_now(),
        ),
    )
    return int(seq)


def mark_unchanged(db: Database, document: Document, *, size: int, modified_ns: int | None, etag: str | None) -> None:
    """The same content was found again under other circumstances: what is compared next time."""
    db.execute(
        "UPDATE documents SET size = ?, modified_ns = ?, etag = ? WHERE seq = ?",
        (size, modified_ns, etag, document.seq),
    )


def move(db: Database, document: Document, *, path: str, name: str, root: str | None, modified_ns: int | None) -> None:
    """A file got another path with its content unchanged."""
    db.execute(
        "UPDATE documents SET path = ?, name = ?, root = ?, modified_ns = ?, updated_at = ? WHERE seq = ?",
        (path, name, root, modified_ns, utc_now(), document.seq),
    )


def remove(db: Database, document_seqs: Sequence[int]) -> None:
    """Delete documents whose chunks are deleted, inside the caller's transaction."""
    db.execute_many("DELETE FROM documents WHERE seq = ?", ((seq,) for seq in document_seqs))


def text(db: Database, document: Document) -> str:
    """The whole text of a document."""
    return "".join(passage.text for passage in chunks.of_document(db, document.seq))


def _document(row: tuple[object, ...]) -> Document:
    return Document(*row)  # type: ignore[arg-type]
