"""A hosted database for each test, plain on one major version and as Supabase has it on the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.hosted import database
from tests.hosted.database import Hosted
from tests.hosted.people import sign_up
from tests.servers.postgres import Flavour, Version, shared


@pytest.fixture(scope="session", params=[(16, "plain"), (18, "supabase")], ids=["16-plain", "18-supabase"])
def hosted_database(request: pytest.FixtureRequest, run_folder: Path) -> Iterator[Hosted]:
    """Shared by the tests of a worker: each has users of its own in it."""
    version: Version
    flavour: Flavour
    version, flavour = request.param
    cluster = shared(version, "plain", run_folder)
    with cluster.database(database.template(cluster, flavour)) as dsn:
        yield Hosted(cluster, flavour, dsn)


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
