"""The Postgres that tests are given."""

from __future__ import annotations

import psycopg
import pytest

from tests.servers.postgres import VECTOR_IN_EXTENSIONS, Cluster, connect, own_cluster


def test_each_test_has_a_database_of_its_own_owned_by_no_superuser(postgres: Cluster) -> None:
    with postgres.database() as dsn, connect(dsn) as connection:
        version = connection.info.server_version // 10000
        assert version == postgres.version
        connection.execute("CREATE TABLE notes (place vector(3))")
        row = connection.execute("SELECT rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user").fetchone()
        assert row == (False, True)
        assert connection.execute("SELECT count(*) FROM pg_roles WHERE rolname = 'anon'").fetchone() == (0,)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        connect(dsn)


def test_a_template_is_prepared_once(postgres: Cluster) -> None:
    calls = []

    def prepare(dsn: str) -> None:
        calls.append(dsn)
        with connect(dsn) as connection:
            connection.execute("CREATE TABLE prepared (place extensions.vector(3))")

    for _ in range(2):
        template = postgres.template("twice", prepare, base=VECTOR_IN_EXTENSIONS)
    assert len(calls) <= 1
    with postgres.database(template) as dsn, connect(dsn) as connection:
        assert connection.execute("SELECT count(*) FROM prepared").fetchone() == (0,)


def test_a_cluster_of_ones_own_can_be_restarted_and_killed() -> None:
    with own_cluster(18) as cluster, cluster.database() as dsn:
        with connect(dsn) as connection:
            connection.execute("CREATE TABLE kept ()")
        cluster.restart("immediate")
        cluster.kill()
        with pytest.raises(psycopg.OperationalError):
            connect(dsn)
        cluster.start()
        with connect(dsn) as connection:
            connection.execute("TABLE kept")
    assert not cluster.folder.exists()
