"""The places where accounts are kept: a SQLite file, and Postgres, plain and as Supabase has it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.accounts.places import Place, PostgresPlace, SqlitePlace
from tests.hosted import database
from tests.servers.postgres import Cluster


@pytest.fixture(scope="session", params=["sqlite", "postgres16", "supabase18"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Shared by the tests of a worker: each has users of its own there."""
    if request.param == "sqlite":
        kept = SqlitePlace(tmp_path_factory.mktemp("accounts") / "gateway.db")
        yield kept
        kept.close()
        return
    cluster: Cluster = request.getfixturevalue(request.param)
    with cluster.database(database.template(cluster)) as dsn:
        hosted = PostgresPlace(dsn)
        yield hosted
        hosted.close()


@pytest.fixture(scope="session", params=["postgres16", "supabase18"])
def hosted(request: pytest.FixtureRequest) -> Iterator[PostgresPlace]:
    """A database that the tests of Postgres alone share."""
    cluster: Cluster = request.getfixturevalue(request.param)
    with cluster.database(database.template(cluster)) as dsn:
        kept = PostgresPlace(dsn)
        yield kept
        kept.close()


@pytest.fixture
def postgres_place(postgres16: Cluster) -> Iterator[PostgresPlace]:
    """A database of its own."""
    with postgres16.database(database.template(postgres16)) as dsn:
        hosted = PostgresPlace(dsn)
        yield hosted
        hosted.close()
