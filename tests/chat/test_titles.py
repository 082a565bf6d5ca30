from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.chat.titles import LONGEST_TITLE, title_from, title_from_answer


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


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        ("This log shows a failed upload. It was retried.", "This log shows a failed upload"),
        ("Sure!\n\n## The **failed** upload ##\n\nIt ...", "The failed upload"),
        ("- **first** point. And more", "first point"),
        ("```\ncode\n```\nThat is code.", "code"),
        ("上传失败。然后重试。", "上传失败"),
        ("Version 3.14 is out", "Version 3.14 is out"),
        ("", "Untitled"),
        ("\n***\n", "Untitled"),
    ],
)
def test_a_title_from_an_answer_is_its_heading_or_its_first_sentence(answer: str, title: str) -> None:
    assert title_from_answer(answer) == title


@given(st.text())
def test_a_title_from_an_answer_is_one_short_line_that_is_never_empty(answer: str) -> None:
    title = title_from_answer(answer)

    assert 0 < len(title) <= LONGEST_TITLE
    assert title == " ".join(title.split())
