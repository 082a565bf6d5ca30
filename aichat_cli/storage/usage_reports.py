"""Sums over the books, exact to the call: of any stretches of time, by model and by conversation.

Whole days and hours (UTC) come from `usage_days` and `usage_hours`, which triggers keep; only what is left at the ends of
a stretch is read call by call. Nothing is written here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from aichat_cli.core.ids import LOCAL_PROFILE, ConversationId, ProfileId
from aichat_cli.core.struct import Struct
from aichat_cli.storage.database import Database

_LONG_AFTER = "~"
"""After every character of a time: `2026-11-28~` is behind all of that day, and before the next."""

_CALL_COLUMNS = (
    "count(*), coalesce(sum(input_tokens), 0), coalesce(sum(cached_tokens), 0), coalesce(sum(cache_write_tokens), 0),"
    " coalesce(sum(output_tokens), 0), coalesce(sum(reasoning_tokens), 0), coalesce(sum(cost_nano), 0),"
    " count(*) - count(cost_nano), coalesce(sum(provenance = 'estimated'), 0)"
)
_SUM_COLUMNS = (
    "coalesce(sum(requests), 0), coalesce(sum(input_tokens), 0), coalesce(sum(cached_tokens), 0),"
    " coalesce(sum(cache_write_tokens), 0), coalesce(sum(output_tokens), 0), coalesce(sum(reasoning_tokens), 0),"
    " coalesce(sum(cost_nano), 0), coalesce(sum(unpriced), 0), coalesce(sum(estimated), 0)"
)


class TimeRange(Struct, frozen=True):
    """From `begin` on and before `end`: UTC times as they are stored, or the beginnings of such, as `2026-11`."""

    begin: str
    end: str


FOREVER = _LONG_AFTER
"""An `end` after every time."""

ALL_TIME = TimeRange("", FOREVER)


class Sums(Struct, frozen=True):
    """Calls, tokens and nano-dollars.

    Attributes:
        cost_nano: of the calls whose price is known.
        unpriced: how many calls have no known price.
        estimated: how many calls had their tokens counted here, not by the provider.
    """

    requests: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nano: int = 0
    unpriced: int = 0
    estimated: int = 0

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.requests + other.requests,
            self.input_tokens + other.input_tokens,
            self.cached_tokens + other.cached_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.output_tokens + other.output_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.cost_nano + other.cost_nano,
            self.unpriced + other.unpriced,
            self.estimated + other.estimated,
        )

    @property
    def tokens(self) -> int:
        """Everything read and written."""
        return self.input_tokens + self.output_tokens


class ModelSums(Struct, frozen=True):
    """What one model of one provider was used for."""

    model: str
    provider: str
    sums: Sums


class ConversationSums(Struct, frozen=True):
    """What one conversation used."""

    conversation_id: ConversationId
    title: str
    sums: Sums


class _Level(Struct, frozen=True):
    """A table of sums or of calls, and how much of a time its key holds."""

    table: str
    key: str
    key_length: int
    columns: str


_LEVELS = (
    _Level("usage_days", "day", len("2026-11-28"), _SUM_COLUMNS),
    _Level("usage_hours", "hour", len("2026-11-28T21"), _SUM_COLUMNS),
    _Level("usage", "created_at", len("2026-11-28T21:59:33.120Z"), _CALL_COLUMNS),
)
_Piece = tuple[int, str, str]
"""The number of the stretch that it is a part of, and two keys: from the first on, before the second."""


def sums(db: Database, ranges: Sequence[TimeRange], *, user_id: ProfileId = LOCAL_PROFILE) -> list[Sums]:
    """The sums of each stretch of time, in their order."""
    totals = [Sums()] * len(ranges)
    with db.snapshot():
        for level, pieces in zip(_LEVELS, _pieces(ranges), strict=True):
            # A subquery for each piece needs no sorting, which grouping by stretch would.
            rows = db.rows(
                f"SELECT value ->> 0, (SELECT json_array({level.columns}) FROM {level.table}"  # noqa: S608
                f" WHERE user_id = ? AND {level.key} >= value ->> 1 AND {level.key} < value ->> 2) FROM json_each(?)",
                (user_id, json.dumps(pieces)),
            )
            for number, columns in rows:
                totals[number] += Sums(*json.loads(columns))
    return totals


def by_model(db: Database, time: TimeRange, *, user_id: ProfileId = LOCAL_PROFILE) -> list[ModelSums]:
    """The sums of each model in a stretch of time, the most expensive first."""
    found: dict[tuple[str, str], Sums] = {}
    with db.snapshot():
        for level, pieces in zip(_LEVELS, _pieces([time]), strict=True):
            for _, begin, end in pieces:
                rows = db.rows(
                    f"SELECT model, provider, {level.columns} FROM {level.table}"  # noqa: S608
                    f" WHERE user_id = ? AND {level.key} >= ? AND {level.key} < ? GROUP BY provider, model",
                    (user_id, begin, end),
                )
                for model, provider, *columns in rows:
                    found[model, provider] = found.get((model, provider), Sums()) + Sums(*columns)
    rows_found = [ModelSums(model, provider, total) for (model, provider), total in found.items()]
    return sorted(rows_found, key=lambda row: (*_by_weight(row.sums), row.model, row.provider))


def by_conversation(
    db: Database, time: TimeRange, *, user_id: ProfileId = LOCAL_PROFILE
) -> tuple[list[ConversationSums], Sums]:
    """The sums of each conversation in a stretch of time, the most expensive first; and of the calls without one.

    Those are the calls of conversations that were deleted, or are in the trash, and those that never belonged to one.
    """
    rows = db.rows(
        f"SELECT s.*, c.title FROM (SELECT conversation_id, {_CALL_COLUMNS} FROM usage"  # noqa: S608
        " WHERE user_id = ? AND created_at >= ? AND created_at < ? GROUP BY conversation_id) s"
        " LEFT JOIN conversations c ON c.id = s.conversation_id AND c.deleted_at IS NULL",
        (user_id, _shortest(time.begin), _shortest(time.end)),
    )
    named, others = [], Sums()
    for conversation_id, *columns, title in rows:
        if title is None:
            others += Sums(*columns)
        else:
            named.append(ConversationSums(conversation_id, title, Sums(*columns)))
    named.sort(key=lambda row: (*_by_weight(row.sums), row.conversation_id))
    return named, others


def extent(db: Database, *, user_id: ProfileId = LOCAL_PROFILE) -> TimeRange | None:
    """The times of the first and of the last call, None where there is none."""
    [row] = db.rows(
        "SELECT (SELECT min(created_at) FROM usage WHERE user_id = ?1),"
        " (SELECT max(created_at) FROM usage WHERE user_id = ?1)",
        (user_id,),
    )
    return TimeRange(*row) if row[0] else None


def _by_weight(total: Sums) -> tuple[int, int]:
    return -total.cost_nano, -total.tokens


def _pieces(ranges: Sequence[TimeRange]) -> list[list[_Piece]]:
    """What is to be summed of each level, so that all pieces together are the ranges, without gaps or overlaps."""
    found: list[list[_Piece]] = [[] for _ in _LEVELS]
    for number, time in enumerate(ranges):
        for level, begin, end in _split(_shortest(time.begin), _shortest(time.end), 0):
            found[level].append((number, begin, end))
    return found


def _split(begin: str, end: str, level: int) -> Iterator[tuple[int, str, str]]:
    """A stretch by whole keys of a level, and its two ends by the levels below it. Keys are compared as texts."""
    if begin >= end:
        return
    length = _LEVELS[level].key_length
    if level == len(_LEVELS) - 1:
        yield level, begin, end
        return
    first = begin if len(begin) <= length else begin[:length] + _LONG_AFTER
    last = end[:length]
    if first >= last:
        yield from _split(begin, end, level + 1)
        return
    yield level, first, last
    if first != begin:
        yield from _split(begin, first, level + 1)
    yield from _split(last, end, level + 1)


def _shortest(moment: str) -> str:
    """A time without the zeros at its end, so that the beginning of a day is written as the day, and of an hour too."""
    for length, zeros in ((10, "T00:00:00.000Z"), (13, ":00:00.000Z")):
        if moment[length:] == zeros:
            return moment[:length]
    return moment
