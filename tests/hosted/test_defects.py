"""The ways in which a hosted schema of this kind usually fails: each is tried here by whoever would try it, and refused.

The numbers are those of the list this schema was written against.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from tests.hosted.database import Hosted
from tests.hosted.people import (
    CREDIT,
    FORBIDDEN,
    READABLE,
    Connection,
    Person,
    add_chunk,
    admit,
    count,
    everything_of,
    one,
    refused,
    settled_in,
    sign_up,
    sums,
)
from tests.servers.postgres import Role

STRANGERS: tuple[Role, ...] = ("anon", "authenticated")
SHOWN = {
    "profiles": "id, plan, balance_nano, held_nano, credits, created_at",
    "api_keys": "id, user_id, name, prefix, created_at, last_used_at, revoked_at",
    "purchases": "id, user_id, package, credits, amount_cents, state",
}


@pytest.fixture
def alice(owner: Connection) -> Person:
    return settled_in(owner)


@pytest.fixture
def bob(owner: Connection) -> Person:
    return settled_in(owner)


# 1. Who asks.


def test_1_who_asks_is_the_subject_of_the_claims(hosted: Hosted, alice: Person) -> None:
    assert one(hosted.role("authenticated", alice.id), "select auth.uid()") == alice.id
    assert one(hosted.role("authenticated"), "select auth.uid()") is None
    assert one(hosted.role("anon"), "select auth.uid()") is None


def test_1_auth_is_left_alone_where_there_is_one(hosted: Hosted, owner: Connection) -> None:
    whose = "select pg_get_userbyid({}) = current_user from {} where oid = {}"
    of_function = one(owner, whose.format("proowner", "pg_proc", "'auth.uid()'::regprocedure"))
    of_table = one(owner, whose.format("relowner", "pg_class", "'auth.users'::regclass"))
    assert (of_function, of_table) == (not hosted.is_supabase, not hosted.is_supabase)


CLAIMS = [
    "",
    "{}",
    '{"sub": null}',
    '{"sub": ""}',
    '{"sub": "nobody"}',
    '{"sub": 1}',
    '{"sub": ["%s"]}',
    '{"sub": {"id": "%s"}}',
    '{"sub": "%s; --"}',
    '{"sub": "%%"}',
    '{"SUB": "%s"}',
    '["%s"]',
    '"%s"',
    "%s",
    '{"sub": "00000000-0000-0000-0000-000000000000"}',
    '{"role": "service_role", "user": "%s"}',
]


@pytest.mark.parametrize("claims", [None, *CLAIMS])
def test_1_without_claims_or_with_malformed_ones_there_is_nothing(
    hosted: Hosted, owner: Connection, alice: Person, claims: str | None
) -> None:
    connection = hosted.role("authenticated")
    if claims is not None:
        text = claims.replace("%s", str(alice.id))
        connection.execute("select set_config('request.jwt.claims', %s, false)", (text,))
    for table in READABLE:
        with suppress(psycopg.DataError):  # claims that cannot be read are an error, which shows nothing either
            assert count(connection, table) == 0, table
    for attempt in ("select create_api_key('mine', 'sk-aichat-mine', %(hash)s)", "select revoke_api_key(%(key)s)"):
        state, done = "AI401", False
        try:
            done = bool(one(connection, attempt, {"hash": uuid4().bytes * 2, "key": alice.key}))
        except psycopg.Error as exc:
            state = exc.sqlstate or ""
        assert not done
        assert state in ("AI401", "22P02", "22023"), state
    assert one(owner, "select count(*) from api_keys where prefix = 'sk-aichat-mine'") == 0
    assert one(owner, "select revoked_at from api_keys where id = %s", (alice.key,)) is None


def tells_nothing(answer: object) -> bool:
    """Whether there is no row, name or number in it."""
    if isinstance(answer, dict):
        return all(map(tells_nothing, answer.values()))
    return all(map(tells_nothing, answer)) if isinstance(answer, list | tuple) else not answer


def test_1_no_function_of_a_user_does_anything_without_one(hosted: Hosted, owner: Connection, alice: Person) -> None:
    before = everything_of(owner, alice.id)
    owner.execute("set search_path = ''")  # types are named with their schemas then
    functions = owner.execute(
        """
        select n.nspname, o.oid::regprocedure::text, format('select %I.%I(%s)', n.nspname, o.proname,
          (select string_agg('null::' || format_type(t, null), ', ') from unnest(o.proargtypes) t))
        from pg_proc o join pg_namespace n on n.oid = o.pronamespace
        where n.nspname in ('public', 'aichat') and o.prorettype <> 'trigger'::regtype
          and not exists (select from pg_depend d where d.objid = o.oid and d.deptype = 'e')
        """
    ).fetchall()
    assert len(functions) > 30
    owner.execute("reset search_path")
    anon, nobody, bob = hosted.role("anon"), hosted.role("authenticated"), hosted.role("authenticated", sign_up(owner))
    for schema, name, call in functions:
        with refused(FORBIDDEN):
            anon.execute(call)
        if schema == "aichat" or "deduct_credits" in name:
            with refused(FORBIDDEN):
                bob.execute(call)
            continue
        found: object = None
        state: str | None = None
        try:
            found = nobody.execute(call).fetchall()
        except psycopg.Error as exc:
            state = exc.sqlstate
        assert state in (FORBIDDEN, "AI401") or tells_nothing(found), name
    assert everything_of(owner, alice.id) == before


# 2. A month of usage.


def test_2_a_month_of_usage_is_a_range_of_an_index(owner: Connection, alice: Person) -> None:
    with owner.transaction(force_rollback=True):
        owner.execute(
            "insert into usage (user_id, request_id, seq, type, provider, model, input_tokens, cached_tokens,"
            " cache_write_tokens, output_tokens, reasoning_tokens, cost_nano, provenance, status, created_at)"
            " select %s, gen_random_uuid(), 100 + n, 'chat', 'p', 'm', 0, 0, 0, 0, 0, 1, 'calculated', 'complete',"
            " now() - n * interval '1 day' from generate_series(1, 1000) n",
            (alice.id,),
        )
        owner.execute("analyze usage")
        plan = owner.execute(
            "explain select sum(cost_nano) from usage where user_id = %s"
            " and created_at >= date_trunc('month', now()) and created_at < date_trunc('month', now()) + interval '1 month'",
            (alice.id,),
        ).fetchall()
    text = "\n".join(str(line) for (line,) in plan)
    assert "usage_by_time" in text
    condition = next(str(line) for (line,) in plan if "Index Cond" in str(line))
    assert condition.count("created_at") == 2


# 3. Rows of others.


@pytest.mark.parametrize("table", READABLE)
def test_3_a_user_sees_their_own_rows_and_no_others(hosted: Hosted, alice: Person, bob: Person, table: str) -> None:
    query = sql.SQL("select * from (select {} from {}) shown").format(
        sql.SQL(SHOWN.get(table, "*")),
        sql.Identifier(table),
    )
    for someone, other in ((alice, bob), (bob, alice)):
        connection = hosted.role("authenticated", someone.id)
        rows = connection.execute(query).fetchall()
        owners = {value for row in rows for value in row if value in (alice.id, bob.id)}
        assert rows
        assert owners == {someone.id}
        assert count(connection, table, other.id) == 0
        assert count(connection, table) == len(rows)
    assert count(hosted.service(), table, bob.id) >= 1


@pytest.mark.parametrize("table", [*READABLE, "aichat.staged_chunks", "aichat.schema_versions", "auth.users"])
def test_3_anon_reads_nothing_and_nobody_writes(hosted: Hosted, alice: Person, bob: Person, table: str) -> None:
    name = sql.Identifier(*(table if "." in table else f"public.{table}").split("."))
    anon, user, service = hosted.role("anon"), hosted.role("authenticated", alice.id), hosted.service()
    with refused(FORBIDDEN):
        anon.execute(sql.SQL("select from {} limit 1").format(name))
    if "." in table:
        with refused(FORBIDDEN):
            user.execute(sql.SQL("select from {} limit 1").format(name))
    column = _columns(hosted, table)[-1]
    writes: Sequence[str] = (
        "insert into {table} default values",
        "update {table} set {column} = {column}",
        "delete from {table}",
        "truncate {table}",
        "select from {table} for update",
    )
    for connection in (anon, user, service):
        if connection is service and table == "auth.users":
            continue  # whom the service signs up is not ours to say
        for write in writes:
            with refused(FORBIDDEN):
                connection.execute(sql.SQL(write).format(table=name, column=sql.Identifier(column)))


def _columns(hosted: Hosted, table: str) -> list[str]:
    rows = hosted.owner().execute(
        "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and attgenerated = '' order by attnum",
        (table if "." in table else f"public.{table}",),
    )
    return [str(name) for (name,) in rows]


@pytest.mark.parametrize("table", READABLE)
def test_3_a_grant_by_mistake_still_writes_no_row(hosted: Hosted, alice: Person, bob: Person, table: str) -> None:
    """Row security is a second line: what a policy does not allow stays refused."""
    connection = hosted.superuser()
    name = sql.Identifier("public", table)
    kept_by_triggers = {"balance_nano", "held_nano"}
    columns = sql.SQL(", ").join(
        sql.Identifier(column) for column in _columns(hosted, table) if column not in kept_by_triggers
    )
    with connection.transaction(force_rollback=True):
        connection.execute(sql.SQL("grant select, insert, update, delete on {} to authenticated, anon").format(name))
        for role in STRANGERS:
            connection.execute("select set_config('role', %s, false)", (role,))
            connection.execute("select set_config('request.jwt.claims', %s, false)", (f'{{"sub": "{alice.id}"}}',))
            key = sql.Identifier("id" if table == "profiles" else "user_id")
            for statement in ("update {table} set {key} = {key}", "delete from {table}"):
                changed = connection.execute(sql.SQL(statement).format(table=name, key=key))
                assert changed.rowcount == 0
            source = sql.SQL("insert into {table} ({columns}) overriding system value select {columns} from {table}")
            if role == "authenticated":
                with refused(FORBIDDEN) as why, connection.transaction():
                    connection.execute(source.format(table=name, columns=columns))
                assert "row-level security" in why.message
            else:
                assert count(connection, table) == 0
            connection.execute("reset role")


def test_3_a_user_does_not_set_their_plan_or_credits(
    hosted: Hosted, owner: Connection, alice: Person, bob: Person
) -> None:
    user = hosted.role("authenticated", alice.id)
    for someone in (alice, bob):
        for statement in (
            "update profiles set plan = 'enterprise' where id = %s",
            "update profiles set balance_nano = 99999999999 where id = %s",
            "update profiles set held_nano = 0 where id = %s",
            "update profiles set stripe_customer_id = 'cus_other' where id = %s",
            "insert into credit_ledger (user_id, kind, ref, amount_nano) values (%s, 'grant', 'me', 1)",
            "delete from rate_events where user_id = %s",
            "delete from credit_holds where user_id = %s",
            "select aichat.set_plan(%s, 'enterprise')",
            "select aichat.grant_credits(%s, 'grant', 'me', 1000)",
            "select aichat.take_credits(%s, 'refund', 'me', 1)",
            "select aichat.enter(%s, 'grant', 'me', 1, 0)",
            "select aichat.admit(%s, gen_random_uuid(), 0, '{}', '1 minute')",
            "select aichat.record_usage(%s, gen_random_uuid(), 0, '{}')",
            "select aichat.suspend(%s, false)",
            "select aichat.create_api_key(%s, 'a', 'sk-aichat-a', '', '{}', null, null, null)",
            "select aichat.audit('me', 'user.plan', %s, null, '{}')",
            "select from aichat.audit_events where user_id = %s",
        ):
            with refused(FORBIDDEN):
                user.execute(statement, (someone.id,))
    renew = """renew(jsonb_build_array(jsonb_build_object('request_id', %s::uuid)), '1 hour')"""
    for statement in ("settle(%s, 0)", "release(%s)", renew, "finish(%s, 0, null)", "lock_holder(%s)"):
        with refused(FORBIDDEN):
            user.execute(f"select aichat.{statement}", (alice.call,))
    with refused(FORBIDDEN):
        user.execute("select aichat.expire('infinity')")
    assert sums(owner, alice.id) == (100 * CREDIT, CREDIT)
    assert one(owner, "select plan from profiles where id = %s", (alice.id,)) == "free"


def test_3_a_user_reads_no_hash_of_a_key_and_no_name_at_stripe(hosted: Hosted, alice: Person) -> None:
    user = hosted.role("authenticated", alice.id)
    for query in (
        "select key_hash from api_keys",
        "select * from api_keys",
        "select api_keys from api_keys",
        "select to_jsonb(k) from api_keys k",
        "select count(*) from api_keys where key_hash > ''",
        "select prefix from api_keys order by key_hash",
        "copy api_keys to stdout",
        "select stripe_customer_id from profiles",
        "select p from profiles p",
    ):
        with refused(FORBIDDEN):
            user.execute(query)
    with refused(FORBIDDEN):
        hosted.service().execute("select key_hash from api_keys")


def test_3_a_function_of_a_users_own_is_shown_no_row_of_others(hosted: Hosted, alice: Person, bob: Person) -> None:
    user = hosted.role("authenticated", alice.id)
    user.execute("create temp table seen (user_id uuid)")
    user.execute(
        "create function pg_temp.look(uuid) returns boolean language plpgsql cost 0.0000001"
        " as 'begin insert into pg_temp.seen values ($1); return true; end'"
    )
    for table in READABLE:
        key = "id" if table == "profiles" else "user_id"
        user.execute(f"select count({key}) from {table} where pg_temp.look({key})")
    assert user.execute("select distinct user_id from seen").fetchall() == [(alice.id,)]


def test_3_who_asks_is_asked_once_for_a_query(hosted: Hosted, alice: Person) -> None:
    user = hosted.role("authenticated", alice.id)
    for table in READABLE:
        query = f"explain (format json, verbose) select {SHOWN.get(table, '*')} from {table}"
        [(plans,)] = user.execute(query).fetchall()
        assert isinstance(plans, list)
        plan = plans[0]["Plan"]
        conditions = [plan[key] for key in ("Filter", "Index Cond", "Recheck Cond") if key in plan]
        conditions += [json.dumps(inner) for inner in plan.get("Plans", []) if inner.get("Subplan Name") is None]
        assert [inner["Subplan Name"] for inner in plan["Plans"] if "Subplan Name" in inner] != []
        assert conditions
        assert not any("uid()" in condition or "current_setting" in condition for condition in conditions)


# 3. Keys.


def whose(connection: Connection, prefix: str | None, key_hash: bytes | None) -> object:
    """The user that a key authenticates."""
    return one(connection, "select user_id from aichat.authenticate(%s, %s)", (prefix, key_hash))


def test_3_a_key_is_made_for_whoever_is_signed_in(
    hosted: Hosted, owner: Connection, alice: Person, bob: Person
) -> None:
    user, key_hash = hosted.role("authenticated", alice.id), hashlib.sha256(uuid4().bytes).digest()
    prefix = f"sk-aichat-{uuid4().hex[:8]}"
    key = one(user, "select create_api_key('work', %s, %s)", (prefix, key_hash))
    assert one(owner, "select user_id from api_keys where id = %s", (key,)) == alice.id
    assert whose(owner, prefix, key_hash) == alice.id
    for statement in (
        "insert into api_keys (user_id, name, prefix, key_hash) values (%(bob)s, 'a', 'sk-aichat-x', %(hash)s)",
        "update api_keys set user_id = %(bob)s",
    ):
        with refused(FORBIDDEN):
            user.execute(statement, {"bob": bob.id, "hash": uuid4().bytes * 2})
    for bad, state in (
        (("", "sk-aichat-2", uuid4().bytes * 2), "23514"),
        (("a", "sk", uuid4().bytes * 2), "23514"),
        (("a", "sk-aichat-2", b"short"), "23514"),
        (("a", "sk-aichat-2", None), "23502"),
        (("a", bob.prefix, uuid4().bytes * 2), "23505"),
        (("a", "sk-aichat-2", bob.key_hash), "23505"),
    ):
        with refused(state):
            user.execute("select create_api_key(%s, %s, %s)", bad)


def test_3_a_revoked_key_gets_nothing(hosted: Hosted, owner: Connection, alice: Person, bob: Person) -> None:
    service = hosted.service()
    assert whose(service, alice.prefix, alice.key_hash) == alice.id
    assert one(hosted.role("authenticated", bob.id), "select revoke_api_key(%s)", (alice.key,)) is False
    assert whose(service, alice.prefix, alice.key_hash) == alice.id
    user = hosted.role("authenticated", alice.id)
    assert [one(user, "select revoke_api_key(%s)", (alice.key,)) for _ in range(2)] == [True, False]
    owner.execute("update api_keys set last_used_at = null where id = %s", (alice.key,))
    with refused("AI401") as why:
        whose(service, alice.prefix, alice.key_hash)
    assert why.detail == "revoked"
    assert one(owner, "select last_used_at from api_keys where id = %s", (alice.key,)) is None
    assert whose(service, bob.prefix, bob.key_hash) == bob.id


def test_3_half_a_key_gets_nothing(hosted: Hosted, alice: Person, bob: Person) -> None:
    service = hosted.service()
    for prefix, key_hash in (
        (alice.prefix, bob.key_hash),
        (bob.prefix, alice.key_hash),
        (alice.prefix, None),
        (None, alice.key_hash),
        (alice.prefix, b""),
        ("%", alice.key_hash),
    ):
        with refused("AI401") as why:
            whose(service, prefix, key_hash)
        assert why.detail == "unknown"
    for role in STRANGERS:
        with refused(FORBIDDEN):
            hosted.role(role, alice.id).execute("select aichat.authenticate('a', 'a')")
        with refused(FORBIDDEN):
            hosted.role("anon", alice.id).execute("select public.revoke_api_key(%s)", (alice.key,))
        with refused(FORBIDDEN):
            hosted.role("anon", alice.id).execute("select public.create_api_key('a', 'sk-aichat-a', 'a')")


def test_3_when_a_key_was_used_is_written_once_a_minute(owner: Connection, alice: Person) -> None:
    def use() -> object:
        whose(owner, alice.prefix, alice.key_hash)
        return one(owner, "select last_used_at from api_keys where id = %s", (alice.key,))

    first = use()
    assert first is not None
    assert use() == first
    owner.execute("update api_keys set last_used_at = last_used_at - interval '61 seconds' where id = %s", (alice.key,))
    assert use() > first  # type: ignore[operator]


# 4. The books.


def test_4_a_user_does_not_rewrite_or_delete_their_usage(hosted: Hosted, owner: Connection, alice: Person) -> None:
    kept = owner.execute("select * from usage where user_id = %s", (alice.id,)).fetchall()
    for connection in (hosted.role("authenticated", alice.id), hosted.role("anon", alice.id), hosted.service()):
        for statement in (
            "update usage set cost_nano = 0",
            "update usage set conversation_id = null",
            "delete from usage",
            "truncate usage",
            "insert into usage (user_id, request_id) select user_id, gen_random_uuid() from usage",
        ):
            with refused(FORBIDDEN):
                connection.execute(statement)
    assert owner.execute("select * from usage where user_id = %s", (alice.id,)).fetchall() == kept


@pytest.mark.parametrize(
    "statement",
    [
        "update usage set cost_nano = 0 where user_id = %s",
        "update usage set cost_nano = null where user_id = %s",
        "update usage set request_id = gen_random_uuid() where user_id = %s",
        "update usage set seq = 99 where user_id = %s",
        "update usage set created_at = created_at - interval '1 month' where user_id = %s",
        "update usage set input_tokens = 0, output_tokens = 0 where user_id = %s",
        "update usage set conversation_id = null where user_id = %s",
        "update usage set message_id = null where user_id = %s",
        "delete from usage where user_id = %s",
        "insert into usage select * from usage where user_id = %s on conflict (user_id, request_id) do update set raw = 'x'",
        "truncate usage",
        "truncate conversations cascade",
    ],
)
def test_4_not_even_the_owner_of_the_database_rewrites_usage(
    hosted: Hosted, owner: Connection, alice: Person, statement: str
) -> None:
    columns = ", ".join(_columns(hosted, "usage"))
    statement = statement.replace("insert into usage select *", f"insert into usage ({columns}) select {columns}")
    with refused("AI403"):
        owner.execute(statement, (alice.id,) if "%s" in statement else ())
    assert one(owner, "select cost_cents from usage where user_id = %s", (alice.id,)) == 2


def test_4_usage_outlives_what_it_refers_to_and_changes_in_nothing_else(owner: Connection, alice: Person) -> None:
    def row() -> list[object]:
        query = "select to_jsonb(u) - 'conversation_id' - 'message_id', conversation_id, message_id from usage u where user_id = %s"
        [found] = owner.execute(query, (alice.id,)).fetchall()
        return list(found)

    before = row()
    owner.execute("delete from messages where id = %s", (alice.answer,))
    assert row() == [before[0], alice.conversation, None]
    owner.execute("delete from conversations where id = %s", (alice.conversation,))
    assert row() == [before[0], None, None]


def test_4_usage_lets_go_of_a_conversation_that_was_deleted_and_stays_as_a_mark(
    owner: Connection, alice: Person
) -> None:
    let_go = "update usage set conversation_id = null where user_id = %s"
    with refused("AI403"):
        owner.execute(let_go, (alice.id,))
    owner.execute("update conversations set deleted_at = now() where id = %s", (alice.conversation,))
    assert owner.execute(let_go, (alice.id,)).rowcount == 1


@pytest.mark.parametrize("amount", [-1_000_000, -1, 0, None])
def test_4_deducting_less_than_a_credit_mints_nothing(
    hosted: Hosted, owner: Connection, alice: Person, amount: int | None
) -> None:
    with refused("AI400"):
        hosted.service().execute("select public.deduct_credits(%s, %s)", (alice.id, amount))
    assert sums(owner, alice.id) == (100 * CREDIT, CREDIT)


def test_4_nobody_but_the_service_deducts(hosted: Hosted, owner: Connection, alice: Person, bob: Person) -> None:
    for role in STRANGERS:
        for someone in (alice, bob):
            for amount in (1, -1):
                with refused(FORBIDDEN):
                    hosted.role(role, alice.id).execute("select public.deduct_credits(%s, %s)", (someone.id, amount))
    assert one(hosted.service(), "select public.deduct_credits(user_id => %s, amount => 9)", (bob.id,)) == 91
    assert [sums(owner, each.id)[0] for each in (alice, bob)] == [100 * CREDIT, 91 * CREDIT]


def test_4_a_balance_does_not_go_below_what_is_held(hosted: Hosted, owner: Connection) -> None:
    user, service = sign_up(owner), hosted.service()
    admit(owner, user, uuid4(), 40 * CREDIT)
    for amount in (61, 2_147_483_647):
        with refused("AI402") as why:
            service.execute("select public.deduct_credits(%s, %s)", (user, amount))
        assert why.detail == str(60 * CREDIT)
    assert one(service, "select public.deduct_credits(%s, 60)", (user,)) == 40
    with refused("AI402"):
        service.execute("select public.deduct_credits(%s, 1)", (user,))
    assert sums(owner, user) == (40 * CREDIT, 40 * CREDIT)


# 5. Sign-up.


def test_5_who_signs_up_has_a_profile(owner: Connection) -> None:
    user = sign_up(owner)
    row = owner.execute("select plan, credits, stripe_customer_id from profiles where id = %s", (user,)).fetchone()
    assert row == ("free", 100, None)
    assert sums(owner, user) == (100 * CREDIT, 0)
    assert count(owner, "sync_heads", user) == 1


def test_5_welcome_credits_are_given_once(owner: Connection) -> None:
    user = sign_up(owner)
    owner.execute("delete from profiles where id = %s", (user,))
    assert count(owner, "credit_ledger", user) == 0
    owner.execute("insert into profiles (id) values (%s)", (user,))
    with refused("23505"):
        owner.execute("insert into profiles (id) values (%s)", (user,))
    assert sums(owner, user) == (100 * CREDIT, 0)


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ("update messages set role = 'root' where user_id = %s", "23514"),
        ("update messages set status = 'streaming' where user_id = %s", "23514"),
        ("update profiles set plan = 'gold' where id = %s", "23514"),
        ("update profiles set plan = null where id = %s", "23502"),
        ("update conversations set user_id = null where user_id = %s", "23502"),
        ("update documents set user_id = null where user_id = %s", "23502"),
        ("update document_chunks set user_id = null where user_id = %s", "23502"),
        ("update api_keys set user_id = null where user_id = %s", "23502"),
        ("update api_keys set key_hash = 'plain' where user_id = %s", "23514"),
        ("update blobs set sha256 = '../secret' where user_id = %s", "23514"),
        ("insert into profiles (id) values (gen_random_uuid()) returning %s", "23503"),
    ],
)
def test_5_roles_plans_and_owners_are_checked(owner: Connection, alice: Person, change: str, state: str) -> None:
    with refused(state):
        owner.execute(change, (alice.id,))


def test_5_everything_of_a_user_goes_with_them_and_nothing_of_others(
    owner: Connection, alice: Person, bob: Person
) -> None:
    kept = {table: count(owner, table, bob.id) for table in READABLE}
    owner.execute("delete from auth.users where id = %s", (alice.id,))
    assert {table: count(owner, table, alice.id) for table in READABLE} == dict.fromkeys(READABLE, 0)
    assert one(owner, "select count(*) from aichat.staged_chunks where user_id = %s", (alice.id,)) == 0
    assert {table: count(owner, table, bob.id) for table in READABLE} == kept
    assert all(kept.values())


# 6. What belongs to another.


def test_6_nothing_hangs_on_what_belongs_to_another(owner: Connection, alice: Person, bob: Person) -> None:
    with refused("23503"):
        add_chunk(owner, bob.id, alice.document, 1)
    for statement in (
        "update messages set conversation_id = %(of_alice)s, parent_id = null where user_id = %(bob)s and id = %(answer)s",
        "update messages set parent_id = %(message_of_alice)s where user_id = %(bob)s and id = %(answer)s",
    ):
        with refused("23503"):
            owner.execute(
                statement,
                {
                    "of_alice": alice.conversation,
                    "message_of_alice": alice.message,
                    "bob": bob.id,
                    "answer": bob.answer,
                },
            )
    for column, other in (("conversation_id", alice.conversation), ("message_id", alice.message)):
        statement = (
            f"insert into usage (user_id, request_id, seq, {column}, type, provider, model, input_tokens, cached_tokens,"
            " cache_write_tokens, output_tokens, reasoning_tokens, provenance, status, created_at)"
            " values (%s, gen_random_uuid(), 9, %s, 'chat', 'p', 'm', 0, 0, 0, 0, 0, 'calculated', 'complete', now())"
        )
        with refused("23503"):
            owner.execute(statement, (bob.id, other))


def test_6_nobody_takes_anothers_id_from_them(owner: Connection, alice: Person) -> None:
    user = sign_up(owner)
    for statement in (
        "insert into conversations (user_id, id, seq, created_at, updated_at) values (%(user)s, %(conversation)s, 1, now(), now())",
        "insert into documents (user_id, id, seq, stamp, created_at, updated_at)"
        " values (%(user)s, %(document)s, 2, '1', now(), now())",
    ):
        owner.execute(statement, {"user": user, "conversation": alice.conversation, "document": alice.document})
    owner.execute("delete from auth.users where id = %s", (user,))
    assert [count(owner, table, alice.id) for table in ("conversations", "documents", "document_chunks")] == [1, 1, 1]


def push(connection: Connection, *changes: dict[str, object]) -> object:
    """Sync changes as a device of whoever is connected; returns what is answered."""
    numbered = [{"mid": mid, "uid": str(uuid4()), "clock": 2**62, **change} for mid, change in enumerate(changes, 1)]
    answer = one(connection, "select sync_push(%s, 'phone', 1000, %s)", (uuid4(), json.dumps(numbered, default=str)))
    assert isinstance(answer, dict)
    return answer["status"]


def test_6_what_a_device_pushes_reaches_nothing_of_another(hosted: Hosted, owner: Connection, alice: Person) -> None:
    before = everything_of(owner, alice.id)
    bob = hosted.role("authenticated", sign_up(owner))
    chunk: dict[str, object] = {
        "chunk_index": 0,
        "content": "mine",
        "heading": "",
        "start_char": 0,
        "end_char": 4,
        "line": 1,
    }
    chunk |= {"token_count": 1, "hash": "", "user_id": str(alice.id), "document_id": str(alice.document)}
    bob.execute("select sync_stage_chunks(%s, '9', %s)", (alice.document, json.dumps([chunk])))
    at: dict[str, object] = {
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
        "user_id": alice.id,
    }
    said: dict[str, object] = {"role": "user", "content": "x", "reasoning": "", "status": "complete"}
    for change in (
        {"kind": "message", "id": uuid4(), "conversation_id": alice.conversation, **said},
        {"kind": "message", "id": alice.message, "conversation_id": alice.conversation, "parent_id": alice.answer, **said},
        {"kind": "conversation", "id": alice.conversation, "fields": {"title": "mine"}},
        {"kind": "document", "id": alice.document, "version": "9", "chunk_count": 1, "collection": "", "name": "", "path": "",
         "media_type": "", "size": 1, "settings": ""},
    ):  # fmt: skip
        assert push(bob, {**change, **at}) == "ok", change["kind"]
    assert one(bob, "select count(*) from document_chunks where content = 'mine'") == 1
    for kind, id_ in (("conversation_delete", alice.conversation), ("document_delete", alice.document)):
        assert push(bob, {"kind": kind, "id": id_, **at}) == "ok"
    bob.execute("select sync_forget(%s)", (alice.conversation,))
    assert one(bob, "select sync_blob(%s)", (hashlib.sha256(b"secret").hexdigest(),)) is None
    assert everything_of(owner, alice.id) == before


def test_4_usage_that_is_pushed_again_is_not_rewritten(hosted: Hosted, owner: Connection, alice: Person) -> None:
    before = everything_of(owner, alice.id)["usage"]
    free: dict[str, object] = {
        "input_tokens": 0,
        "cached_tokens": 0,
        "cache_write_tokens": 0,
        "output_tokens": 0,
        "reasoning_tokens": 0,
    }
    free |= {
        "type": "chat",
        "provider": "p",
        "model": "m",
        "cost_nano": 0,
        "provenance": "provider",
        "status": "complete",
    }
    change = {"kind": "usage", "id": alice.request, "created_at": "2026-01-01T00:00:00Z", **free}
    assert push(hosted.role("authenticated", alice.id), change) == "ok"
    assert everything_of(owner, alice.id)["usage"] == before


# 7. Vectors.


def test_7_vectors_of_any_model_are_stored_with_its_name(owner: Connection, alice: Person) -> None:
    for index, dimensions in enumerate((256, 384, 1536, 3072), 1):
        add_chunk(owner, alice.id, alice.document, index, dimensions)
    stored = "select array_agg(vector_dims(embedding) order by chunk_index) from document_chunks where user_id = %s"
    assert one(owner, stored, (alice.id,)) == [3, 256, 384, 1536, 3072]
    for change in ("embedding_model = null", "chunk_index = -1", "chunk_index = 0"):
        with refused("23505" if change == "chunk_index = 0" else "23514"):
            owner.execute(f"update document_chunks set {change} where user_id = %s", (alice.id,))
    with refused("23514"):
        owner.execute("update documents set dimensions = 0 where user_id = %s", (alice.id,))


def test_an_id_is_not_told_by_how_it_is_refused(hosted: Hosted, alice: Person) -> None:
    user = hosted.role("authenticated", uuid4())
    assert [one(user, "select revoke_api_key(%s)", (key,)) for key in (alice.key, uuid4())] == [False, False]
    assert isinstance(alice.key, UUID)
