"""What was done to accounts, and by whom, where a database keeps the accounts of many people."""

from __future__ import annotations

from collections.abc import Mapping

from aichat_cli.core.accounts import Action
from aichat_cli.core.clock import utc_now
from aichat_cli.core.ids import ProfileId
from aichat_cli.core.struct import to_json
from aichat_cli.storage.database import Database


def add(
    db: Database,
    actor: str,
    action: Action,
    *,
    user_id: ProfileId | None,
    key_id: str | None = None,
    detail: Mapping[str, str | int | None],
) -> None:
    """Write down what was done, inside the transaction that does it."""
    db.execute(
        "INSERT INTO audit_events (at, actor, action, user_id, key_id, detail) VALUES (?, ?, ?, ?, ?, ?)",
        (utc_now(), actor, action, user_id, key_id, to_json(detail).decode()),
    )
