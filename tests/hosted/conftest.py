"""A hosted database for each test, plain on one major version and as Supabase has it on the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.hosted import database
from tests.hosted.database import Hosted
from tests.hosted.people import sign_up
from tests.servers.postgres import Cluster


@pytest.fixture(scope="session", params=["postgres16", "supabase18"])
def hosted_database(request: pytest.FixtureRequest) -> Iterator[Hosted]:
    """Shared by the tests of a worker: each has users of its own in it."""
    cluster: Cluster = request.getfixturevalue(request.param)
    with cluster.database(database.template(cluster)) as dsn:
        made = Hosted(cluster, dsn)
        yield made
        made.close()


@pytest.fixture
def hosted(hosted_database: Hosted) -> Iterator[Hosted]:
    with hosted_database.stack:
        yield hosted_database


@pytest.fixture
def owner(hosted: Hosted) -> psycopg.Connection[Any]:
    """The owner of the database, which the service connects as."""
    return hosted.owner()


@pytest.fixture
def user(owner: psycopg.Connection[Any]) -> UUID:
    """Somebody who has just signed up."""
    return sign_up(owner)
