"""Money on the hosted side: what is admitted, held and charged, also when many ask at once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.hosted.database import Hosted
from tests.hosted.people import CREDIT, FORBIDDEN, Connection, admit, count, one, refused, renew, sign_up, sums


def settle(connection: Connection, request_id: UUID, cost_nano: int) -> tuple[int, int]:
    row = connection.execute("select * from aichat.settle(%s, %s)", (request_id, cost_nano)).fetchone()
    assert row is not None
    charged, uncovered = row
    return charged, uncovered


def outcomes(hosted: Hosted, calls: int, call: Callable[[Connection, int], object]) -> Counter[str]:
    """What came of calls that were made at once, each on a connection of its own: `ok`, or why it was refused."""
    connections = [hosted.service() for _ in range(calls)]

    def outcome(number: int) -> str:
        try:
            call(connections[number], number)
        except psycopg.Error as exc:
            return exc.sqlstate or "?"
        return "ok"

    with ThreadPoolExecutor(calls) as pool:
        return Counter(pool.map(outcome, range(calls)))


def charged_calls(owner: Connection, user: UUID) -> int:
    query = "select count(*) from credit_ledger where user_id = %s and kind = 'charge' and ref not like 'deduct%%'"
    charged = one(owner, query, (user,))
    assert isinstance(charged, int)
    return charged


def test_a_call_holds_whole_credits_and_is_charged_what_it_cost_in_them(owner: Connection, user: UUID) -> None:
    call = uuid4()
    assert admit(owner, user, call, 15_000_000) == 98 * CREDIT
    assert sums(owner, user) == (100 * CREDIT, 2 * CREDIT)
    assert settle(owner, call, 1) == (CREDIT, 0)
    assert sums(owner, user) == (99 * CREDIT, 0)


def test_a_call_that_cost_nothing_is_not_charged(owner: Connection, user: UUID) -> None:
    call = uuid4()
    admit(owner, user, call, CREDIT)
    assert settle(owner, call, 0) == (0, 0)
    assert sums(owner, user) == (100 * CREDIT, 0)


def test_a_call_is_charged_once_however_often_it_is_settled(owner: Connection, user: UUID) -> None:
    call = uuid4()
    admit(owner, user, call, CREDIT)
    assert [settle(owner, call, cost) for cost in (CREDIT, 5 * CREDIT)] == [(CREDIT, 0), (CREDIT, 0)]
    assert sums(owner, user) == (99 * CREDIT, 0)


def test_a_call_that_was_never_admitted_is_not_charged(owner: Connection, user: UUID) -> None:
    assert settle(owner, uuid4(), CREDIT) == (0, 0)
    assert sums(owner, user) == (100 * CREDIT, 0)


def test_a_call_that_costs_more_than_there_is_takes_what_is_not_held(owner: Connection, user: UUID) -> None:
    call, other = uuid4(), uuid4()
    admit(owner, user, call, CREDIT)
    admit(owner, user, other, 30 * CREDIT)
    assert settle(owner, call, 500 * CREDIT) == (70 * CREDIT, 430 * CREDIT)
    assert sums(owner, user) == (30 * CREDIT, 30 * CREDIT)
    assert settle(owner, other, 30 * CREDIT) == (30 * CREDIT, 0)
    assert sums(owner, user) == (0, 0)


def test_a_released_call_costs_nothing(owner: Connection, user: UUID) -> None:
    call = uuid4()
    admit(owner, user, call, 100 * CREDIT)
    assert [one(owner, "select aichat.release(%s)", (call,)) for _ in range(2)] == [True, False]
    assert sums(owner, user) == (100 * CREDIT, 0)
    assert settle(owner, call, CREDIT) == (0, 0)


def test_a_call_that_is_not_covered_is_neither_held_nor_counted(owner: Connection, user: UUID) -> None:
    admit(owner, user, uuid4(), 60 * CREDIT)
    with refused("AI402") as why:
        admit(owner, user, uuid4(), 40 * CREDIT + 1)
    assert why.detail == str(40 * CREDIT)
    assert sums(owner, user) == (100 * CREDIT, 60 * CREDIT)
    assert count(owner, "rate_events", user) == 1


@pytest.mark.parametrize(("plan", "limit"), [("free", 20), ("pro", 200), ("enterprise", 1000)])
def test_a_plan_allows_so_many_calls_within_an_hour(owner: Connection, user: UUID, plan: str, limit: int) -> None:
    owner.execute("select aichat.set_plan(%s, %s)", (user, plan))
    owner.execute(
        "insert into rate_events (user_id, at)"
        " select %s, clock_timestamp() - interval '59 minutes' + n * interval '1 millisecond' from generate_series(2, %s) n",
        (user, limit),
    )
    row = owner.execute(
        "select plan, calls_limit, calls_left, calls_reset_at - clock_timestamp() between interval '50 s' and interval '61 s'"
        " from aichat.admit(%s, %s, 0, '{}', interval '1 minute')",
        (user, uuid4()),
    ).fetchone()
    assert row == (plan, limit, 0, True)
    with refused("AI429") as why:
        admit(owner, user, uuid4(), 0)
    assert why.detail is not None
    assert 50 <= int(why.detail) <= 61
    admit(owner, user, uuid4(), 0, is_first=False)  # a fallback is part of a call that was counted
    owner.execute("update rate_events set at = at - interval '2 minutes' where user_id = %s", (user,))
    admit(owner, user, uuid4(), 0)
    assert count(owner, "rate_events", user) == 2  # what the window has left behind is forgotten


def test_a_smaller_plan_waits_until_enough_calls_have_left_the_window(owner: Connection, user: UUID) -> None:
    owner.execute(
        "insert into rate_events (user_id, at)"
        " select %s, clock_timestamp() - interval '1 hour' + n * interval '1 minute' from generate_series(1, 30) n",
        (user,),
    )
    with refused("AI429") as why:
        admit(owner, user, uuid4(), 0)
    assert why.detail is not None
    assert 10 * 60 < int(why.detail) <= 11 * 60


def test_events_of_a_clock_that_was_ahead_are_forgotten(owner: Connection, user: UUID) -> None:
    owner.execute(
        "insert into rate_events (user_id, at) select %s, now() + interval '1 day' from generate_series(1, 30)", (user,)
    )
    admit(owner, user, uuid4(), 0)
    assert count(owner, "rate_events", user) == 1


def test_of_60_calls_at_once_the_free_plan_admits_20(hosted: Hosted, user: UUID) -> None:
    came = outcomes(hosted, 60, lambda service, _: admit(service, user, uuid4(), 1))
    assert came == {"ok": 20, "AI429": 40}
    assert sums(hosted.owner(), user) == (100 * CREDIT, 20 * CREDIT)


def test_of_40_calls_at_once_those_are_admitted_that_are_affordable(hosted: Hosted, user: UUID) -> None:
    hosted.owner().execute("select aichat.set_plan(%s, 'pro')", (user,))
    came = outcomes(hosted, 40, lambda service, _: admit(service, user, uuid4(), 10 * CREDIT))
    assert came == {"ok": 10, "AI402": 30}
    assert sums(hosted.owner(), user) == (100 * CREDIT, 100 * CREDIT)


def test_calls_that_end_in_every_way_at_once_are_charged_once(hosted: Hosted, owner: Connection, user: UUID) -> None:
    owner.execute("select aichat.set_plan(%s, 'pro')", (user,))
    calls = [uuid4() for _ in range(6)]
    for call in calls:
        admit(owner, user, call, 10 * CREDIT)

    def end(service: Connection, number: int) -> None:
        call = calls[number // 4]
        match number % 4:
            case 0 | 1:
                settle(service, call, 10 * CREDIT)
            case 2:
                service.execute("select count(*) from aichat.expire(clock_timestamp() + interval '1 hour')")
            case _:
                service.execute("select public.deduct_credits(%s, 1)", (user,))

    assert outcomes(hosted, 24, end) == {"ok": 24}
    balance, held = sums(owner, user)
    assert held == 0
    assert balance == (100 - 6) * CREDIT - 10 * CREDIT * charged_calls(owner, user)


def test_calls_are_released_and_settled_at_once_without_waiting_in_a_circle(
    hosted: Hosted, owner: Connection, user: UUID
) -> None:
    calls = [uuid4() for _ in range(10)]
    for call in calls:
        admit(owner, user, call, 10 * CREDIT)

    def end(service: Connection, number: int) -> None:
        if number % 2:
            settle(service, calls[number // 2], 10 * CREDIT)
        else:
            service.execute("select aichat.release(%s)", (calls[number // 2],))

    assert outcomes(hosted, 20, end) == {"ok": 20}
    balance, held = sums(owner, user)
    assert (balance, held) == (100 * CREDIT - 10 * CREDIT * charged_calls(owner, user), 0)


def test_a_purchase_that_is_reported_from_everywhere_at_once_is_granted_once(hosted: Hosted, user: UUID) -> None:
    new: list[object] = []

    def report(service: Connection, _: int) -> None:
        new.append(one(service, "select aichat.grant_credits(%s, 'purchase', %s, 500)", (user, f"cs_{user}")))

    assert outcomes(hosted, 12, report) == {"ok": 12}
    assert Counter(new) == {True: 1, False: 11}
    assert sums(hosted.owner(), user) == (600 * CREDIT, 0)


def test_deductions_at_once_take_no_more_than_there_is(hosted: Hosted, user: UUID) -> None:
    came = outcomes(hosted, 26, lambda service, _: service.execute("select public.deduct_credits(%s, 10)", (user,)))
    assert came == {"ok": 10, "AI402": 16}
    assert sums(hosted.owner(), user) == (0, 0)


def test_the_same_entry_with_another_amount_or_for_another_user_is_refused(owner: Connection, user: UUID) -> None:
    grant = "select aichat.grant_credits(%s, 'purchase', %s, %s)"
    session, other = f"cs_{user}", sign_up(owner)
    assert [one(owner, grant, (user, session, 500)) for _ in range(2)] == [True, False]
    for someone, amount in ((user, 501), (other, 500)):
        with refused("AI409"):
            owner.execute(grant, (someone, session, amount))
    assert [sums(owner, each)[0] for each in (user, other)] == [600 * CREDIT, 100 * CREDIT]


def test_a_refund_takes_what_is_there_and_not_held_once(owner: Connection, user: UUID) -> None:
    admit(owner, user, uuid4(), 30 * CREDIT)
    take = "select aichat.take_credits(%s, 'refund', %s, 500)"
    assert [one(owner, take, (user, f"re_{user}")) for _ in range(2)] == [True, False]
    assert sums(owner, user) == (30 * CREDIT, 30 * CREDIT)
    row = owner.execute(
        "select amount_nano, uncovered_nano from credit_ledger where ref = %s", (f"re_{user}",)
    ).fetchone()
    assert row == (-70 * CREDIT, 430 * CREDIT)


def test_a_call_that_was_admitted_or_charged_is_not_admitted_again(owner: Connection, user: UUID) -> None:
    call = uuid4()
    admit(owner, user, call, CREDIT)
    with refused("AI409"):
        admit(owner, user, call, CREDIT)
    settle(owner, call, CREDIT)
    with refused("AI409"):
        admit(owner, user, call, CREDIT)


def test_what_had_accrued_is_charged_when_a_holder_dies(owner: Connection, user: UUID) -> None:
    dead, alive = uuid4(), uuid4()
    owner.execute(
        'select aichat.admit(%s, %s, %s, \'{"accrued_nano": 5, "model": "m"}\', interval \'1 minute\')',
        (user, dead, 5 * CREDIT),
    )
    assert renew(owner, dead, 25_000_000, "2 minutes")
    admit(owner, user, alive, CREDIT)
    assert renew(owner, alive, 1, "1 hour")
    expired = (
        "select request_id, user_id, call, charged_nano, uncovered_nano from aichat.expire(now() + %s::interval)"
        " where user_id = %s"
    )
    assert owner.execute(expired, ("90 seconds", user)).fetchall() == []
    assert owner.execute(expired, ("3 minutes", user)).fetchall() == [
        (dead, user, {"accrued_nano": 25_000_000, "model": "m"}, 3 * CREDIT, 0)
    ]
    assert sums(owner, user) == (97 * CREDIT, CREDIT)
    assert not renew(owner, dead)
    assert settle(owner, dead, 9 * CREDIT) == (3 * CREDIT, 0)


def test_a_call_that_is_renewed_while_others_wait_to_end_it_goes_on(
    hosted: Hosted, owner: Connection, user: UUID
) -> None:
    call, other = uuid4(), hosted.owner()
    admit(owner, user, call, CREDIT)
    owner.execute("update credit_holds set expires_at = now() where request_id = %s", (call,))
    expire = "select count(*) from aichat.expire() where user_id = %s"
    with ThreadPoolExecutor(1) as pool:
        with owner.transaction():
            owner.execute("select from profiles where id = %s for no key update", (user,))
            ended = pool.submit(one, other, expire, (user,))
            waits = "select count(*) from pg_stat_activity where pid = %s and wait_event_type = 'Lock'"
            while one(owner, waits, (other.info.backend_pid,)) == 0:
                assert not ended.done()
                owner.execute("select pg_stat_clear_snapshot()")
            assert renew(hosted.owner(), call)
        assert ended.result() == 0
    assert sums(owner, user) == (100 * CREDIT, CREDIT)


@pytest.mark.parametrize(
    ("call", "charged"),
    [
        ("[]", 0),
        ('{"accrued_nano": "9"}', 0),
        ('{"accrued_nano": -5}', 0),
        ('{"accrued_nano": 0.5}', 1),
        ('{"accrued_nano": 1e300}', 100),
    ],
)
def test_a_call_that_cannot_be_read_does_not_keep_others_from_expiring(
    owner: Connection, user: UUID, call: str, charged: int
) -> None:
    owner.execute(
        "insert into credit_holds (request_id, user_id, amount_nano, call, expires_at) values (%s, %s, 0, %s, now())",
        (uuid4(), user, call),
    )
    owner.execute("select aichat.expire()")
    assert count(owner, "credit_holds", user) == 0
    assert sums(owner, user) == ((100 - charged) * CREDIT, 0)


@pytest.mark.parametrize(
    "arguments",
    [
        "%(user)s, null, 1, '{}', '1 minute'",
        "%(user)s, %(call)s, null, '{}', '1 minute'",
        "%(user)s, %(call)s, -1, '{}', '1 minute'",
        "%(user)s, %(call)s, 1, null, '1 minute'",
        "%(user)s, %(call)s, 1, '[]', '1 minute'",
        "%(user)s, %(call)s, 1, '{\"accrued_nano\": \"1\"}', '1 minute'",
        "%(user)s, %(call)s, 1, '{}', null",
        "%(user)s, %(call)s, 1, '{}', '-1 minute'",
        "%(user)s, %(call)s, 1, '{}', '1 year'",
    ],
)
def test_a_call_that_means_nothing_is_not_admitted(owner: Connection, user: UUID, arguments: str) -> None:
    with refused("AI400"):
        owner.execute(f"select aichat.admit({arguments})", {"user": user, "call": uuid4()})
    assert count(owner, "rate_events", user) == 0


@pytest.mark.parametrize(
    "statement",
    [
        "select aichat.settle(%(call)s, -1)",
        "select aichat.settle(%(call)s, null)",
        "select aichat.renew('[]', '0')",
        "select aichat.renew('[]', null)",
        "select aichat.renew(null, '1 minute')",
        "select aichat.renew('{}', '1 minute')",
        "select aichat.renew('[1]', '1 minute')",
        "select aichat.renew('[{}]', '1 minute')",
        "select aichat.renew(jsonb_build_array(jsonb_build_object('request_id', %(call)s, 'accrued_nano', null)), '1 minute')",
        "select aichat.set_plan(%(user)s, 'gold')",
        "select aichat.set_plan(%(user)s, null)",
        "select aichat.grant_credits(%(user)s, 'charge', 'a', 1)",
        "select aichat.grant_credits(%(user)s, 'grant', 'a', 0)",
        "select aichat.grant_credits(%(user)s, 'grant', 'a', -1)",
        "select aichat.grant_credits(%(user)s, 'grant', 'a', null)",
        "select aichat.grant_credits(%(user)s, 'grant', null, 1)",
        "select aichat.grant_credits(%(user)s, 'grant', 'a', 1000000001)",
        "select aichat.take_credits(%(user)s, 'grant', 'a', 1)",
        "select aichat.take_credits(%(user)s, 'refund', 'a', -1)",
        "select public.deduct_credits(%(user)s, 0)",
        "select public.deduct_credits(%(user)s, -1000000)",
        "select public.deduct_credits(%(user)s, null)",
    ],
)
def test_amounts_and_names_that_mean_nothing_are_refused(owner: Connection, user: UUID, statement: str) -> None:
    call = uuid4()
    admit(owner, user, call, CREDIT)
    with refused("AI400"):
        owner.execute(statement, {"user": user, "call": call})
    assert sums(owner, user) == (100 * CREDIT, CREDIT)


@pytest.mark.parametrize(
    "statement",
    [
        "select aichat.admit(%s, gen_random_uuid(), 1, '{}', '1 minute')",
        "select aichat.set_plan(%s, 'pro')",
        "select aichat.grant_credits(%s, 'grant', 'a', 1)",
        "select aichat.take_credits(%s, 'refund', 'a', 1)",
        "select aichat.record_usage(%s, gen_random_uuid(), 1, '{}')",
        "select public.deduct_credits(%s, 1)",
    ],
)
@pytest.mark.parametrize("who", [uuid4(), None])
def test_nobody_has_no_money(owner: Connection, statement: str, who: UUID | None) -> None:
    with refused("AI404"):
        owner.execute(statement, (who,))


def test_the_service_writes_usage_down_once_as_the_next_change_of_its_user(owner: Connection, user: UUID) -> None:
    call = uuid4()
    used = json.dumps({"provider": "openai", "model": "gpt-4o", "input_tokens": 3, "user_id": str(uuid4()), "seq": 99})
    query = "select aichat.record_usage(%s, %s, 12500000, %s)"
    assert [one(owner, query, (user, call, used)) for _ in range(2)] == [True, False]
    rows = owner.execute(
        "select user_id, request_id, seq, type, input_tokens, cost_nano, cost_cents from usage where user_id = %s",
        (user,),
    ).fetchall()
    assert rows == [(user, call, 1, "chat", 3, 12_500_000, 2)]
    assert one(owner, "select head from sync_heads where user_id = %s", (user,)) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "update profiles set balance_nano = balance_nano + 10000000",
        "update profiles set held_nano = 1",
        "insert into profiles (id, balance_nano) select id, 5 from auth.users",
        "update credit_ledger set amount_nano = amount_nano * 2",
        "update credit_ledger set ref = 'other'",
        "delete from credit_ledger",
        "truncate credit_ledger",
        "truncate credit_holds",
        "truncate profiles cascade",
    ],
)
def test_not_even_the_owner_of_the_database_writes_sums_or_rewrites_the_ledger(
    owner: Connection, user: UUID, statement: str
) -> None:
    with refused("AI403"):
        owner.execute(statement)
    assert sums(owner, user) == (100 * CREDIT, 0)


def test_a_hold_that_changes_by_hand_is_still_in_the_sum(owner: Connection, user: UUID) -> None:
    call, other = uuid4(), sign_up(owner)
    admit(owner, user, call, 10 * CREDIT)
    owner.execute("update credit_holds set amount_nano = %s where request_id = %s", (20 * CREDIT, call))
    assert sums(owner, user) == (100 * CREDIT, 20 * CREDIT)
    owner.execute("update credit_holds set user_id = %s where request_id = %s", (other, call))
    assert [sums(owner, each)[1] for each in (user, other)] == [0, 20 * CREDIT]
    owner.execute("delete from credit_holds where request_id = %s", (call,))
    assert sums(owner, other) == (100 * CREDIT, 0)


def test_an_entry_or_a_hold_that_is_not_covered_is_refused_whoever_writes_it(owner: Connection, user: UUID) -> None:
    with refused("23514"):
        owner.execute(
            "insert into credit_ledger (user_id, kind, ref, amount_nano) values (%s, 'charge', 'a', %s)",
            (user, -101 * CREDIT),
        )
    with refused("23514"):
        owner.execute(
            "insert into credit_holds (request_id, user_id, amount_nano, call, expires_at) values (%s, %s, %s, '{}', now())",
            (uuid4(), user, 101 * CREDIT),
        )
    assert sums(owner, user) == (100 * CREDIT, 0)


def test_money_goes_with_its_user(owner: Connection, user: UUID) -> None:
    other = sign_up(owner)
    admit(owner, user, uuid4(), 10 * CREDIT)
    admit(owner, other, uuid4(), 10 * CREDIT)
    owner.execute("delete from auth.users where id = %s", (user,))
    assert [count(owner, table, user) for table in ("profiles", "credit_ledger", "credit_holds", "rate_events")] == [
        0
    ] * 4
    assert sums(owner, other) == (100 * CREDIT, 10 * CREDIT)


def test_the_service_has_functions_for_money_and_no_table(hosted: Hosted, user: UUID) -> None:
    service = hosted.service()
    for statement in (
        "update profiles set plan = 'pro'",
        "insert into credit_ledger (user_id, kind, ref, amount_nano) select id, 'grant', 'a', 1 from profiles",
        "delete from credit_holds",
        "delete from rate_events",
    ):
        with refused(FORBIDDEN):
            service.execute(statement)
    assert one(service, "select public.deduct_credits(%s, 30)", (user,)) == 70
    assert count(service, "credit_ledger", user) == 2
