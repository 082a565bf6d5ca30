"""The Postgres that tests are given."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from tests.servers import postgres as servers
from tests.servers.postgres import SUPABASE_CLOSED, VECTOR_IN_EXTENSIONS, Cluster, connect, own_cluster

ROOT = Path(__file__).parents[2]


def test_each_test_has_a_database_of_its_own_owned_by_no_superuser(postgres: Cluster) -> None:
    with postgres.database() as dsn, connect(dsn) as connection:
        version = connection.info.server_version // 10000
        assert version == postgres.version
        connection.execute("CREATE TABLE notes (place vector(3))")
        row = connection.execute("SELECT rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user").fetchone()
        assert row == (False, True)
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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a full disk at hand")
def test_a_full_disk_is_told_as_such() -> None:
    with own_cluster(18) as cluster, cluster.database() as dsn:
        with connect(dsn) as connection:
            connection.execute("CREATE TABLE notes (body text)")
        with cluster.full_disk(dsn, "notes"), connect(dsn) as connection, pytest.raises(psycopg.errors.DiskFull):
            connection.execute("INSERT INTO notes VALUES ('a')")
        with connect(dsn) as connection:
            connection.execute("INSERT INTO notes VALUES ('a')")


def test_over_tcp_a_password_is_asked_for() -> None:
    with own_cluster(16, password="pass/word") as cluster, cluster.database(tcp=True) as dsn:
        connect(dsn).close()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            connect(dsn.replace("pass%2Fword", "other"))


def test_supabase_has_what_it_has(supabase: Cluster) -> None:
    user, other = str(uuid4()), str(uuid4())
    with supabase.database() as dsn:
        with connect(dsn) as owner:
            owner.execute("INSERT INTO auth.users (id) VALUES (%s), (%s)", [user, other])
            owner.execute("CREATE TABLE notes (user_id uuid REFERENCES auth.users ON DELETE CASCADE, place vector(2))")
            owner.execute("INSERT INTO notes VALUES (%s), (%s)", [user, other])
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                owner.execute("CREATE TABLE auth.notes ()")
            with connect(dsn, "anon") as anon:
                assert anon.execute("SELECT count(*) FROM notes").fetchone() == (2,)
            owner.execute("ALTER TABLE notes ENABLE ROW LEVEL SECURITY")
            owner.execute("CREATE POLICY own ON notes TO authenticated USING (user_id = auth.uid())")
        with connect(dsn, "authenticated", user) as signed_in:
            assert signed_in.execute("SELECT user_id::text FROM notes").fetchall() == [(user,)]
            assert signed_in.execute("SELECT auth.role(), auth.jwt() ->> 'sub'").fetchone() == ("authenticated", user)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                signed_in.execute("SELECT id FROM auth.users")
        with connect(dsn, "anon") as anon:
            assert anon.execute("SELECT count(*) FROM notes").fetchone() == (0,)
        with connect(dsn, "service_role") as service:
            assert service.execute("SELECT count(*) FROM notes").fetchone() == (2,)


def test_a_new_supabase_opens_no_table_by_itself_but_leaves_truncate(supabase18: Cluster) -> None:
    with supabase18.database(SUPABASE_CLOSED) as dsn:
        with connect(dsn) as owner:
            owner.execute("CREATE TABLE notes ()")
        with connect(dsn, "service_role") as connection:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("TABLE notes")
            connection.execute("TRUNCATE notes")


def test_a_missing_package_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(servers._PACKAGES, 18, "no_such_package")
    with pytest.raises(RuntimeError, match="Postgres 18 is missing"), own_cluster(18):
        pass


WAITING = """
import os, time
from pathlib import Path

def test_wait(postgres18):
    with postgres18.database():
        Path(os.environ["NOTE"], f"{os.getpid()}").write_text(str(postgres18.folder))
        time.sleep(60)

def test_wait_too(postgres18):
    test_wait(postgres18)
"""


def _processes_of(cluster: str) -> list[str]:
    listed = subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if cluster in line]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_is_killed_leaves_no_server(tmp_path: Path, workers: int) -> None:
    (tmp_path / "test_waiting.py").write_text(WAITING)
    (notes := tmp_path / "notes").mkdir()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.servers.fixtures", "-n", str(workers)]
    environment = os.environ | {"NOTE": str(notes), "PYTHONPATH": str(ROOT)}
    for name in [name for name in environment if name.startswith(("PYTEST_", "COV_"))]:
        del environment[name]
    run = subprocess.Popen(
        [*command, f"--basetemp={tmp_path / 'base'}", str(tmp_path)],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 60
        while len(written := [text for note in notes.iterdir() if (text := note.read_text())]) < max(workers, 1):
            assert run.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert len(_processes_of(Path(written[0]).name)) > 4, "the server, its helpers, the keeper"
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    assert len(set(written)) == 1, "one cluster for all workers"
    folder = Path(written[0])
    deadline = time.monotonic() + 20
    while folder.exists() or _processes_of(folder.name):
        assert time.monotonic() < deadline
        time.sleep(0.05)
