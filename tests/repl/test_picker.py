"""What the pickers are made of, without a terminal: cells, windows on lists, headings, choices."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.utils import get_cwidth

from aichat_cli.app import App
from aichat_cli.config import settings_file
from aichat_cli.config.settings import known
from aichat_cli.config.settings_table import Setting
from aichat_cli.render.sanitize import safe_text
from aichat_cli.repl.picker import cells, chat_rows
from aichat_cli.repl.picker.rows import FixedRows, Row, window
from aichat_cli.repl.picker.settings import next_value

TEXTS = st.text(st.sampled_from("ab \n\t中文👍🏽\u0301\u200d\ufe0f\x1b[]0;\x07\u202e") | st.characters(), max_size=60)
WIDTHS = st.integers(0, 40)


@given(TEXTS, WIDTHS)
def test_a_padded_text_has_exactly_its_width(text: str, width: int) -> None:
    line = cells.plain(text)
    assert get_cwidth(cells.padded(line, width)) == width
    assert get_cwidth(cells.padded(line, width, is_right=True)) == width


@given(st.lists(TEXTS, max_size=4), WIDTHS)
def test_a_fitted_line_has_exactly_its_width(texts: list[str], width: int) -> None:
    line = cells.fitted([("", cells.plain(text)) for text in texts], width)
    assert cells.width_of_line(line) == width


@given(TEXTS)
def test_a_plain_line_holds_nothing_a_terminal_obeys(text: str) -> None:
    line = cells.plain(text)
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u2066\u200d\ufe0f" for c in line)


@given(TEXTS, st.integers(2, 40))
def test_wrapping_keeps_every_word_and_no_line_is_too_long(text: str, width: int) -> None:
    lines = cells.wrapped(text, width)
    assert all(get_cwidth(line) <= width for line in lines)
    # Made safe as a whole: a blank in the place of a line's end could become part of an escape sequence before it.
    assert "".join("".join(lines).split()) == "".join(cells.plain(safe_text(text).replace("\n", " ")).split())


def test_lines_are_broken_at_blanks_and_long_words_anywhere() -> None:
    assert cells.wrapped("one two three", 8) == ["one two", "three"]
    assert cells.wrapped("abcdefghij kl", 4) == ["abcd", "efgh", "ij", "kl"]
    assert cells.wrapped("中文中文", 5) == ["中文", "中文"]
    assert cells.wrapped("a\n\nb", 5) == ["a", "", "b"]


@given(TEXTS, st.lists(st.text("ab中[.*(", min_size=1, max_size=3), max_size=3))
def test_marking_words_changes_no_text(text: str, words: list[str]) -> None:
    marked = cells.with_words_marked(text, words)
    assert "".join(piece for _, piece in marked) == text
    for style, piece in marked:
        assert (style == cells.MATCH) == any(piece.lower() == word.lower() for word in words)


def test_what_a_snippet_marks_is_marked() -> None:
    snippet = f"…a {cells.MARK_OPEN}zebra{cells.MARK_CLOSE} here"
    assert cells.with_marks(snippet) == [("", "…a "), (cells.MATCH, "zebra"), ("", " here")]


def rows_of(groups: list[int]) -> FixedRows:
    return FixedRows([Row(str(n), lambda _: [], f"group {group}") for n, group in enumerate(sorted(groups))])


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.data(), st.integers(1, 12))
def test_the_selected_row_is_always_on_the_screen(groups: list[int], data: st.DataObject, height: int) -> None:
    rows = rows_of(groups)
    top = 0
    for _ in range(5):
        selected = data.draw(st.integers(0, len(rows) - 1))
        shown = window(rows, top, selected, height)
        positions = [line.position for line in shown.lines if line.position is not None]
        assert selected in positions
        assert positions == list(range(positions[0], positions[-1] + 1))
        assert len(shown.lines) <= height
        again = window(rows, shown.top, selected, height)
        assert again == shown
        top = shown.top


def test_every_group_has_its_heading_and_the_first_row_its_own() -> None:
    shown = window(rows_of([0, 0, 1]), 1, 1, 9)
    assert [(line.position, line.heading) for line in shown.lines] == [
        (None, "group 0"), (1, ""), (None, "group 1"), (2, ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("days", "heading"),
    [
        (-1, "Today"), (0, "Today"), (1, "Yesterday"), (2, "Previous 7 days"), (7, "Previous 7 days"),
        (8, "Previous 30 days"), (30, "Previous 30 days"), (31, "October 2026"), (400, "October 2025"),
    ],
)  # fmt: skip
def test_headings_count_days_of_the_calendar(days: int, heading: str) -> None:
    now = datetime(2026, 11, 25, 0, 30, tzinfo=UTC)
    stored = (now - timedelta(days=days, minutes=-5)).isoformat().replace("+00:00", "Z")
    assert chat_rows.group_of(stored, now) == heading


def test_headings_are_those_of_the_local_zone() -> None:
    from zoneinfo import ZoneInfo

    now = datetime(2026, 11, 25, 1, 0, tzinfo=ZoneInfo("Asia/Tokyo"))
    assert chat_rows.group_of("2026-11-24T15:30:00.000Z", now) == "Today"
    assert chat_rows.group_of("2026-11-24T14:30:00.000Z", now) == "Yesterday"
    assert chat_rows.date_of("2026-11-24T15:30:00.000Z", now) == "00:30"


def test_dates_are_as_short_as_their_distance_allows() -> None:
    now = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
    assert [
        chat_rows.date_of(stored, now)
        for stored in (
            "2026-11-25T09:05:00.000Z", "2026-11-23T09:05:00.000Z", "2026-10-02T09:05:00.000Z", "2025-10-02T09:05:00.000Z"
        )
    ] == ["09:05", "Mon 09:05", "2 Oct", "2 Oct 2025"]  # fmt: skip


def _one_of(*names: str) -> Setting:
    def parse(raw: str) -> str:
        if raw not in names:
            raise ValueError(f"one of {', '.join(names)}")
        return raw

    return Setting("theme", names[0], "Colours.", parse, names)


def test_enter_switches_a_flag_goes_through_choices_and_leaves_the_rest_to_be_typed() -> None:
    theme = _one_of("auto", "light", "dark")
    assert [next_value(theme, value) for value in ("auto", "light", "dark", "gone")] == [
        "light",
        "dark",
        "auto",
        "auto",
    ]
    assert next_value(known("show_usage"), False) is True
    assert next_value(known("show_usage"), True) is False
    assert next_value(known("model"), "x") is None


def test_a_house_reads_its_settings_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("XDG_CONFIG_HOME", "HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    house = App()
    assert house.settings.flag("show_usage") is False
    settings_file.set_value(house.paths.config_file, known("show_usage"), True)
    settings_file.set_entry(house.paths.config_file, "aliases", "mine", "gpt-4o")
    house.reload_settings()
    assert house.settings.flag("show_usage") is True
    assert house.registry.resolve("mine").name == "gpt-4o"
