"""Setting up a hosted database: schema.sql applied, and in words what keeps it from being applied. It never lowers a
version, and whatever it does is done in one transaction.
"""

from __future__ import annotations

from pathlib import Path

from aichat_cli.core.errors import AichatError, HostedError, HostedLogin, HostedSchema
from aichat_cli.core.struct import Struct
from aichat_cli.core.sync import SCHEMA_VERSION
from aichat_cli.hosted import sync_calls
from aichat_cli.hosted.connection import Connection

OLDEST_POSTGRES = 150000
OLDEST_PGVECTOR = (0, 8)
_LOCK = 7_232_161_003
"""Of the advisory lock that lets one set up at a time: any number nobody else uses."""
_FILE = "schema.sql"


class Applied(Struct, frozen=True):
    """What became of the schema: `before` is None where there was none."""

    before: int | None
    after: int


class _Facts(Struct, frozen=True):
    server: int
    server_name: str
    vector: str | None
    vector_available: str | None
    may_create: bool
    may_create_in_public: bool
    is_read_only: bool
    database: str
    user: str


def schema_text() -> str:
    """schema.sql: beside this module in an installed program, at the top of the repository in a checkout.

    Raises:
        AichatError: it is in neither place.
    """
    here = Path(__file__).resolve()
    for path in (here.parent / _FILE, here.parents[2] / _FILE):
        if path.is_file():
            return path.read_text("utf-8")
    raise AichatError("schema.sql is missing from this installation.", hint="Install aichat-terminal again")


def version_before(connection: Connection) -> int | None:
    """The version of the schema there, None where there is none.

    Raises:
        HostedSchema: a newer aichat has set it up.
    """
    version = sync_calls.schema_version(connection)
    if version is not None and version > SCHEMA_VERSION:
        sync_calls.require_schema(connection)
    return version


def apply(connection: Connection) -> Applied:
    """Set the database up, or bring it forward. Where it is up to date already, nothing changes.

    Raises:
        HostedSchema: it is newer than this program, or lacks what aichat needs; the hint is what its administrator runs.
        HostedLogin: this user may not set it up.
        HostedError: it cannot be written, or failed otherwise.
    """
    before = version_before(connection)
    facts = _facts(connection)
    _require_able(connection.place.name, facts)
    with connection.transaction():
        connection.rows("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        if facts.vector is None:
            _make_vector(connection, facts)
        _require_privileges(connection.place.name, facts)
        connection.rows(schema_text())
    after = sync_calls.schema_version(connection)
    assert after is not None
    return Applied(before, after)


def _facts(connection: Connection) -> _Facts:
    [row] = connection.rows(
        "SELECT current_setting('server_version_num')::int, current_setting('server_version'),"
        " (SELECT extversion FROM pg_extension WHERE extname = 'vector'),"
        " (SELECT default_version FROM pg_available_extensions WHERE name = 'vector'),"
        " has_database_privilege(current_database(), 'CREATE'),"
        " to_regnamespace('public') IS NOT NULL AND has_schema_privilege('public', 'CREATE'),"
        " current_setting('transaction_read_only')::bool, current_database(), current_user"
    )
    return _Facts(*row)


def _require_able(place: str, facts: _Facts) -> None:
    if facts.server < OLDEST_POSTGRES:
        raise HostedSchema(
            f"The database {place} is Postgres {facts.server_name}; aichat needs 15 or newer.",
            hint="Upgrade it, or use another",
        )
    if facts.is_read_only:
        raise HostedError(
            f"The database {place} can only be read.", hint="Use the address of the primary server, not of a copy"
        )
    if facts.vector is None and facts.vector_available is None:
        raise HostedSchema(
            f"The server of {place} has no pgvector, which aichat keeps documents with.",
            hint="Have its administrator install pgvector 0.8 or newer: https://github.com/pgvector/pgvector",
        )
    version = facts.vector or facts.vector_available or ""
    if _numbers(version) < OLDEST_PGVECTOR:
        update = "; then: ALTER EXTENSION vector UPDATE" if facts.vector else ""
        raise HostedSchema(
            f"The server of {place} has pgvector {version}; aichat needs 0.8 or newer.",
            hint=f"Have its administrator install a newer one{update}",
        )


def _make_vector(connection: Connection, facts: _Facts) -> None:
    try:
        connection.rows("CREATE EXTENSION IF NOT EXISTS vector")
    except HostedLogin:
        raise HostedSchema(
            f'The extension "vector" is not in the database {connection.place.name} yet, and {_quoted(facts.user)} may not'
            " add it.",
            hint=f"As its administrator, connected to {_quoted(facts.database)}, run once: CREATE EXTENSION vector;",
        ) from None


def _require_privileges(place: str, facts: _Facts) -> None:
    """Only the owner, or whom the owner has let, may make schemas and tables."""
    grants = []
    if not facts.may_create:
        grants.append(f"GRANT CREATE ON DATABASE {_quoted(facts.database)} TO {_quoted(facts.user)};")
    if not facts.may_create_in_public:
        grants.append(f"GRANT CREATE ON SCHEMA public TO {_quoted(facts.user)};")
    if grants:
        raise HostedLogin(
            f"{_quoted(facts.user)} may not set up the database {place}.",
            hint=f"Connect as its owner, or as its administrator run: {' '.join(grants)}",
        )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
