"""Tables and charts: whatever is in them, they fit, and they show what is there."""

from __future__ import annotations

import re
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.render import charts
from aichat_cli.render.charts import Look
from aichat_cli.render.columns import Column, cut, table
from aichat_cli.render.markdown.cells import cells
from aichat_cli.render.sanitize import safe_line
from aichat_cli.render.theme import Theme
from aichat_cli.render.usage_view import compact

TEXTS = st.text(alphabet="ab 日本👩\u200d👧🇩🇪é\u0301", max_size=30).map(safe_line)
VALUES = st.lists(st.integers(0, 10**12), min_size=1, max_size=80)
SGR = re.compile("\x1b\\[[0-9;]*m")


def plain(line: str) -> str:
    return SGR.sub("", line)


@given(
    rows=st.lists(st.tuples(TEXTS, TEXTS, st.integers(0, 10**15)), min_size=1, max_size=5),
    width=st.integers(1, 100),
    is_ascii=st.booleans(),
)
def test_a_table_is_never_wider_than_there_is_room(
    rows: list[tuple[str, str, int]], width: int, is_ascii: bool
) -> None:
    columns = [
        Column("name", [row[0] for row in rows], is_flexible=True, style="1"),
        Column("other", [row[1] for row in rows], leaves=1),
        Column("count", [f"{row[2]:,}" for row in rows], [compact(row[2]) for row in rows], is_number=True, style="32"),
    ]
    for has_total in (False, True):
        lines = table(columns, width, heading_style="2", is_ascii=is_ascii, has_total=has_total)
        assert len(lines) == len(rows) + 1 + has_total
        assert max(cells(plain(line)) for line in lines) <= width


@given(text=TEXTS, width=st.integers(0, 40))
def test_a_cut_text_fits_and_begins_as_it_did(text: str, width: int) -> None:
    shortened = cut(text, width)
    assert cells(shortened) <= width
    assert shortened == text or (text.startswith(shortened.removesuffix("…")) and cells(text) > width)


@given(values=VALUES, width=st.integers(8, 120), is_ascii=st.booleans())
def test_a_chart_fits_and_shows_every_value_that_is_not_zero(values: list[int], width: int, is_ascii: bool) -> None:
    look = Look(width, Theme(), is_ascii)
    lines = [plain(line) for line in charts.columns(values, {0: "Nov 2", 7: "Nov 9"}, "$1", look)]
    assert max(map(cells, lines)) <= width
    drawn = lines[5][4:].replace(" ", "")
    shown = values[-(width - 4) :]
    slots = min(max((width - 4) // len(shown), 1), charts.WIDEST_SLOT)
    assert len(drawn) == sum(map(bool, shown)) * max(slots - 1, 1)


def test_the_highest_column_is_full_and_half_of_it_half_as_high() -> None:
    lines = charts.columns([8, 4, 0, 1], {}, "8", Look(20), height=2)
    assert [line.rstrip() for line in lines] == ["8 │███", "  │███ ███     ▂▂▂", "0 └────────────────", ""]


def test_a_sparkline_has_a_character_for_each_value() -> None:
    assert charts.sparkline([0, 1, 4, 8], Look(4)) == "·▁▄█"
    assert charts.sparkline([0, 1, 2, 3], Look(4, is_ascii=True)) == "_.:#"
    assert charts.sparkline([0, 0], Look(4)) == "··"


@pytest.mark.parametrize(("value", "drawn"), [(0, ""), (1, "▏"), (40, "██"), (50, "██▌"), (80, "████")])
def test_a_bar_is_as_long_as_its_part(value: int, drawn: str) -> None:
    assert charts.length_bar(value, 80, 4, Look(4)) == drawn


@given(
    first=st.dates(date(2000, 1, 1), date(2030, 1, 1)),
    values=st.lists(st.integers(0, 100), min_size=1, max_size=800),
    width=st.integers(6, 130),
)
def test_a_calendar_has_each_day_once_and_fits(first: date, values: list[int], width: int) -> None:
    days = [first + timedelta(number) for number in range(len(values))]
    lines = charts.calendar(days, values, Look(width))
    weekdays = [line for line in lines if line[:3] in charts.WEEKDAYS]
    assert max(map(len, weekdays)) <= width
    marks = "".join(line[4:] for line in weekdays).replace(" ", "")
    assert len(marks) == len(values)
    assert marks.count("·") == values.count(0)
    for name in charts.WEEKDAYS:
        row = "".join(line[4:] for line in weekdays if line.startswith(name)).replace(" ", "")
        assert len(row) == sum(day.strftime("%a") == name for day in days)


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (9_999, "9,999"), (10_000, "10.0k"), (123_456, "123k"), (1_234_567, "1.2M"), (45_600_000_000, "45.6B")],
)
def test_numbers_are_told_in_a_few_characters(number: int, text: str) -> None:
    assert compact(number) == text
