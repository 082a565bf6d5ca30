"""The books: one row for each call to a model, written once and never changed; what it belongs to may become known later."""

from __future__ import annotations

from aichat_cli.core.accounts import UsageBy, UsageSums
from aichat_cli.core.clock import utc_now
from aichat_cli.core.ids import LOCAL_PROFILE, ConversationId, MessageId, ProfileId, RequestId
from aichat_cli.core.struct import Struct
from aichat_cli.core.usage import UsageRecord
from aichat_cli.storage.database import Database


def insert(
    db: Database,
    record: UsageRecord,
    *,
    conversation_id: ConversationId | None,
    message_id: MessageId | None,
    user_id: ProfileId = LOCAL_PROFILE,
) -> None:
    """Record a call, inside the caller's transaction.

    A gateway records a call through it as well, and its record may have come by sync before: then that is kept, and told
    what it belongs to.

    Raises:
        StorageError: this request is already recorded.
    """
    if is_recorded(db, record.request_id) and (message_id is not None or _syncs(db)):
        refer(db, record.request_id, conversation_id, message_id)
        return
    tokens = record.tokens
    db.execute(
        "INSERT INTO usage (request_id, user_id, conversation_id, message_id, type, provider, model, served_model,"
        " provider_id, input_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost_nano,"
        " provenance, raw, status, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record.request_id,
            user_id,
            conversation_id,
            message_id,
            record.type,
            record.provider,
            record.model,
            record.served_model,
            record.provider_id,
            tokens.input_tokens,
            tokens.cached_tokens,
            tokens.cache_write_tokens,
            tokens.output_tokens,
            tokens.reasoning_tokens,
            record.cost_nano,
            record.provenance,
            tokens.raw,
            record.status,
            utc_now(),
        ),
    )


def is_recorded(db: Database, request_id: RequestId) -> bool:
    """Whether a call is in the books."""
    return db.row("SELECT 1 FROM usage WHERE request_id = ?", (request_id,)) is not None


def message_of(db: Database, request_id: RequestId) -> str | None:
    """The answer that a call was made for, None where that is not known, or the call is not."""
    row = db.row("SELECT message_id FROM usage WHERE request_id = ?", (request_id,))
    return None if row is None else row[0]


def refer(db: Database, request_id: str, conversation_id: str | None, message_id: str | None) -> None:
    """Write down what a call belongs to, as far as that is not known yet and it is here; inside the caller's transaction."""
    db.execute(
        "UPDATE usage SET conversation_id = ifnull(conversation_id, told.conversation),"
        " message_id = ifnull(message_id, told.message)"
        " FROM (SELECT (SELECT id FROM conversations WHERE id = ?2) AS conversation,"
        " (SELECT id FROM messages WHERE id = ?3) AS message) AS told"
        " WHERE request_id = ?1 AND (conversation_id IS NULL AND told.conversation IS NOT NULL"
        " OR message_id IS NULL AND told.message IS NOT NULL)",
        (request_id, conversation_id, message_id),
    )


def _syncs(db: Database) -> bool:
    return db.row("SELECT 1 FROM sync_state") is not None


_LABELS: dict[UsageBy, str] = {
    "day": "substr(created_at, 1, 10)",
    "week": "date(substr(created_at, 1, 10), 'weekday 0', '-6 days')",
    "month": "substr(created_at, 1, 7)",
    "model": "model",
}
_SUMMED = (
    "count(*), sum(input_tokens), sum(cached_tokens), sum(output_tokens), coalesce(sum(cost_nano), 0) AS cost FROM usage"
    " WHERE user_id = ? AND created_at >= ? AND created_at < ?"
)


def summed(db: Database, user_id: ProfileId, begin: str, end: str, by: UsageBy) -> list[UsageSums]:
    """What a user used from one moment on and before another: periods (UTC) the first first, models the dearest first."""
    order = "cost DESC, label" if by == "model" else "label"
    query = f"SELECT {_LABELS[by]} AS label, {_SUMMED} GROUP BY label ORDER BY {order}"
    return [UsageSums(*row) for row in db.rows(query, (user_id, begin, end))]


class Totals(Struct, frozen=True):
    """Calls, tokens and nano-dollars; `cost_nano` is None when a call among them has no known price."""

    calls: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost_nano: int | None


def conversation_totals(db: Database, conversation_id: ConversationId) -> Totals:
    """All that a conversation used so far."""
    [row] = db.rows(
        "SELECT count(*), coalesce(sum(input_tokens), 0), coalesce(sum(cached_tokens), 0),"
        " coalesce(sum(output_tokens), 0), CASE WHEN count(cost_nano) = count(*) THEN coalesce(sum(cost_nano), 0) END"
        " FROM usage WHERE conversation_id = ?",
        (conversation_id,),
    )
    return Totals(*row)


def conversation_cost(db: Database, conversation_id: ConversationId) -> int | None:
    """What a conversation cost so far, in nano-dollars; None when a call in it has no known price."""
    [(cost, unpriced)] = db.rows(
        "SELECT coalesce(sum(cost_nano), 0), count(*) - count(cost_nano) FROM usage WHERE conversation_id = ?",
        (conversation_id,),
    )
    return None if unpriced else int(cost)


def spent_since(db: Database, iso_time: str, *, user_id: ProfileId = LOCAL_PROFILE) -> int:
    """Nano-dollars spent from a moment on, over all calls with a known price."""
    from aichat_cli.storage import usage_reports

    [since] = usage_reports.sums(db, [usage_reports.TimeRange(iso_time, usage_reports.FOREVER)], user_id=user_id)
    return since.cost_nano
