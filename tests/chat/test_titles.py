from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.chat.titles import LONGEST_TITLE, title_from


@pytest.mark.parametrize(
    ("prompt", "title"),
    [
        ("Why is the sky blue?", "Why is the sky blue?"),
        ("\n\n  two   blanks \n second line", "two blanks"),
        ("", "Untitled"),
        (" \n\t", "Untitled"),
        ("word " * 20, "word word word word word word word word word word word…"),
        ("x" * 100, "x" * 59 + "…"),
    ],
)
def test_a_title_is_what_was_asked(prompt: str, title: str) -> None:
    assert title_from(prompt) == title


@given(st.text())
def test_a_title_is_one_short_line_that_is_never_empty(prompt: str) -> None:
    title = title_from(prompt)

    assert 0 < len(title) <= LONGEST_TITLE
    assert title == " ".join(title.split())
