"""Databases that schema.sql was applied to, and who connects to them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

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
    """A database with the schema in it. Connections are in autocommit, and closed at the end of the test."""

    cluster: Cluster
    owner_dsn: str
    stack: ExitStack = field(default_factory=ExitStack)

    @property
    def is_supabase(self) -> bool:
        return self.cluster.flavour == "supabase"

    def owner(self) -> psycopg.Connection[Any]:
        """The owner of the database, no superuser, which a gateway connects as."""
        return self.stack.enter_context(connect(self.owner_dsn))

    def superuser(self) -> psycopg.Connection[Any]:
        return self.stack.enter_context(connect(as_user(self.owner_dsn, self.cluster.superuser)))

    def role(self, role: Role, user_id: UUID | None = None) -> psycopg.Connection[Any]:
        """As PostgREST acts for a request of this user."""
        if self.is_supabase:
            return self.stack.enter_context(connect(self.owner_dsn, role, None if user_id is None else str(user_id)))
        connection = self.superuser()
        connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
        if user_id is not None:
            connection.execute("select set_config('request.jwt.claims', %s, false)", (f'{{"sub": "{user_id}"}}',))
        return connection

    def service(self) -> psycopg.Connection[Any]:
        return self.role("service_role")
