"""Credits: what one is worth, what a call costs in them, the plans, and the packages that are sold.

1 credit is 1 US cent, 10,000,000 nano-dollars. Balances and holds are kept in nano-dollars, whole credits of them.
"""

from __future__ import annotations

from typing import Literal

from aichat_cli.core.money import NANO_PER_CENT, cents_from_nano
from aichat_cli.core.struct import Struct

NANO_PER_CREDIT = NANO_PER_CENT

PlanName = Literal["free", "pro", "enterprise"]
BillingMode = Literal["own-keys", "credits"]
"""Whose money pays for calls: the user's, through keys of their own, or the balance of their profile."""

CALLS_AN_HOUR: dict[PlanName, int] = {"free": 20, "pro": 200, "enterprise": 1000}
"""Paid calls within any 60 minutes, in credits mode."""

WINDOW_MS = 3_600_000


class Package(Struct, frozen=True):
    """Credits that are sold together, at a price in US cents."""

    name: str
    credits: int
    amount_cents: int
    currency: str = "usd"


PACKAGES = {
    package.name: package
    for package in (Package("small", 100, 500), Package("medium", 500, 2000), Package("large", 2000, 7000))
}


def charge_nano(cost_nano: int) -> int:
    """What a call that costs this much takes from the balance, in nano-dollars: whole credits, at least one, and
    nothing where it cost nothing.
    """
    return cents_from_nano(cost_nano) * NANO_PER_CREDIT


def credits_text(nano: int) -> str:
    """For people: `1,050`, or `0.5` where it is not whole."""
    whole, rest = divmod(nano, NANO_PER_CREDIT)
    return f"{whole:,}" if not rest else f"{nano / NANO_PER_CREDIT:,.7f}".rstrip("0")
