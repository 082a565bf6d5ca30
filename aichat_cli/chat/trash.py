"""When deleted conversations are gone for good: at the end of the session that deleted them, else after a day."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from aichat_cli.core.ids import ConversationId
from aichat_cli.storage import conversations
from aichat_cli.storage.database import Database

KEPT_FOR = timedelta(days=1)
"""A session that was killed leaves its trash; this long there is time to take something back."""


def purge(db: Database, own: Iterable[ConversationId] = ()) -> int:
    """Empty the trash of what has been in it for a day, and of `own`, what this session put there; returns how many.

    What was taken back meanwhile stays. A database that cannot be written keeps its trash.
    """
    if db.is_read_only:
        return 0
    before = (datetime.now(UTC) - KEPT_FOR).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return conversations.purge(db, before=before, also=own)
