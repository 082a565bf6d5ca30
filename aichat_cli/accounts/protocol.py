"""What a gateway asks of its accounts, whatever keeps them. One instance serves one thread.

Each method is one transaction: done, or nothing of it. All raise StorageError or HostedError where the database fails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from aichat_cli.billing.till import Till
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
    Scope,
    UsageBy,
    UsageSums,
    User,
)
from aichat_cli.core.credits import PlanName
from aichat_cli.core.ids import ProfileId, RequestId
from aichat_cli.core.struct import Struct
from aichat_cli.core.usage import UsageRecord

if TYPE_CHECKING:
    from aichat_cli.hosted.connection import Connection

T = TypeVar("T")

LIFE_SECONDS = 60
"""A call that gave no sign of life for so long has lost its holder."""

CLAIM_SECONDS = 60
"""How long a mail is left to whoever is about to send it: longer than an attempt takes."""


class Uncovered(Exception):
    """A call may cost more than `available_nano`, which is what is left of the balance, or of the key's cap."""

    def __init__(self, of: Literal["credits", "cap"], available_nano: int) -> None:
        super().__init__(of)
        self.of: Literal["credits", "cap"] = of
        self.available_nano = available_nano


class NewKey(Struct, frozen=True):
    """A key to write down: its hash, never itself."""

    user_id: ProfileId
    name: str
    prefix: str
    key_hash: bytes
    scopes: tuple[Scope, ...]
    plan: PlanName | None = None
    monthly_cap_nano: int | None = None
    expires_at: str | None = None


class CallBooks(Protocol):
    """What every call asks."""

    def authenticate(self, prefix: str, key_hash: bytes) -> Caller:
        """Whose key it is. When it was last used is written at most once a minute.

        Raises:
            KeyRefused: there is no such key, or it was revoked or has expired; what is told apart is told only to whoever
                has the whole key.
            AccountSuspended: its user's keys are refused for now.
        """
        ...

    def admit(self, call: NewCall) -> Admitted:
        """Count a call in the sliding window and hold the most it can cost; refused, nothing of it was done.

        Raises:
            RateLimited: the window of the user or of the key is full; says when to try again.
            Uncovered: it may cost more than there is.
            CallKnown: a call was admitted under this id before.
            KeyRefused, AccountSuspended: since it was authenticated.
        """
        ...

    def settle(self, request_id: RequestId, record: UsageRecord | None) -> Charge:
        """End a call: with its usage, charged once; or without, and nothing is charged.

        A call that has ended already is not charged again, and its usage stays as it was written.
        """
        ...

    def note(self, calls: Sequence[Progress]) -> list[RequestId]:
        """Signs of life of calls under way; returns those that have ended meanwhile and are not paid for any longer."""
        ...

    def settle_the_dead(self) -> int:
        """End the calls whose holder has died, each charged by what had accrued; returns how many."""
        ...

    def balance(self, user_id: ProfileId) -> Balance:
        """A user's money, plan and window, whose `reset_at` is 0 where it is empty; raises NotFound."""
        ...

    def usage(self, user_id: ProfileId, begin: str, end: str, by: UsageBy) -> list[UsageSums]:
        """What a user used from one moment on and before another (UTC text): periods the first first, models the dearest."""
        ...

    def together(self, tasks: Sequence[Callable[[], T]]) -> list[T | Exception]:
        """Run calls of the methods above one after the other, durably stored when this returns, as cheaply as the database
        can; each gives its result or its error, and one that fails undoes only itself.
        """
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Users(Protocol):
    """What an operator does. `actor` is who, for the audit."""

    def create_user(self, name: str, *, email: str | None, plan: PlanName, actor: str) -> User:
        """Somebody new, with the credits of a new profile; raises UsageError where the name is taken or cannot be one."""
        ...

    def user(self, name: str) -> User:
        """The user of that name or id; raises NotFound."""
        ...

    def users(self, *, limit: int | None) -> list[User]:
        """All users, by name."""
        ...

    def set_plan(self, user_id: ProfileId, plan: PlanName, *, actor: str) -> None:
        """Put a user on a plan, from their next call on; raises NotFound where there is no such user."""
        ...

    def grant(self, user_id: ProfileId, credits_: int, *, ref: str, actor: str) -> bool:
        """Give whole credits, once for each ref; False where that was done before.

        Raises:
            NotFound: there is no such user.
            UsageError: that is no number of credits to give, or others were given under this ref.
        """
        ...

    def suspend(self, user_id: ProfileId, *, suspended: bool, actor: str) -> None:
        """Refuse a user's keys from now on, or take them again. Calls under way end as they would have.

        Raises:
            NotFound: there is no such user.
        """
        ...

    def create_key(self, key: NewKey, *, actor: str) -> ApiKey:
        """Write a key down; raises NotFound where there is no such user."""
        ...

    def keys(self, *, user_id: ProfileId | None = None, limit: int | None = None) -> list[ApiKey]:
        """Keys, the newest first, also those that were revoked."""
        ...

    def revoke_key(self, key_id: str, *, actor: str) -> bool:
        """Refuse a key from now on, for good; False where it was revoked before. Raises NotFound where there is none."""
        ...

    def audit(self, *, user_id: ProfileId | None = None, limit: int | None = None) -> list[AuditEvent]:
        """What was done, the newest first."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class AlertBooks(Protocol):
    """What tells users of their money asks: who has how much left, and that each mail is sent once, from wherever."""

    def allowances(self, key_ids: Sequence[str]) -> list[Allowance]:
        """Of these keys, those whose users have a mail address."""
        ...

    def claim(self, alert: str, user_id: ProfileId) -> bool:
        """Take up a mail for `CLAIM_SECONDS`; False where it was sent, or somebody else is at it."""
        ...

    def sent(self, alert: str) -> None:
        """A mail that was claimed is sent, for good."""
        ...

    def release(self, alert: str, seconds: float) -> None:
        """A mail that was claimed was not sent: it can be claimed again after so long."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class AccountStore(Protocol):
    """Where accounts are kept: gives out connections, each for one thread."""

    workers: int
    """How many threads are worth having: one where there is one writer, more where each waits for a network."""

    @property
    def name(self) -> str:
        """In one word, as it may be shown."""
        ...

    def prepare(self) -> object:
        """Make the database ready: set up where it is empty, brought forward where it is older."""
        ...

    @property
    def hosted(self) -> Callable[[], Connection] | None:
        """Connects to the Postgres they are kept in, where devices sync as well; None where they are kept in a file."""
        ...

    def calls(self) -> CallBooks:
        """For calls."""
        ...

    def users(self) -> Users:
        """For operators."""
        ...

    def alerts(self) -> AlertBooks:
        """For mail about money."""
        ...

    def till(self) -> AbstractContextManager[Till]:
        """For purchases, on a connection of their own."""
        ...
