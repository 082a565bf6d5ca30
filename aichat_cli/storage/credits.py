"""Balances, the ledger, and what is held for calls under way. Every function runs inside the caller's transaction.

The sums in `profiles` are kept by triggers: a balance is always that of its ledger, what is held that of the open holds,
and SQLite itself refuses a hold or a charge that is not covered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from aichat_cli.core.clock import utc_now
from aichat_cli.core.credits import CALLS_AN_HOUR, WINDOW_MS, BillingMode, PlanName, charge_nano
from aichat_cli.core.errors import NotFound
from aichat_cli.core.ids import LOCAL_PROFILE, ProfileId, RequestId, new_id
from aichat_cli.storage import liveness
from aichat_cli.storage.database import Database

EntryKind = Literal["grant", "purchase", "charge", "refund", "dispute", "dispute_won"]

_LOCKS_FROM = 1 << 40
"""The liveness locks of holds lie behind those of turns."""


@dataclass(frozen=True, slots=True)
class Account:
    """A profile's money, in nano-dollars. `held_nano` is a part of `balance_nano`."""

    user_id: ProfileId
    plan: PlanName
    balance_nano: int
    held_nano: int

    @property
    def available_nano(self) -> int:
        """What can be held for another call."""
        return self.balance_nano - self.held_nano


@dataclass(frozen=True, slots=True)
class Hold:
    """What is held for a call under way. `call` is JSON: what it is charged by should its process die."""

    seq: int
    request_id: RequestId
    user_id: ProfileId
    mode: BillingMode
    amount_nano: int
    call: str
    message_seq: int | None
    created_at: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One change of a balance, in nano-dollars. `balance_nano` is the balance after it."""

    id: str
    kind: EntryKind
    ref: str
    amount_nano: int
    uncovered_nano: int
    balance_nano: int
    created_at: str


@dataclass(frozen=True, slots=True)
class Window:
    """How many paid calls a plan lets in within any 60 minutes, and how many are left of them. `reset_at_ms` is when the
    oldest of them is an hour ago, in milliseconds of Unix time, None where there was none.
    """

    limit: int
    remaining: int
    reset_at_ms: int | None


def account(db: Database, user_id: ProfileId = LOCAL_PROFILE) -> Account:
    """A profile's plan, balance and what is held of it.

    Raises:
        NotFound: there is no such profile.
    """
    row = db.row("SELECT id, plan, balance_nano, held_nano FROM profiles WHERE id = ?", (user_id,))
    if row is None:
        raise NotFound(f'There is no profile "{user_id}".')
    return Account(*row)


def hold(
    db: Database,
    request_id: RequestId,
    amount_nano: int,
    *,
    mode: BillingMode,
    call: str,
    user_id: ProfileId = LOCAL_PROFILE,
) -> None:
    """Hold an amount for a call, as long as this process lives; `settle` or `release` ends it.

    Raises:
        StorageError: the balance does not cover it.
    """
    [(seq,)] = db.rows(
        "INSERT INTO credit_holds (request_id, user_id, mode, amount_nano, call, created_at) VALUES (?, ?, ?, ?, ?, ?)"
        " RETURNING seq",
        (request_id, user_id, mode, amount_nano, call, utc_now()),
    )
    liveness.hold(db.path, _LOCKS_FROM + seq)


def change_hold(db: Database, request_id: RequestId, amount_nano: int, *, call: str) -> None:
    """Hold another amount for a call, such as for the model it falls back to."""
    db.execute(
        "UPDATE credit_holds SET amount_nano = ?, call = ? WHERE request_id = ?", (amount_nano, call, request_id)
    )


def attach_to_message(db: Database, request_id: RequestId, message_seq: int) -> None:
    """Say which answer a call writes: should the process die, the text in it is what is charged."""
    db.execute("UPDATE credit_holds SET message_seq = ? WHERE request_id = ?", (message_seq, request_id))


def open_hold(db: Database, request_id: RequestId) -> Hold | None:
    """The hold of a call, None where it has ended."""
    held = _holds(db, "request_id = ?", request_id)
    return held[0] if held else None


def held_of_own_keys(db: Database, user_id: ProfileId = LOCAL_PROFILE) -> int:
    """What calls under way on the user's own keys may still cost, in nano-dollars."""
    [(held,)] = db.rows(
        "SELECT coalesce(sum(amount_nano), 0) FROM credit_holds WHERE user_id = ? AND mode = 'own-keys'", (user_id,)
    )
    return int(held)


def settle(db: Database, request_id: RequestId, cost_nano: int | None) -> None:
    """End a hold and, in credits mode, charge what the call cost in whole credits, once.

    Where the balance does not cover a call that cost more than was held for it, all that is there is taken, and the rest
    is written down as uncovered. Nothing happens to a call whose hold has ended.
    """
    held = open_hold(db, request_id)
    if held is None:
        return
    _close(db, held)
    due = charge_nano(cost_nano or 0)
    if held.mode == "credits" and due:
        taken = min(due, account(db, held.user_id).available_nano)
        add_entry(db, "charge", request_id, -taken, uncovered_nano=due - taken, user_id=held.user_id)


def release(db: Database, request_id: RequestId) -> None:
    """End a hold and charge nothing."""
    held = open_hold(db, request_id)
    if held is not None:
        _close(db, held)


def release_lock(db: Database, held: Hold) -> None:
    """The call has ended, in a transaction that has been committed."""
    liveness.release(db.path, _LOCKS_FROM + held.seq)


def abandoned(db: Database) -> list[Hold]:
    """The holds whose process has died."""
    held = _holds(db, "TRUE")
    dead = set(liveness.abandoned(db.path, [_LOCKS_FROM + each.seq for each in held])) if held else set()
    return [each for each in held if _LOCKS_FROM + each.seq in dead]


def add_entry(
    db: Database,
    kind: EntryKind,
    ref: str,
    amount_nano: int,
    *,
    uncovered_nano: int = 0,
    purchase_id: str | None = None,
    user_id: ProfileId = LOCAL_PROFILE,
) -> bool:
    """Change a balance, once for each kind and ref; False where that has happened before.

    Raises:
        StorageError: the balance does not cover it.
    """
    if db.row("SELECT 1 FROM credit_ledger WHERE kind = ? AND ref = ?", (kind, ref)):
        return False
    db.execute(
        "INSERT INTO credit_ledger (id, user_id, kind, ref, purchase_id, amount_nano, uncovered_nano, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (new_id(), user_id, kind, ref, purchase_id, amount_nano, uncovered_nano, utc_now()),
    )
    return True


def entries(db: Database, *, limit: int | None = None, user_id: ProfileId = LOCAL_PROFILE) -> list[Entry]:
    """The ledger, newest first."""
    rows = db.rows(
        "SELECT id, kind, ref, amount_nano, uncovered_nano, created_at FROM credit_ledger WHERE user_id = ?"
        " ORDER BY seq DESC LIMIT ?",
        (user_id, -1 if limit is None else limit),
    )
    balance = account(db, user_id).balance_nano
    found: list[Entry] = []
    for entry_id, kind, ref, amount, uncovered, created_at in rows:
        found.append(Entry(entry_id, kind, ref, amount, uncovered, balance, created_at))
        balance -= amount
    return found


def window(db: Database, *, now_ms: int, user_id: ProfileId = LOCAL_PROFILE) -> Window:
    """What is left of the sliding window; nothing is written."""
    limit = CALLS_AN_HOUR[account(db, user_id).plan]
    [(calls, oldest)] = db.rows(
        "SELECT count(*), min(at_ms) FROM rate_events WHERE user_id = ? AND at_ms > ? AND at_ms <= ?",
        (user_id, now_ms - WINDOW_MS, now_ms),
    )
    return Window(limit, max(limit - calls, 0), None if oldest is None else oldest + WINDOW_MS)


def admitted_since(db: Database, at_ms: int, *, now_ms: int, user_id: ProfileId = LOCAL_PROFILE) -> list[int]:
    """When calls were admitted from a moment on, oldest first, in milliseconds; what is older, or of a clock that went
    wrong and lies ahead, is forgotten.
    """
    db.execute("DELETE FROM rate_events WHERE user_id = ? AND (at_ms <= ? OR at_ms > ?)", (user_id, at_ms, now_ms))
    return [row[0] for row in db.rows("SELECT at_ms FROM rate_events WHERE user_id = ? ORDER BY at_ms", (user_id,))]


def add_admitted(db: Database, at_ms: int, *, user_id: ProfileId = LOCAL_PROFILE) -> None:
    """A call was admitted at this moment."""
    db.execute("INSERT INTO rate_events (user_id, at_ms) VALUES (?, ?)", (user_id, at_ms))


def _holds(db: Database, condition: str, *values: str) -> list[Hold]:
    columns = "seq, request_id, user_id, mode, amount_nano, call, message_seq, created_at"
    return [Hold(*row) for row in db.rows(f"SELECT {columns} FROM credit_holds WHERE {condition} ORDER BY seq", values)]


def _close(db: Database, held: Hold) -> None:
    db.execute("DELETE FROM credit_holds WHERE seq = ?", (held.seq,))
