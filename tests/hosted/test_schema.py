"""schema.sql as it is applied: anywhere, twice, over what an older one left, and by an owner who may do little."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.hosted.database import SCHEMA, apply_schema, template
from tests.hosted.people import CREDIT, USED, everything_of, one, refused, settled_in, sign_up, sums
from tests.servers.postgres import (
    BARE,
    SUPABASE_CLOSED,
    VECTOR_IN_EXTENSIONS,
    Cluster,
    as_user,
    connect,
    own_cluster,
)

OLDER = {version: (Path(__file__).parent / f"schema_{version}.sql").read_text() for version in (1, 2)}
"""Older versions, as they were released."""

CATALOG = """
select 'table', o.oid::regclass::text, o.relrowsecurity::text, o.relacl::text
from pg_class o where o.relnamespace in ('public'::regnamespace, 'aichat'::regnamespace) and o.relkind in ('r', 'S')
union all
select 'column', a.attrelid::regclass::text, a.attnum || ' ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
  || a.attnotnull || coalesce(pg_get_expr(d.adbin, d.adrelid), '') || a.attgenerated::text || a.attidentity::text,
  a.attacl::text
from pg_attribute a join pg_class o on o.oid = a.attrelid left join pg_attrdef d on d.adrelid = o.oid and d.adnum = a.attnum
where o.relnamespace in ('public'::regnamespace, 'aichat'::regnamespace) and o.relkind = 'r' and a.attnum > 0
union all
select 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
from pg_constraint where connamespace in ('public'::regnamespace, 'aichat'::regnamespace)
union all
select 'index', indrelid::regclass::text, indexrelid::regclass::text, pg_get_indexdef(indexrelid)
from pg_index join pg_class o on o.oid = indrelid where o.relnamespace in ('public'::regnamespace, 'aichat'::regnamespace)
union all
select 'function', oid::regprocedure::text, pg_get_functiondef(oid), proacl::text
from pg_proc f where pronamespace in ('public'::regnamespace, 'aichat'::regnamespace, 'auth'::regnamespace)
  and not exists (select from pg_depend where objid = f.oid and deptype = 'e')
union all
select 'trigger', tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
union all
select 'policy', tablename, policyname, concat_ws(' ', cmd, roles, qual, with_check) from pg_policies
union all
select 'schema', nspname, nspacl::text, '' from pg_namespace where nspname in ('public', 'aichat', 'auth', 'extensions')
order by 1, 2, 3, 4
"""


def catalog(dsn: str) -> list[tuple[Any, ...]]:
    """Everything of ours there is in a database, with who may do what."""
    with connect(dsn) as connection:
        connection.execute("set search_path = ''")
        return connection.execute(CATALOG).fetchall()


def section(number: int) -> str:
    """One of the numbered sections of schema.sql."""
    found = re.search(rf"^-- {number}\. .*?(?=^-- {number + 1}\. |\Z)", SCHEMA, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[0]


PLACES: list[tuple[str, str | None, str | None]] = [
    ("postgres16", None, None),
    ("postgres18", None, None),
    ("postgres18", VECTOR_IN_EXTENSIONS, None),
    ("postgres16", None, "plain_owner"),
    ("supabase16", None, None),
    ("supabase18", SUPABASE_CLOSED, None),
]
"""Clusters, what is in a new database, and who owns it: never a superuser, and `plain_owner` may not make roles."""


@pytest.fixture(params=PLACES)
def empty(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database that nothing was applied to."""
    name, base, owner = request.param
    cluster: Cluster = request.getfixturevalue(name)
    with cluster.database(base, owner=owner) as dsn:
        yield dsn


def test_applied_again_it_changes_nothing(empty: str) -> None:
    apply_schema(empty)
    first = catalog(empty)
    with connect(empty) as owner:
        user = sign_up(owner)
    apply_schema(empty)
    assert catalog(empty) == first
    assert len(first) > 200
    with connect(empty) as owner:
        assert sums(owner, user) == (100 * CREDIT, 0)


def test_who_had_signed_up_before_has_a_profile_and_credits(supabase18: Cluster) -> None:
    with supabase18.database() as dsn, connect(dsn) as owner:
        user = sign_up(owner)
        apply_schema(dsn)
        assert sums(owner, user) == (100 * CREDIT, 0)
        assert sums(owner, sign_up(owner)) == (100 * CREDIT, 0)


def test_what_supabase_signs_up_and_deletes_comes_and_goes(supabase18: Cluster) -> None:
    with (
        supabase18.database(template(supabase18)) as dsn,
        connect(as_user(dsn, "supabase_auth_admin")) as auth,
        connect(dsn) as owner,
    ):
        user = sign_up(auth)
        assert sums(owner, user) == (100 * CREDIT, 0)
        one(owner, "select aichat.admit(%s, gen_random_uuid(), 1, '{}', '1 minute')", (user,))
        auth.execute("delete from auth.users where id = %s", (user,))
        assert one(owner, "select count(*) from profiles where id = %s", (user,)) == 0


def test_an_older_one_is_brought_forward(postgres18: Cluster) -> None:
    with postgres18.database(template(postgres18)) as fresh:
        expected = catalog(fresh)
    for missing in ((4, 5, 6, 7, 8), (4, 8)):
        older = SCHEMA
        for number in missing:
            older = older.replace(section(number), "")
        with postgres18.database() as dsn, connect(dsn) as owner:
            apply_schema(dsn, older)
            user = sign_up(owner)
            apply_schema(dsn)
            assert sums(owner, user) == (100 * CREDIT, 0)
            assert catalog(dsn) == expected


@pytest.mark.parametrize(("name", "version"), [("postgres16", 1), ("supabase18", 1), ("postgres16", 2)])
def test_an_older_version_is_brought_forward_with_all_that_is_in_it(
    name: str, version: int, request: pytest.FixtureRequest
) -> None:
    cluster: Cluster = request.getfixturevalue(name)
    with cluster.database(template(cluster)) as fresh:
        expected = catalog(fresh)
    with cluster.database() as dsn, connect(dsn) as owner:
        apply_schema(dsn, OLDER[version])
        someone, other = (settled_in(owner, version=version) for _ in range(2))
        for _ in range(2):
            apply_schema(dsn)
            assert catalog(dsn) == expected
        kept = {table: len(rows) for table, rows in everything_of(owner, someone.id).items()}
        assert {table for table, rows in kept.items() if not rows} == ({"purchases"} if version == 1 else set())
        assert kept["messages"] == 2
        assert sums(owner, someone.id) == (100 * CREDIT, CREDIT)
        caller = owner.execute(
            "select user_id, user_name, key_id, key_name, scopes, plan from aichat.authenticate(%s, %s)",
            (someone.prefix, someone.key_hash),
        ).fetchone()
        everything = ["chat", "embeddings", "credits", "sync"]
        assert caller == (someone.id, str(someone.id), someone.key, "laptop", everything, "free")
        # A call that was admitted before ends as one that came without a key.
        ended = owner.execute("select * from aichat.finish(%s, 1, %s)", (someone.call, USED)).fetchone()
        assert ended == (CREDIT, 0, 99 * CREDIT, 0)
        owner.execute("delete from auth.users where id = %s", (someone.id,))
        assert not any(everything_of(owner, someone.id).values())
        assert sums(owner, other.id) == (100 * CREDIT, CREDIT)


def test_what_a_project_grants_by_itself_makes_no_difference(supabase18: Cluster) -> None:
    with supabase18.database(template(supabase18)) as opened, supabase18.database(SUPABASE_CLOSED) as closed:
        apply_schema(closed)
        assert catalog(closed) == catalog(opened)


def test_grants_and_policies_of_an_older_one_go(supabase18: Cluster) -> None:
    with supabase18.database(template(supabase18)) as dsn, connect(dsn) as owner:
        kept = catalog(dsn)
        for statement in (
            "grant all on all tables in schema public to anon, authenticated, public",
            "grant all on all sequences in schema public to anon, authenticated",
            "grant all on all functions in schema public to anon, authenticated, public",
            "grant all on all functions in schema aichat to anon, authenticated, public",
            "grant all on schema aichat to anon, authenticated, public",
            "grant select (key_hash), update (key_hash) on api_keys to authenticated",
            "create policy anyone on profiles for all using (true) with check (true)",
            "create policy own_rows_too on usage for update to authenticated using (user_id = auth.uid())",
            "alter table document_chunks disable row level security",
        ):
            owner.execute(statement)
        assert catalog(dsn) != kept
        apply_schema(dsn)
        assert catalog(dsn) == kept


def test_what_others_have_in_public_is_left_alone(supabase18: Cluster) -> None:
    theirs = (
        "select (select relacl::text from pg_class where oid = 'public.notes'::regclass), "
        "(select proacl::text from pg_proc where oid = 'public.notes_of(uuid)'::regprocedure), "
        "(select count(*) from pg_policy where polrelid = 'public.notes'::regclass), "
        "(select proacl::text from pg_proc where oid = 'extensions.l2_distance(extensions.vector, extensions.vector)'::regprocedure)"
    )
    with supabase18.database() as dsn, connect(dsn) as owner:
        owner.execute("create table public.notes (id integer)")
        owner.execute("create function public.notes_of(uuid) returns integer language sql as 'select 1'")
        owner.execute("create policy anyone on public.notes using (true)")
        before = owner.execute(theirs).fetchone()
        apply_schema(dsn)
        assert owner.execute(theirs).fetchone() == before
        assert before is not None
        assert "anon" in str(before[0])


def test_an_owner_who_may_not_make_roles_has_everything_but_them() -> None:
    with own_cluster(18) as cluster, cluster.database(owner="plain_owner") as dsn, connect(dsn) as owner:
        for _ in range(2):
            apply_schema(dsn)
        assert (
            one(owner, "select count(*) from pg_roles where rolname in ('anon', 'authenticated', 'service_role')") == 0
        )
        assert one(owner, "select count(*) from pg_policies") == 0
        assert one(owner, "select count(*) from pg_tables where schemaname = 'public' and not rowsecurity") == 0
        user = sign_up(owner)
        assert one(owner, "select public.deduct_credits(%s, 10)", (user,)) == 90
        with connect(as_user(dsn, cluster.superuser)) as admin:
            admin.execute("create role stranger")
            admin.execute("set role stranger")
            for query in ("select from profiles", "select deduct_credits(null, 1)", "select aichat.expire()"):
                with refused("42501"):
                    admin.execute(query)


def test_without_pgvector_it_says_that_it_may_not_make_it(postgres18: Cluster) -> None:
    with postgres18.database(BARE) as dsn:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match='create extension "vector"'):
            apply_schema(dsn)
        with connect(dsn) as owner:
            assert one(owner, "select to_regnamespace('aichat')") is None


@pytest.mark.parametrize(("found", "is_enough"), [("0.7.4", False), ("0.8.0", True), ("0.10.1", True), ("1.0.0", True)])
def test_an_old_pgvector_is_refused(postgres18: Cluster, found: str, *, is_enough: bool) -> None:
    with postgres18.database() as dsn:
        with connect(as_user(dsn, postgres18.superuser)) as admin:
            admin.execute("update pg_extension set extversion = %s where extname = 'vector'", (found,))
        if is_enough:
            apply_schema(dsn)
            return
        with pytest.raises(
            psycopg.errors.FeatureNotSupported, match=r"pgvector 0.8 or newer, and this is 0.7.4"
        ) as why:
            apply_schema(dsn)
        assert why.value.diag.message_hint == "Run: ALTER EXTENSION vector UPDATE"


def test_it_is_written_for_the_oldest_postgres_it_names() -> None:
    """What came with 16 or later would load here and fail there."""
    newer = r"\b(any_value|array_shuffle|array_sample|merge\s+.*returning|json_table|json_exists|json_value|uuidv7|casefold|maintain)\b"
    assert re.findall(newer, _statements(), re.IGNORECASE) == []
    assert (
        re.findall(r"superuser|security invoker|all (?:tables|functions|sequences|routines) in schema", _statements())
        == []
    )


def _statements() -> str:
    return re.sub(r"--.*", "", SCHEMA)
