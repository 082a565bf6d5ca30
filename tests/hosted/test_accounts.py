"""Accounts of many people in Postgres itself: how calls end when several end them, and what nobody may rewrite."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.hosted.database import Hosted
from tests.hosted.people import CREDIT, USED, Connection, admit, count, one, refused, renew, sign_up, sums

FINISH = "select * from aichat.finish(%s, %s, %s)"


@contextmanager
def user_is_locked(other: Connection, user: UUID, waiting: Connection) -> Iterator[None]:
    """Somebody else has the user; when this begins to end, `waiting` waits for them."""
    with other.transaction():
        other.execute("select from profiles where id = %s for no key update", (user,))
        yield
        deadline = time.monotonic() + 20
        query = "select wait_event_type = 'Lock' from pg_stat_activity where pid = %s"
        while not one(other, query, (waiting.info.backend_pid,)):
            assert time.monotonic() < deadline
            other.execute("select pg_stat_clear_snapshot()")


def test_a_call_that_was_ended_while_its_end_waited_is_not_written_down_again(
    hosted: Hosted, owner: Connection, user: UUID
) -> None:
    call, late = uuid4(), hosted.owner()
    admit(owner, user, call, 5 * CREDIT)
    with ThreadPoolExecutor(1) as pool:
        with user_is_locked(owner, user, late):
            ended = pool.submit(lambda: late.execute(FINISH, (call, 3 * CREDIT, USED)).fetchone())
            owner.execute("update credit_holds set expires_at = now() where request_id = %s", (call,))
            expired = owner.execute("select charged_nano from aichat.expire() where request_id = %s", (call,))
            assert expired.fetchall() == [(0,)]
        assert ended.result() is None  # nothing tells whose call it was
    assert count(owner, "usage", user) == 0
    assert sums(owner, user) == (100 * CREDIT, 0)


def test_a_call_that_ends_at_once_on_many_connections_is_charged_and_written_down_once(
    hosted: Hosted, owner: Connection, user: UUID
) -> None:
    call = uuid4()
    admit(owner, user, call, 5 * CREDIT)
    services = [hosted.service() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(lambda service: service.execute(FINISH, (call, 3 * CREDIT, USED)).fetchone(), services))
    assert set(ends) == {(3 * CREDIT, 0, 97 * CREDIT, 0)}
    assert count(owner, "usage", user) == 1
    assert one(owner, "select count(*) from credit_ledger where kind = 'charge' and user_id = %s", (user,)) == 1
    assert one(owner, "select head from sync_heads where user_id = %s", (user,)) == 1


def test_a_call_that_is_being_ended_is_passed_over_and_then_told_as_ended(
    hosted: Hosted, owner: Connection, user: UUID
) -> None:
    ending, alive, other = uuid4(), uuid4(), hosted.owner()
    for call in (ending, alive):
        admit(owner, user, call, CREDIT)
    told = json.dumps([{"request_id": str(call), "accrued_nano": 7} for call in (ending, alive)])
    with other.transaction():
        other.execute(FINISH, (ending, 0, USED))
        assert owner.execute("select aichat.renew(%s, '1 minute')", (told,)).fetchall() == []
    assert owner.execute("select aichat.renew(%s, '1 minute')", (told,)).fetchall() == [(ending,)]
    assert one(owner, "select call ->> 'accrued_nano' from credit_holds where request_id = %s", (alive,)) == "7"
    assert one(owner, "select call ? 'request_id' from credit_holds where request_id = %s", (alive,)) is False


def test_a_call_that_is_being_told_of_is_not_ended(hosted: Hosted, owner: Connection, user: UUID) -> None:
    call, other = uuid4(), hosted.owner()
    admit(owner, user, call, CREDIT)
    owner.execute("update credit_holds set expires_at = now() where request_id = %s", (call,))
    with other.transaction():
        assert renew(other, call)
        assert one(owner, "select count(*) from aichat.expire() where user_id = %s", (user,)) == 0
    assert sums(owner, user) == (100 * CREDIT, CREDIT)


def test_what_a_device_wrote_under_the_id_of_anothers_call_shows_it_nothing(owner: Connection, user: UUID) -> None:
    call, spy = uuid4(), sign_up(owner)
    admit(owner, user, call, 0)
    owner.execute(
        "insert into usage (user_id, request_id, seq, origin, type, provider, model, input_tokens, cached_tokens,"
        " cache_write_tokens, output_tokens, reasoning_tokens, provenance, status, created_at)"
        " values (%s, %s, 1, gen_random_uuid(), 'chat', 'a', 'b', 0, 0, 0, 0, 0, 'provider', 'complete', now())",
        (spy, call),
    )
    owner.execute("select deduct_credits(%s, 5)", (spy,))
    for _ in range(2):
        assert owner.execute(FINISH, (call, 0, USED)).fetchone() == (0, 0, 100 * CREDIT, 0)
    assert count(owner, "usage", user) == 1


def test_a_name_that_two_ask_for_at_once_is_had_by_one(hosted: Hosted) -> None:
    services, name = [hosted.service() for _ in range(6)], f"anna-{uuid4()}"

    def create(service: Connection) -> str:
        try:
            service.execute("select aichat.create_user(%s, null)", (name,))
        except psycopg.Error as exc:
            return exc.sqlstate or "?"
        return "ok"

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(create, services)) == ["AI409"] * 5 + ["ok"]
    owner = hosted.owner()
    [(user,)] = owner.execute("select id from profiles where name = %s", (name,)).fetchall()
    assert sums(owner, user) == (100 * CREDIT, 0)


@pytest.mark.parametrize(
    "statement",
    [
        "update aichat.audit_events set actor = 'nobody'",
        "delete from aichat.audit_events",
        "truncate aichat.audit_events",
    ],
)
def test_not_even_the_owner_of_the_database_rewrites_what_was_done(
    owner: Connection, user: UUID, statement: str
) -> None:
    owner.execute("select aichat.audit('root', 'user.plan', %s, null, null)", (user,))
    with refused("AI403"):
        owner.execute(statement)
    query = "select actor, action, detail from aichat.audit_events where user_id = %s"
    assert owner.execute(query, (user,)).fetchall() == [("root", "user.plan", {})]


@pytest.mark.parametrize(
    "statement",
    [
        "select aichat.suspend(%s, true)",
        "select aichat.revoke_api_key(%s)",
        "select aichat.create_api_key(%s, 'a', 'sk-aichat-a', decode(repeat('00', 32), 'hex'), '{}', null, null, null)",
    ],
)
def test_what_is_done_to_nobody_is_refused(owner: Connection, statement: str) -> None:
    with refused("AI404"):
        owner.execute(statement, (uuid4(),))
