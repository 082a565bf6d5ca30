"""How a profile stands: what is left of its credits and caps, and what is worth a warning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aichat_cli.billing.limits import Limits
from aichat_cli.core.clock import month_began, today_began
from aichat_cli.core.credits import NANO_PER_CREDIT, credits_text
from aichat_cli.core.money import usd_text
from aichat_cli.storage import accounts, usage
from aichat_cli.storage.database import Database

FEW_CREDITS_NANO = 10 * NANO_PER_CREDIT
WARN_PERCENT = (80, 100)


@dataclass(frozen=True, slots=True)
class Standing:
    """Money at one moment, in nano-dollars.

    Attributes:
        balance_nano, available_nano: of the profile, in credits mode; else None.
        today_nano, month_nano: spent since midnight and since the first of the month; `month_nano` is None where nothing
            asks for it.
        held_nano: what calls under way may still cost.
    """

    limits: Limits
    balance_nano: int | None
    available_nano: int | None
    today_nano: int
    month_nano: int | None
    held_nano: int


def standing(db: Database, limits: Limits) -> Standing:
    """How the profile stands now. Inside a transaction or a snapshot the figures are of one moment."""
    account = accounts.account(db) if limits.mode == "credits" else None
    return Standing(
        limits=limits,
        balance_nano=account.balance_nano if account else None,
        available_nano=account.available_nano if account else None,
        today_nano=usage.spent_since(db, today_began()),
        month_nano=usage.spent_since(db, month_began()) if limits.monthly_nano is not None else None,
        held_nano=accounts.held_in_all(db),
    )


def warnings(before: Standing, after: Standing) -> Iterator[str]:
    """What the user should hear of, because what lies between the two made it true: a line each."""
    limits = after.limits
    had, has = before.balance_nano, after.balance_nano
    if had is not None and has is not None and has <= FEW_CREDITS_NANO < had:
        yield f"{credits_text(has)} credits are left. For more: aichat credits buy small"
    for name, cap, was, now in (
        ("today", limits.daily_nano, before.today_nano, after.today_nano),
        ("this month", limits.monthly_nano, before.month_nano, after.month_nano),
    ):
        crossed = [percent for percent in WARN_PERCENT if cap and _share(was, cap) < percent <= _share(now, cap)]
        if crossed:
            yield f"{crossed[-1]} % of your cap is spent {name}: {usd_text(now)} of {usd_text(cap)}."


def _share(spent: int | None, cap: int) -> int:
    return (spent or 0) * 100 // cap
