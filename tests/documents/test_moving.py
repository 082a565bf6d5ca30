"""Collections whose vectors are moved: to Pinecone and back, interrupted, while others change them, and with a far end that fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from aichat_cli.core.documents import Chunk, Collection
from aichat_cli.core.errors import (
    AichatError,
    BadResponse,
    ConfigError,
    ConnectFailed,
    KeyRejected,
    ProviderUnavailable,
    RateLimited,
    SyncError,
    TimedOut,
    UsageError,
)
from aichat_cli.documents import moving
from aichat_cli.documents.elsewhere import filling as sending
from aichat_cli.documents.elsewhere.filling import Sending
from aichat_cli.documents.elsewhere.vectors import VectorsElsewhere
from aichat_cli.documents.moving import to_elsewhere, to_local
from aichat_cli.documents.pinecone.service import PineconeService
from aichat_cli.documents.quantising import unpacked
from aichat_cli.documents.sqlite_vectors import SqliteVectors, is_complete
from aichat_cli.storage import chunks, collections, documents, namespaces, vectors
from aichat_cli.storage.database import Database
from tests import blank
from tests.documents.test_pinecone_vectors import service_of
from tests.documents.vector_rows import collection, filled, random_vectors
from tests.runner import Cli
from tests.servers.pinecone_double import Fault, PineconeDouble

INDEX = "aichat-8"


@pytest.fixture
def double() -> Iterator[PineconeDouble]:
    with PineconeDouble() as made:
        yield made


@pytest.fixture
def service(double: PineconeDouble) -> Iterator[PineconeService]:
    made = service_of(double)
    yield made
    made.close()


@pytest.fixture
def database() -> Database:
    return Database.in_memory()


def shelf(database: Database, count: int = 50) -> Collection:
    """A collection with so many vectors."""
    where = collection(database, 8)
    filled(database, where, SqliteVectors(database, where), random_vectors(count, 8))
    return collections.get(database, where.name)


def move(database: Database, service: PineconeService, *, patience: float = 0.2) -> moving.Moved:
    """Move the default collection to Pinecone."""
    where = collections.get(database, "default")
    return to_elsewhere(database, where, Sending(service, lambda _: None, patience))


def there(double: PineconeDouble, index: str = INDEX) -> dict[str, np.ndarray]:
    """What the one namespace of an index has."""
    [found] = double.vectors(index).values()
    return found


def require_equal(database: Database, double: PineconeDouble) -> None:
    """What is there is what is stored here, in every value."""
    where = collections.get(database, "default")
    stored = chunks.vectors_of(database, chunks.in_collection(database, where.seq))
    found = there(double)
    assert set(found) == {str(seq) for seq in stored}
    here = np.stack([unpacked(vector) for vector in stored.values()])
    assert np.abs(np.stack([found[str(seq)] for seq in stored]) - here).max() < 1e-5


def big(cli: Cli, count: int) -> None:
    """A collection with so many chunks and vectors, in a file."""
    packed = np.random.default_rng(1).standard_normal((count, 8)).astype("<f2")
    with Database.open(cli.database) as database:
        where = collection(database, 8)
        new = documents.NewDocument("d", "/d", None, None, "text/plain", count, 1, None, bytes(32), "")
        with database.transaction():
            document = documents.store(database, where.seq, new, chunk_count=count)
            row = chunks.NewChunk(Chunk(0, 1, "", 1, None, 1), "x", bytes(16))
            seqs = chunks.insert(database, [(document, [row] * count)])
            chunks.add_vectors(database, ((seq, vector.tobytes()) for seq, vector in zip(seqs, packed, strict=True)))


def at(cli: Cli, double: PineconeDouble) -> Cli:
    """A user who has a key of the double."""
    cli.environ |= {"PINECONE_API_KEY": double.key, "AICHAT_PINECONE_URL": double.url}
    return cli


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def sent_vectors(double: PineconeDouble) -> int:
    return sum(request.body.count(b'"id"') for request in double.requests if request.path == "/vectors/upsert")


def test_a_migration_of_100_000_chunks_that_is_killed_goes_on_and_ends_complete_and_equal(
    cli: Cli, double: PineconeDouble
) -> None:
    big(at(cli, double), 100_000)
    with cli.start("docs", "migrate", "--to", "pinecone") as process:
        wait_until(lambda: sent_vectors(double) > 30_000)
        process.kill()
    killed_at = sent_vectors(double)
    assert killed_at < 100_000
    with Database.open(cli.database) as database:
        assert collections.get(database, "default").searched_in == "local"

    done = cli.run("docs", "migrate", "--to", "pinecone")

    assert done.returncode == 0, done.stderr.decode()
    told = done.stderr.decode()
    assert "is searched at Pinecone now: all 100,000 vectors are there." in told
    assert "Went on after the" in told
    assert sent_vectors(double) <= 100_000 + 2 * sending.SENT_TOGETHER
    with Database.open(cli.database) as database:
        require_equal(database, double)
        now = collections.get(database, "default")
        assert now.searched_in == "pinecone"
        assert vectors.of_collection(database, now.seq) == []
    assert double.key not in told


def test_there_and_back_everything_is_found_as_before(
    database: Database, double: PineconeDouble, service: PineconeService
) -> None:
    where = shelf(database, 300)
    query = random_vectors(1, 8, seed=5)
    before = SqliteVectors(database, where).nearest(query, 20)
    moved = move(database, service)
    assert (moved.count, moved.was_there, moved.made_index) == (300, False, INDEX)
    require_equal(database, double)
    assert VectorsElsewhere(database, where, lambda _: service).nearest(query, 20) == before
    [name] = double.vectors(INDEX)
    assert where.name not in name
    assert where.id in name

    back = to_local(database, collections.get(database, "default"), lambda _: None)

    assert (back.count, back.was_there) == (300, False)
    now = collections.get(database, "default")
    assert now.searched_in == "local"
    assert is_complete(database, now)
    assert SqliteVectors(database, now).nearest(query, 20) == before
    assert sending.clear_away(database, lambda _: service) == {}
    assert double.vectors(INDEX) == {}
    assert not namespaces.places(database)


def test_nothing_but_vectors_and_ids_is_sent(
    database: Database, double: PineconeDouble, service: PineconeService
) -> None:
    shelf(database)
    move(database, service)
    for request in double.requests:
        assert b"metadata" not in request.body or b'"includeMetadata":false' in request.body
        assert set(request.headers) <= {
            "accept", "accept-encoding", "api-key", "connection", "content-length", "content-type", "host", "user-agent",
            "x-pinecone-api-version",
        }  # fmt: skip


@pytest.mark.parametrize("fault", ["cut", "rate_limit", "error", "garbage"])
def test_a_migration_that_fails_changes_nothing_and_the_next_goes_on(
    database: Database, double: PineconeDouble, service: PineconeService, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "SENT_TOGETHER", 40)
    shelf(database, 200)
    double.faults |= dict.fromkeys(range(4, 12), fault)
    expected: dict[str, type[AichatError]] = {
        "cut": ConnectFailed,
        "rate_limit": RateLimited,
        "error": ProviderUnavailable,
        "garbage": BadResponse,
    }
    with pytest.raises(expected[fault]) as caught:
        move(database, service)
    assert double.key not in f"{caught.value} {caught.value.hint}"
    assert collections.get(database, "default").searched_in == "local"
    double.faults.clear()
    assert 0 < move(database, service).resumed_after < 200
    require_equal(database, double)


def test_what_changes_while_vectors_are_sent_is_changed_there_too(
    database: Database, double: PineconeDouble, service: PineconeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "SENT_TOGETHER", 20)
    where = shelf(database, 100)
    store = SqliteVectors(database, where)
    seqs = chunks.in_collection(database, where.seq)
    added: list[int] = []

    def change(count: int) -> None:
        """What another process does meanwhile: to what was sent, and to what was not."""
        if count in {40, 100}:
            added.extend(filled(database, where, store, random_vectors(5, 8, seed=count)))
            with database.transaction():
                store.remove([seqs[count // 20], seqs[-(count // 20)]])

    to_elsewhere(database, where, Sending(service, change, 0.2))
    assert len(added) == 10
    require_equal(database, double)


def test_what_pinecone_lost_is_sent_again_before_anything_is_switched(
    database: Database, double: PineconeDouble, service: PineconeService
) -> None:
    where = shelf(database, 60)

    def lose(count: int) -> None:
        if count == 60:
            double.vectors(INDEX)
            double.lose(INDEX, 7)

    to_elsewhere(database, where, Sending(service, lose, 0.1))
    require_equal(database, double)
    double.lose(INDEX, 3)
    again = move(database, service)
    assert (again.was_there, again.count) == (True, 60)
    require_equal(database, double)


def test_vectors_that_are_seen_late_are_waited_for_and_found_meanwhile(
    database: Database, double: PineconeDouble, service: PineconeService
) -> None:
    double.delay = 0.4
    where = shelf(database, 30)
    move(database, service, patience=2)
    require_equal(database, double)
    double.delay = 60
    store = VectorsElsewhere(database, where, lambda _: service)
    late = random_vectors(3, 8, seed=9)
    seqs = filled(database, where, store, late)
    store.settle()
    assert store.nearest(late[:1], 1)[0].chunk_seq == seqs[0]
    with database.transaction():
        store.remove(seqs[:1])
    store.settle()
    assert seqs[0] not in {each.chunk_seq for each in store.nearest(late[:1], 40)}
    assert store.count() == 30


def test_what_cannot_be_sent_is_kept_and_sent_later(
    database: Database, double: PineconeDouble, service: PineconeService
) -> None:
    where = shelf(database, 30)
    move(database, service)
    store = VectorsElsewhere(database, where, lambda _: service)
    double.fault = "garbage"
    seqs = filled(database, where, store, random_vectors(2, 8, seed=3))
    with pytest.raises(BadResponse):
        store.settle()
    with database.transaction():
        store.remove(chunks.in_collection(database, where.seq)[:1])
    assert namespaces.unsent_count(database, "pinecone") == 3
    double.fault = None
    store.settle()
    assert namespaces.unsent_count(database, "pinecone") == 0
    assert str(seqs[0]) in there(double)
    assert len(there(double)) == 31


def test_an_index_for_other_vectors_is_refused_and_another_name_makes_another(
    database: Database, double: PineconeDouble, service: PineconeService
) -> None:
    shelf(database)
    double.make(INDEX, 16)
    with pytest.raises(ConfigError, match="vectors of 16 dimensions"):
        move(database, service)
    other = service_of(double, index="mine")
    assert move(database, other).made_index == "mine"
    assert set(double.vectors("mine")) != set()
    other.close()


def test_an_index_that_is_gone_is_told_and_moving_again_makes_it_anew(
    database: Database, double: PineconeDouble, service: PineconeService
) -> None:
    where = shelf(database)
    move(database, service)
    double.unmake(INDEX)
    with pytest.raises(ConfigError, match="no such index any more"):
        VectorsElsewhere(database, where, lambda _: service).nearest(random_vectors(1, 8), 1)
    assert move(database, service).made_index == INDEX
    require_equal(database, double)


def test_a_wrong_key_is_one_clear_error_without_it(database: Database, double: PineconeDouble) -> None:
    shelf(database)
    wrong = service_of(double, key="pcsk_wrong_key_123456")
    with pytest.raises(KeyRejected) as caught:
        move(database, wrong)
    assert "pcsk_" not in f"{caught.value} {caught.value.hint}"
    wrong.close()


def test_a_far_end_that_hangs_is_waited_for_only_so_long(
    database: Database, double: PineconeDouble, service: PineconeService
) -> None:
    where = shelf(database)
    move(database, service)
    double.fault = "hang"
    hurried = service_of(double, patience=0.3)
    began = time.monotonic()
    with pytest.raises(TimedOut, match="did not answer"):
        VectorsElsewhere(database, where, lambda _: hurried).nearest(random_vectors(1, 8), 1)
    assert time.monotonic() - began < 5


def test_words_alone_are_not_moved(database: Database, service: PineconeService) -> None:
    where = collections.create(database, "words", embedding_model=None, dimensions=None)
    with pytest.raises(UsageError, match="no vectors to move"):
        to_elsewhere(database, where, Sending(service, lambda _: None))


def test_a_collection_is_moved_by_one_process_at_a_time(tmp_path: Path, service: PineconeService) -> None:
    with Database.open(blank.put(tmp_path / "aichat.db")) as database:
        where = shelf(database)
        assert namespaces.claim(database, where.seq)
        refused: list[AichatError] = []

        def try_it() -> None:
            with database.reopen() as other:
                try:
                    to_elsewhere(other, where, Sending(service, lambda _: None))
                except AichatError as error:
                    refused.append(error)

        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
        namespaces.release(database, where.seq)
    assert "Another process" in refused[0].message


def test_what_is_not_all_on_the_hosted_database_is_not_searched_there(database: Database) -> None:
    where = shelf(database)
    [(id_, told)] = chunks.fingerprints(database, where.seq).items()
    for there_ in ({}, {id_: told[:-1]}, {id_: [each.rstrip("+") for each in told]}):
        with pytest.raises(SyncError, match="1 of 1 documents"):
            moving.to_hosted(database, where, lambda _, found=there_: found, "db.example.com/aichat")  # type: ignore[misc]
        assert collections.get(database, "default").searched_in == "local"
    assert moving.to_hosted(database, where, lambda _: {id_: told}, "db.example.com/aichat").count == 50
    assert collections.get(database, "default").searched_in == "hosted"
