"""Collections of documents, and the full-text index each has of its own.

A word's weight depends on how common it is in its collection, and a small collection must not be searched through a
large one: hence one index for each. `chunk_text.py` fills them, `vectors.py` has those of the vectors.
"""

from __future__ import annotations

from aichat_cli.core.clock import utc_now
from aichat_cli.core.documents import Collection, CollectionSeq
from aichat_cli.core.errors import NotFound, UsageError
from aichat_cli.core.ids import LOCAL_PROFILE, ProfileId, new_id
from aichat_cli.storage import namespaces, vectors
from aichat_cli.storage.database import Database

_SELECT = """
SELECT c.seq, c.id, c.name, c.embedding_model, c.dimensions,
       (SELECT count(*) FROM documents d WHERE d.collection_seq = c.seq),
       (SELECT coalesce(sum(d.chunk_count), 0) FROM documents d WHERE d.collection_seq = c.seq), c.updated_at,
       c.searched_in
FROM collections c
"""


def fts_table(collection: CollectionSeq) -> str:
    """The name of its full-text index: rowid is the chunk's seq, the columns are heading and content."""
    return f"chunks_fts_{int(collection)}"


def vocabulary_table(collection: CollectionSeq) -> str:
    """The name of the table of its words and in how many chunks each is."""
    return f"chunks_words_{int(collection)}"


def create(
    db: Database, name: str, *, embedding_model: str | None, dimensions: int | None, user_id: ProfileId = LOCAL_PROFILE
) -> Collection:
    """Make a collection with its indexes, or return the one that has the name already.

    Raises:
        UsageError: the name cannot be one.
    """
    _require_name(name)
    with db.transaction():
        return ensure(db, name, embedding_model=embedding_model, dimensions=dimensions, user_id=user_id)


def ensure(
    db: Database, name: str, *, embedding_model: str | None, dimensions: int | None, user_id: ProfileId = LOCAL_PROFILE
) -> Collection:
    """`create` for a name that is one already, inside the caller's transaction."""
    if find(db, name, user_id=user_id) is None:
        now = utc_now()
        db.execute(
            "INSERT INTO collections (id, user_id, name, embedding_model, dimensions, created_at, updated_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (new_id(), user_id, name, embedding_model, dimensions, now, now),
        )
        [(seq,)] = db.rows("SELECT last_insert_rowid()")
        _create_text_index(db, CollectionSeq(seq))
        if dimensions is not None:
            vectors.create(db, CollectionSeq(seq), dimensions)
    return get(db, name, user_id=user_id)


def find(db: Database, name: str, *, user_id: ProfileId = LOCAL_PROFILE) -> Collection | None:
    """The collection of that name, None where there is none."""
    row = db.row(f"{_SELECT} WHERE c.user_id = ? AND c.name = ?", (user_id, name))
    return Collection(*row) if row else None


def get(db: Database, name: str, *, user_id: ProfileId = LOCAL_PROFILE) -> Collection:
    """The collection of that name.

    Raises:
        NotFound: there is none; names those there are.
    """
    found = find(db, name, user_id=user_id)
    if found is not None:
        return found
    names = [collection.name for collection in listing(db, user_id=user_id)]
    if not names:
        raise NotFound("There are no documents yet.", hint="Run: aichat ingest FOLDER")
    raise NotFound(f'There is no collection "{name}".', hint=f"There are: {', '.join(names)}")


def listing(db: Database, *, user_id: ProfileId = LOCAL_PROFILE) -> list[Collection]:
    """All collections, by name."""
    rows = db.rows(f"{_SELECT} WHERE c.user_id = ? ORDER BY c.name", (user_id,))
    return [Collection(*row) for row in rows]


def remove(db: Database, collection: Collection) -> None:
    """Delete a collection with its documents and indexes."""
    with db.transaction():
        vectors.drop_all(db, collection.seq)
        namespaces.leave(db, collection.seq)
        _drop_text_index(db, collection.seq)
        db.execute("DELETE FROM collections WHERE seq = ?", (collection.seq,))


def set_embedding(db: Database, collection: Collection, *, model: str | None, dimensions: int | None) -> None:
    """Give a collection another embedding model, inside the caller's transaction: its vectors and their index go.

    What was searched by its vectors elsewhere is searched here from now on.
    """
    vectors.drop_all(db, collection.seq)
    namespaces.leave(db, collection.seq)
    db.execute(
        "DELETE FROM chunk_vectors WHERE chunk_seq IN (SELECT c.seq FROM document_chunks c JOIN documents d"
        " ON d.seq = c.document_seq WHERE d.collection_seq = ?)",
        (collection.seq,),
    )
    db.execute(
        "UPDATE collections SET embedding_model = ?, dimensions = ?, updated_at = ?,"
        " searched_in = iif(searched_in = 'hosted', searched_in, 'local') WHERE seq = ?",
        (model, dimensions, utc_now(), collection.seq),
    )
    if dimensions is not None and vectors.is_here(db, collection.seq):
        vectors.create(db, collection.seq, dimensions)


def search_in(db: Database, collection: CollectionSeq, place: str) -> None:
    """Search a collection elsewhere than before, inside the caller's transaction; what is there is the caller's business."""
    db.execute("UPDATE collections SET searched_in = ? WHERE seq = ?", (place, collection))
    if place != "local":
        vectors.drop_all(db, collection)
    if place in {"local", "hosted"}:
        namespaces.leave(db, collection)


def touch(db: Database, collection: CollectionSeq) -> None:
    """Its documents changed, inside the caller's transaction."""
    db.execute("UPDATE collections SET updated_at = ? WHERE seq = ?", (utc_now(), collection))


def empty_text_index(db: Database, seq: CollectionSeq) -> None:
    """Make the full-text index anew, without a word in it, inside the caller's transaction: also one that is lost."""
    _drop_text_index(db, seq)
    _create_text_index(db, seq)


def _drop_text_index(db: Database, seq: CollectionSeq) -> None:
    db.execute(f"DROP TABLE IF EXISTS {vocabulary_table(seq)}")
    db.execute(f"DROP TABLE IF EXISTS {fts_table(seq)}")


def _create_text_index(db: Database, seq: CollectionSeq) -> None:
    # Contentless: the text is in document_chunks already.
    db.execute(
        f"CREATE VIRTUAL TABLE {fts_table(seq)} USING fts5 (heading, content, content = '', contentless_delete = 1,"
        " tokenize = 'porter unicode61 remove_diacritics 2')"
    )
    db.execute(f"CREATE VIRTUAL TABLE {vocabulary_table(seq)} USING fts5vocab ({fts_table(seq)}, 'row')")


def _require_name(name: str) -> None:
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise UsageError(f"{name!r} cannot be the name of a collection.")
