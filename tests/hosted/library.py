"""Documents on a hosted database, put there as sync stores them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import numpy as np
import psycopg

from aichat_cli.documents.embedding.base import Matrix
from aichat_cli.documents.quantising import unpacked
from aichat_cli.storage.database import Database
from tests.hosted.database import template
from tests.servers.postgres import Cluster, connect

_DOCUMENT = """
INSERT INTO documents (user_id, id, seq, stamp, collection, name, path, title, media_type, created_at, updated_at)
VALUES (%s, %s, (SELECT coalesce(max(seq), 0) + 1 FROM documents WHERE user_id = %s), '', %s, %s, %s, %s, '', now(), now())
"""
_CHUNK = """
INSERT INTO document_chunks (user_id, document_id, collection, chunk_index, content, heading, start_char, end_char, line,
  page, token_count, hash, embedding_model, embedding, words)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::halfvec, aichat.words_of(%s, %s, %s))
"""


class Counted:
    """A connection that counts what it is asked."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        self.round_trips = 0

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a statement."""
        self.round_trips += 1
        return self.connection.execute(sql.encode(), parameters).fetchall()

    def close(self) -> None:
        """End it."""
        self.connection.close()


@contextmanager
def hosted(cluster: Cluster) -> Iterator[psycopg.Connection[Any]]:
    """An empty hosted database, as its owner."""
    with cluster.database(template(cluster)) as dsn, connect(dsn) as connection:
        yield connection


def new_user(connection: psycopg.Connection[Any]) -> UUID:
    """A user with nothing."""
    [(user,)] = connection.execute("INSERT INTO auth.users (id) VALUES (gen_random_uuid()) RETURNING id").fetchall()
    return UUID(str(user))


def upload(database: Database, connection: psycopg.Connection[Any], user: UUID) -> None:
    """Everything a local database has of documents."""
    with connection.transaction():
        for document in database.rows(
            "SELECT d.id, l.name, d.name, d.path, d.title FROM documents d JOIN collections l ON l.seq = d.collection_seq"
        ):
            connection.execute(_DOCUMENT, (user, document[0], user, *document[1:]))
        for document_id, name, title, vector, model, *chunk in database.rows(
            "SELECT d.id, l.name, d.title, v.vector, iif(v.vector IS NULL, NULL, l.embedding_model), c.chunk_index, c.content, c.heading, c.start_char,"
            " c.end_char, c.line, c.page, c.token_count, lower(hex(c.hash)) FROM document_chunks c"
            " JOIN documents d ON d.seq = c.document_seq JOIN collections l ON l.seq = d.collection_seq"
            " LEFT JOIN chunk_vectors v ON v.chunk_seq = c.seq ORDER BY c.seq"
        ):
            embedding = None if vector is None else vector_text(unpacked(vector))
            connection.execute(_CHUNK, (user, document_id, name, *chunk, model, embedding, title, chunk[2], chunk[1]))


def upload_vectors(connection: psycopg.Connection[Any], user: UUID, vectors: Matrix, model: str = "any") -> list[int]:
    """A document with a chunk for each vector; their ids, in the same order."""
    [(document,)] = connection.execute("SELECT gen_random_uuid()").fetchall()
    connection.execute(_DOCUMENT, (user, document, user, "default", "d", f"/{document}", None))
    connection.execute("CREATE TEMPORARY TABLE arriving (place integer, embedding text)")
    with connection.cursor() as cursor, cursor.copy("COPY arriving FROM STDIN") as copy:
        for place, vector in enumerate(vectors.astype(np.float16)):
            copy.write_row((place, vector_text(vector)))
    rows = connection.execute(
        "INSERT INTO document_chunks (user_id, document_id, collection, chunk_index, content, start_char, end_char, line,"
        " token_count, hash, embedding_model, embedding, words) SELECT %s, %s, 'default', place, 'x', 0, 1, 1, 1, '', %s,"
        " embedding::halfvec, (SELECT aichat.words_of(NULL, '', 'x')) FROM arriving ORDER BY place RETURNING id",
        (user, document, model),
    ).fetchall()
    connection.execute("DROP TABLE arriving")
    return [chunk_id for (chunk_id,) in rows]


def vector_text(vector: Matrix) -> str:
    """A vector as Postgres reads it."""
    return f"[{','.join(map(repr, vector.tolist()))}]"
