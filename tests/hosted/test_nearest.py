"""`match_user_documents` on real Postgres: who is given what, and how many of the truly nearest, small beside large."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
import pytest

from aichat_cli.documents.embedding.base import Matrix
from tests.documents.vector_rows import clustered_vectors, random_vectors, unit
from tests.hosted.database import SCHEMA, template
from tests.hosted.library import hosted, new_user, upload_vectors, vector_text
from tests.servers.postgres import Cluster, connect

DIMENSIONS = 32
SIZES = {"large": 10_000, "small": 200, "just below": 20_000, "just above": 20_001}
TENANTS = {name: UUID(int=number) for number, name in enumerate(SIZES, 1)}
MATCH = "SELECT chunk_id, similarity FROM match_user_documents(%s, %s, %s, %s)"
PLAIN = """
SELECT id FROM document_chunks WHERE user_id = %s AND vector_dims(embedding) = 32
ORDER BY embedding::halfvec(32) <=> %s::halfvec(32) LIMIT 5
"""
Connection = psycopg.Connection[Any]


def vectors_of(name: str) -> Matrix:
    """What a tenant has: the same topics for all of them."""
    return clustered_vectors(SIZES[name], DIMENSIONS, seed=0).astype(np.float16).astype(np.float32)


@contextmanager
def tenants(cluster: Cluster, *names: str) -> Iterator[Connection]:
    """A database with some tenants, and the index that their vectors share, as its owner."""
    with hosted(cluster) as connection:
        for name in names:
            connection.execute("INSERT INTO auth.users (id) VALUES (%s)", (TENANTS[name],))
            upload_vectors(connection, TENANTS[name], vectors_of(name))
        connection.execute("SELECT aichat.index_embeddings(%s)", (DIMENSIONS,))
        connection.execute("ANALYZE document_chunks")
        yield connection


def questions() -> Matrix:
    return unit(clustered_vectors(40, DIMENSIONS, seed=0) + random_vectors(40, DIMENSIONS, seed=1) / 5)


def recall(connection: Connection, name: str, sql: str | None = None) -> float:
    """Which part of the truly nearest five are found, on average."""
    ids = [row[0] for row in connection.execute(
        "SELECT id FROM document_chunks WHERE user_id = %s ORDER BY chunk_index", (TENANTS[name],)
    )]  # fmt: skip
    vectors = vectors_of(name)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    shares = []
    for question in questions():
        text = vector_text(question)
        if sql is None:
            found = connection.execute(MATCH, (text, TENANTS[name], 5, -1)).fetchall()
        else:
            found = connection.execute(sql.encode(), (TENANTS[name], text)).fetchall()
        best = {ids[place] for place in np.argsort(-(vectors @ question), kind="stable")[:5]}
        shares.append(len({row[0] for row in found} & best) / 5)
    return float(np.mean(shares))


def test_a_small_tenant_beside_a_large_one_gets_5_of_5(postgres: Cluster) -> None:
    with tenants(postgres, "large", "small") as connection:
        # A plain index does not do that here: it gives up among the chunks of the others.
        connection.execute("SET enable_seqscan = off; SET enable_sort = off; SET hnsw.iterative_scan = off")
        assert recall(connection, "small", PLAIN) < 0.9
        assert recall(connection, "small") == 1
        assert recall(connection, "large") == 1


def test_up_to_20000_chunks_all_are_compared_and_above_the_index_is_used(postgres18: Cluster) -> None:
    with tenants(postgres18, "just below", "just above") as connection:
        assert recall(connection, "just below") == 1
        assert recall(connection, "just above") >= 0.95
        # With an index that finds next to nothing it shows who asks it.
        connection.execute("SET maintenance_work_mem = '256MB'; DROP INDEX document_chunks_nearest_32")
        connection.execute(
            "CREATE INDEX document_chunks_nearest_32 ON document_chunks USING hnsw ((embedding::halfvec(32))"
            " halfvec_cosine_ops) WITH (m = 2, ef_construction = 4) WHERE vector_dims(embedding) = 32"
        )
        assert recall(connection, "just below") == 1
        assert recall(connection, "just above") < 0.9
        # With little memory it gives up before it has found many: then all are compared.
        connection.execute("SET work_mem = '64kB'")
        many = connection.execute(MATCH, (vector_text(questions()[0]), TENANTS["just above"], 900, -1)).fetchall()
        assert len({row[0] for row in many}) == 900
        connection.execute("RESET work_mem")
        # Without one all are compared.
        connection.execute("DROP INDEX document_chunks_nearest_32")
        assert recall(connection, "just above") == 1


def test_cosines_are_those_of_numpy_and_the_threshold_holds(postgres: Cluster) -> None:
    vectors = random_vectors(300, 384)
    with hosted(postgres) as connection:
        user = new_user(connection)
        ids = upload_vectors(connection, user, 3 * vectors)
        expected = dict(zip(ids, (vectors @ vectors[0]).tolist(), strict=True))
        found = connection.execute(MATCH, (vector_text(vectors[0]), user, 500, -2)).fetchall()
        assert len(found) == 300
        assert [row[1] for row in found] == sorted((row[1] for row in found), reverse=True)
        for chunk_id, similarity in found:
            assert similarity == pytest.approx(expected[chunk_id], abs=2e-3)
        above = connection.execute(MATCH, (vector_text(vectors[0]), user, 500, 0.1)).fetchall()
        assert above == [row for row in found if row[1] >= 0.1]
        assert connection.execute(
            "SELECT chunk_id FROM match_user_documents(%s, %s)", (vector_text(vectors[0]), user)
        ).fetchall() == [(ids[0],)]


def test_vectors_that_half_precision_cannot_tell_apart_are_ranked_exactly(postgres: Cluster) -> None:
    near = unit(random_vectors(1, 16) + random_vectors(600, 16, seed=1) / 50)
    stored = near.astype(np.float16).astype(np.float64)
    with hosted(postgres) as connection:
        user = new_user(connection)
        ids = upload_vectors(connection, user, near)
        for query in unit(random_vectors(1, 16) + random_vectors(20, 16, seed=2) / 50):
            found = connection.execute(MATCH, (vector_text(query), user, 5, -1)).fetchall()
            cosines = stored @ query / np.linalg.norm(stored, axis=1) / np.linalg.norm(query)
            best = np.sort(cosines)[::-1][:5]
            assert [row[1] for row in found] == pytest.approx(best, abs=2e-7)
            assert [cosines[ids.index(row[0])] for row in found] == pytest.approx(best, abs=2e-7)


def test_equal_vectors_come_in_the_order_of_their_chunks_and_zeros_never(postgres: Cluster) -> None:
    vectors = np.repeat(random_vectors(1, 8), 200, axis=0)
    vectors[::4] = 0
    with hosted(postgres) as connection:
        user = new_user(connection)
        ids = upload_vectors(connection, user, vectors)
        # The older lie behind the newer ones.
        connection.execute("UPDATE document_chunks SET line = 2 WHERE user_id = %s AND id <= %s", (user, ids[100]))
        found = connection.execute(MATCH, (vector_text(vectors[1]), user, 7, -1)).fetchall()
        assert [row[0] for row in found] == [chunk_id for place, chunk_id in enumerate(ids) if place % 4][:7]
        assert len(connection.execute(MATCH, (vector_text(vectors[1]), user, 999, -1)).fetchall()) == 150
        assert connection.execute(MATCH, (vector_text(vectors[0]), user, 7, -1)).fetchall() == []


def test_only_vectors_of_the_same_dimensions_and_model_are_compared(postgres: Cluster) -> None:
    with hosted(postgres) as connection:
        user = new_user(connection)
        of_model: Mapping[tuple[int, str], list[int]] = {
            key: upload_vectors(connection, user, random_vectors(5, key[0]), key[1])
            for key in ((8, "one"), (8, "other"), (9, "one"), (3072, "huge"))
        }
        text = vector_text(random_vectors(1, 8)[0])
        found = connection.execute(MATCH, (text, user, 99, -1)).fetchall()
        assert {row[0] for row in found} == {*of_model[8, "one"], *of_model[8, "other"]}
        nearest = connection.execute(
            "SELECT chunk_id FROM aichat.nearest_chunks(%s, 'default', 'one', %s, 99)", (user, text)
        )
        assert {row[0] for row in nearest} == set(of_model[8, "one"])
        connection.execute("SELECT aichat.index_embeddings(3072)")
        huge = connection.execute(MATCH, (vector_text(random_vectors(1, 3072)[0]), user, 9, -1)).fetchall()
        assert {row[0] for row in huge} == set(of_model[3072, "huge"])


def test_who_is_signed_in_may_only_ask_for_themselves(supabase: Cluster) -> None:
    with supabase.database(template(supabase)) as dsn, connect(dsn) as owner:
        mine, other = new_user(owner), new_user(owner)
        vectors = random_vectors(3, 8)
        for user in (mine, other):
            upload_vectors(owner, user, vectors)
        text = vector_text(vectors[0])

        def found(connection: Connection, user: UUID | None) -> int:
            return len(connection.execute(MATCH, (text, user, 9, -1)).fetchall())

        assert (found(owner, mine), found(owner, other)) == (3, 3)
        with connect(dsn, "authenticated", str(mine)) as connection:
            assert (found(connection, mine), found(connection, other), found(connection, None)) == (3, 0, 0)
            [(told,)] = connection.execute("SELECT search_user_documents('{x}')").fetchall()
            [(ids,)] = owner.execute("SELECT array_agg(id) FROM document_chunks WHERE user_id = %s", (mine,)).fetchall()
            assert {each["chunk_id"] for each in told["candidates"]} == set(ids)
        with connect(dsn, "authenticated") as connection:
            assert (found(connection, mine), found(connection, None)) == (0, 0)
            [(told,)] = connection.execute("SELECT search_user_documents('{x}')").fetchall()
            assert told == {"chunks": 0, "models": [], "frequencies": [0], "candidates": []}


def test_the_schema_can_be_applied_again_over_a_library(postgres18: Cluster) -> None:
    with hosted(postgres18) as connection:
        user = new_user(connection)
        vectors = random_vectors(3, 8)
        upload_vectors(connection, user, vectors)
        connection.execute(SCHEMA.encode())
        assert len(connection.execute(MATCH, (vector_text(vectors[0]), user, 9, -1)).fetchall()) == 3


def test_the_types_of_vectors_may_be_in_a_schema_of_their_own(supabase18: Cluster) -> None:
    vectors = random_vectors(3, 8)
    with supabase18.database(template(supabase18)) as dsn:
        with connect(dsn) as owner:
            user = new_user(owner)
            ids = upload_vectors(owner, user, vectors)
            found = "SELECT chunk_id FROM match_user_documents(%s, %s)", (vector_text(vectors[1]), user)
            assert owner.execute(*found).fetchall() == [(ids[1],)]
        with connect(dsn, "authenticated", str(user)) as connection:
            assert connection.execute(*found).fetchall() == [(ids[1],)]
            connection.execute("SET search_path = ''")
            [(told,)] = connection.execute(
                "SELECT public.search_user_documents('{x}', %s, 'any')",
                (vector_text(vectors[1]),),
            ).fetchall()
            assert {each["chunk_id"] for each in told["candidates"]} == set(ids)
            assert max(told["candidates"], key=lambda each: each["similarity"])["chunk_id"] == ids[1]
