"""Accounts in a SQLite file: one machine, one writer, no server to run."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from aichat_cli.accounts import refusals
from aichat_cli.accounts.protocol import CLAIM_SECONDS, NewKey, Uncovered
from aichat_cli.billing import accrued
from aichat_cli.billing.till import SqliteTill
from aichat_cli.core.accounts import (
    Admitted,
    Allowance,
    ApiKey,
    AuditEvent,
    Balance,
    Caller,
    CallWindow,
    Charge,
    NewCall,
    Progress,
    UsageBy,
    UsageSums,
    User,
)
from aichat_cli.core.clock import now_ms, utc_now, utc_text
from aichat_cli.core.credits import CALLS_AN_HOUR, NANO_PER_CREDIT, WINDOW_MS, PlanName, charge_nano
from aichat_cli.core.errors import DatabaseReadOnly
from aichat_cli.core.ids import ProfileId, RequestId
from aichat_cli.core.usage import UsageRecord
from aichat_cli.storage import accounts, alerts, usage, users
from aichat_cli.storage.accounts import NewHold
from aichat_cli.storage.database import Database
from aichat_cli.storage.users import KeyToAdd

T = TypeVar("T")

WELCOME_CREDITS = 100
_FRESH_MS = 60_000
"""When a key was last used is written once in so long: more often would be a write for each call."""
_NOBODY = bytes(32)


class SqliteAccounts:
    """An `AccountStore` in one file."""

    workers = 1

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """The file."""
        return str(self.path)

    def prepare(self) -> None:
        """`AccountStore.prepare`; raises StorageError, also where the file cannot be written."""
        with Database.open(self.path) as db:
            if db.is_read_only:
                raise DatabaseReadOnly(f"{self.path} cannot be written.", hint="Check its permissions")

    @property
    def hosted(self) -> None:
        """See `AccountStore`: there is no Postgres."""
        return None

    def calls(self) -> SqliteCalls:
        """`AccountStore.calls`; raises StorageError."""
        return SqliteCalls(Database.open(self.path))

    def users(self) -> SqliteUsers:
        """`AccountStore.users`; raises StorageError."""
        return SqliteUsers(Database.open(self.path))

    def alerts(self) -> SqliteAlerts:
        """`AccountStore.alerts`; raises StorageError."""
        return SqliteAlerts(Database.open(self.path))

    @contextmanager
    def till(self) -> Iterator[SqliteTill]:
        """`AccountStore.till`; raises StorageError."""
        with Database.open(self.path) as db:
            yield SqliteTill(db, is_audited=True)


class SqliteCalls:
    """`CallBooks` through one connection."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._held: list[int] = []

    def authenticate(self, prefix: str, key_hash: bytes) -> Caller:
        """`CallBooks.authenticate`."""
        found = users.key_by_prefix(self._db, prefix)
        # Also where there is no such key something is compared.
        is_right = hmac.compare_digest(found[1] if found else _NOBODY, key_hash)
        if found is None or not is_right:
            raise refusals.key_unknown()
        key = found[0]
        self._require_usable(key)
        if key.last_used_at is None or key.last_used_at < utc_text(now_ms() - _FRESH_MS):
            with self._step():
                users.key_was_used(self._db, key.id)
        plan = key.plan or accounts.account(self._db, key.user_id).plan
        return Caller(key.user_id, key.user_name, key.id, key.name, key.scopes, plan)

    def admit(self, call: NewCall) -> Admitted:
        """`CallBooks.admit`."""
        with self._step():
            key = users.key_by_id(self._db, call.key_id)
            if key is None or key.user_id != call.user_id:
                raise refusals.key_unknown()
            self._require_usable(key)
            if accounts.payer(self._db, call.request_id) is not None:
                raise refusals.call_known(call.request_id)
            window = self._take_place(call, key)
            due = charge_nano(call.amount_nano)
            if due and key.monthly_cap_nano is not None:
                left = key.monthly_cap_nano - accounts.spent_through(self._db, key.id, _month_began())
                if left < due:
                    raise Uncovered("cap", max(left, 0))
            account = accounts.account(self._db, call.user_id)
            if account.available_nano < due:
                raise Uncovered("credits", account.available_nano)
            new = NewHold(call.request_id, due, "credits", call.note, key_id=key.id)
            self._held.append(accounts.hold(self._db, new, call.user_id))
        return Admitted(window, account.available_nano - due)

    def settle(self, request_id: RequestId, record: UsageRecord | None) -> Charge:
        """`CallBooks.settle`."""
        with self._step():
            held = accounts.open_hold(self._db, request_id)
            if held is not None:
                if record is not None:
                    usage.insert(self._db, record, conversation_id=None, message_id=None, user_id=held.user_id)
                accounts.close(self._db, request_id, record)
            payer = held.user_id if held else accounts.payer(self._db, request_id)
            if payer is None:
                return Charge(0, 0, 0, 0)
            charged, uncovered = accounts.charge_of(self._db, request_id)
            account = accounts.account(self._db, payer)
        return Charge(charged, uncovered, account.balance_nano, account.held_nano)

    def note(self, calls: Sequence[Progress]) -> list[RequestId]:
        """`CallBooks.note`."""
        with self._step():
            return [
                each.request_id
                for each in calls
                if not accounts.note_output(self._db, each.request_id, each.output_tokens)
            ]

    def settle_the_dead(self) -> int:
        """`CallBooks.settle_the_dead`."""
        return accrued.recover(self._db, _count, step=self._step)

    def balance(self, user_id: ProfileId) -> Balance:
        """`CallBooks.balance`."""
        account = accounts.account(self._db, user_id)
        window = accounts.window(self._db, now_ms=now_ms(), user_id=user_id)
        shown = CallWindow(window.limit, window.remaining, (window.reset_at_ms or 0) / 1000)
        return Balance(account.plan, account.balance_nano, account.held_nano, shown)

    def usage(self, user_id: ProfileId, begin: str, end: str, by: UsageBy) -> list[UsageSums]:
        """`CallBooks.usage`."""
        return usage.summed(self._db, user_id, begin, end, by)

    def together(self, tasks: Sequence[Callable[[], T]]) -> list[T | Exception]:
        """`CallBooks.together`: one transaction, in which each is a savepoint."""
        self._held = []
        results: list[T | Exception] = []
        try:
            with self._db.transaction(durable=True):
                for task in tasks:
                    try:
                        results.append(task())
                    except Exception as exc:  # noqa: BLE001 (handed to whoever asked)
                        results.append(exc)
        except BaseException:
            for seq in self._held:
                accounts.forget(self._db, seq)
            raise
        return results

    def close(self) -> None:
        """`CallBooks.close`."""
        self._db.close()

    @contextmanager
    def _step(self) -> Iterator[None]:
        """A transaction, or a savepoint of the one that is under way."""
        if not self._db.in_transaction:
            with self._db.transaction(durable=True):
                yield
            return
        self._db.execute("SAVEPOINT step")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK TO step")
            raise
        finally:
            self._db.execute("RELEASE step")

    def _require_usable(self, key: ApiKey) -> None:
        if key.revoked_at is not None:
            raise refusals.key_revoked()
        if key.expires_at is not None and key.expires_at <= utc_now():
            raise refusals.key_expired()
        if users.is_suspended(self._db, key.user_id):
            raise refusals.suspended()

    def _take_place(self, call: NewCall, key: ApiKey) -> CallWindow:
        """Count the call in the window of its user, and in that of its key where it is held to a plan; the tighter one."""
        now = now_ms()
        plan = accounts.account(self._db, call.user_id).plan
        windows = [self._window(call, plan, now)]
        if key.plan is not None:
            windows.append(self._window(call, key.plan, now, key_id=key.id))
        if call.counts:
            accounts.add_admitted(self._db, now, user_id=call.user_id, key_id=key.id)
        return min(windows, key=lambda window: window.remaining)

    def _window(self, call: NewCall, plan: PlanName, now: int, *, key_id: str | None = None) -> CallWindow:
        limit = CALLS_AN_HOUR[plan]
        window = accounts.in_window(self._db, now - WINDOW_MS, now_ms=now, user_id=call.user_id, key_id=key_id)
        if call.counts and window.calls >= limit:
            oldest_kept = window.calls - limit
            free_at = accounts.admitted_ms(self._db, oldest_kept, user_id=call.user_id, key_id=key_id) + WINDOW_MS
            raise refusals.window_full(plan, limit, (free_at - now) / 1000)
        oldest = now if window.oldest_ms is None else window.oldest_ms
        return CallWindow(limit, max(limit - window.calls - call.counts, 0), (oldest + WINDOW_MS) / 1000)


class SqliteUsers:
    """`Users` through one connection."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def create_user(self, name: str, *, email: str | None, plan: PlanName, actor: str) -> User:
        """`Users.create_user`."""
        checked = refusals.checked_name(name)
        with self._db.transaction(durable=True):
            if users.find(self._db, checked) is not None:
                raise refusals.name_taken(checked)
            user_id = users.add(self._db, checked, email, plan)
            accounts.add_entry(
                self._db, "grant", f"welcome:{user_id}", WELCOME_CREDITS * NANO_PER_CREDIT, user_id=user_id
            )
            users.audit(self._db, actor, "user.created", user_id, detail={"plan": plan})
        return self.user(user_id)

    def user(self, name: str) -> User:
        """`Users.user`."""
        found = users.find(self._db, name)
        if found is None:
            raise refusals.no_user(name)
        return found

    def users(self, *, limit: int | None) -> list[User]:
        """`Users.users`."""
        return users.every(self._db, limit=limit)

    def set_plan(self, user_id: ProfileId, plan: PlanName, *, actor: str) -> None:
        """`Users.set_plan`."""
        with self._db.transaction(durable=True):
            self._require(user_id)
            users.set_plan(self._db, user_id, plan)
            users.audit(self._db, actor, "user.plan", user_id, detail={"plan": plan})

    def grant(self, user_id: ProfileId, credits_: int, *, ref: str, actor: str) -> bool:
        """`Users.grant`."""
        amount = refusals.checked_credits(credits_) * NANO_PER_CREDIT
        with self._db.transaction(durable=True):
            self._require(user_id)
            if not accounts.add_entry(self._db, "grant", ref, amount, user_id=user_id):
                if accounts.entered(self._db, "grant", ref) != (user_id, amount):
                    raise refusals.granted_otherwise(ref)
                return False
            users.audit(self._db, actor, "credits.granted", user_id, detail={"credits": credits_, "ref": ref})
        return True

    def suspend(self, user_id: ProfileId, *, suspended: bool, actor: str) -> None:
        """`Users.suspend`."""
        with self._db.transaction(durable=True):
            self._require(user_id)
            if users.set_suspended(self._db, user_id, suspended=suspended):
                users.audit(self._db, actor, "user.suspended" if suspended else "user.resumed", user_id)

    def create_key(self, key: NewKey, *, actor: str) -> ApiKey:
        """`Users.create_key`."""
        kept = KeyToAdd(
            key.user_id,
            key.name,
            key.prefix,
            key.key_hash,
            " ".join(key.scopes),
            key.plan,
            key.monthly_cap_nano,
            key.expires_at,
        )
        with self._db.transaction(durable=True):
            self._require(key.user_id)
            key_id = users.add_key(self._db, kept)
            users.audit(self._db, actor, "key.created", key.user_id, key_id=key_id, detail={"name": key.name})
        made = users.key_by_id(self._db, key_id)
        assert made is not None
        return made

    def keys(self, *, user_id: ProfileId | None = None, limit: int | None = None) -> list[ApiKey]:
        """`Users.keys`."""
        return users.keys(self._db, user_id=user_id, limit=limit)

    def revoke_key(self, key_id: str, *, actor: str) -> bool:
        """`Users.revoke_key`."""
        with self._db.transaction(durable=True):
            key = users.key_by_id(self._db, key_id)
            if key is None:
                raise refusals.no_key(key_id)
            if not users.revoke_key(self._db, key_id):
                return False
            users.audit(self._db, actor, "key.revoked", key.user_id, key_id=key_id)
        return True

    def audit(self, *, user_id: ProfileId | None = None, limit: int | None = None) -> list[AuditEvent]:
        """`Users.audit`."""
        return users.audited(self._db, user_id=user_id, limit=limit)

    def close(self) -> None:
        """`Users.close`."""
        self._db.close()

    def _require(self, user_id: ProfileId) -> None:
        if users.find(self._db, user_id) is None:
            raise refusals.no_user(user_id)


class SqliteAlerts:
    """`AlertBooks` through one connection."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def allowances(self, key_ids: Sequence[str]) -> list[Allowance]:
        """`AlertBooks.allowances`."""
        return alerts.allowances(self._db, key_ids, _month_began())

    def claim(self, alert: str, user_id: ProfileId) -> bool:  # noqa: ARG002 (ids name their user)
        """`AlertBooks.claim`."""
        return alerts.claim(self._db, alert, CLAIM_SECONDS)

    def sent(self, alert: str) -> None:
        """`AlertBooks.sent`."""
        alerts.sent(self._db, alert)

    def release(self, alert: str, seconds: float) -> None:
        """`AlertBooks.release`."""
        alerts.release(self._db, alert, seconds)

    def close(self) -> None:
        """`AlertBooks.close`."""
        self._db.close()


def _month_began() -> str:
    """The first of the month, in UTC."""
    return f"{utc_now()[:7]}-01T00:00:00.000Z"


def _count(text: str, wire_name: str) -> int:
    from aichat_cli.providers import tokens

    return tokens.count_for(text, wire_name)
