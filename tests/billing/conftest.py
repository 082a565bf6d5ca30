"""Books in a file, and in Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aichat_cli.core.secret import Secret
from aichat_cli.hosted.connection import Connection
from aichat_cli.storage.database import Database
from tests import blank
from tests.billing.tills import Books, PostgresBooks, SqliteBooks
from tests.hosted import database
from tests.servers.postgres import Cluster


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with Database.open(blank.put(tmp_path / "data" / "aichat.db")) as opened:
        yield opened


@pytest.fixture
def local_books(db: Database) -> SqliteBooks:
    """Those of the one person a local database belongs to."""
    return SqliteBooks(db)


@pytest.fixture(scope="session")
def hosted_till(postgres16: Cluster) -> Iterator[tuple[Connection, str]]:
    """A database that the tests of a worker share; what each of them writes goes when it ends."""
    with (
        postgres16.database(database.template(postgres16)) as dsn,
        Connection.open(Secret(dsn, "a test")) as connection,
    ):
        yield connection, dsn


@pytest.fixture
def hosted_books(hosted_till: tuple[Connection, str]) -> Iterator[PostgresBooks]:
    """Those of a user of a gateway, in Postgres."""
    books = PostgresBooks(*hosted_till)
    yield books
    books.clear()


@pytest.fixture(params=["sqlite", "postgres"])
def books(request: pytest.FixtureRequest) -> Books:
    """Books that purchases are written down in, in each database in turn."""
    if request.param == "sqlite":
        return SqliteBooks(request.getfixturevalue("db"), is_audited=True)
    hosted: PostgresBooks = request.getfixturevalue("hosted_books")
    return hosted
