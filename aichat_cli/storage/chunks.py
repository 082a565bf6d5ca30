"""Chunks of documents: their text, their place, their full-text index and their vectors as they were made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from aichat_cli.core.documents import Chunk, CollectionSeq, DocumentId, Passage
from aichat_cli.core.struct import Struct
from aichat_cli.storage.collections import empty_text_index, fts_table, vocabulary_table
from aichat_cli.storage.database import Database

_WEIGHTS = "bm25(2.0, 1.0)"
"""A word in a heading tells twice what one in the text does."""
_INDEXED = """
SELECT c.seq, trim(coalesce(d.title, '') || ' ' || c.heading), c.content
FROM document_chunks c JOIN documents d ON d.seq = c.document_seq
"""
"""What the full-text index has of a chunk."""
_PASSAGE = """
SELECT c.seq, d.id, d.name, d.path, d.title, c.heading, c.start_char, c.end_char, c.line, c.page, c.content
FROM document_chunks c JOIN documents d ON d.seq = c.document_seq
"""


class NewChunk(Struct, frozen=True):
    """A chunk to store: its place, its text, and the hash of what is embedded of it (16 bytes)."""

    chunk: Chunk
    content: str
    hash: bytes


class IndexedText(Struct, frozen=True):
    """What is embedded of a stored chunk besides its own text: the document's title and the headings above it."""

    chunk_seq: int
    title: str | None
    heading: str
    content: str


def insert(db: Database, documents: Sequence[tuple[int, Sequence[NewChunk]]]) -> list[int]:
    """Store the chunks of (document seq, chunks) pairs, inside the caller's transaction; their seqs, in the same order."""
    [(last,)] = db.rows("SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'document_chunks'), 0)")
    seqs = range(last + 1, last + 1 + sum(len(chunks) for _, chunks in documents))
    numbered = ((document_seq, index, new) for document_seq, chunks in documents for index, new in enumerate(chunks))
    db.execute_many(
        "INSERT INTO document_chunks (seq, document_seq, chunk_index, content, heading, start_char, end_char, line,"
        " page, token_count, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                seq,
                document_seq,
                index,
                new.content,
                new.chunk.heading,
                new.chunk.start,
                new.chunk.end,
                new.chunk.line,
                new.chunk.page,
                new.chunk.tokens,
                new.hash,
            )
            for seq, (document_seq, index, new) in zip(seqs, numbered, strict=True)
        ),
    )
    return list(seqs)


def index_words(db: Database, collection: CollectionSeq, seqs: Sequence[int]) -> None:
    """Put stored chunks into the full-text index, inside the caller's transaction."""
    db.execute(
        f"INSERT INTO {fts_table(collection)} (rowid, heading, content) {_INDEXED}"  # noqa: S608
        " WHERE c.seq IN (SELECT value FROM json_each(?)) ORDER BY c.seq",
        (json.dumps(list(seqs)),),
    )


def rebuild_words(db: Database, collection: CollectionSeq) -> None:
    """Make the full-text index anew from the stored chunks, inside the caller's transaction."""
    empty_text_index(db, collection)
    db.execute(
        f"INSERT INTO {fts_table(collection)} (rowid, heading, content) {_INDEXED}"
        " WHERE d.collection_seq = ? ORDER BY c.seq",
        (collection,),
    )


def seqs_of(db: Database, document_seq: int) -> list[int]:
    """The seqs of a document's chunks, in their order."""
    rows = db.rows("SELECT seq FROM document_chunks WHERE document_seq = ? ORDER BY chunk_index", (document_seq,))
    return [seq for (seq,) in rows]


def delete(db: Database, collection: CollectionSeq, seqs: Sequence[int]) -> None:
    """Take chunks out with their words and stored vectors, inside the caller's transaction."""
    db.execute_many(f"DELETE FROM {fts_table(collection)} WHERE rowid = ?", ((seq,) for seq in seqs))  # noqa: S608
    db.execute_many("DELETE FROM document_chunks WHERE seq = ?", ((seq,) for seq in seqs))


def passages(db: Database, seqs: Sequence[int]) -> dict[int, Passage]:
    """Chunks with their places, by seq; those that are gone are left out."""
    rows = db.rows(f"{_PASSAGE} WHERE c.seq IN (SELECT value FROM json_each(?))", (json.dumps(list(seqs)),))  # noqa: S608
    return {row[0]: Passage(row[0], DocumentId(row[1]), *row[2:]) for row in rows}


def of_document(db: Database, document_seq: int) -> Iterator[Passage]:
    """The chunks of a document in their order: together they are its text."""
    rows = db.rows(f"{_PASSAGE} WHERE c.document_seq = ? ORDER BY c.chunk_index", (document_seq,))
    return (Passage(row[0], DocumentId(row[1]), *row[2:]) for row in rows)


def matching(db: Database, collection: CollectionSeq, expression: str, limit: int) -> list[tuple[int, float]]:
    """(seq, score) of the chunks that match an FTS5 expression, the best first; higher scores are better."""
    table = fts_table(collection)
    rows = db.rows(
        f"SELECT rowid, rank FROM {table} WHERE {table} MATCH ? AND rank MATCH '{_WEIGHTS}' ORDER BY rank LIMIT ?",  # noqa: S608
        (expression, limit),
    )
    return [(seq, -rank) for seq, rank in rows]


def stems(db: Database, words: Sequence[str]) -> list[str]:
    """Words as the full-text indexes have them, in the same order; of one that the tokenizer splits, the last part, and
    one that it drops stands for itself.
    """
    db.execute(
        "CREATE VIRTUAL TABLE IF NOT EXISTS temp.query_words"
        " USING fts5 (word, tokenize = 'porter unicode61 remove_diacritics 2')"
    )
    db.execute("CREATE VIRTUAL TABLE IF NOT EXISTS temp.query_stems USING fts5vocab (temp, query_words, 'instance')")
    db.execute_many("INSERT INTO temp.query_words (rowid, word) VALUES (?, ?)", enumerate(words))
    found = dict(db.rows("SELECT doc, term FROM temp.query_stems"))
    db.execute("DELETE FROM temp.query_words")
    return [found.get(number, word) for number, word in enumerate(words)]


def document_frequencies(db: Database, collection: CollectionSeq, stems: Sequence[str]) -> dict[str, int]:
    """In how many chunks each stemmed word is; words that are in none are left out."""
    rows = db.rows(
        f"SELECT term, doc FROM {vocabulary_table(collection)} WHERE term IN (SELECT value FROM json_each(?))",  # noqa: S608
        (json.dumps(list(stems)),),
    )
    return dict(rows)


def add_vectors(db: Database, rows: Iterable[tuple[int, bytes]]) -> None:
    """Store (seq, float16 vector) rows, inside the caller's transaction."""
    db.execute_many("INSERT INTO chunk_vectors (chunk_seq, vector) VALUES (?, ?)", rows)


def remove_vectors(db: Database, seqs: Sequence[int]) -> None:
    """Take stored vectors out, inside the caller's transaction."""
    db.execute_many("DELETE FROM chunk_vectors WHERE chunk_seq = ?", ((seq,) for seq in seqs))


def vectors_of(db: Database, seqs: Sequence[int]) -> dict[int, bytes]:
    """Stored vectors by seq."""
    return dict(
        db.rows(
            "SELECT chunk_seq, vector FROM chunk_vectors WHERE chunk_seq IN (SELECT value FROM json_each(?))",
            (json.dumps(list(seqs)),),
        )
    )


def in_collection(db: Database, collection: CollectionSeq) -> list[int]:
    """The seqs of all chunks of a collection, in their order."""
    rows = db.rows(
        "SELECT c.seq FROM documents d JOIN document_chunks c ON c.document_seq = d.seq WHERE d.collection_seq = ?",
        (collection,),
    )
    return sorted(seq for (seq,) in rows)


def fingerprints(db: Database, collection: CollectionSeq) -> dict[str, list[str]]:
    """For each document that has chunks, by its id: their hashes in their order, in hexadecimal, with `+` where there is a vector."""
    found: dict[str, list[str]] = {}
    for document, hash_ in db.rows(
        "SELECT d.id, lower(hex(c.hash)) || iif(v.chunk_seq IS NULL, '', '+') FROM documents d"
        " JOIN document_chunks c ON c.document_seq = d.seq LEFT JOIN chunk_vectors v ON v.chunk_seq = c.seq"
        " WHERE d.collection_seq = ? ORDER BY d.seq, c.chunk_index",
        (collection,),
    ):
        found.setdefault(document, []).append(hash_)
    return found


def sampled_vectors(db: Database, collection: CollectionSeq, *, limit: int) -> list[bytes]:
    """About `limit` stored vectors of a collection, evenly from its oldest to its newest chunks."""
    [(count,)] = db.rows("SELECT coalesce(sum(chunk_count), 0) FROM documents WHERE collection_seq = ?", (collection,))
    rows = db.rows(
        "SELECT v.vector FROM chunk_vectors v JOIN document_chunks c ON c.seq = v.chunk_seq"
        " JOIN documents d ON d.seq = c.document_seq WHERE d.collection_seq = ? AND (c.seq * 7919) % ? < ?",
        (collection, max(count, 1), limit),
    )
    return [vector for (vector,) in rows]


def vectors_by_hash(db: Database, model: str, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
    """Vectors that chunks with the same text have already in collections of one model, by their hash."""
    rows = db.rows(
        "SELECT c.hash, v.vector FROM json_each(?) h JOIN document_chunks c ON c.hash = unhex(h.value)"
        " JOIN chunk_vectors v ON v.chunk_seq = c.seq JOIN documents d ON d.seq = c.document_seq"
        " JOIN collections l ON l.seq = d.collection_seq WHERE l.embedding_model = ?",
        (json.dumps([value.hex() for value in hashes]), model),
    )
    return dict(rows)


def without_vectors(db: Database, collection: CollectionSeq, *, after: int, limit: int) -> list[IndexedText]:
    """Chunks that have no vector, in the order of their seqs, from beyond `after`."""
    return _texts_without(db, "chunk_vectors", collection, after, limit)


def without_rerank_vectors(db: Database, collection: CollectionSeq, *, after: int, limit: int) -> list[IndexedText]:
    """Chunks that have no vector to be ranked again by, in the order of their seqs, from beyond `after`."""
    return _texts_without(db, "rerank_vectors", collection, after, limit)


def texts_of(db: Database, seqs: Sequence[int]) -> list[IndexedText]:
    """What is embedded of some chunks."""
    rows = db.rows(
        "SELECT c.seq, d.title, c.heading, c.content FROM document_chunks c JOIN documents d ON d.seq = c.document_seq"
        " WHERE c.seq IN (SELECT value FROM json_each(?)) ORDER BY c.seq",
        (json.dumps(list(seqs)),),
    )
    return [IndexedText(*row) for row in rows]


def add_rerank_vectors(db: Database, rows: Iterable[tuple[int, bytes]]) -> None:
    """Store (seq, float16 vector) rows of the reranker, inside the caller's transaction; chunks that are gone are
    left out.
    """
    db.execute_many(
        "INSERT OR IGNORE INTO rerank_vectors (chunk_seq, vector) SELECT seq, ?2 FROM document_chunks WHERE seq = ?1",
        rows,
    )


def rerank_vectors_of(db: Database, seqs: Sequence[int]) -> dict[int, bytes]:
    """The reranker's vectors by seq."""
    return dict(
        db.rows(
            "SELECT chunk_seq, vector FROM rerank_vectors WHERE chunk_seq IN (SELECT value FROM json_each(?))",
            (json.dumps(list(seqs)),),
        )
    )


def rerank_vectors_by_hash(db: Database, hashes: Sequence[str]) -> dict[str, bytes]:
    """The reranker's vectors of chunks by the hash of what is embedded of them, in hexadecimal; others are left out."""
    rows = db.rows(
        "SELECT h.value, v.vector FROM json_each(?) h JOIN document_chunks c ON c.hash = unhex(h.value)"
        " JOIN rerank_vectors v ON v.chunk_seq = c.seq",
        (json.dumps(list(hashes)),),
    )
    return dict(rows)


def count_without_rerank_vectors(db: Database, collection: CollectionSeq) -> int:
    """How many chunks have no vector to be ranked again by."""
    [(count,)] = db.rows(
        "SELECT count(*) FROM documents d JOIN document_chunks c ON c.document_seq = d.seq"
        " LEFT JOIN rerank_vectors v ON v.chunk_seq = c.seq WHERE d.collection_seq = ? AND v.chunk_seq IS NULL",
        (collection,),
    )
    return int(count)


def _texts_without(db: Database, table: str, collection: CollectionSeq, after: int, limit: int) -> list[IndexedText]:
    rows = db.rows(
        "SELECT c.seq, d.title, c.heading, c.content FROM document_chunks c JOIN documents d ON d.seq = c.document_seq"  # noqa: S608
        f" LEFT JOIN {table} v ON v.chunk_seq = c.seq"
        " WHERE d.collection_seq = ? AND c.seq > ? AND v.chunk_seq IS NULL ORDER BY c.seq LIMIT ?",
        (collection, after, limit),
    )
    return [IndexedText(*row) for row in rows]
