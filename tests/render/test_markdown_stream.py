from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from wcwidth import wcwidth

from aichat_cli.render.markdown import MarkdownStream, Theme, render
from aichat_cli.render.markdown.cells import cells
from tests.render.markdown_documents import EXAMPLES, WIDTHS, any_text, documents, splits

PLAIN = Theme(is_colored=False)
COLORED = Theme()
SEQUENCES = re.compile(r"\x1b\[[0-9;]*m|\x1b\]8;;[^\x1b]*\x1b\\")
BREAKERS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
texts = st.one_of(documents, st.sampled_from([example["markdown"] for example in EXAMPLES]), any_text)


def visible(line: str) -> str:
    return SEQUENCES.sub("", line)


def streamed(deltas: list[str], width: int, theme: Theme, *, looks: bool = False) -> list[str]:
    stream = MarkdownStream(width, theme)
    lines = []
    for delta in deltas:
        lines += stream.feed(delta)
        if looks:
            stream.open_lines()
    return lines + stream.finish()


@given(st.data(), texts, st.sampled_from(WIDTHS), st.booleans())
def test_the_split_into_deltas_changes_nothing(data: st.DataObject, text: str, width: int, looks: bool) -> None:
    assert streamed(data.draw(splits(text)), width, COLORED, looks=looks) == render(text, width, COLORED)


@pytest.mark.parametrize("width", WIDTHS)
def test_every_example_of_the_specification_streams_by_the_character(width: int) -> None:
    for example in EXAMPLES:
        text = example["markdown"]
        assert streamed(list(text), width, COLORED) == render(text, width, COLORED), example


@given(texts, st.integers(20, 100), st.booleans())
def test_no_line_is_wider_than_the_terminal_and_nothing_in_it_is_obeyed(
    text: str, width: int, hyperlinks: bool
) -> None:
    for line in render(text, width, Theme(hyperlinks=hyperlinks)):
        shown = visible(line)
        assert BREAKERS.search(shown) is None
        assert shown == shown.rstrip(" ")
        assert max(cells(shown), cell_len(shown), cells_by_code_point(shown)) <= width


def cells_by_code_point(text: str) -> int:
    return sum(1 if "\U0001f1e6" <= c <= "\U0001f1ff" else max(wcwidth(c), 0) for c in text)


@given(st.data(), texts, st.sampled_from(WIDTHS))
def test_what_is_open_is_what_would_follow_if_the_text_ended_here(data: st.DataObject, text: str, width: int) -> None:
    stream = MarkdownStream(width, COLORED)
    finished: list[str] = []
    so_far = ""
    for delta in data.draw(splits(text)):
        finished += stream.feed(delta)
        so_far += delta
        has_marks = re.search(r"[*`~]", so_far.rpartition("\n\n")[2])  # which may be open, and are closed for now
        if not so_far.endswith("\r") and not has_marks:
            assert finished + stream.open_lines() == render(so_far, width, COLORED)


@given(st.data(), documents.filter(lambda text: "|" not in text), st.sampled_from(WIDTHS), st.sampled_from(WIDTHS))
def test_another_width_changes_only_what_is_open(data: st.DataObject, text: str, first: int, second: int) -> None:
    stream = MarkdownStream(first, PLAIN)
    cut = data.draw(st.integers(0, len(text)))
    before = stream.feed(text[:cut])
    stream.resize(second)
    after = stream.feed(text[cut:]) + stream.finish()

    assert before == render(text, first, PLAIN)[: len(before)]
    assert all(cells(line) <= second for line in map(visible, after))
    assert letters(before + after) == letters(render(text, first, PLAIN))


def letters(lines: list[str]) -> str:
    """What is said, whatever the width made of it: without blanks, rules and the bars of quotes."""
    return re.sub(r"[\s─│*`~]", "", "".join(map(visible, lines)))


def is_shown_word_for_word(example: dict[str, str]) -> bool:
    """Not where entities spell something, CommonMark numbers the items, or drops an address in the description of an image."""
    text = example["markdown"]
    return not re.search(r"&#?\w+;", text) and "003. ok" not in text and "](uri1)](uri2)](uri3)" not in text


@pytest.mark.parametrize(
    "example", [each for each in EXAMPLES if is_shown_word_for_word(each)], ids=lambda example: str(example["example"])
)
def test_no_word_of_the_source_is_lost(example: dict[str, str]) -> None:
    source = example["markdown"]
    shown = "".join(map(visible, render(source, 80, COLORED)))

    assert [word for word in re.findall(r"[^\W_]+", source) if word not in shown] == []


@pytest.mark.parametrize(
    "example", [each for each in EXAMPLES if "HTML" not in each["section"]], ids=lambda example: str(example["example"])
)
def test_the_blocks_are_those_of_commonmark(example: dict[str, str]) -> None:
    expected = example["html"]
    lines = render(example["markdown"], 80, COLORED)
    shown = [visible(line) for line in lines]

    markers = re.findall(r"\x1b\[35m(?:[•◦▪☐☑]|\d+[.)])", "\n".join(lines))
    assert len(markers) == expected.count("<li>")
    assert sum("─" * 20 in line for line in shown) == expected.count("<hr />")
    assert any(re.search(r"\x1b\[1;(?:3;|4;)?3[56]m", line) for line in lines) == bool(
        re.search(r"<h[1-6]>(?!</)", expected)
    )
    for code in re.findall(r"<pre><code[^>]*>(.*?)</code></pre>", expected, re.DOTALL):
        for line in html.unescape(code).split("\n"):
            assert not line.strip() or any(row.endswith(line.strip().expandtabs(4)) for row in shown)


SHAPES = {
    "one line without a newline": "word " * 20_000,
    "one word without a blank": "x" * 100_000,
    "an open code block": "```python\n" + "x = 1  # one more line\n" * 5_000,
    "one line of code": "```\n" + "y" * 60_000,
    "a list": "- an item with **some** text\n" * 2_000,
    "a nested list": "".join(f"{'  ' * (number % 20)}- item\n" for number in range(2_000)),
    "a table": "| a | b |\n|---|---|\n" + "| one cell | another cell |\n" * 3_000,
    "a paragraph of many lines": "a line of a paragraph that does not end\n" * 2_500,
    "quotes in quotes": ">" * 5_000 + "\n" + "> x\n" * 500,
    "brackets": "[" * 20_000,
    "stars": "*a **b " * 5_000,
    "backticks": "".join("`" * (number % 60) + " " for number in range(2_000)),
    "dollars": "$x " * 20_000,
    "definitions": "".join(f"[{number}]: /url\n\n" for number in range(2_000)),
}


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES)
def test_only_little_is_ever_held_back(text: str) -> None:
    """What is held is bounded, so that work cannot grow with the square of the answer."""
    stream = MarkdownStream(80, COLORED)
    finished = []
    for start in range(0, len(text), 5_000):
        finished += stream.feed(text[start : start + 5_000])
        assert len(stream.open_lines()) <= 2 * 4096 // 40 + 10

    assert finished + stream.finish() == render(text, 80, COLORED)
