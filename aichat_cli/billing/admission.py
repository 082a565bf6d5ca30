"""Whether a call may be sent, and what is held for it while it runs.

In own-keys mode without caps nothing is refused and nothing is held: the provider's bill is the user's own. Otherwise the
checks and the hold are one transaction: however many processes ask at once, no more is held than there is.
"""

from __future__ import annotations

from contextlib import suppress

from aichat_cli.billing import refusals
from aichat_cli.billing.estimates import Call, affordable_output, most_nano
from aichat_cli.billing.limits import Limits
from aichat_cli.billing.standing import Standing, standing
from aichat_cli.core.clock import now_ms
from aichat_cli.core.credits import CALLS_AN_HOUR, WINDOW_MS, charge_nano
from aichat_cli.core.errors import StorageError
from aichat_cli.core.ids import RequestId, new_id
from aichat_cli.core.money import Price, usd_text
from aichat_cli.core.struct import Struct, replace
from aichat_cli.storage import accounts
from aichat_cli.storage.accounts import NewHold
from aichat_cli.storage.database import Database

LEAST_ANSWER = 500
"""Tokens: an answer that the user did not limit is not cut to fewer to fit what may be spent."""


class Admission(Struct, frozen=True):
    """A call that may be sent. Its request id keys the usage row and the charge, so that it is charged once.

    Attributes:
        hold: what is held for it, should whoever stores the turn still have to note that; None where it is noted.
        output_limit: the longest answer that is paid for, in tokens, to be sent along; None for any.
        notice: what the user should know of that, or None.
        before: how the profile stood, None where nothing is limited.
    """

    request_id: RequestId
    hold: NewHold | None = None
    output_limit: int | None = None
    notice: str | None = None
    before: Standing | None = None


def admit(
    call: Call, limits: Limits, books: Database, *, message_seq: int | None = None, is_first: bool = True
) -> Admission:
    """Admit a call, and hold the most it can cost until it is settled or released.

    Args:
        books: the user's database, where what is limited is counted.
        message_seq: the answer it writes, where that is stored already.
        is_first: whether the sliding window counts it; a fallback is part of the call that failed.

    Raises:
        RateLimited: the plan's sliding window is full; says when to try again.
        OutOfCredits, CapReached: it might cost more than may be spent.
        PriceUnknown: nobody knows what it costs, and a limit is set.
        StorageError: the books cannot be kept, and a limit is set.
    """
    request_id = RequestId(new_id())
    price, limits = call.model.price, limits.of_provider(call.model.provider)
    if not limits.are_set or (price is not None and price.is_free):
        return _unlimited(NewHold(request_id, 0, "own-keys", call.as_json(), message_seq), books)
    if price is None:
        raise refusals.price_unknown(call.model.name)
    tokens = call.input_tokens()  # may take a while: not under the lock of the books
    seq: int | None = None
    try:
        with books.transaction():
            if limits.mode == "credits" and is_first:
                _take_place_in_window(books)
            before = standing(books, limits)
            reservation = _reservation(call, price, tokens, before)
            most = reservation.most_nano
            amount = charge_nano(most) if limits.mode == "credits" else most
            seq = accounts.hold(books, NewHold(request_id, amount, limits.mode, call.as_json(), message_seq))
            if limits.budget is not None:
                limits.budget.hold(request_id, most)
    except BaseException:
        if seq is not None:
            accounts.forget(books, seq)
            if limits.budget is not None:
                limits.budget.settle(request_id, 0)
        raise
    return Admission(request_id, output_limit=reservation.output_limit, notice=reservation.notice, before=before)


def require_room(model_name: str, cost_nano: int | None, limits: Limits, books: Database) -> None:
    """Refuse many calls to a model together, before the first is sent, where they cost more than may be spent.

    Raises:
        OutOfCredits, CapReached: they do.
        PriceUnknown: nobody knows what they cost, and a limit is set.
    """
    limits = limits.of_provider(model_name.partition("/")[0])
    if not limits.are_set or cost_nano == 0:
        return
    if cost_nano is None:
        raise refusals.price_unknown(model_name)
    with books.snapshot():
        before = standing(books, limits)
    tightest = min(refusals.rooms(before), key=lambda room: room.nano)
    if cost_nano > tightest.nano:
        raise refusals.too_expensive(tightest, before, model_name, cost_nano)


def release(admission: Admission, limits: Limits, books: Database) -> None:
    """Nothing came of a call: what was held for it is free again."""
    if limits.budget is not None:
        limits.budget.settle(admission.request_id, 0)
    with books.transaction():
        accounts.close(books, admission.request_id, None)


def _unlimited(hold: NewHold, books: Database) -> Admission:
    if hold.message_seq is None:
        return Admission(hold.request_id, hold)
    with suppress(StorageError), books.transaction():
        accounts.hold(books, hold)
    return Admission(hold.request_id)


def _take_place_in_window(books: Database) -> None:
    """Count the call among those of the last hour.

    Raises:
        RateLimited: there are as many as the plan allows.
    """
    now = now_ms()
    plan = accounts.account(books).plan
    limit = CALLS_AN_HOUR[plan]
    window = accounts.in_window(books, now - WINDOW_MS, now_ms=now)
    if window.calls >= limit:
        free_at = accounts.admitted_ms(books, window.calls - limit) + WINDOW_MS
        raise refusals.window_full(plan, limit, (free_at - now) / 1000)
    accounts.add_admitted(books, now)


class Reservation(Struct, frozen=True):
    """The most a call can cost, in nano-dollars, with the longest answer that is paid for, in tokens; None for any."""

    most_nano: int
    output_limit: int | None
    notice: str | None = None


def shortened(call: Call, input_tokens: int, room_nano: int) -> Reservation | None:
    """A call with a shorter answer, where only that fits into what may be spent, and the user did not say how long it may
    be; None where none fits that is worth having.
    """
    if call.model.price is None:
        return None
    fitting = affordable_output(call.model.price, input_tokens, max(room_nano, 0)) // call.answers
    if call.type == "embedding" or call.is_limit_given or fitting < min(LEAST_ANSWER, call.longest_answer):
        return None
    return Reservation(most_nano(call.model.price, input_tokens, fitting * call.answers), fitting)


def _reservation(call: Call, price: Price, tokens: int, before: Standing) -> Reservation:
    """The most the call costs, with a shorter answer where it has to be."""
    tightest = min(refusals.rooms(before), key=lambda room: room.nano)
    longest = call.longest_answer
    most = most_nano(price, tokens, longest * call.answers)
    if most <= tightest.nano:
        return Reservation(most, None if call.is_limit_known else longest)
    shorter = shortened(call, tokens, tightest.nano)
    if shorter is None:
        raise refusals.too_expensive(tightest, before, call.model.name, most)
    left = refusals.counted(tightest.nano) if tightest.of == "credits" else usd_text(tightest.nano)
    notice = f"What is left to spend, {left}, pays for an answer of up to {shorter.output_limit:,} tokens."
    return replace(shorter, notice=notice)
