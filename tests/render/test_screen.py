from __future__ import annotations

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.render.markdown import MarkdownStream, Theme, render
from aichat_cli.render.screen import Screen
from aichat_cli.render.theme import reflows
from tests.render.glass import Glass
from tests.render.markdown_documents import EXAMPLES, WIDTHS, any_text, documents, splits

THEME = Theme()
ROWS = 24
texts = st.one_of(documents, st.sampled_from([example["markdown"] for example in EXAMPLES]), any_text)


class Window:
    """A terminal whose size can change."""

    def __init__(self, columns: int, rows: int = ROWS) -> None:
        self.size = os.terminal_size((columns, rows))

    def __call__(self) -> os.terminal_size:
        return self.size


def printed(lines: list[str], width: int, rows: int = ROWS) -> Glass:
    glass = Glass(width, rows)
    glass.put("".join(f"{line}\n" for line in lines))
    return glass


@given(st.data(), texts, st.sampled_from(WIDTHS), st.sampled_from([4, 10, ROWS]))
def test_what_streamed_is_what_is_printed_at_once_text_and_styles(
    data: st.DataObject, text: str, width: int, rows: int
) -> None:
    glass, screen = Glass(width, rows), Screen(THEME, Window(width, rows), reflows=True)
    for delta in data.draw(splits(text)):
        glass.put(screen.grown(delta))
    glass.put(screen.ended(""))

    assert glass.cells() == printed(render(text, width, THEME), width, rows).cells()


def test_every_example_of_the_specification_drawn_by_the_character() -> None:
    for example in EXAMPLES:
        glass, screen = Glass(80, ROWS), Screen(THEME, Window(80), reflows=True)
        for character in example["markdown"]:
            glass.put(screen.grown(character))
        glass.put(screen.ended(""))

        assert glass.cells() == printed(render(example["markdown"], 80, THEME), 80).cells(), example


@given(st.data(), documents, st.sampled_from(WIDTHS), st.sampled_from(WIDTHS))
def test_a_resize_in_the_middle_leaves_no_line_twice_and_loses_none(
    data: st.DataObject, text: str, first: int, second: int
) -> None:
    deltas = data.draw(splits(text))
    when = data.draw(st.integers(0, len(deltas)))
    window = Window(first)
    glass, screen = Glass(first, ROWS), Screen(THEME, window, reflows=False)
    expected, stream = Glass(first, ROWS), MarkdownStream(first, THEME)
    for number, delta in enumerate([*deltas, None]):
        if number == when:
            window.size = os.terminal_size((second, ROWS))
            stream.resize(second)
            glass.resize(ROWS, second)
            expected.resize(ROWS, second)
        lines = stream.finish() if delta is None else stream.feed(delta)
        expected.put("".join(f"{line}\n" for line in lines))
        glass.put(screen.ended("") if delta is None else screen.grown(delta))

    # What was on the screen is cut off by the terminal, what had scrolled away is not.
    assert glass.cells(second) == expected.cells(second)


@given(st.data(), documents)
def test_a_notice_in_the_middle_stands_on_a_line_of_its_own(data: st.DataObject, text: str) -> None:
    deltas = data.draw(splits(text))
    when = data.draw(st.integers(0, len(deltas)))
    glass, screen = Glass(80, ROWS), Screen(THEME, Window(80), reflows=True)
    for number, delta in enumerate([*deltas, ""]):
        if number == when:
            glass.put(screen.without_open_lines("") + "NOTICE\n")
        glass.put(screen.grown(delta))
    glass.put(screen.ended(""))
    lines = glass.cells()
    at = glass.text().index("NOTICE")
    shown, expected = lines[:at] + lines[at + 1 :], printed(render(text, 80, THEME), 80).cells()
    while shown and not shown[-1]:  # a notice after an empty line that was open leaves that line
        shown.pop()

    assert shown == expected[: len(shown)]
    assert not any(expected[len(shown) :])


def test_text_that_only_grows_is_only_added_to() -> None:
    screen = Screen(THEME, Window(80), reflows=True)

    assert screen.grown("Once upon") == "Once upon"
    assert screen.grown(" a time") == " a time"
    assert screen.grown("\n\nthere") == "\n\nthere"
    assert screen.grown("") == ""
    assert screen.ended(" was") == " was\n"
    assert screen.ended("") == ""


def test_only_the_end_of_a_line_that_changed_is_written_again() -> None:
    screen = Screen(THEME, Window(80), reflows=True)
    screen.grown("Call `prin")

    assert screen.grown("t") == "\r\x1b[9C\x1b[36mt\x1b[0m"
    assert screen.grown("`") == ""
    assert screen.grown(" now, ~a") == " now, ~a"
    assert screen.grown(" ~") == ""
    assert screen.grown("~b") == " \x1b[9mb\x1b[0m"
    assert screen.grown(" c") == "\r\x1b[20C\x1b[9m c\x1b[0m"


def test_a_redraw_is_synchronized_and_leaves_the_cursor_visible() -> None:
    screen = Screen(THEME, Window(80), reflows=True)
    screen.grown("A paragraph\nof two lines")
    redraw = screen.grown("\n===\n")

    assert redraw.startswith("\x1b[?2026h\x1b[?25l")
    assert redraw.endswith("\x1b[?25h\x1b[?2026l")


def test_a_long_open_block_shows_its_end_on_half_of_the_screen() -> None:
    glass, screen = Glass(40, 10), Screen(THEME, Window(40, 10), reflows=True)
    glass.put(screen.grown(" ".join(f"word{number}" for number in range(60))))

    assert len(glass.text()) == 5
    assert glass.text()[-1].endswith("word59")


def test_lines_that_a_narrower_terminal_wrapped_are_counted_as_it_shows_them() -> None:
    window = Window(80)
    screen = Screen(THEME, window, reflows=True)
    screen.grown("x" * 75 + " " + "y" * 75)
    window.size = os.terminal_size((40, ROWS))

    assert re.search(r"\r\x1b\[3A\x1b\[J", screen.grown(" z"))


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "tmux-256color"}, True),
        ({"TERM": "xterm-256color", "XTERM_VERSION": "XTerm(390)"}, False),
        ({"TERM": "linux"}, False),
        ({"TERM": "vt220"}, False),
        ({}, True),
    ],
)
def test_which_terminals_wrap_anew(environ: dict[str, str], expected: bool) -> None:
    assert reflows(environ) is expected
