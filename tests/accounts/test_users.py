"""What an operator does, wherever accounts are kept: one suite for all stores."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

import pytest

from aichat_cli.accounts import keys
from aichat_cli.accounts.protocol import NewKey
from aichat_cli.core.clock import now_ms, utc_now, utc_text
from aichat_cli.core.errors import NotFound, UsageError
from aichat_cli.core.ids import ProfileId, new_id
from tests.accounts.places import CREDIT, Place, call

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def new_name() -> str:
    return f"anna-{secrets.token_hex(6)}"


def test_somebody_new_is_on_their_plan_with_a_hundred_credits(place: Place) -> None:
    name, before = new_name(), utc_text(now_ms() - 1000)
    made = place.users.create_user(name, email="anna@example.com", plan="pro", actor="root")
    assert (made.name, made.email, made.plan) == (name, "anna@example.com", "pro")
    assert (made.balance_nano, made.held_nano, made.keys, made.suspended_at) == (100 * CREDIT, 0, 0, None)
    assert TIME.fullmatch(made.created_at)
    assert before < made.created_at <= utc_text(now_ms() + 1000)
    assert place.users.user(name) == place.users.user(made.id) == made
    # Two people may be written to at one address.
    assert place.users.create_user(new_name(), email="anna@example.com", plan="free", actor="root").email == made.email


def test_a_name_is_had_by_one(place: Place) -> None:
    anna = place.customer()
    with pytest.raises(UsageError, match="already"):
        place.users.create_user(anna.user.name, email=None, plan="free", actor="root")
    assert place.users.user(anna.user.name) == place.users.user(anna.user.id)


@pytest.mark.parametrize("name", ["", " ", "a b", "a\n", "a\0", "x" * 101, "0199f1aa-0000-7000-8000-000000000001"])
def test_some_names_nobody_can_have(place: Place, name: str) -> None:
    with pytest.raises(UsageError):
        place.users.create_user(name, email=None, plan="free", actor="root")
    with pytest.raises(NotFound):
        place.users.user(name)


def test_users_are_listed_by_name(place: Place) -> None:
    prefix = new_name()
    for last in ("b", "B", "ä", "a"):
        place.users.create_user(f"{prefix}{last}", email=None, plan="free", actor="root")
    listed = [user.name.removeprefix(prefix) for user in place.users.users(limit=None) if user.name.startswith(prefix)]
    assert listed == ["B", "a", "b", "ä"]
    assert len(place.users.users(limit=2)) == 2


def test_a_plan_is_in_force_from_the_next_call_on(place: Place) -> None:
    anna = place.customer("free")
    assert place.books.admit(call(anna, 0)).window.limit == 20
    place.users.set_plan(anna.user.id, "enterprise", actor="root")
    assert place.users.user(anna.user.name).plan == "enterprise"
    window = place.books.admit(call(anna, 0)).window
    assert (window.limit, window.remaining) == (1000, 998)


def test_credits_are_granted_once_for_each_ref(place: Place) -> None:
    anna, bert, ref = place.customer(), place.customer(), new_name()
    granted = [place.users.grant(anna.user.id, 50, ref=ref, actor="root") for _ in range(2)]
    assert granted == [True, False]
    with pytest.raises(UsageError):
        place.users.grant(anna.user.id, 51, ref=ref, actor="root")
    with pytest.raises(UsageError):
        place.users.grant(bert.user.id, 50, ref=ref, actor="root")
    for no_number in (0, -1, 1_000_000_001):
        with pytest.raises(UsageError):
            place.users.grant(anna.user.id, no_number, ref=new_name(), actor="root")
    assert place.sums(anna.user.id) == (150 * CREDIT, 0)
    assert place.users.user(anna.user.name).balance_nano == 150 * CREDIT
    assert place.sums(bert.user.id) == (100 * CREDIT, 0)
    events = [event for event in place.users.audit(user_id=anna.user.id) if event.action == "credits.granted"]
    assert [event.detail for event in events] == [{"credits": 50, "ref": ref}]


def test_a_key_has_what_it_was_made_with_and_not_itself(place: Place) -> None:
    anna = place.customer()
    ends = utc_text(now_ms() + 60_000)
    limited = place.key_of(
        anna.user, scopes=("embeddings", "sync"), plan="free", monthly_cap_nano=5 * CREDIT, expires_at=ends
    )
    key = limited.key
    assert (key.user_id, key.user_name, key.name) == (anna.user.id, anna.user.name, "laptop")
    assert (key.scopes, key.plan, key.monthly_cap_nano) == (("embeddings", "sync"), "free", 5 * CREDIT)
    assert (key.expires_at, key.last_used_at, key.revoked_at) == (ends, None, None)
    assert key.prefix == keys.prefix_of(limited.secret)
    assert TIME.fullmatch(key.created_at)
    assert place.users.keys(user_id=anna.user.id) == [key, anna.key]
    assert place.users.keys(user_id=anna.user.id, limit=1) == [key]
    assert place.users.keys(limit=1) == [key]
    assert limited.secret not in repr([place.users.keys(), place.users.audit(), place.users.users(limit=None)])


def test_a_key_is_revoked_once_and_stays_in_the_list(place: Place) -> None:
    anna = place.customer()
    place.key_of(anna.user, expires_at=utc_text(now_ms() - 1000))
    assert place.users.user(anna.user.name).keys == 1
    assert [place.users.revoke_key(anna.key.id, actor="root") for _ in range(2)] == [True, False]
    assert place.users.user(anna.user.name).keys == 0
    _, revoked = place.users.keys(user_id=anna.user.id)
    assert revoked.revoked_at is not None
    assert revoked.revoked_at <= utc_now()


def test_who_is_suspended_is_so_since_a_moment(place: Place) -> None:
    anna = place.customer()
    for _ in range(2):
        place.users.suspend(anna.user.id, suspended=True, actor="root")
    since = place.users.user(anna.user.name).suspended_at
    assert since is not None
    assert TIME.fullmatch(since)
    for _ in range(2):
        place.users.suspend(anna.user.id, suspended=False, actor="root")
    assert place.users.user(anna.user.name).suspended_at is None
    actions = [event.action for event in place.users.audit(user_id=anna.user.id)]
    assert actions[:2] == ["user.resumed", "user.suspended"]
    assert actions.count("user.suspended") == 1


def test_calls_under_way_end_as_they_would_have_though_their_user_is_suspended(place: Place) -> None:
    anna = place.customer()
    new = call(anna)
    place.books.admit(new)
    place.users.suspend(anna.user.id, suspended=True, actor="root")
    assert place.books.note([]) == []
    assert place.books.settle(new.request_id, None).held_nano == 0


def test_what_was_done_is_told_with_who_did_it(place: Place) -> None:
    anna = place.customer()
    place.users.set_plan(anna.user.id, "pro", actor="vera")
    place.users.revoke_key(anna.key.id, actor="paul")
    events = place.users.audit(user_id=anna.user.id)
    assert [(event.actor, event.action, event.key_prefix) for event in events] == [
        ("paul", "key.revoked", anna.key.prefix),
        ("vera", "user.plan", None),
        ("test", "key.created", anna.key.prefix),
        ("test", "user.created", None),
    ]
    assert {event.user_name for event in events} == {anna.user.name}
    assert events[1].detail == {"plan": "pro"}
    assert all(TIME.fullmatch(event.at) for event in events)
    assert place.users.audit(limit=1) == events[:1]
    assert place.users.audit(user_id=anna.user.id, limit=2) == events[:2]


NOBODY = ProfileId(new_id())


@pytest.mark.parametrize(
    "done",
    [
        lambda place: place.users.set_plan(NOBODY, "pro", actor="root"),
        lambda place: place.users.grant(NOBODY, 5, ref=new_name(), actor="root"),
        lambda place: place.users.suspend(NOBODY, suspended=True, actor="root"),
        lambda place: place.users.create_key(NewKey(NOBODY, "a", new_name()[:15], bytes(32), ("chat",)), actor="root"),
        lambda place: place.users.revoke_key(NOBODY, actor="root"),
        lambda place: place.users.revoke_key("no id", actor="root"),
        lambda place: place.users.user("nobody"),
        lambda place: place.users.user(NOBODY),
        lambda place: place.books.balance(NOBODY),
    ],
)
def test_who_is_not_there_is_not_found(place: Place, done: Callable[[Place], object]) -> None:
    before = place.users.audit(limit=1)
    with pytest.raises(NotFound):
        done(place)
    assert place.users.audit(limit=1) == before
    assert place.users.keys(user_id=NOBODY) == []
    assert place.users.audit(user_id=NOBODY) == []
