"""What every call asks, wherever accounts are kept: one suite for all stores."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest

from aichat_cli.accounts import keys
from aichat_cli.accounts.protocol import CallBooks, Uncovered
from aichat_cli.core.accounts import Charge, NewCall
from aichat_cli.core.clock import now_ms, utc_text
from aichat_cli.core.errors import AccountSuspended, AichatError, CallKnown, KeyRefused, RateLimited
from aichat_cli.core.ids import RequestId, new_id
from tests.accounts.places import CREDIT, PROMPT_TOKENS, Customer, Place, Used, call, progress, record


def admitted(place: Place, customer: Customer, credits_: float = 1) -> RequestId:
    new = call(customer, credits_)
    place.books.admit(new)
    return new.request_id


def test_a_key_tells_whose_it_is_and_what_it_may_do(place: Place) -> None:
    anna = place.customer("pro", scopes=("chat", "sync"))
    caller = place.books.authenticate(*anna.presented)
    assert (caller.user_id, caller.user_name) == (anna.user.id, anna.user.name)
    assert (caller.key_id, caller.key_name, caller.scopes) == (anna.key.id, "laptop", ("chat", "sync"))
    assert caller.plan == "pro"
    held_to_less = place.key_of(anna.user, plan="free")
    assert place.books.authenticate(*held_to_less.presented).plan == "free"


def test_half_a_key_opens_nothing(place: Place) -> None:
    anna, stranger = place.customer(), keys.new_key()
    prefix, key_hash = anna.presented
    tried = [(prefix, stranger.key_hash), (stranger.prefix, key_hash), (prefix, b""), ("", key_hash), ("%", key_hash)]
    tried += [(prefix + "\0", key_hash), ("aichat-\udcff", key_hash), ("aichät", key_hash)]
    said = set()
    for wrong in tried:
        with pytest.raises(KeyRefused) as refused:
            place.books.authenticate(*wrong)
        said.add(refused.value.message)
    assert len(said) == 1


def test_that_a_key_was_revoked_or_has_expired_is_told_to_whoever_has_all_of_it(place: Place) -> None:
    anna = place.customer()
    expired = place.key_of(anna.user, expires_at=utc_text(now_ms() - 1000))
    place.users.revoke_key(anna.key.id, actor="test")
    for customer, word in ((anna, "revoked"), (expired, "expired")):
        prefix, key_hash = customer.presented
        with pytest.raises(KeyRefused, match=word):
            place.books.authenticate(prefix, key_hash)
        with pytest.raises(KeyRefused) as refused:
            place.books.authenticate(prefix, keys.hash_of("another"))
        assert word not in refused.value.message
    later = place.key_of(anna.user, expires_at=utc_text(now_ms() + 60_000))
    assert place.books.authenticate(*later.presented).key_id == later.key.id


def test_the_keys_of_who_is_suspended_are_refused_until_they_are_not(place: Place) -> None:
    anna = place.customer()
    place.users.suspend(anna.user.id, suspended=True, actor="test")
    with pytest.raises(AccountSuspended):
        place.books.authenticate(*anna.presented)
    place.users.suspend(anna.user.id, suspended=False, actor="test")
    assert place.books.authenticate(*anna.presented).user_id == anna.user.id


def test_when_a_key_was_last_used_is_written_once_a_minute(place: Place) -> None:
    anna = place.customer()

    def last_used() -> str | None:
        place.books.authenticate(*anna.presented)
        [key] = place.users.keys(user_id=anna.user.id)
        return key.last_used_at

    assert anna.key.last_used_at is None
    first = last_used()
    assert first is not None
    assert last_used() == first
    place.let_a_minute_pass(anna.key.id)
    [aged] = place.users.keys(user_id=anna.user.id)
    assert aged.last_used_at is not None
    assert aged.last_used_at < first <= (last_used() or "")


def test_an_admitted_call_holds_the_most_it_can_cost_in_whole_credits(place: Place) -> None:
    anna = place.customer()
    before = now_ms() / 1000
    told = place.books.admit(call(anna, 1.5))
    assert told.available_nano == 98 * CREDIT
    assert (told.window.limit, told.window.remaining) == (20, 19)
    assert before + 3590 < told.window.reset_at < before + 3700
    balance = place.books.balance(anna.user.id)
    assert (balance.plan, balance.balance_nano, balance.held_nano) == ("free", 100 * CREDIT, 2 * CREDIT)
    assert (balance.window.limit, balance.window.remaining) == (20, 19)
    assert abs(balance.window.reset_at - told.window.reset_at) < 0.01
    assert place.books.admit(call(anna, 0)).available_nano == 98 * CREDIT
    assert place.sums(anna.user.id) == (100 * CREDIT, 2 * CREDIT)


def test_a_window_that_is_empty_has_nothing_to_wait_for(place: Place) -> None:
    anna = place.customer("pro")
    window = place.books.balance(anna.user.id).window
    assert (window.limit, window.remaining, window.reset_at) == (200, 200, 0)
    admitted(place, anna)
    place.let_an_hour_pass(anna.user.id)
    assert place.books.balance(anna.user.id).window.remaining == 200


def test_a_call_is_admitted_once(place: Place) -> None:
    anna, bert = place.customer(), place.customer()
    charged, free = call(anna), call(anna, 0)
    for new, cost in ((charged, CREDIT), (free, 0)):
        place.books.admit(new)
        for again in (new, call(anna, 1, new.request_id)):
            with pytest.raises(CallKnown):
                place.books.admit(again)
        place.books.settle(new.request_id, record(new.request_id, cost))
        with pytest.raises(CallKnown):
            place.books.admit(new)
    with pytest.raises(CallKnown):
        place.books.admit(call(bert, 1, charged.request_id))
    assert place.books.balance(anna.user.id).window.remaining == 18
    assert place.sums(anna.user.id) == (99 * CREDIT, 0)


def test_a_call_that_is_not_covered_is_neither_held_nor_counted(place: Place) -> None:
    anna = place.customer()
    admitted(place, anna, 60)
    with pytest.raises(Uncovered) as uncovered:
        place.books.admit(call(anna, 40.1))
    assert (uncovered.value.of, uncovered.value.available_nano) == ("credits", 40 * CREDIT)
    balance = place.books.balance(anna.user.id)
    assert (balance.held_nano, balance.window.remaining) == (60 * CREDIT, 19)
    place.books.admit(call(anna, 40))


def test_a_key_spends_no_more_in_a_month_than_its_cap(place: Place) -> None:
    anna = place.customer(monthly_cap_nano=10 * CREDIT)
    place.charged_last_month(anna, 9 * CREDIT)
    other = place.key_of(anna.user)
    charged = admitted(place, anna, 6)
    with pytest.raises(Uncovered) as uncovered:
        place.books.admit(call(anna, 5))
    assert (uncovered.value.of, uncovered.value.available_nano) == ("cap", 4 * CREDIT)
    place.books.settle(charged, record(charged, 3 * CREDIT))
    with pytest.raises(Uncovered) as uncovered:
        place.books.admit(call(anna, 8))
    assert (uncovered.value.of, uncovered.value.available_nano) == ("cap", 7 * CREDIT)
    place.books.admit(call(other, 50))
    place.books.admit(call(anna, 7))
    place.books.admit(call(anna, 0))


def test_a_key_that_went_over_its_cap_has_nothing_left(place: Place) -> None:
    anna = place.customer(monthly_cap_nano=2 * CREDIT)
    more = admitted(place, anna, 1)
    place.books.settle(more, record(more, 5 * CREDIT))
    with pytest.raises(Uncovered) as uncovered:
        place.books.admit(call(anna, 1))
    assert (uncovered.value.of, uncovered.value.available_nano) == ("cap", 0)


def test_a_full_window_says_when_to_try_again(place: Place) -> None:
    anna = place.customer()
    for _ in range(20):
        place.books.admit(call(anna, 0))
    with pytest.raises(RateLimited, match="free plan allows 20 calls an hour") as limited:
        place.books.admit(call(anna, 0))
    assert limited.value.retry_after is not None
    assert 3500 < limited.value.retry_after <= 3600
    assert limited.value.limit == 20
    # A fallback is part of the call that failed.
    assert place.books.admit(call(anna, 0, counts=False)).window.remaining == 0
    place.let_an_hour_pass(anna.user.id)
    assert place.books.admit(call(anna, 0)).window.remaining == 19


def test_a_key_that_is_held_to_a_smaller_plan_has_a_window_of_its_own(place: Place) -> None:
    anna = place.customer("pro")
    small = place.key_of(anna.user, plan="free")
    for _ in range(5):
        place.books.admit(call(anna, 0))
    windows = [place.books.admit(call(small, 0)).window for _ in range(20)]
    assert [(window.limit, window.remaining) for window in (windows[0], windows[-1])] == [(20, 19), (20, 0)]
    with pytest.raises(RateLimited, match="free plan"):
        place.books.admit(call(small, 0))
    window = place.books.admit(call(anna, 0)).window
    assert (window.limit, window.remaining) == (200, 174)


def test_a_key_never_has_more_than_its_user(place: Place) -> None:
    anna = place.customer("free")
    large = place.key_of(anna.user, plan="enterprise")
    for _ in range(20):
        window = place.books.admit(call(large, 0)).window
    assert (window.limit, window.remaining) == (20, 0)
    with pytest.raises(RateLimited, match="free plan"):
        place.books.admit(call(large, 0))


def test_a_key_that_is_refused_after_it_was_authenticated_admits_nothing(place: Place) -> None:
    revoked, suspended, stranger = place.customer(), place.customer(), place.customer()
    expired = place.key_of(stranger.user, expires_at=utc_text(now_ms() - 1000))
    place.books.authenticate(*revoked.presented)
    place.users.revoke_key(revoked.key.id, actor="test")
    with pytest.raises(KeyRefused, match="revoked"):
        place.books.admit(call(revoked))
    with pytest.raises(KeyRefused, match="expired"):
        place.books.admit(call(expired))
    place.users.suspend(suspended.user.id, suspended=True, actor="test")
    with pytest.raises(AccountSuspended):
        place.books.admit(call(suspended))
    with pytest.raises(KeyRefused):
        place.books.admit(call(Customer(stranger.user, revoked.key, "")))
    for customer in (revoked, suspended, stranger):
        balance = place.books.balance(customer.user.id)
        assert (balance.held_nano, balance.window.remaining) == (0, 20)


def test_a_call_that_ends_is_charged_and_written_down(place: Place) -> None:
    anna = place.customer()
    request_id = admitted(place, anna, 10)
    raw = '{"text": "\\u0000 and \0"}'
    charge = place.books.settle(request_id, record(request_id, 2 * CREDIT + 1, raw=raw))
    assert charge == Charge(3 * CREDIT, 0, 97 * CREDIT, 0)
    assert place.usage(anna.user.id) == [Used(request_id, "gpt-4o", PROMPT_TOKENS, 20, 2 * CREDIT + 1, "complete")]
    assert place.sums(anna.user.id) == (97 * CREDIT, 0)


def test_a_call_ends_once_however_often_it_is_said(place: Place) -> None:
    anna = place.customer()
    other = admitted(place, anna, 7)
    charged, free, nothing = admitted(place, anna), admitted(place, anna, 0), admitted(place, anna)
    first = Charge(CREDIT, 0, 99 * CREDIT, 8 * CREDIT)
    assert place.books.settle(charged, record(charged, CREDIT)) == first
    for late in (record(charged, 9 * CREDIT), None):
        assert place.books.settle(charged, late) == first
    for cost in (0, 9 * CREDIT):
        assert place.books.settle(free, record(free, cost)) == Charge(0, 0, 99 * CREDIT, 8 * CREDIT)
    assert place.books.settle(nothing, None) == Charge(0, 0, 99 * CREDIT, 7 * CREDIT)
    assert place.books.settle(nothing, record(nothing, CREDIT)).charged_nano == 0
    assert [(used.request_id, used.cost_nano) for used in place.usage(anna.user.id)] == [(charged, CREDIT), (free, 0)]
    place.books.settle(other, None)
    assert place.sums(anna.user.id) == (99 * CREDIT, 0)


def test_a_call_that_cost_more_than_there_is_takes_what_is_not_held(place: Place) -> None:
    anna = place.customer()
    request_id, other = admitted(place, anna, 1), admitted(place, anna, 30)
    charge = place.books.settle(request_id, record(request_id, 500 * CREDIT))
    assert charge == Charge(70 * CREDIT, 430 * CREDIT, 30 * CREDIT, 30 * CREDIT)
    assert place.books.settle(other, record(other, 30 * CREDIT)) == Charge(30 * CREDIT, 0, 0, 0)


def test_a_call_of_unknown_cost_is_written_down_and_not_charged(place: Place) -> None:
    anna = place.customer()
    request_id = admitted(place, anna)
    assert place.books.settle(request_id, record(request_id, None)).charged_nano == 0
    assert [used.cost_nano for used in place.usage(anna.user.id)] == [None]


def test_a_call_that_never_was_ends_without_a_word(place: Place) -> None:
    request_id = RequestId(new_id())
    assert place.books.settle(request_id, record(request_id, CREDIT)) == Charge(0, 0, 0, 0)
    assert place.books.settle(request_id, None) == Charge(0, 0, 0, 0)


def test_of_the_calls_under_way_those_are_told_that_have_ended(place: Place) -> None:
    anna = place.customer()
    alive, ended = admitted(place, anna), admitted(place, anna)
    place.books.settle(ended, None)
    unknown = RequestId(new_id())
    told = place.books.note([progress(each, 10) for each in (ended, alive, unknown)])
    assert sorted(told) == sorted([ended, unknown])
    assert place.books.note([]) == []


def test_a_call_whose_holder_died_is_charged_what_had_accrued(place: Place) -> None:
    anna = place.customer()
    talked, silent, alive = admitted(place, anna, 10), admitted(place, anna, 10), admitted(place, anna, 10)
    assert place.books.note([progress(talked, 500), progress(silent, 0), progress(alive, 9)]) == []
    assert place.books.note([progress(talked, 2000)]) == []
    place.kill(talked, silent)
    assert place.books.settle_the_dead() >= 2
    # 1,000 tokens in and 2,000 out, at $2.50 and $10 a million.
    assert place.usage(anna.user.id) == [Used(talked, "gpt-4o", PROMPT_TOKENS, 2000, 22_500_000, "stopped")]
    assert place.sums(anna.user.id) == (97 * CREDIT, 10 * CREDIT)
    told = place.books.note([progress(each, 9) for each in (talked, silent, alive)])
    assert sorted(told) == sorted([talked, silent])


def test_a_holder_that_was_thought_dead_is_neither_paid_nor_written_down_again(place: Place) -> None:
    anna = place.customer()
    talked, silent = admitted(place, anna, 10), admitted(place, anna, 10)
    place.books.note([progress(talked, 2000)])
    place.kill(talked, silent)
    place.books.settle_the_dead()
    for _ in range(2):
        assert place.books.settle(talked, record(talked, 9 * CREDIT)) == Charge(3 * CREDIT, 0, 97 * CREDIT, 0)
        assert place.books.settle(silent, record(silent, 9 * CREDIT)).charged_nano == 0
        place.books.settle_the_dead()
    assert [used.request_id for used in place.usage(anna.user.id)] == [talked]
    assert place.sums(anna.user.id) == (97 * CREDIT, 0)


def test_what_was_used_is_summed_by_period_and_by_model(place: Place) -> None:
    anna, other = place.customer(), place.customer()
    for customer in (anna, anna, other):
        request_id = admitted(place, customer)
        place.books.settle(request_id, record(request_id, 2_500_000))
    today = utc_text(now_ms())[:10]
    by_day, by_month = (place.books.usage(anna.user.id, "2026-01-01", "2999-01-01", by) for by in ("day", "month"))
    assert [(each.label, each.requests, each.cost_nano) for each in by_day] == [(today, 2, 5_000_000)]
    assert [each.label for each in by_month] == [today[:7]]
    [week] = place.books.usage(anna.user.id, "2026-01-01", "2999-01-01", "week")
    assert week.label <= today
    assert date.fromisoformat(week.label).weekday() == 0
    [model] = place.books.usage(anna.user.id, "2026-01-01", "2999-01-01", "model")
    assert (model.label, model.output_tokens) == (
        record(request_id, 1).model,
        2 * record(request_id, 1).tokens.output_tokens,
    )
    assert place.books.usage(anna.user.id, "2026-01-01", "2026-01-02", "day") == []


def test_what_is_asked_together_is_answered_one_by_one(place: Place) -> None:
    anna = place.customer()
    first, second = call(anna, 60), call(anna, 40)

    def fails() -> int:
        raise ZeroDivisionError

    results = place.books.together(
        [
            lambda: place.books.admit(first).available_nano,
            lambda: place.books.admit(call(anna, 41)).available_nano,
            fails,
            lambda: place.books.admit(second).available_nano,
            lambda: place.books.settle(first.request_id, record(first.request_id, CREDIT)).balance_nano,
        ]
    )
    assert [type(each) if isinstance(each, Exception) else each for each in results] == [
        *(40 * CREDIT, Uncovered, ZeroDivisionError),
        *(0, 99 * CREDIT),
    ]
    assert place.books.together([]) == []
    assert place.sums(anna.user.id) == (99 * CREDIT, 40 * CREDIT)


def outcomes(place: Place, calls: list[NewCall], connections: int) -> Counter[str]:
    """What came of calls that were admitted at once, through some connections."""
    books = [place.another() for _ in range(connections)]

    def some(number: int) -> list[str]:
        return [outcome(books[number], each) for each in calls[number::connections]]

    with ThreadPoolExecutor(connections) as pool:
        return Counter(word for words in pool.map(some, range(connections)) for word in words)


def outcome(books: CallBooks, new: NewCall) -> str:
    try:
        books.admit(new)
    except Uncovered as exc:
        return exc.of
    except AichatError as exc:
        return exc.code
    return "admitted"


def test_calls_at_once_are_admitted_up_to_each_limit_exactly(place: Place) -> None:
    window, credits_, cap = place.customer(), place.customer("pro"), place.customer("pro", monthly_cap_nano=30 * CREDIT)
    assert outcomes(place, [call(window, 0) for _ in range(26)], 4) == {"admitted": 20, "rate_limited": 6}
    assert outcomes(place, [call(credits_, 10) for _ in range(26)], 4) == {"admitted": 10, "credits": 16}
    assert outcomes(place, [call(cap, 5) for _ in range(12)], 4) == {"admitted": 6, "cap": 6}
    same = RequestId(new_id())
    assert outcomes(place, [call(cap, 0, same) for _ in range(8)], 4) == {"admitted": 1, "call_known": 7}
