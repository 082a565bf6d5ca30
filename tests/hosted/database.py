"""Databases that schema.sql was applied to, and who connects to them."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from tests.servers.postgres import Cluster, Role, as_user, connect

SCHEMA = (Path(__file__).parents[2] / "schema.sql").read_text()


def apply_schema(dsn: str, schema: str = SCHEMA) -> None:
    """In one transaction, as whoever the DSN names."""
    with psycopg.connect(dsn) as connection:
        connection.execute(schema)


def template(cluster: Cluster) -> str:
    """The database to copy, made once in a run."""
    return cluster.template("hosted", apply_schema)


@dataclass
class Hosted:
    """A database with the schema in it. Connections are in autocommit; a test has them until it ends."""

    cluster: Cluster
    owner_dsn: str
    stack: ExitStack = field(default_factory=ExitStack)
    _idle: dict[str, list[psycopg.Connection[Any]]] = field(default_factory=dict)

    @property
    def is_supabase(self) -> bool:
        return self.cluster.flavour == "supabase"

    def owner(self) -> psycopg.Connection[Any]:
        """The owner of the database, no superuser, which a gateway connects as."""
        return self._connected(self.cluster.owner)

    def superuser(self) -> psycopg.Connection[Any]:
        return self._connected(self.cluster.superuser)

    def role(self, role: Role, user_id: UUID | None = None) -> psycopg.Connection[Any]:
        """As PostgREST acts for a request of this user."""
        connection = self._connected("authenticator" if self.is_supabase else self.cluster.superuser)
        claims = {"role": role} | ({} if user_id is None else {"sub": str(user_id)})
        connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
        connection.execute("select set_config('request.jwt.claims', %s, false)", (json.dumps(claims),))
        return connection

    def service(self) -> psycopg.Connection[Any]:
        return self.role("service_role")

    def close(self) -> None:
        for idle in self._idle.values():
            while idle:
                idle.pop().close()

    def _connected(self, user: str) -> psycopg.Connection[Any]:
        idle = self._idle.setdefault(user, [])
        connection = idle.pop() if idle else connect(as_user(self.owner_dsn, user))
        connection.prepare_threshold = None  # what is prepared goes when the connection is given back
        self.stack.callback(self._give_back, connection, idle)
        return connection

    def _give_back(self, connection: psycopg.Connection[Any], idle: list[psycopg.Connection[Any]]) -> None:
        """To connect costs more than most tests: some are kept, as new."""
        if len(idle) < 4 and connection.info.transaction_status == TransactionStatus.IDLE:
            connection.execute("discard all")
            idle.append(connection)
        else:
            connection.close()
