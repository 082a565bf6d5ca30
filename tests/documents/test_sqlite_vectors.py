"""The vectors in SQLite: the contract, flat and in clusters, and what may happen to the index."""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from aichat_cli.core.errors import StorageError
from aichat_cli.documents import sqlite_vectors
from aichat_cli.documents.quantising import quantised
from aichat_cli.documents.sqlite_vectors import SqliteVectors, is_complete, mend
from aichat_cli.storage import chunks, collections, vectors
from aichat_cli.storage.database import Database
from tests.documents.vector_contract import Shelf, VectorContract
from tests.documents.vector_rows import clustered_vectors, collection, filled, new_chunks, opened, random_vectors
from tests.storage.support import finish, first_line, kill, start

ADD_AND_REMOVE = """
import sys
from pathlib import Path
from tests.documents.vector_rows import filled, opened, random_vectors
store = opened(Path(sys.argv[1]))
database, where = store._database, store._collection
print("ready", flush=True)
for number in range(30):
    seqs = filled(database, where, store, random_vectors(20, 32, seed=100 + number))
    with database.transaction():
        store.remove(seqs[:5])
"""
MAINTAIN = """
import sys
from pathlib import Path
from aichat_cli.documents import index_building
from tests.documents.vector_rows import opened
index_building.READ_TOGETHER, index_building.WRITTEN_TOGETHER = 300, 15
store = opened(Path(sys.argv[1]))
print("ready", flush=True)
store.maintain()
"""


class TestFlat(VectorContract):
    """Every vector is compared."""

    def shelf(self, dimensions: int) -> Shelf:
        database = Database.in_memory()
        where = collection(database, dimensions)
        return Shelf(database, where, SqliteVectors(database, where))


class TestInClusters(VectorContract):
    """Clusters from the first vectors on, all of which are looked into only where there are few."""

    def shelf(self, dimensions: int) -> Shelf:
        database = Database.in_memory()
        where = collection(database, dimensions)
        return Shelf(database, where, SqliteVectors(database, where, flat_limit=1, probes=32, compared=0))

    def settle(self, shelf: Shelf) -> None:
        super().settle(shelf)
        has_clusters = vectors.searched(shelf.database, shelf.collection.seq).has_clusters
        assert has_clusters or shelf.store.count() <= 1 or not shelf.store.count()

    def test_a_cluster_that_has_nearly_everything_gives_all_of_it(self) -> None:
        shelf = self.shelf(4)
        alike = np.tile(np.array([[1, 0, 0, 0]], np.float32), (150, 1))
        seqs = shelf.fill(np.concatenate((alike, np.eye(4, dtype=np.float32)[1:])))
        self.settle(shelf)
        assert {each.chunk_seq for each in shelf.store.nearest(alike[:1], 120)} <= set(seqs[:150])
        assert len(shelf.store.nearest(alike[:1], 120)) == 120


@pytest.fixture(scope="module")
def flat_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a collection of 1,500 vectors in a flat index."""
    path = tmp_path_factory.mktemp("flat") / "aichat.db"
    with Database.open(path) as database:
        where = collection(database, 32)
        filled(database, where, SqliteVectors(database, where), clustered_vectors(1_500))
    return path


@pytest.fixture(scope="module")
def clustered_file(flat_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in clusters."""
    path = tmp_path_factory.mktemp("clustered") / "aichat.db"
    shutil.copy(flat_file, path)
    store = opened(path)
    store.maintain()
    store._database.close()
    return path


@pytest.fixture
def path(flat_file: Path, tmp_path: Path) -> Path:
    """A copy of the flat one."""
    return Path(shutil.copy(flat_file, tmp_path / "aichat.db"))


@pytest.fixture
def store(path: Path) -> Iterator[SqliteVectors]:
    """That collection, which has outgrown its index."""
    opened_store = opened(path)
    yield opened_store
    opened_store._database.close()


def index_of(database: Database) -> vectors.VectorIndex:
    return vectors.searched(database, collections.get(database, "default").seq)


def require_sound(path: Path) -> None:
    """Every stored vector is in the index, nothing else is, and each is found by itself."""
    with Database.open(path) as database:
        where = collections.get(database, "default")
        assert is_complete(database, where)
        stored = chunks.vectors_of(database, chunks.in_collection(database, where.seq))
        index = index_of(database)
        assert {row[0] for row in database.rows(f"SELECT rowid FROM {index.table}_rowids")} == set(stored)
        database.load_vector_extension()
        for seq, vector in database.rows(f"SELECT rowid, vector FROM {index.table}"):
            expected = quantised(sqlite_vectors.unpacked(stored[seq])[None])[0]
            # Vectors are rounded to float16 as they are stored.
            assert np.abs(np.frombuffer(vector, np.int8).astype(int) - expected).max() <= 1
        searching = SqliteVectors(database, where)
        for vector in list(stored.values())[::97]:
            query = sqlite_vectors.unpacked(vector)[None]
            assert searching.nearest(query, 1)[0].similarity == pytest.approx(1, abs=1e-2)


def test_a_collection_that_grows_gets_clusters_and_new_ones_when_it_has_doubled(
    path: Path, store: SqliteVectors
) -> None:
    database, where = store._database, store._collection
    flat = index_of(database)
    store.maintain()
    first = index_of(database)
    filled(database, where, store, clustered_vectors(1_000, seed=2))
    store.maintain()
    assert index_of(database) == first
    filled(database, where, store, clustered_vectors(600, seed=3))
    store.maintain()
    second = index_of(database)
    assert [flat.trained_on, first.trained_on, second.trained_on] == [0, 1_500, 3_100]
    tables = {name for (name,) in database.rows("SELECT name FROM sqlite_schema WHERE name GLOB 'chunk_vectors_*'")}
    assert all(name.startswith(second.table) for name in tables)
    require_sound(path)


def test_a_look_up_of_a_cluster_uses_its_index(store: SqliteVectors) -> None:
    store.maintain()
    index = index_of(store._database)
    [plan] = store._database.rows(
        f"EXPLAIN QUERY PLAN SELECT chunk_id, validity, rowids FROM {index.table}_chunks WHERE partition00 = 1"
    )
    assert f"{index.table}_by_cluster" in plan[-1]


def test_the_own_tables_of_an_index_stay_protected(store: SqliteVectors) -> None:
    store.maintain()
    with pytest.raises(StorageError):
        store._database.execute(f"DELETE FROM {index_of(store._database).table}_rowids")


def test_an_index_full_of_empty_places_is_made_anew(store: SqliteVectors, monkeypatch: pytest.MonkeyPatch) -> None:
    from aichat_cli.documents import index_building

    monkeypatch.setattr(index_building, "SPARSE_FROM", 200)
    database = store._database
    seqs = chunks.in_collection(database, store._collection.seq)
    with database.transaction():
        store.remove([seq for place, seq in enumerate(seqs) if place % 50])
    before = index_of(database)
    store.maintain()
    assert index_of(database).seq != before.seq
    assert vectors.room(database, index_of(database)) < 300
    assert store.count() == 30


def test_ten_thousand_vectors_are_removed_in_a_moment(tmp_path: Path) -> None:
    with Database.open(tmp_path / "aichat.db") as database:
        where = collection(database, 64)
        store = SqliteVectors(database, where)
        seqs = filled(database, where, store, random_vectors(10_000, 64))
        began = time.process_time()
        with database.transaction():
            store.remove(seqs)
        assert time.process_time() - began < 3
        assert store.count() == 0


LOST = [
    "DROP TABLE {table}",
    "DROP TABLE {table}_rowids",
    "DROP TABLE {table}_chunks",
    "DROP TABLE {table}_vector_chunks00",
    "DELETE FROM vector_indexes",
]
"""In these sqlite-vec crashes the process, or fails."""
DAMAGED = [
    "DELETE FROM {table}_vector_chunks00 WHERE rowid = 1",
    "DELETE FROM {table}_rowids WHERE rowid % 10 = 0",
    "UPDATE {table}_chunks SET validity = x'00'",
]


def damaged(path: Path, sql: str) -> Path:
    """Do to the index what only a broken program or disk does."""
    with Database.open(path) as database:
        database.load_vector_extension()
        database.change_shadow_tables(sql.format(table=index_of(database).table))
    return path


@pytest.mark.parametrize("kind", ["flat_file", "clustered_file"])
@pytest.mark.parametrize("damage", [*LOST, *DAMAGED])
def test_a_damaged_index_is_seen_and_made_anew(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, damage: str
) -> None:
    path = damaged(Path(shutil.copy(request.getfixturevalue(kind), tmp_path / "aichat.db")), damage)
    with Database.open(path) as database:
        where = collections.get(database, "default")
        assert not is_complete(database, where)
        assert mend(database, where)
        assert not mend(database, where)
        [index] = vectors.of_collection(database, where.seq)
        assert index.has_clusters == (kind == "clustered_file" and damage != LOST[-1])
    require_sound(path)


@pytest.mark.parametrize("damage", LOST)
def test_search_and_ingest_mend_an_index_that_is_lost(clustered_file: Path, tmp_path: Path, damage: str) -> None:
    path = damaged(Path(shutil.copy(clustered_file, tmp_path / "aichat.db")), damage)
    searching = opened(path)
    assert searching.nearest(clustered_vectors(1_500)[:1], 1)[0].similarity == pytest.approx(1, abs=1e-2)
    damaged(path, damage)
    late = random_vectors(3, 32, seed=7)
    seqs = filled(searching._database, searching._collection, searching, late)
    assert [each.chunk_seq for each in searching.nearest(late[:1], 1)] == seqs[:1]
    damaged(path, damage)
    with searching._database.transaction():
        searching.remove(seqs)
    searching._database.close()
    require_sound(path)


@pytest.mark.parametrize("damage", [*LOST, "DELETE FROM {table}_vector_chunks00"])
def test_a_damaged_index_that_cannot_be_written_is_an_error(clustered_file: Path, tmp_path: Path, damage: str) -> None:
    path = damaged(Path(shutil.copy(clustered_file, tmp_path / "aichat.db")), damage)
    with Database.open(path, read_only=True) as database:
        store = SqliteVectors(database, collections.get(database, "default"))
        with pytest.raises(StorageError, match="damaged or lost") as caught:
            store.nearest(random_vectors(1), 1)
    assert caught.value.hint == "Run: aichat docs reindex --collection default"


def test_a_damaged_collection_can_be_removed(path: Path) -> None:
    with Database.open(damaged(path, LOST[1])) as database:
        collections.remove(database, collections.get(database, "default"))
        assert database.rows("SELECT name FROM sqlite_schema WHERE name GLOB 'chunk_vectors_*'") == []


def test_a_query_of_other_dimensions_is_an_error_and_changes_nothing(store: SqliteVectors) -> None:
    before = index_of(store._database)
    with pytest.raises(StorageError):
        store.nearest(random_vectors(1, 16), 1)
    assert index_of(store._database) == before


def test_two_processes_add_while_one_makes_the_index_and_one_searches(path: Path) -> None:
    adding = [start(ADD_AND_REMOVE, path) for _ in range(2)]
    assert [first_line(process) for process in adding] == ["ready", "ready"]
    maintaining = start(MAINTAIN, path)
    known = clustered_vectors(1_500)
    searching = opened(path)
    while any(process.poll() is None for process in [*adding, maintaining]):
        for row in range(0, 1_500, 300):
            assert searching.nearest(known[row : row + 1], 1)[0].similarity == pytest.approx(1, abs=1e-2)
    for process in [*adding, maintaining]:
        finish(process)
    assert searching.count() == 1_500 + 2 * 30 * 15
    assert index_of(searching._database).has_clusters
    searching._database.close()
    require_sound(path)


def test_what_is_added_and_removed_while_the_index_is_made_is_so_in_the_new_one(path: Path) -> None:
    process = start(MAINTAIN, path)
    wait_until_filling(path)
    store = opened(path)
    database, where = store._database, store._collection
    known = chunks.in_collection(database, where.seq)
    changed = random_vectors(100, 32, seed=11)
    overlapped = 0
    for number in range(0, 100, 10):
        with database.transaction():
            overlapped += len(vectors.of_collection(database, where.seq)) == 2
            again = known[number * 15 : number * 15 + 10]
            store.remove(known[number * 15 : number * 15 + 20])
            store.add(again, changed[number : number + 10])
            store.add(new_chunks(database, where, 10), changed[number : number + 10])
    finish(process)
    assert overlapped > 1
    assert store.count() == 1_500
    assert index_of(database).has_clusters
    database.close()
    require_sound(path)


def test_only_one_of_several_threads_makes_the_index(path: Path) -> None:
    stores = [opened(path) for _ in range(3)]
    failures: list[BaseException] = []
    threads = [threading.Thread(target=recorded(store.maintain, failures)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    [(made,)] = stores[0]._database.rows("SELECT seq FROM sqlite_sequence WHERE name = 'vector_indexes'")
    for store in stores:
        store._database.close()
    assert made <= 4
    require_sound(path)


def recorded(work: Callable[[], None], failures: list[BaseException]) -> Callable[[], None]:
    """`work` with its exceptions kept."""

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    return run


def test_killed_at_any_moment_of_making_the_index_nothing_is_lost(path: Path, flat_file: Path) -> None:
    chance = random.Random(4)
    half_filled = 0
    for number in range(4):
        process = start(MAINTAIN, path)
        assert first_line(process) == "ready"
        if number:
            wait_until_filling(path)
        time.sleep(chance.uniform(0, 0.1))
        kill(process)
        require_sound(path)
        store = opened(path)
        indexes = vectors.of_collection(store._database, store._collection.seq)
        half_filled += len(indexes) == 2
        late = random_vectors(5, 32, seed=number)
        seqs = filled(store._database, store._collection, store, late)
        assert [store.nearest(vector[None], 1)[0].chunk_seq for vector in late] == seqs
        store.maintain()
        [index] = vectors.of_collection(store._database, store._collection.seq)
        assert index.has_clusters
        assert store.count() == 1_505
        store._database.close()
        require_sound(path)
        for old in path.parent.glob("aichat.db*"):
            old.unlink()
        shutil.copy(flat_file, path)
    assert half_filled


def wait_until_filling(path: Path) -> None:
    """Until a second index is there, or the first was exchanged."""
    with Database.open(path) as database:
        deadline = time.monotonic() + 30
        while database.rows("SELECT max(seq) FROM vector_indexes") == [(1,)]:
            assert time.monotonic() < deadline
            time.sleep(0.002)


def test_an_index_that_was_left_half_filled_is_cleared_away(path: Path, store: SqliteVectors) -> None:
    database, where = store._database, store._collection
    centres = np.eye(32, dtype="<f4").tobytes()
    with database.transaction():
        vectors.create(database, where.seq, 32, centroids=centres, trained_on=1, is_searched=False)
    seqs = filled(database, where, store, random_vectors(2, seed=8))
    store.maintain()
    [index] = vectors.of_collection(database, where.seq)
    assert index.trained_on == 1_502
    assert set(seqs) <= {row[0] for row in database.rows(f"SELECT rowid FROM {index.table}_rowids")}
    require_sound(path)


def test_the_model_may_change_while_the_index_is_made(store: SqliteVectors) -> None:
    database = store._database
    with database.transaction():
        collections.set_embedding(database, store._collection, model="other", dimensions=8)
    store.maintain()
    now = collections.get(database, "default")
    assert SqliteVectors(database, now).nearest(random_vectors(1, 8), 1) == []
