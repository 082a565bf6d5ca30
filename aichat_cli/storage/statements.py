"""Statements: the ledger of a period in sums, beside the usage of the calls that were charged in it.

Every figure is asked for on its own, the balances, the entries and the usage, so that a statement which reconciles says
something.
"""

from __future__ import annotations

from collections.abc import Iterator

from aichat_cli.core.credits import NANO_PER_CREDIT
from aichat_cli.core.ids import LOCAL_PROFILE, ProfileId
from aichat_cli.core.struct import Struct
from aichat_cli.storage.database import Database

END_OF_TIME = "9999"


class Statement(Struct, frozen=True):
    """A period, in nano-dollars. What takes from the balance is above zero here too.

    `reversals_nano` is what refunds and disputes took, less what won disputes gave back; `charges_nano` what calls took.
    Of the same calls: `usage_nano` is what they cost, `rounding_nano` what rounding up to whole credits added, and
    `uncovered_nano` what the balance did not cover. `unmatched` counts charges without a call in the usage, `balance_nano`
    is the profile's balance, None where the period has an end.
    """

    since: str | None
    until: str | None
    opening_nano: int
    grants_nano: int
    purchases_nano: int
    reversals_nano: int
    charges_nano: int
    closing_nano: int
    usage_nano: int
    rounding_nano: int
    uncovered_nano: int
    charged_calls: int
    unmatched: int
    balance_nano: int | None

    @property
    def problems(self) -> tuple[str, ...]:
        """What does not reconcile, to the nano-dollar; nothing where all does."""
        return tuple(self._differences())

    def _differences(self) -> Iterator[str]:
        entries = self.grants_nano + self.purchases_nano - self.reversals_nano - self.charges_nano
        if difference := self.closing_nano - self.opening_nano - entries:
            yield f"the closing balance differs from the opening balance and the entries by {difference} nano-dollars"
        if self.unmatched:
            yield f"{self.unmatched} charges belong to no call in the usage"
        if difference := self.charges_nano - (self.usage_nano + self.rounding_nano - self.uncovered_nano):
            yield f"the charges differ from the usage, rounded up, by {difference} nano-dollars"
        if self.balance_nano is not None and (difference := self.balance_nano - self.closing_nano):
            yield f"the balance differs from the closing balance by {difference} nano-dollars"


def statement(
    db: Database, *, since: str | None = None, until: str | None = None, user_id: ProfileId = LOCAL_PROFILE
) -> Statement:
    """The statement of a period: from `since` on and before `until`, both stored times, None for all there is."""
    begin, end = since or "", until or END_OF_TIME
    with db.snapshot():
        sums = dict(
            db.rows(
                "SELECT kind, sum(amount_nano) FROM credit_ledger WHERE user_id = ? AND created_at >= ?"
                " AND created_at < ? GROUP BY kind",
                (user_id, begin, end),
            )
        )
        opening, closing = (_balance_before(db, moment, user_id) for moment in (begin, end))
        calls, unmatched, usage, rounding, uncovered = _charged(db, begin, end, user_id)
        [(balance,)] = db.rows("SELECT balance_nano FROM profiles WHERE id = ?", (user_id,))
    return Statement(
        since=since,
        until=until,
        opening_nano=opening,
        grants_nano=sums.get("grant", 0),
        purchases_nano=sums.get("purchase", 0),
        reversals_nano=-sum(sums.get(kind, 0) for kind in ("refund", "dispute", "dispute_won")),
        charges_nano=-sums.get("charge", 0),
        closing_nano=closing,
        usage_nano=usage,
        rounding_nano=rounding,
        uncovered_nano=uncovered,
        charged_calls=calls,
        unmatched=unmatched,
        balance_nano=balance if until is None else None,
    )


def _balance_before(db: Database, moment: str, user_id: ProfileId) -> int:
    [(balance,)] = db.rows(
        "SELECT coalesce(sum(amount_nano), 0) FROM credit_ledger WHERE user_id = ? AND created_at < ?",
        (user_id, moment),
    )
    return int(balance)


def _charged(db: Database, begin: str, end: str, user_id: ProfileId) -> tuple[int, int, int, int, int]:
    """Of the charges of a period: how many, how many without usage, what they cost, what rounding added, the uncovered."""
    [row] = db.rows(
        "SELECT count(*), count(*) - count(usage.cost_nano), coalesce(sum(usage.cost_nano), 0),"
        " coalesce(sum((usage.cost_nano + ?1 - 1) / ?1 * ?1 - usage.cost_nano), 0), coalesce(sum(uncovered_nano), 0)"
        " FROM credit_ledger LEFT JOIN usage ON usage.request_id = credit_ledger.ref"
        " WHERE credit_ledger.user_id = ?2 AND kind = 'charge' AND credit_ledger.created_at >= ?3"
        " AND credit_ledger.created_at < ?4",
        (NANO_PER_CREDIT, user_id, begin, end),
    )
    calls, unmatched, usage, rounding, uncovered = row
    return calls, unmatched, usage, rounding, uncovered
