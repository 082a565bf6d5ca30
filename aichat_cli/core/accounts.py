"""People with accounts on a gateway: who they are, the keys they come with, and what is written down of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from aichat_cli.core.credits import PlanName
from aichat_cli.core.ids import ProfileId, RequestId
from aichat_cli.core.struct import Struct, field

Scope = Literal["chat", "embeddings", "credits", "sync"]
SCOPES: tuple[Scope, ...] = ("chat", "embeddings", "credits", "sync")
"""What a key may be used for: to ask models, to make vectors, to buy credits, to sync. Any key may see its own account."""

Action = Literal[
    "user.created",
    "user.plan",
    "user.suspended",
    "user.resumed",
    "credits.granted",
    "credits.purchased",
    "credits.reversed",
    "key.created",
    "key.revoked",
]


class User(Struct, frozen=True):
    """Somebody with an account. Times are UTC text; money is in nano-dollars.

    Attributes:
        name: unique, as the operator typed it.
        held_nano: the part of `balance_nano` that calls under way may still cost.
        suspended_at: since when their keys are refused, None where they are not.
        keys: how many keys of theirs can be used.
    """

    id: ProfileId
    name: str
    email: str | None
    plan: PlanName
    balance_nano: int
    held_nano: int
    created_at: str
    suspended_at: str | None
    keys: int


class ApiKey(Struct, frozen=True):
    """A key of a user's, without the secret, which nobody has but whoever it was shown to.

    Attributes:
        prefix: the part of the key that may be shown, and that finds it.
        scopes: what it may be used for.
        plan: the smaller plan it is held to, None for its user's own.
        monthly_cap_nano: what may be charged through it in a calendar month (UTC), None for any amount.
    """

    id: str
    user_id: ProfileId
    user_name: str
    name: str
    prefix: str
    scopes: tuple[Scope, ...]
    plan: PlanName | None
    monthly_cap_nano: int | None
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    revoked_at: str | None


class Caller(Struct, frozen=True):
    """Who sends a request, by the key it came with."""

    user_id: ProfileId
    user_name: str
    key_id: str
    key_name: str
    scopes: tuple[Scope, ...]
    plan: PlanName


class CallWindow(Struct, frozen=True):
    """The sliding window after a call was admitted: how many an hour may hold, how many are left, and when the oldest call
    leaves it, in seconds of Unix time.
    """

    limit: int
    remaining: int
    reset_at: float


class NewCall(Struct, frozen=True):
    """A call to admit.

    Attributes:
        request_id: under which it is charged, once.
        amount_nano: the most it can cost.
        note: JSON of what it is charged by should its holder die, as `billing.accrued.as_json` writes it.
        counts: whether the sliding window counts it; a fallback is part of the call that failed.
    """

    request_id: RequestId
    user_id: ProfileId
    key_id: str
    amount_nano: int
    note: str
    counts: bool = True


class Allowance(Struct, frozen=True):
    """What is left of a user's credits, and of the cap of one of their keys, in nano-dollars.

    Attributes:
        times_filled: how often they were given credits, or bought some.
        spent_nano: through the key in this calendar month (UTC).
    """

    user_id: ProfileId
    email: str
    balance_nano: int
    times_filled: int
    key_id: str
    key_name: str
    cap_nano: int | None
    spent_nano: int


class Admitted(Struct, frozen=True):
    """A call was admitted. `available_nano` is what its user can spend beyond it."""

    window: CallWindow
    available_nano: int


class Progress(Struct, frozen=True):
    """A sign of life of a call: how many tokens of its answer have arrived, and what the call has cost with them."""

    request_id: RequestId
    output_tokens: int
    accrued_nano: int


class Charge(Struct, frozen=True):
    """What a call took from its user in the end, and what they have now; `uncovered_nano` is what was not there any more."""

    charged_nano: int
    uncovered_nano: int
    balance_nano: int
    held_nano: int


class Balance(Struct, frozen=True):
    """A user's money, plan and window at one moment."""

    plan: PlanName
    balance_nano: int
    held_nano: int
    window: CallWindow


UsageBy = Literal["day", "week", "month", "model"]


class UsageSums(Struct, frozen=True):
    """What was used in a day, a week (by its Monday) or a month of UTC, or of a model: `label` says which. Calls, tokens, and
    nano-dollars.
    """

    label: str
    requests: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost_nano: int


class AuditEvent(Struct, frozen=True):
    """One thing that was done to an account: by whom, when, to whom. `detail` never holds a key."""

    at: str
    actor: str
    action: Action
    user_name: str | None
    key_prefix: str | None
    detail: Mapping[str, str | int | None] = field(default_factory=dict)
