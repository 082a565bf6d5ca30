"""Databases that schema.sql was applied to, and who connects to them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from tests.servers.postgres import Cluster, Flavour, Role, Version, as_user, connect, shared

SCHEMA = (Path(__file__).parents[2] / "schema.sql").read_text()

SUPABASE = """
create schema auth;
create table auth.users (
  id uuid primary key, email text unique, created_at timestamptz not null default now()
);
create function auth.uid() returns uuid language sql stable as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.sub', true), ''),
    (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')
  )::uuid
$$;
grant usage on schema auth to public;
grant all on auth.users to {owner};
do $$
declare
  wanted text;
begin
  foreach wanted in array array['anon', 'authenticated', 'service_role'] loop
    if to_regrole(wanted) is null then
      execute format('create role %I nologin', wanted);
    end if;
  end loop;
end $$;
alter default privileges for role {owner} in schema public
  grant all on tables to anon, authenticated, service_role;
alter default privileges for role {owner} in schema public
  grant all on sequences to anon, authenticated, service_role;
alter default privileges for role {owner} in schema public
  grant all on functions to anon, authenticated, service_role;
"""
"""What a project of Supabase has: users of its own, and grants of everything on whatever is new."""


def apply_schema(dsn: str, schema: str = SCHEMA) -> None:
    """In one transaction, as whoever the DSN names."""
    with psycopg.connect(dsn) as connection:
        connection.execute(schema.encode())


def template(cluster: Cluster, flavour: Flavour) -> str:
    """The database to copy, made once in a run."""

    def prepare(dsn: str) -> None:
        if flavour == "supabase":
            with connect(as_user(dsn, cluster.superuser)) as admin:
                admin.execute(SUPABASE.replace("{owner}", cluster.owner).encode())
        apply_schema(dsn)

    base = "vector_in_extensions" if flavour == "supabase" else "vector_in_public"
    return cluster.template(f"hosted_{flavour}", prepare, base=base)


@dataclass
class Hosted:
    """A database with the schema in it. Connections are in autocommit, and closed at the end of the test."""

    cluster: Cluster
    flavour: Flavour
    owner_dsn: str
    stack: ExitStack = field(default_factory=ExitStack)

    @property
    def is_supabase(self) -> bool:
        return self.flavour == "supabase"

    def owner(self) -> psycopg.Connection[Any]:
        """The owner of the database, no superuser, which a gateway connects as."""
        return self.stack.enter_context(connect(self.owner_dsn))

    def superuser(self) -> psycopg.Connection[Any]:
        return self.stack.enter_context(connect(as_user(self.owner_dsn, self.cluster.superuser)))

    def role(self, role: Role, user_id: UUID | None = None) -> psycopg.Connection[Any]:
        """As PostgREST acts for a request of this user."""
        dsn = as_user(self.owner_dsn, self.cluster.superuser)
        return self.stack.enter_context(connect(dsn, role, None if user_id is None else str(user_id)))

    def service(self) -> psycopg.Connection[Any]:
        return self.role("service_role")


def clusters(run_folder: Path) -> list[Cluster]:
    """One of each major version."""
    versions: tuple[Version, ...] = (16, 18)
    return [shared(version, "plain", run_folder) for version in versions]
