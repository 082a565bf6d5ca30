"""Accounts in a hosted Postgres, which several gateways may share. Who waits for a network gains by asking on several
connections at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar, cast

from aichat_cli.accounts import refusals
from aichat_cli.accounts.protocol import CLAIM_SECONDS, LIFE_SECONDS, NewKey, Uncovered
from aichat_cli.billing import accrued
from aichat_cli.core.accounts import (
    Admitted,
    Allowance,
    ApiKey,
    AuditEvent,
    Balance,
    Caller,
    Charge,
    NewCall,
    Progress,
    UsageBy,
    UsageSums,
    User,
)
from aichat_cli.core.credits import CALLS_AN_HOUR, PlanName
from aichat_cli.core.errors import HostedError, HostedLogin, HostedSchema, HostedUnavailable, UsageError
from aichat_cli.core.ids import ProfileId, RequestId
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import replace
from aichat_cli.core.sync import SCHEMA_VERSION
from aichat_cli.core.usage import UsageRecord
from aichat_cli.hosted import accounts, alerts, setup, sync_calls, users
from aichat_cli.hosted.accounts import DeadCall
from aichat_cli.hosted.connection import Connection, parsed
from aichat_cli.hosted.failures import Refused
from aichat_cli.hosted.lasting import LastingConnection
from aichat_cli.hosted.purchases import PostgresTill

T = TypeVar("T")

_APPLICATION = "aichat serve"
_HINTS: dict[type[HostedError], str] = {
    HostedUnavailable: "See whether the database runs, and can be reached from here",
    HostedLogin: "Check the address that is given with --database",
    HostedSchema: "Run: aichat serve --database postgresql://USER@HOST/DATABASE",
}
"""In the place of commands that people run who sync."""
_OF_SYNC = "aichat sync"

_KEY_REFUSALS = {"revoked": refusals.key_revoked, "expired": refusals.key_expired}


class PostgresAccounts:
    """The accounts of a database, by its address."""

    workers = 8

    def __init__(self, dsn: Secret) -> None:
        """Nothing is connected yet.

        Raises:
            UsageError: this is not the address of a database.
            ConfigError: psycopg is not installed.
        """
        self._dsn = dsn
        self._place, _ = parsed(dsn)

    @property
    def name(self) -> str:
        """Such as `db.example.com/aichat`."""
        return self._place.name

    @property
    def hosted(self) -> Callable[[], Connection]:
        """See `AccountStore`."""
        return self._opened

    def prepare(self) -> setup.Applied:
        """Set the database up, or bring it forward; where it is up to date nothing is changed.

        Raises:
            HostedError: it cannot be reached, may not be set up, or is newer than this program.
        """
        with _answers(), Connection.open(self._dsn, application=_APPLICATION) as connection:
            before = setup.version_before(connection)
            if before == SCHEMA_VERSION:
                return setup.Applied(before, before)
            return setup.apply(connection)

    def calls(self) -> PostgresCalls:
        """Raises HostedError where it cannot be reached, or is not set up."""
        with _answers():
            return PostgresCalls(LastingConnection(self._opened))

    def users(self) -> PostgresUsers:
        """Raises HostedError where it cannot be reached, or is not set up."""
        with _answers():
            return PostgresUsers(LastingConnection(self._opened))

    def alerts(self) -> PostgresAlerts:
        """Raises HostedError where it cannot be reached, or is not set up."""
        with _answers():
            return PostgresAlerts(LastingConnection(self._opened))

    @contextmanager
    def till(self) -> Iterator[PostgresTill]:
        """Raises HostedError where it cannot be reached, or is not set up."""
        with _answers(), self._opened() as connection:
            yield PostgresTill(connection)

    def _opened(self) -> Connection:
        connection = Connection.open(self._dsn, application=_APPLICATION)
        try:
            sync_calls.require_schema(connection)
        except BaseException:
            connection.close()
            raise
        return connection


class PostgresCalls:
    """`CallBooks` on a connection of its own.

    What may be done twice is asked once more where the connection was lost over it. To admit a call is not: whether it was
    admitted nobody knows then, and a second time it would be refused as known. The caller may try again under another id;
    what was held for this one, of which nothing accrues, is free again within a minute.
    """

    def __init__(self, connection: LastingConnection) -> None:
        self._connection = connection

    def authenticate(self, prefix: str, key_hash: bytes) -> Caller:
        """See `CallBooks`."""
        if not prefix.isascii() or not prefix.isprintable():
            raise refusals.key_unknown()
        with _answers():
            return self._connection.again(lambda connection: accounts.authenticate(connection, prefix, key_hash))

    def admit(self, call: NewCall) -> Admitted:
        """See `CallBooks`."""
        with _answers(name=call.user_id, known=lambda: refusals.call_known(call.request_id)):
            return self._connection.once(lambda connection: accounts.admit(connection, call, LIFE_SECONDS))

    def settle(self, request_id: RequestId, record: UsageRecord | None) -> Charge:
        """See `CallBooks`. Of a call of which nothing is known any more, neither is its user, nor what they have."""
        with _answers():
            charge = self._connection.again(lambda connection: accounts.finish(connection, request_id, record))
        return charge or Charge(0, 0, 0, 0)

    def note(self, calls: Sequence[Progress]) -> list[RequestId]:
        """See `CallBooks`."""
        if not calls:
            return []
        with _answers():
            return self._connection.again(lambda connection: accounts.renew(connection, calls, LIFE_SECONDS))

    def settle_the_dead(self) -> int:
        """See `CallBooks`."""
        with _answers():
            return self._connection.again(_settle_the_dead)

    def balance(self, user_id: ProfileId) -> Balance:
        """See `CallBooks`."""
        with _answers():
            found = self._connection.again(lambda connection: accounts.balance(connection, user_id))
        if found is None:
            raise refusals.no_user(user_id)
        return found

    def usage(self, user_id: ProfileId, begin: str, end: str, by: UsageBy) -> list[UsageSums]:
        """See `CallBooks`."""
        with _answers():
            return self._connection.again(lambda connection: accounts.usage(connection, user_id, begin, end, by))

    def together(self, tasks: Sequence[Callable[[], T]]) -> list[T | Exception]:
        """See `CallBooks`. Postgres stores each for good before it answers."""
        results: list[T | Exception] = []
        for task in tasks:
            try:
                results.append(task())
            except Exception as exc:  # noqa: BLE001 - each task is somebody else's, who is given what came of it
                results.append(exc)
        return results

    def close(self) -> None:
        """See `CallBooks`."""
        self._connection.close()


class PostgresAlerts:
    """`AlertBooks` on a connection of its own. What was claimed when the connection was lost is claimed again later."""

    def __init__(self, connection: LastingConnection) -> None:
        self._connection = connection

    def allowances(self, key_ids: Sequence[str]) -> list[Allowance]:
        """See `AlertBooks`."""
        with _answers():
            return self._connection.again(lambda connection: alerts.allowances(connection, key_ids))

    def claim(self, alert: str, user_id: ProfileId) -> bool:
        """See `AlertBooks`."""
        with _answers():
            return self._connection.once(lambda connection: alerts.claim(connection, alert, user_id, CLAIM_SECONDS))

    def sent(self, alert: str) -> None:
        """See `AlertBooks`."""
        with _answers():
            self._connection.again(lambda connection: alerts.end(connection, alert, None))

    def release(self, alert: str, seconds: float) -> None:
        """See `AlertBooks`."""
        with _answers():
            self._connection.again(lambda connection: alerts.end(connection, alert, seconds))

    def close(self) -> None:
        """See `AlertBooks`."""
        self._connection.close()


class PostgresUsers:
    """`Users` on a connection of its own. What was to be changed when the connection was lost is not tried again."""

    def __init__(self, connection: LastingConnection) -> None:
        self._connection = connection

    def create_user(self, name: str, *, email: str | None, plan: PlanName, actor: str) -> User:
        """See `Users`."""
        refusals.checked_name(name)
        with _answers(known=lambda: refusals.name_taken(name)):
            return self._connection.once(
                lambda connection: users.create_user(connection, name, email=email, plan=plan, actor=actor)
            )

    def user(self, name: str) -> User:
        """See `Users`."""
        found = None
        if name.isprintable():
            with _answers():
                found = self._connection.again(lambda connection: users.user(connection, name))
        if found is None:
            raise refusals.no_user(name)
        return found

    def users(self, *, limit: int | None) -> list[User]:
        """See `Users`."""
        with _answers():
            return self._connection.again(lambda connection: users.users(connection, limit=limit))

    def set_plan(self, user_id: ProfileId, plan: PlanName, *, actor: str) -> None:
        """See `Users`."""
        with _answers(name=user_id):
            self._connection.once(lambda connection: users.set_plan(connection, user_id, plan, actor=actor))

    def grant(self, user_id: ProfileId, credits_: int, *, ref: str, actor: str) -> bool:
        """See `Users`."""
        refusals.checked_credits(credits_)
        with _answers(name=user_id, known=lambda: refusals.granted_otherwise(ref)):
            return self._connection.once(
                lambda connection: users.grant(connection, user_id, credits_, ref=ref, actor=actor)
            )

    def suspend(self, user_id: ProfileId, *, suspended: bool, actor: str) -> None:
        """See `Users`."""
        with _answers(name=user_id):
            self._connection.once(
                lambda connection: users.suspend(connection, user_id, suspended=suspended, actor=actor)
            )

    def create_key(self, key: NewKey, *, actor: str) -> ApiKey:
        """See `Users`."""
        terms = (key.scopes, key.plan, key.monthly_cap_nano, key.expires_at)
        with _answers(name=key.user_id):
            return self._connection.once(
                lambda connection: users.create_key(
                    connection, key.user_id, key.name, key.prefix, key.key_hash, terms=terms, actor=actor
                )
            )

    def keys(self, *, user_id: ProfileId | None = None, limit: int | None = None) -> list[ApiKey]:
        """See `Users`."""
        with _answers():
            return self._connection.again(lambda connection: users.keys(connection, user_id=user_id, limit=limit))

    def revoke_key(self, key_id: str, *, actor: str) -> bool:
        """See `Users`."""
        if users.as_uuid(key_id) is None:
            raise refusals.no_key(key_id)
        with _answers(key=key_id):
            return self._connection.once(lambda connection: users.revoke_key(connection, key_id, actor=actor))

    def audit(self, *, user_id: ProfileId | None = None, limit: int | None = None) -> list[AuditEvent]:
        """See `Users`."""
        with _answers():
            return self._connection.again(lambda connection: users.audit(connection, user_id=user_id, limit=limit))

    def close(self) -> None:
        """See `Users`."""
        self._connection.close()


def _settle_the_dead(connection: Connection) -> int:
    with connection.transaction():
        dead = accounts.expire(connection)
        records = [(call.user_id, record) for call in dead if (record := _record(call)) is not None]
        if records:
            accounts.record_usage(connection, records)
    return len(dead)


def _record(call: DeadCall) -> UsageRecord | None:
    """The usage of a call whose holder died; None where nothing had arrived, or its note was not written by a gateway.

    It cost what was charged: that was noted together with the tokens.
    """
    try:
        record = accrued.record_of(call.request_id, call.note)
    except (KeyError, TypeError, ValueError):
        return None
    return None if record is None else replace(record, cost_nano=call.accrued_nano)


@contextmanager
def _answers(*, name: str = "", key: str | None = None, known: Callable[[], Exception] | None = None) -> Iterator[None]:
    """Tell what the database refuses in the words of accounts: of a user `name`, of a key, of what is `known` already."""
    try:
        yield
    except Refused as exc:
        meant = _meant(exc)
        if meant is None and exc.state == "AI404":
            meant = refusals.no_user(name) if key is None else refusals.no_key(key)
        if meant is None and exc.state == "AI409" and known is not None:
            meant = known()
        if meant is None:
            raise
        raise meant from None
    except HostedError as exc:
        if _OF_SYNC in (exc.hint or ""):
            exc.hint = _HINTS.get(type(exc))
        raise


def _meant(refused: Refused) -> Exception | None:
    match refused.state:
        case "AI400":
            return UsageError(f"This cannot be done: {refused.said}.")
        case "AI401":
            return _KEY_REFUSALS.get(refused.detail or "", refusals.key_unknown)()
        case "AI402":
            return Uncovered("cap" if refused.remark == "cap" else "credits", int(refused.detail or 0))
        case "AI423":
            return refusals.suspended()
        case "AI429":
            plan = cast("PlanName", refused.remark)
            return refusals.window_full(plan, CALLS_AN_HOUR[plan], float(refused.detail or 1))
    return None
