# ruff: noqa: RUF001 (brackets of any script)
"""Citations while an answer streams: what is true is kept, what is not is never shown, however the text arrives."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from aichat_cli.chat.citations import CitationFilter
from aichat_cli.core.documents import DocumentId, Passage

TEXTS = (
    "The keys are rotated every ninety days by the operations team.",
    "Backups are kept in two regions and tested each month.",
    "Zebras graze on grassland.",
)


def passage(text: str, number: int = 1) -> Passage:
    """A passage that says this."""
    return Passage(number, DocumentId(f"d{number}"), f"note{number}.md", f"/n/{number}", None, "", 0, 9, 1, None, text)


PASSAGES = tuple(passage(text, number) for number, text in enumerate(TEXTS, 1))


def shown(answer: str, *, sizes: tuple[int, ...] = (10_000,), attributes: bool = False) -> str:
    """What is shown of an answer that arrives in pieces of these sizes, over and over."""
    citations = CitationFilter(PASSAGES, attributes=attributes)
    text, position, turn = "", 0, 0
    while position < len(answer):
        size = sizes[turn % len(sizes)]
        text += citations.feed(answer[position : position + size])
        position, turn = position + size, turn + 1
    return text + citations.finish()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Ninety days [1].", "Ninety days [1]."),
        ("Both [1, 2].", "Both [1][2]."),
        ("All [1-3] of them", "All [1][2][3] of them"),
        ("A footnote[^2].", "A footnote[2]."),
        ("In brackets 【3】.", "In brackets [3]."),
        ("Made up [7].", "Made up."),
        ("Made up [7] here", "Made up here"),
        ("Half true [1, 9].", "Half true [1]."),
        ("Zero [0] and [1000].", "Zero and."),
        ("`array[7]` and `x`[9].", "`array[7]` and `x`."),
        ("```\nrow[8]\n```\nthen [8].", "```\nrow[8]\n```\nthen."),
        ("A [7](https://example.org) link", "A [7](https://example.org) link"),
        ("- [x] done\n- [ ] open [2]", "- [x] done\n- [ ] open [2]"),
        ("An open [1", "An open [1"),
        ("[note] stays", "[note] stays"),
        ("1. First [1]\n2. Second [2]", "1. First [1]\n2. Second [2]"),
        ("Named [passage 1], [Sources 1 and 2] [source 8].", "Named [1], [1][2]."),
        ("Marked 【2†L3-L9】 and ［3］ and 【9†source】.", "Marked [2] and [3] and."),
        ("Wrong ones in a row [7][8] [9].", "Wrong ones in a row."),
        ("In brackets ([7]) and ([1]) (see [8])", "In brackets and ([1]) (see)"),
        ("[7] Begins a line", "Begins a line"),
        ("A [word](there) or [passage](x) stays", "A [word](there) or [passage](x) stays"),
        ("- ```\n  row[8]\n  ```\n- then [8]", "- ```\n  row[8]\n  ```\n- then"),
        ("> ```\n> row[8]\n> ```\n> then [8]", "> ```\n> row[8]\n> ```\n> then"),
        ("```row[8]``` is code, [8] is not", "```row[8]``` is code, is not"),
        ("```\nrow[8]\n```python\nrow[9]\n```\n[8].", "```\nrow[8]\n```python\nrow[9]\n```\n."),
        ("~~~~\n~~~\nrow[8]\n~~~~\nthen [8]", "~~~~\n~~~\nrow[8]\n~~~~\nthen"),
        ("~~gone~~ [8] here", "~~gone~~ here"),
        ("A lone ` tick [8] and [2]\n`row[8]`", "A lone ` tick and [2]\n`row[8]`"),
        ("``a ` b[8]`` and [8]", "``a ` b[8]`` and"),
    ],
)
def test_citations_are_made_true(answer: str, expected: str) -> None:
    for sizes in ((10_000,), (1,), (2,), (3, 1)):
        assert shown(answer, sizes=sizes) == expected


ANSWERS = st.lists(
    st.sampled_from(
        [
            "word",
            " ",
            "[1]",
            "[",
            "]",
            "9",
            "[12]",
            "[1, 9]",
            "`",
            "```",
            "~~~",
            "\n",
            "(",
            ".",
            "【2】",
            "[^3]",
            "-",
            "é",
            "[7]",
            ", ",
            "and ",
            "passage ",
            "†L1",
            "```py",
            "- ",
            "> ",
            "(",
            "e.g. ",
            "days rotated keys team",
        ]
    ),
    max_size=25,
).map("".join)


@given(ANSWERS, st.lists(st.integers(1, 5), min_size=1, max_size=4), st.booleans())
def test_the_pieces_an_answer_comes_in_change_nothing(answer: str, sizes: list[int], attributes: bool) -> None:
    assert shown(answer, sizes=tuple(sizes), attributes=attributes) == shown(answer, attributes=attributes)


@given(st.text(alphabet="ab [](),.^1234\n【】［］", max_size=60))
def test_no_number_that_names_no_passage_is_shown(answer: str) -> None:
    for match in re.finditer(r"[\[【［](\d{1,4})[\]】］](?!\()", shown(answer)):
        assert 1 <= int(match[1]) <= len(PASSAGES)


@example("``a`[7]`[7]`")
@example("`[7]`[7]`")
@given(st.lists(st.sampled_from(["`", "``", "a", " ", "[7]", "[1]", "\n"]), max_size=20).map("".join))
def test_a_number_that_names_no_passage_is_shown_within_ticks_alone(answer: str) -> None:
    assume("```" not in answer)
    for line in shown(answer).splitlines():
        assert "[7]" not in re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", line)


@given(st.text(max_size=80))
def test_text_without_brackets_stays_exactly_as_it_is(answer: str) -> None:
    answer = re.sub(r"[\[\]【】]", "", answer)
    assert shown(answer) == answer


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            "The keys are rotated every ninety days by operations. Cats like warm sunny window sills.\n",
            "The keys are rotated every ninety days by operations [1]. Cats like warm sunny window sills.\n",
        ),
        ("Operations rotates the key every ninety days", "Operations rotates the key every ninety days [1]"),
        ("- two regions keep tested backups\n- done", "- two regions keep tested backups [2]\n- done"),
        ("Backups are kept in two regions and tested.  \n", "Backups are kept in two regions and tested [2].  \n"),
    ],
)
def test_a_small_models_sentences_are_cited_where_a_passage_supports_them(answer: str, expected: str) -> None:
    for sizes in ((10_000,), (1,), (4,)):
        assert shown(answer, sizes=sizes, attributes=True) == expected


@pytest.mark.parametrize(
    "answer",
    [
        "The keys are rotated every ninety days by operations [2].",
        "The keys are rotated every ninety days by operations. [2]",
        "The keys are rotated every thirty days by the operations team.",
        "The keys are not rotated every ninety days by the operations team.",
        "The keys are rotated every ninety days by the Paris operations team.",
        "Backups are kept in 3 regions and tested each month.",
        "Are the keys rotated every ninety days by the operations team?",
        "# The keys rotated every ninety days by operations\n",
        "| keys | rotated | every | ninety days |\n",
        "    keys rotated every ninety days\n",
        "```\nkeys rotated every ninety days.\n```\n",
        "`keys rotated every ninety days.`",
        "The keys that operations rotates every ninety days:\n",
        "Keys are rotated.",
    ],
)
def test_what_no_passage_supports_or_is_no_statement_is_not_cited(answer: str) -> None:
    assert shown(answer, attributes=True) == answer
