"""A profile's credits at a glance: the balance, the plan, what is left of the window, and purchases that are open."""

from __future__ import annotations

from aichat_cli.core.clock import now_ms
from aichat_cli.core.struct import Struct
from aichat_cli.storage import accounts, purchases
from aichat_cli.storage.accounts import Account, Entry, Window
from aichat_cli.storage.database import Database


class Overview(Struct, frozen=True):
    """Of one moment; `mode` is the setting `billing.mode`, `recent` the last entries of the ledger, newest first."""

    account: Account
    window: Window
    mode: str
    open_purchases: int
    recent: tuple[Entry, ...]


def overview(db: Database, mode: str, *, recent: int = 0) -> Overview:
    """How the profile stands now, with so many entries of its ledger."""
    with db.snapshot():
        return Overview(
            account=accounts.account(db),
            window=accounts.window(db, now_ms=now_ms()),
            mode=mode,
            open_purchases=len(purchases.unsettled(db)),
            recent=tuple(accounts.entries(db, limit=recent)),
        )
