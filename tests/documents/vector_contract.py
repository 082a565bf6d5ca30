"""What every store of vectors keeps. A test class of a store inherits it and makes the stores."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aichat_cli.core.documents import Collection
from aichat_cli.documents.embedding.base import Matrix
from aichat_cli.documents.vectors import VectorStore
from aichat_cli.storage.database import Database
from tests.documents.vector_rows import (
    clustered_vectors,
    filled,
    nearest_of_all,
    new_chunks,
    random_vectors,
    unit,
)

COORDINATE = st.integers(-3, 3)


@dataclass(frozen=True, slots=True)
class Shelf:
    """A store, and the collection and the database that its chunks are in."""

    database: Database
    collection: Collection
    store: VectorStore

    def fill(self, vectors: Matrix) -> list[int]:
        """Add vectors of new chunks."""
        seqs = filled(self.database, self.collection, self.store, vectors)
        self.store.settle()
        return seqs

    def remove(self, seqs: list[int]) -> None:
        """Take vectors out."""
        with self.database.transaction():
            self.store.remove(seqs)
        self.store.settle()

    def found(self, query: Matrix, limit: int) -> list[int]:
        """The seqs of the nearest."""
        return [neighbour.chunk_seq for neighbour in self.store.nearest(query, limit)]


class VectorContract:
    """The tests. `prepared` vectors are in the store before each, far more than a flat index where that differs."""

    @abstractmethod
    def shelf(self, dimensions: int) -> Shelf:
        """An empty store, ready for use."""

    def settle(self, shelf: Shelf) -> None:
        """Bring the store into the state that is tested."""
        shelf.store.maintain()

    def test_an_empty_store_finds_nothing(self) -> None:
        shelf = self.shelf(8)
        self.settle(shelf)
        assert shelf.store.nearest(random_vectors(1, 8), 5) == []
        assert shelf.store.count() == 0

    @pytest.mark.parametrize("dimensions", [8, 256, 384, 1536, 3072])
    def test_the_nearest_come_first_with_their_cosines(self, dimensions: int) -> None:
        shelf = self.shelf(dimensions)
        vectors = random_vectors(120, dimensions)
        seqs = shelf.fill(vectors)
        self.settle(shelf)
        query = unit(vectors[:1] + vectors[1:2] / 2)
        found = shelf.store.nearest(query, 3)
        assert [each.chunk_seq for each in found] == nearest_of_all(seqs, vectors, query, 3)
        for each in found:
            assert each.similarity == pytest.approx(float(vectors[seqs.index(each.chunk_seq)] @ query[0]), abs=2e-3)

    def test_of_clustered_vectors_95_of_100_of_the_nearest_are_found(self) -> None:
        shelf = self.shelf(32)
        vectors = clustered_vectors(3_000)
        seqs = shelf.fill(vectors)
        self.settle(shelf)
        queries = unit(vectors[:40] + random_vectors(40, seed=1) / 10)
        shares = [
            len(set(shelf.found(query, 10)) & set(nearest_of_all(seqs, vectors, query, 10))) / 10
            for query in queries[:, None, :]
        ]
        assert np.mean(shares) >= 0.95

    def test_more_than_there_are_is_all_there_are(self) -> None:
        shelf = self.shelf(8)
        seqs = shelf.fill(clustered_vectors(7, 8))
        self.settle(shelf)
        assert sorted(shelf.found(random_vectors(1, 8), 10_000)) == seqs

    def test_zero_vectors_are_left_out(self) -> None:
        shelf = self.shelf(8)
        vectors = random_vectors(3, 8)
        vectors[1] = 0
        seqs = shelf.fill(vectors)
        shelf.fill(np.zeros((2, 8), np.float32))
        self.settle(shelf)
        assert sorted(shelf.found(random_vectors(1, 8), 9)) == [seqs[0], seqs[2]]
        assert shelf.store.count() == 2

    def test_equal_vectors_are_all_found_in_the_order_of_their_chunks(self) -> None:
        shelf = self.shelf(8)
        seqs = shelf.fill(np.repeat(random_vectors(1, 8), 30, axis=0))
        self.settle(shelf)
        assert shelf.found(random_vectors(1, 8), 30) == seqs

    def test_what_is_removed_is_not_found_and_can_be_added_again(self) -> None:
        shelf = self.shelf(8)
        vectors = random_vectors(200, 8)
        seqs = shelf.fill(vectors)
        self.settle(shelf)
        shelf.remove([*seqs[:50], max(seqs) + 1])
        assert shelf.store.count() == 150
        assert not set(shelf.found(vectors[:1], 150)) & set(seqs[:50])
        with shelf.database.transaction():
            shelf.store.add(seqs[:50], vectors[:50])
        shelf.store.settle()
        assert shelf.found(vectors[:1], 1) == seqs[:1]
        shelf.remove(seqs)
        assert shelf.store.nearest(vectors[:1], 5) == []

    def test_what_is_added_after_the_index_was_made_is_found(self) -> None:
        shelf = self.shelf(16)
        shelf.fill(clustered_vectors(200, 16))
        self.settle(shelf)
        late = random_vectors(60, 16, seed=9)
        seqs = shelf.fill(late)
        assert [shelf.found(query, 1) for query in late[:, None, :]] == [[seq] for seq in seqs]

    def test_a_change_that_is_undone_leaves_nothing(self) -> None:
        shelf = self.shelf(8)
        vectors = random_vectors(150, 8)
        seqs = shelf.fill(vectors)
        self.settle(shelf)
        with pytest.raises(ZeroDivisionError), shelf.database.transaction():
            shelf.store.remove(seqs)
            shelf.store.add(new_chunks(shelf.database, shelf.collection, 1), random_vectors(1, 8, seed=5))
            raise ZeroDivisionError
        assert shelf.store.count() == 150
        assert shelf.found(vectors[3:4], 1) == [seqs[3]]

    def test_adding_removing_and_finding_agree_with_comparing_all(self) -> None:
        @settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(st.data())
        def check(data: st.DataObject) -> None:
            shelf = self.shelf(4)
            kept: dict[int, Matrix] = {}
            for _ in range(data.draw(st.integers(1, 3))):
                rows = data.draw(st.lists(st.tuples(*[COORDINATE] * 4), max_size=60))
                vectors = unit(np.array(rows, np.float32).reshape(-1, 4))
                seqs = shelf.fill(vectors)
                kept |= {seq: vector for seq, vector in zip(seqs, vectors, strict=True) if vector.any()}
                gone = data.draw(st.sets(st.sampled_from(sorted(kept)))) if kept else set()
                shelf.remove(sorted(gone))
                kept = {seq: vector for seq, vector in kept.items() if seq not in gone}
                if data.draw(st.booleans()):
                    self.settle(shelf)
            query = unit(np.array([data.draw(st.tuples(*[COORDINATE] * 4).filter(any))], np.float32))
            found = shelf.store.nearest(query, len(kept) + 1)
            assert {each.chunk_seq for each in found} == set(kept)
            assert shelf.store.count() == len(kept)
            for each in found:
                assert math.isclose(each.similarity, float(kept[each.chunk_seq] @ query[0]), abs_tol=2e-3)

        check()
