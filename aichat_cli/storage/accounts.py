"""Balances, the ledger, and what is held for calls under way. Every function runs inside the caller's transaction.

The sums in `profiles` are kept by triggers: a balance is always that of its ledger, what is held that of the open holds,
and SQLite itself refuses a hold or a charge that is not covered.
"""

from __future__ import annotations

from typing import Literal

from aichat_cli.core.clock import utc_now
from aichat_cli.core.credits import CALLS_AN_HOUR, WINDOW_MS, BillingMode, PlanName, charge_nano
from aichat_cli.core.errors import NotFound
from aichat_cli.core.ids import LOCAL_PROFILE, ProfileId, RequestId, new_id
from aichat_cli.core.struct import Struct
from aichat_cli.core.usage import UsageRecord
from aichat_cli.storage import liveness
from aichat_cli.storage.database import Database

EntryKind = Literal["grant", "purchase", "charge", "refund", "dispute", "dispute_won"]

_LOCKS_FROM = 3 << 29
"""The liveness locks of holds lie behind those of turns."""


class Account(Struct, frozen=True):
    """A profile's money, in nano-dollars. `held_nano` is a part of `balance_nano`."""

    user_id: ProfileId
    plan: PlanName
    balance_nano: int
    held_nano: int

    @property
    def available_nano(self) -> int:
        """What can be held for another call."""
        return self.balance_nano - self.held_nano


class NewHold(Struct, frozen=True):
    """What to hold for a call.

    Attributes:
        mode: `own-keys` is counted against caps, `credits` against the balance.
        call: JSON of what it is charged by should its process die.
        message_seq: the answer it writes, whose text tells then how much arrived.
        key_id: the key of a gateway that it came with.
    """

    request_id: RequestId
    amount_nano: int
    mode: BillingMode
    call: str
    message_seq: int | None = None
    key_id: str | None = None


class Hold(Struct, frozen=True):
    """What is held for a call under way."""

    seq: int
    user_id: ProfileId
    request_id: RequestId
    amount_nano: int
    mode: BillingMode
    call: str
    message_seq: int | None
    key_id: str | None


class Entry(Struct, frozen=True):
    """One change of a balance, in nano-dollars. `balance_nano` is the balance after it."""

    id: str
    kind: EntryKind
    ref: str
    amount_nano: int
    uncovered_nano: int
    balance_nano: int
    created_at: str


class Window(Struct, frozen=True):
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


def times_filled(db: Database, user_id: ProfileId = LOCAL_PROFILE) -> int:
    """How often credits were granted to a profile, or bought."""
    [(count,)] = db.rows(
        "SELECT count(*) FROM credit_ledger WHERE user_id = ? AND kind IN ('grant', 'purchase')", (user_id,)
    )
    return int(count)


def hold(db: Database, new: NewHold, user_id: ProfileId = LOCAL_PROFILE) -> int:
    """Hold an amount for a call, as long as this process lives; `close` ends it. Returns the hold's seq.

    Whoever undoes the transaction calls `forget` then.

    Raises:
        StorageError: the balance does not cover it.
    """
    [(seq,)] = db.rows(
        "INSERT INTO credit_holds (request_id, user_id, mode, amount_nano, call, message_seq, key_id, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING seq",
        (new.request_id, user_id, new.mode, new.amount_nano, new.call, new.message_seq, new.key_id, utc_now()),
    )
    liveness.hold(db.path, _LOCKS_FROM + seq)
    return int(seq)


def forget(db: Database, hold_seq: int) -> None:
    """The transaction that made a hold was undone: another process may get its seq."""
    liveness.release(db.path, _LOCKS_FROM + hold_seq)


def attach_to_message(db: Database, request_id: RequestId, message_seq: int) -> None:
    """Say which answer a call writes: should the process die, the text in it is what is charged."""
    db.execute("UPDATE credit_holds SET message_seq = ? WHERE request_id = ?", (message_seq, request_id))


def open_hold(db: Database, request_id: RequestId) -> Hold | None:
    """The hold of a call, None where it has ended."""
    held = _holds(db, "request_id = ?", request_id)
    return held[0] if held else None


def held_in_all(db: Database, user_id: ProfileId = LOCAL_PROFILE) -> int:
    """What calls under way may still cost, whoever pays for them, in nano-dollars."""
    [(held,)] = db.rows("SELECT coalesce(sum(amount_nano), 0) FROM credit_holds WHERE user_id = ?", (user_id,))
    return int(held)


def close(db: Database, request_id: RequestId, record: UsageRecord | None) -> None:
    """End what is held for a call and, in credits mode, charge what it cost in whole credits, once; without a record
    nothing came of it, and nothing is charged.

    Where the balance does not cover a call that cost more than was held for it, all that is there is taken, and the rest
    is written down as uncovered. Nothing happens to a call whose hold has ended.
    """
    held = open_hold(db, request_id)
    if held is None:
        return
    _close(db, held)
    due = charge_nano(record.cost_nano or 0) if record is not None else 0
    if held.mode == "credits" and due:
        taken = min(due, account(db, held.user_id).available_nano)
        add_entry(
            db,
            "charge",
            request_id,
            -taken,
            uncovered_nano=due - taken,
            user_id=held.user_id,
            key_id=held.key_id,
        )


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
    key_id: str | None = None,
) -> bool:
    """Change a balance, once for each kind and ref; False where that has happened before.

    Raises:
        StorageError: the balance does not cover it.
    """
    if db.row("SELECT 1 FROM credit_ledger WHERE kind = ? AND ref = ?", (kind, ref)):
        return False
    db.execute(
        "INSERT INTO credit_ledger (id, user_id, kind, ref, purchase_id, amount_nano, uncovered_nano, key_id, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (new_id(), user_id, kind, ref, purchase_id, amount_nano, uncovered_nano, key_id, utc_now()),
    )
    return True


def entered(db: Database, kind: EntryKind, ref: str) -> tuple[ProfileId, int] | None:
    """Whose entry that is, and what it changed, in nano-dollars; None where there is none."""
    row = db.row("SELECT user_id, amount_nano FROM credit_ledger WHERE kind = ? AND ref = ?", (kind, ref))
    return None if row is None else (row[0], int(row[1]))


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


class InWindow(Struct, frozen=True):
    """The calls in a sliding window: how many, and when the oldest was admitted, None where there is none; milliseconds."""

    calls: int
    oldest_ms: int | None


def in_window(
    db: Database, at_ms: int, *, now_ms: int, user_id: ProfileId = LOCAL_PROFILE, key_id: str | None = None
) -> InWindow:
    """The calls that were admitted from a moment on: those of a user, or of one of their keys. What is older, or of a clock
    that went wrong and lies ahead, is forgotten.
    """
    db.execute("DELETE FROM rate_events WHERE user_id = ? AND (at_ms <= ? OR at_ms > ?)", (user_id, at_ms, now_ms))
    whose, value = ("user_id = ?", user_id) if key_id is None else ("key_id = ?", key_id)
    [row] = db.rows(f"SELECT count(*), min(at_ms) FROM rate_events WHERE {whose}", (value,))  # noqa: S608 (our own words)
    return InWindow(*row)


def admitted_ms(db: Database, place: int, *, user_id: ProfileId = LOCAL_PROFILE, key_id: str | None = None) -> int:
    """When the call at a place of the window was admitted, the oldest being at 0."""
    whose, value = ("user_id = ?", user_id) if key_id is None else ("key_id = ?", key_id)
    query = f"SELECT at_ms FROM rate_events WHERE {whose} ORDER BY at_ms LIMIT 1 OFFSET ?"  # noqa: S608 (our own words)
    [(at_ms,)] = db.rows(query, (value, place))
    return int(at_ms)


def add_admitted(db: Database, at_ms: int, *, user_id: ProfileId = LOCAL_PROFILE, key_id: str | None = None) -> None:
    """A call was admitted at this moment."""
    db.execute("INSERT INTO rate_events (user_id, key_id, at_ms) VALUES (?, ?, ?)", (user_id, key_id, at_ms))


def spent_through(db: Database, key_id: str, iso_time: str) -> int:
    """What was charged through a key from a moment on, and what is held for its calls under way, in nano-dollars."""
    [(charged, held)] = db.rows(
        "SELECT (SELECT coalesce(-sum(amount_nano), 0) FROM credit_ledger WHERE key_id = ?1 AND created_at >= ?2),"
        " (SELECT coalesce(sum(amount_nano), 0) FROM credit_holds WHERE key_id = ?1)",
        (key_id, iso_time),
    )
    return int(charged) + int(held)


def note_output(db: Database, request_id: RequestId, output_tokens: int) -> bool:
    """How much of an answer has arrived, which a call is charged by should its process die; False where it has ended."""
    sql = "UPDATE credit_holds SET call = json_set(call, '$.output_tokens', ?) WHERE request_id = ?"
    return db.execute(sql, (output_tokens, request_id)) > 0


def payer(db: Database, request_id: RequestId) -> ProfileId | None:
    """Who pays or paid for a call, None where there never was one."""
    row = db.row(
        "SELECT user_id FROM credit_holds WHERE request_id = ?1 UNION ALL"
        " SELECT user_id FROM usage WHERE request_id = ?1 UNION ALL"
        " SELECT user_id FROM credit_ledger WHERE kind = 'charge' AND ref = ?1",
        (request_id,),
    )
    return None if row is None else row[0]


def charge_of(db: Database, request_id: RequestId) -> tuple[int, int]:
    """What a call took from its payer, and what of it was not covered, in nano-dollars."""
    row = db.row(
        "SELECT -amount_nano, uncovered_nano FROM credit_ledger WHERE kind = 'charge' AND ref = ?", (request_id,)
    )
    return (0, 0) if row is None else (int(row[0]), int(row[1]))


def _holds(db: Database, condition: str, *values: str) -> list[Hold]:
    columns = "seq, user_id, request_id, amount_nano, mode, call, message_seq, key_id"
    query = f"SELECT {columns} FROM credit_holds WHERE {condition} ORDER BY seq"  # noqa: S608 (both are our own words)
    return [Hold(*row) for row in db.rows(query, values)]


def _close(db: Database, held: Hold) -> None:
    # Should the transaction be undone, the hold stays and nobody holds its lock: the next start charges it.
    db.execute("DELETE FROM credit_holds WHERE seq = ?", (held.seq,))
    liveness.release(db.path, _LOCKS_FROM + held.seq)
