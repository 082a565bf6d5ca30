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
    TimedOut,
    UsageError,
)
from aichat_cli.documents import moving
from aichat_cli.documents.moving import to_local, to_pinecone
from aichat_cli.documents.pinecone import moving as sending
from aichat_cli.documents.pinecone import service as speaking
from aichat_cli.documents.pinecone.moving import Sending
from aichat_cli.documents.pinecone.service import PineconeService
from aichat_cli.documents.pinecone.vectors import PineconeVectors
from aichat_cli.documents.quantising import unpacked
from aichat_cli.documents.sqlite_vectors import SqliteVectors, is_complete
from aichat_cli.storage import chunks, collections, documents, namespaces, vectors
from aichat_cli.storage.database import Database
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
    return to_pinecone(database, where, Sending(service, lambda _: None, patience))


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
    cli.database.parent.mkdir(parents=True)
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
    assert 'is searched at Pinecone now: all 100,000 vectors are there.' in told
    assert "Went on after the" in told
    assert sent_vectors(double) <= 100_000 + 2 * sending.SENT_TOGETHER
    with Database.open(cli.database) as database:
        require_equal(database, double)
        now = collections.get(database, "default")
        assert now.searched_in == "pinecone"
        assert vectors.of_collection(database, now.seq) == []
    assert double.key not in told
