"""Widths of styled lines, in cells of the terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.utils import get_cwidth

from aichat_cli.repl.output import plain, rows_taken, without_links
from aichat_cli.repl.picker.cells import cut

LINK = "\x1b]8;;https://example.org\x1b\\a link\x1b]8;;\x1b\\"


@pytest.mark.parametrize(
    ("line", "rows"),
    [
        ("", 1),
        ("x" * 10, 1),
        ("x" * 11, 2),
        ("x" * 20, 2),
        ("好" * 5, 1),
        ("好" * 6, 2),
        (f"\x1b[1m{'x' * 10}\x1b[0m", 1),
    ],
)
def test_a_line_takes_the_rows_its_cells_need(line: str, rows: int) -> None:
    assert rows_taken(line, 10) == rows


def test_styles_and_links_take_no_cells() -> None:
    assert plain(f"\x1b[1;31m{LINK}\x1b[0m!") == "a link!"
    assert rows_taken(LINK, 6) == 1
    assert without_links(f"\x1b[1m{LINK}") == "\x1b[1ma link"


@given(st.text(st.characters(exclude_categories=["C"])), st.integers(1, 40))
def test_a_text_that_is_cut_fits_and_says_so(text: str, width: int) -> None:
    shown = cut(text, width)

    assert get_cwidth(shown) <= width
    assert shown == text or (shown.endswith("…") and text.startswith(shown[:-1]))
