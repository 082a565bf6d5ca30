"""Which mail about money is due: for shares of the user's caps, for few credits, and for a month that is over.

What is due follows from how things stand, never from what has just changed, and has an id that is the same for everybody who
sees it: whoever keeps the ids that were sent sends each mail once. Money is in nano-dollars, days are the user's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Literal

from aichat_cli.billing.limits import Limits
from aichat_cli.billing.standing import FEW_CREDITS_NANO, WARN_PERCENT
from aichat_cli.core import periods
from aichat_cli.core.accounts import Allowance
from aichat_cli.core.credits import NANO_PER_CREDIT
from aichat_cli.core.money import NANO_PER_DOLLAR
from aichat_cli.core.struct import Struct
from aichat_cli.storage import accounts, deliveries, usage_reports
from aichat_cli.storage.database import Database
from aichat_cli.storage.usage_reports import ModelSums, Sums, TimeRange

CapName = Literal["daily", "monthly"]


class CapAlert(Struct, frozen=True):
    """So many per cent of a cap are spent on a day, or in the month that it is in; 100 also where less is spent, but what is
    left did not cover a call.
    """

    cap: CapName
    percent: int
    spent_nano: int
    cap_nano: int
    day: date


class CreditsAlert(Struct, frozen=True):
    """Few credits are left."""

    balance_nano: int


class KeyCapAlert(Struct, frozen=True):
    """So many per cent of what a key of a gateway may cost in the month of a day are spent."""

    key_name: str
    percent: int
    spent_nano: int
    cap_nano: int
    day: date


class Summary(Struct, frozen=True):
    """What was used in a month: in all, and by each model, the most expensive first."""

    month: date
    sums: Sums
    models: tuple[ModelSums, ...]


News = CapAlert | CreditsAlert | KeyCapAlert | Summary


class Due(Struct, frozen=True):
    """Something to tell, once: `id` stands for it wherever it is told from."""

    id: str
    news: News


class Watch:
    """Looks after each turn, for one run of the program, and asks the database as little as it can.

    Args:
        integration: the name under which ids of what was sent are kept.
        profile: whose money it is, as a part of ids.
        today: the day it is.
    """

    def __init__(self, integration: str, profile: str, today: Callable[[], date] = lambda: periods.today(None)) -> None:
        self._integration = integration
        self._profile = profile
        self._today = today
        self._told: set[str] = set()
        self._closed_months: set[date] = set()

    def due(self, books: Database, limits: Limits, *, is_refused: bool = False) -> Iterator[Due]:
        """What is to be told now; nothing twice of what `books` says was told, or is about to be.

        Args:
            limits: what may be spent, with the mode by which the turn was paid for.
            is_refused: whether a call was just refused for a cap: then one that is nearly spent is as good as spent.
        """
        day = self._today()
        yield from self._summary(books, day)
        if limits.daily_nano:
            yield from self._of_cap(books, "daily", limits.daily_nano, day, is_refused)
        if limits.monthly_nano:
            yield from self._of_cap(books, "monthly", limits.monthly_nano, day, is_refused)
        if limits.mode == "credits":
            yield from self._of_credits(books, day)

    def _summary(self, books: Database, day: date) -> Iterator[Due]:
        this_month = day.replace(day=1)
        if this_month in self._closed_months:
            return
        month = (this_month - timedelta(1)).replace(day=1)
        id_ = f"summary-{periods.label(month, 'month')}-{self._profile}"
        if not self._is_told(books, id_):
            time = TimeRange(periods.begin_of(month, None), periods.begin_of(this_month, None))
            [sums] = usage_reports.sums(books, [time])
            if sums.requests:
                yield Due(id_, Summary(month, sums, tuple(usage_reports.by_model(books, time))))
                return
        self._closed_months.add(this_month)

    def _of_cap(
        self,
        books: Database,
        cap: CapName,
        cap_nano: int,
        day: date,
        is_refused: bool,  # noqa: FBT001 (of `due`)
    ) -> Iterator[Due]:
        """The highest share that is spent, where neither it nor a higher one was told of this cap."""
        unit: periods.Unit = "day" if cap == "daily" else "month"
        began = periods.span_of(day, unit).first
        stem = f"alert-{periods.label(day, unit)}-{self._profile}-{cap}"
        ids = {percent: f"{stem}-{percent}-of-{_dollars(cap_nano)}" for percent in WARN_PERCENT}
        if ids[max(ids)] in self._told:
            return
        [spent] = usage_reports.sums(books, [TimeRange(periods.begin_of(began, None), usage_reports.FOREVER)])
        share = spent.cost_nano * 100 // cap_nano
        if is_refused and share >= min(ids):
            share = max(share, 100)
        reached = [percent for percent in ids if percent <= share]
        if reached and not any(self._is_told(books, id_) for percent, id_ in ids.items() if percent >= reached[-1]):
            yield Due(ids[reached[-1]], CapAlert(cap, reached[-1], spent.cost_nano, cap_nano, day))

    def _of_credits(self, books: Database, day: date) -> Iterator[Due]:
        balance = accounts.account(books).balance_nano
        if balance > FEW_CREDITS_NANO:
            return
        threshold = f"credits-{FEW_CREDITS_NANO // NANO_PER_CREDIT}-after-{accounts.times_filled(books)}"
        id_ = f"alert-{periods.label(day, 'month')}-{self._profile}-{threshold}"
        if not self._is_told(books, id_):
            yield Due(id_, CreditsAlert(balance))

    def _is_told(self, books: Database, id_: str) -> bool:
        """Whether this was told, or somebody is at it. What is due is not told before it is kept."""
        if id_ not in self._told:
            self._told |= deliveries.known(books, self._integration, [id_])
        return id_ in self._told


def due_of(allowance: Allowance, day: date) -> Iterator[Due]:
    """What a user of a gateway is to be told, where they were not told it; `day` is that of UTC."""
    stem = f"alert-{periods.label(day, 'month')}-{allowance.user_id}"
    balance = allowance.balance_nano
    if balance <= FEW_CREDITS_NANO:
        least = FEW_CREDITS_NANO // NANO_PER_CREDIT if balance >= NANO_PER_CREDIT else 0
        yield Due(f"{stem}-credits-{least}-after-{allowance.times_filled}", CreditsAlert(balance))
    cap, spent = allowance.cap_nano, allowance.spent_nano
    if cap:
        reached = [percent for percent in WARN_PERCENT if percent <= spent * 100 // cap]
        if reached:
            id_ = f"{stem}-key-{allowance.key_id}-{max(reached)}-of-{cap // NANO_PER_CREDIT}"
            yield Due(id_, KeyCapAlert(allowance.key_name, max(reached), spent, cap, day))


def _dollars(nano: int) -> str:
    """An amount as it is written in an id, such as `20` or `0.5`."""
    return f"{(Decimal(nano) / NANO_PER_DOLLAR).normalize():f}"
