"""What each role may do with everything that is ours: the catalog is read through, and whatever is not named here is refused.

Whoever adds a table or a function to schema.sql says here who may read or call it.
"""

from __future__ import annotations

from tests.hosted.database import Hosted
from tests.hosted.people import FORBIDDEN, READABLE, Connection, refused

COLUMNS = {
    "profiles": {"id", "name", "email", "plan", "balance_nano", "held_nano", "credits", "created_at", "suspended_at"},
    "api_keys": {
        *("id", "user_id", "name", "prefix", "scopes", "plan", "monthly_cap_nano"),
        *("created_at", "expires_at", "last_used_at", "revoked_at"),
    },
    "purchases": {
        *("id", "user_id", "package", "credits", "amount_cents", "currency", "is_live", "state"),
        *("created_at", "updated_at"),
    },
}
"""Of these tables a user may read nothing else; of the others every column."""

TABLES: dict[str, set[str]] = {
    **{
        f"public.{table}": {"authenticated=SELECT", "service_role=SELECT"} for table in READABLE if table not in COLUMNS
    },
    "public.profiles": {"service_role=SELECT"} | {f"authenticated=SELECT({column})" for column in COLUMNS["profiles"]},
    "public.api_keys": {
        f"{role}=SELECT({column})" for column in COLUMNS["api_keys"] for role in ("authenticated", "service_role")
    },
    "public.purchases": {"service_role=SELECT"}
    | {f"authenticated=SELECT({column})" for column in COLUMNS["purchases"]},
}
"""In public. All of schema aichat is read by the service and by nobody else."""

CALLED_BY_USERS = {
    "create_api_key",
    "revoke_api_key",
    "match_user_documents",
    "search_user_documents",
    "sync_push",
    "sync_pull",
    "sync_stage_chunks",
    "sync_chunks",
    "sync_missing_blobs",
    "sync_put_blob",
    "sync_blob",
    "sync_devices",
    "sync_forget",
}
CALLED_BY_THE_SERVICE = {"deduct_credits"}

OURS = """
  n.nspname in ('public', 'aichat')
  and not exists (select from pg_depend d where d.objid = o.oid and d.deptype = 'e')
"""


def test_each_table_is_read_by_those_who_may_and_written_by_nobody(owner: Connection) -> None:
    rows = owner.execute(
        f"""
        with granted as (
          select n.nspname || '.' || o.relname as name, a.grantee, a.privilege_type as privilege, o.relowner
          from pg_class o join pg_namespace n on n.oid = o.relnamespace,
            aclexplode(coalesce(o.relacl, acldefault(case o.relkind when 'S' then 'S'::"char" else 'r'::"char" end, o.relowner))) a
          where o.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and {OURS}
          union all
          select n.nspname || '.' || o.relname, a.grantee, a.privilege_type || '(' || c.attname || ')', o.relowner
          from pg_class o join pg_namespace n on n.oid = o.relnamespace join pg_attribute c on c.attrelid = o.oid,
            aclexplode(c.attacl) a
          where {OURS}
        )
        select name,
          coalesce(array_agg(coalesce(nullif(grantee, 0)::regrole::text, 'public') || '=' || privilege)
            filter (where grantee <> relowner), '{{}}')
        from granted group by name
        """
    ).fetchall()
    granted = {name: set(who) for name, who in rows if isinstance(who, list)}
    numbered = {"public.credit_ledger", "public.rate_events", "public.document_chunks"}
    sequences = {f"{table}_id_seq" for table in numbered | {"aichat.audit_events", "aichat.reversals"}}
    of_service = {
        name: {"service_role=SELECT"} for name in granted if name.startswith("aichat.") and name not in sequences
    }
    assert granted == {**TABLES, **of_service, **{sequence: set() for sequence in sequences}}
    assert {"aichat.staged_chunks", "aichat.audit_events"} <= of_service.keys()


def test_each_table_has_row_security_and_policies_that_only_select(owner: Connection) -> None:
    rows = owner.execute(
        f"""
        select n.nspname || '.' || o.relname, o.relrowsecurity, p.polname, p.polcmd::text, p.polroles::regrole[]::text,
          p.polpermissive, pg_get_expr(p.polqual, p.polrelid), p.polwithcheck is null
        from pg_class o join pg_namespace n on n.oid = o.relnamespace left join pg_policy p on p.polrelid = o.oid
        where o.relkind in ('r', 'p') and {OURS}
        """
    ).fetchall()
    expected = set()
    for name in {*TABLES, *(str(row[0]) for row in rows if str(row[0]).startswith("aichat."))}:
        schema, table = name.split(".")
        column = "id" if table == "profiles" else "user_id"
        own = f"({column} = ( SELECT auth.uid() AS uid))"
        expected.add((name, True, "all_rows", "r", "{service_role}", True, "true", True))
        if schema == "public":
            expected.add((name, True, "own_rows", "r", "{authenticated}", True, own, True))
    assert set(rows) == expected


def test_each_function_is_called_by_those_who_may(owner: Connection) -> None:
    rows = owner.execute(
        f"""
        select n.nspname, o.proname, o.prorettype = 'trigger'::regtype,
          array(select coalesce(nullif(a.grantee, 0)::regrole::text, 'public')
            from aclexplode(coalesce(o.proacl, acldefault('f', o.proowner))) a where a.grantee <> o.proowner)
        from pg_proc o join pg_namespace n on n.oid = o.pronamespace where {OURS}
        """
    ).fetchall()
    wrong = []
    for schema, name, is_trigger, callers in rows:
        if schema == "aichat":
            expected = [] if is_trigger else ["service_role"]
        elif name in CALLED_BY_USERS:
            expected = ["authenticated"]
        else:
            assert name in CALLED_BY_THE_SERVICE, f"nobody has said who may call public.{name}"
            expected = ["service_role"]
        if callers != expected:
            wrong.append((schema, name, callers))
    assert wrong == []
    assert len(rows) > 25


def test_each_function_that_runs_as_its_owner_names_where_it_looks(owner: Connection) -> None:
    """One that did not would run what a caller had put in its way."""
    rows = owner.execute(
        f"""
        select n.nspname || '.' || o.proname,
          (select split_part(c, '=', 2) from unnest(o.proconfig) c where c like 'search_path=%%')
        from pg_proc o join pg_namespace n on n.oid = o.pronamespace where o.prosecdef and {OURS}
        """.replace("%%", "%")
    ).fetchall()
    places = {'""', "public, extensions, pg_temp", "pg_catalog, public, extensions, pg_temp"}
    assert [row for row in rows if row[1] not in places] == []
    assert {"public.create_api_key", "public.deduct_credits", "aichat.admit"} <= {str(name) for name, _ in rows}


def test_each_foreign_key_ends_with_what_it_refers_to_and_has_an_index(owner: Connection) -> None:
    rows = owner.execute(
        """
        select c.conname, c.confdeltype::text,
          exists (
            select from pg_index i where i.indrelid = c.conrelid and i.indpred is null
              and (string_to_array(i.indkey::text, ' ')::smallint[])[1:cardinality(c.conkey)] @> c.conkey
          )
        from pg_constraint c join pg_namespace n on n.oid = c.connamespace
        where c.contype = 'f' and n.nspname in ('public', 'aichat')
        """
    ).fetchall()
    assert len(rows) >= 16
    emptied = {name for name, action, _ in rows if action == "n"}
    assert emptied == {"usage_user_id_conversation_id_fkey", "usage_user_id_message_id_fkey"}
    has_one_row = "owners_user_id_fkey"
    assert [row for row in rows if row[1] not in "cn" or not (row[2] or row[0] == has_one_row)] == []


def test_each_row_has_an_owner_but_what_was_done_to_people(owner: Connection) -> None:
    rows = owner.execute(
        """
        select a.attrelid::regclass::text from pg_attribute a join pg_class t on t.oid = a.attrelid
        where t.relnamespace in ('public'::regnamespace, 'aichat'::regnamespace) and t.relkind = 'r'
          and a.attname = 'user_id' and not a.attnotnull
        """
    ).fetchall()
    assert rows == [("aichat.audit_events",)]


def test_nobody_else_looks_into_the_schema_of_the_service(hosted: Hosted, owner: Connection) -> None:
    query = "select array(select r from unnest(%s::text[]) r where has_schema_privilege(r, 'aichat', 'usage, create'))"
    row = owner.execute(query, (["anon", "authenticated", "service_role"],)).fetchone()
    assert row == (["service_role"],)
    for role in ("anon", "authenticated", "service_role"):
        with refused(FORBIDDEN):
            hosted.role(role).execute("create table public.mine (id integer)")
        with refused(FORBIDDEN):
            hosted.role(role).execute("create table aichat.mine (id integer)")


def test_roles_without_a_login_own_nothing_and_bypass_nothing_they_should_not(owner: Connection) -> None:
    rows = owner.execute(
        "select rolname, rolsuper, rolcreaterole from pg_roles where rolname in ('anon', 'authenticated', 'service_role')"
    ).fetchall()
    assert {name for name, is_super, creates in rows if is_super or creates} == set()
