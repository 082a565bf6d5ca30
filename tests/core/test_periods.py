"""Days as people write and have them."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from aichat_cli.core import periods
from aichat_cli.core.errors import UsageError
from aichat_cli.core.periods import Days


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026-11-01", (2026, 11, 1), (2026, 11, 1)),
        ("2024-02", (2024, 2, 1), (2024, 2, 29)),
        ("2025", (2025, 1, 1), (2025, 12, 31)),
        ("today", (2026, 3, 31), (2026, 3, 31)),
        ("Yesterday", (2026, 3, 30), (2026, 3, 30)),
        ("7d", (2026, 3, 24), (2026, 3, 24)),
        ("2w", (2026, 3, 17), (2026, 3, 17)),
        ("1m", (2026, 2, 28), (2026, 2, 28)),
        ("3m", (2025, 12, 31), (2025, 12, 31)),
    ],
)
def test_dates_are_read_as_people_write_them(
    text: str, first: tuple[int, int, int], last: tuple[int, int, int]
) -> None:
    assert periods.days_meant(text, date(2026, 3, 31)) == Days(date(*first), date(*last))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2026-13",
        "2026-02-30",
        "20261101",
        "7",
        "7y",
        "-7d",
        "1900",
        "99999d",
        "9999w",
        "9999m",
        "0000-01",
        "2026-00",
        "2026-01-00",
        "2100",
        "00d x",
    ],
)
def test_what_is_no_date_says_how_to_write_one(text: str) -> None:
    with pytest.raises(UsageError, match="is no date") as caught:
        periods.days_meant(text, date(2026, 3, 31))
    assert caught.value.hint is not None
    assert "2026-11-01" in caught.value.hint


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("UTC", date(2026, 3, 8), 24),
        ("America/New_York", date(2026, 3, 8), 23),
        ("America/New_York", date(2026, 11, 1), 25),
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
        ("America/Sao_Paulo", date(2018, 11, 4), 23),
        ("America/Havana", date(2025, 11, 2), 25),
        ("Pacific/Apia", date(2011, 12, 30), 0),
    ],
)
def test_a_day_is_as_long_as_its_clock_makes_it(zone: str, day: date, hours: float) -> None:
    at = periods.zone(zone)
    begin, end = (datetime.fromisoformat(periods.begin_of(each, at)) for each in (day, day + timedelta(1)))
    assert (end - begin).total_seconds() == hours * 3600


def test_a_zone_at_three_quarters_of_an_hour_begins_its_day_there() -> None:
    assert periods.begin_of(date(2026, 11, 28), periods.zone("Asia/Kathmandu")) == "2026-11-27T18:15:00.000Z"


@pytest.mark.parametrize("name", ["Europe/Atlantis", "../../etc/passwd", "America", "", "\x00", "/etc/localtime"])
def test_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="There is no time zone"):
        periods.zone(name)


def test_a_zone_that_is_nearly_right_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        periods.zone("america/new york")
    assert caught.value.hint == "Did you mean America/New_York?"


def test_weeks_begin_on_monday_and_are_numbered_by_iso() -> None:
    spans = list(periods.spans(Days(date(2026, 12, 30), date(2027, 1, 5)), "week"))
    assert spans == [Days(date(2027, 1, 4), date(2027, 1, 5)), Days(date(2026, 12, 30), date(2027, 1, 3))]
    assert [periods.label(span.first, "week") for span in spans] == ["2027-W01", "2026-W53"]
