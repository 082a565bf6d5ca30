"""Sums over the books: whatever they are read from, they are those of the rows."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.core import periods
from aichat_cli.core.ids import LOCAL_PROFILE, ConversationId, ProfileId
from aichat_cli.core.money import TokenUsage
from aichat_cli.core.periods import Days, Unit
from aichat_cli.core.usage import Provenance
from aichat_cli.storage import conversations, usage, usage_reports
from aichat_cli.storage.database import Database
from aichat_cli.storage.migrate import MIGRATIONS
from aichat_cli.storage.usage_reports import ALL_TIME, FOREVER, Sums, TimeRange
from tests.storage.support import booked, said

SOMEONE_ELSE = ProfileId("someone-else")

DAYS_OF_NOTE = {
    "UTC": date(2026, 3, 1),
    "America/New_York": date(2026, 3, 8),
    "Europe/Berlin": date(2025, 10, 26),
    "Asia/Kathmandu": date(2026, 1, 1),
    "Australia/Lord_Howe": date(2026, 4, 5),
    "America/Sao_Paulo": date(2018, 11, 4),
    "America/Havana": date(2025, 11, 2),
    "Pacific/Apia": date(2011, 12, 30),
}
"""Zones, and a day when something happens to their clock: an hour or half of one is missing or there twice, midnight is
missing or there twice, the whole day is missing."""


@dataclass(frozen=True)
class Call:
    at: str
    model: str
    tokens: TokenUsage
    cost_nano: int | None
    provenance: Provenance

    @property
    def sums(self) -> Sums:
        return Sums(
            1,
            self.tokens.input_tokens,
            self.tokens.cached_tokens,
            self.tokens.cache_write_tokens,
            self.tokens.output_tokens,
            self.tokens.reasoning_tokens,
            self.cost_nano or 0,
            int(self.cost_nano is None),
            int(self.provenance == "estimated"),
        )


def stored(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def moments(day: date) -> st.SearchStrategy[str]:
    """Times within some days of a day, often at the very border of an hour or a day."""
    noon = datetime(day.year, day.month, day.day, tzinfo=UTC)
    hours = st.integers(-80, 80)
    millis = st.one_of(st.sampled_from([0, 1, 900_000, 1_800_000, 2_700_000, 3_599_999]), st.integers(0, 3_599_999))
    return st.builds(lambda h, ms: stored(noon + timedelta(hours=h, milliseconds=ms)), hours, millis)


def calls(day: date) -> st.SearchStrategy[list[Call]]:
    count = st.integers(0, 5_000)
    tokens = st.builds(TokenUsage, count, count, cached_tokens=count, cache_write_tokens=count, reasoning_tokens=count)
    call = st.builds(
        Call,
        at=moments(day),
        model=st.sampled_from(["a", "b"]),
        tokens=tokens,
        cost_nano=st.none() | st.integers(0, 10**12),
        provenance=st.sampled_from(["calculated", "estimated"]),
    )
    return st.lists(call, max_size=25)


def with_calls(made: list[Call]) -> Database:
    db = Database.in_memory()
    db.execute("INSERT INTO profiles (id, created_at) VALUES (?, '2026')", (SOMEONE_ELSE,))
    for call in made:
        for user_id in (LOCAL_PROFILE, SOMEONE_ELSE):
            booked(
                db, call.at, model=call.model, tokens=call.tokens, cost_nano=call.cost_nano,
                provenance=call.provenance, user_id=user_id,
            )  # fmt: skip
    return db


def naive(made: list[Call], begin: str, end: str) -> Sums:
    return sum((call.sums for call in made if begin <= call.at < end), Sums())


DAY = date(2026, 2, 28)
BOUNDS = moments(DAY) | st.sampled_from(["", "2026", "2026-02", "2026-02-28", "2026-02-28T05", "2026-03", FOREVER])


@given(made=calls(DAY), bounds=st.lists(st.tuples(BOUNDS, BOUNDS), max_size=4))
def test_any_stretches_of_time_have_the_sums_of_their_rows(made: list[Call], bounds: list[tuple[str, str]]) -> None:
    with with_calls(made) as db:
        ranges = [TimeRange(begin, end) for begin, end in bounds]
        assert usage_reports.sums(db, ranges) == [naive(made, begin, end) for begin, end in bounds]
        for time in ranges:
            by_model = {row.model: row.sums for row in usage_reports.by_model(db, time)}
            for model in ("a", "b"):
                expected = naive([call for call in made if call.model == model], time.begin, time.end)
                assert by_model.get(model, Sums()) == expected
            rows, others = usage_reports.by_conversation(db, time)
            assert (rows, others) == ([], naive(made, time.begin, time.end))
            assert usage.spent_since(db, time.begin) == naive(made, time.begin, FOREVER).cost_nano


@given(data=st.data(), name=st.sampled_from(sorted(DAYS_OF_NOTE)), unit=st.sampled_from(["day", "week", "month"]))
def test_in_any_zone_a_row_counts_in_the_day_week_and_month_it_was_made(
    data: st.DataObject, name: str, unit: Unit
) -> None:
    day = DAYS_OF_NOTE[name]
    made = data.draw(calls(day))
    zone = periods.zone(name)
    spans = list(periods.spans(Days(day - timedelta(40), day + timedelta(40)), unit))
    expected: dict[str, Sums] = {}
    for call in made:
        local = datetime.fromisoformat(call.at).astimezone(ZoneInfo(name)).date()
        label = periods.label(local, unit)
        expected[label] = expected.get(label, Sums()) + call.sums
    with with_calls(made) as db:
        ranges = [
            TimeRange(periods.begin_of(span.first, zone), periods.begin_of(span.last + timedelta(1), zone))
            for span in spans
        ]
        found = usage_reports.sums(db, ranges)
    labelled = {periods.label(span.first, unit): sums for span, sums in zip(spans, found, strict=True) if sums.requests}
    assert labelled == expected


def test_a_whole_day_is_told_without_reading_its_calls(memory: Database) -> None:
    booked(memory, "2026-11-27T23:59:59.999Z", cost_nano=1)
    booked(memory, "2026-11-28T00:00:00.000Z", cost_nano=10)
    booked(memory, "2026-11-28T23:59:59.999Z", cost_nano=100)
    memory.execute("DROP TRIGGER usage_is_not_deleted")
    memory.execute("DELETE FROM usage")

    [day] = usage_reports.sums(memory, [TimeRange("2026-11-28T00:00:00.000Z", "2026-11-29T00:00:00.000Z")])
    assert (day.requests, day.cost_nano) == (2, 110)
    assert usage.spent_since(memory, "2026-11-28T00:00:00.000Z") == 110
    assert usage_reports.by_model(memory, ALL_TIME)[0].sums.cost_nano == 111


def test_a_database_from_before_is_summed_when_it_is_migrated(path: Path, tmp_path: Path) -> None:
    older = tmp_path / "older"
    older.mkdir()
    for file in sorted(MIGRATIONS.glob("*.sql"))[:3]:
        shutil.copy(file, older)
    with Database.open(path, migrations=older) as db:
        for hour in range(48):
            booked(db, f"2026-11-{27 + hour // 24}T{hour % 24:02d}:30:00.000Z", cost_nano=None if hour == 3 else 1)
    with Database.open(path) as db:
        booked(db, "2026-11-28T23:31:00.000Z", cost_nano=1, provenance="estimated")
        day, part = usage_reports.sums(
            db, [TimeRange("2026-11-28", FOREVER), TimeRange("2026-11-27T03", "2026-11-27T05")]
        )
        counts = db.row("SELECT (SELECT count(*) FROM usage_hours), (SELECT count(*) FROM usage_days)")
    assert (day.requests, day.cost_nano, day.estimated) == (25, 25, 1)
    assert (part.requests, part.cost_nano, part.unpriced) == (2, 1, 1)
    assert counts == (48, 2)


def test_what_belongs_to_no_conversation_is_summed_by_itself(memory: Database) -> None:
    kept, trashed, gone = (
        said(memory, title=title, cost_nano=cost) for title, cost in (("a", 5), ("b", 70), ("c", 900))
    )
    said(memory, conversation_id=kept.conversation_id, cost_nano=1)
    booked(memory, "2026-11-28T00:00:00.000Z", cost_nano=2_000)
    conversations.move_to_trash(memory, trashed.conversation_id)
    conversations.delete(memory, gone.conversation_id)

    rows, others = usage_reports.by_conversation(memory, ALL_TIME)
    assert [(row.conversation_id, row.title, row.sums.cost_nano) for row in rows] == [(kept.conversation_id, "a", 6)]
    assert (others.requests, others.cost_nano) == (3, 2_970)


def test_the_extent_is_from_the_first_call_to_the_last(memory: Database) -> None:
    assert usage_reports.extent(memory) is None
    for at in ("2026-11-02T00:00:00.000Z", "2024-01-01T00:00:00.000Z", "2025-01-01T00:00:00.000Z"):
        booked(memory, at)
    assert usage_reports.extent(memory) == TimeRange("2024-01-01T00:00:00.000Z", "2026-11-02T00:00:00.000Z")


def test_conversations_are_ordered_by_cost_then_by_tokens(memory: Database) -> None:
    ids = [said(memory, title=title, cost_nano=cost).conversation_id for title, cost in (("a", 0), ("b", 0), ("c", 9))]
    booked(memory, "2026-11-02T00:00:00.000Z", conversation_id=ConversationId(ids[1]), cost_nano=None)
    rows, _ = usage_reports.by_conversation(memory, ALL_TIME)
    assert [row.title for row in rows] == ["c", "b", "a"]
    assert Counter(row.sums.unpriced for row in rows) == Counter({0: 2, 1: 1})
