"""Markdown to test with: the examples of the specification, documents put together from blocks, and any text at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

EXAMPLES: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("data").joinpath("commonmark.json").read_text("utf-8")
)

WIDTHS = (40, 80, 100)

_INLINE = (
    "plain words", "**strong**", "*emphasis*", "~~struck~~", "`code`", "[text](https://example.com/a_b)", "![alt](image.png)",
    "<https://example.com>", "[a <https://example.com> b](c)", "https://example.com/x_y_z.", "$x_1^2$", "$5 and $10", r"\(a * b\)", "漢字かな交じり文。", "👩‍👩‍👧",
    "🇩🇪", "❤️", "e\u0301", "שלום", "&amp;", "&#27;[2J", "&#x202e;", "**unclosed", "`open", "[ref]", "\\*escaped\\*", "<b>raw</b>",
    "a" * 130, "  \nhard break", "\\\nhard break", "\x1b[31m", "\x1b]0;title\x07", "\r", "\t", "snake_case_name",
)  # fmt: skip

inline = st.lists(st.sampled_from(_INLINE), min_size=1, max_size=8).map(" ".join)
_code = st.lists(
    st.sampled_from(
        ["def f():", "    return 'x'", "", "/* open", "close */", '"""', "\tindented", "x" * 120, "```", "漢字 = 1  "]
    ),
    max_size=12,
).map("\n".join)
_languages = st.sampled_from(["", "python", "c", "js title=x", "nonsense", "yaml", "html", "console", "diff"])


def _fenced(language: str, code: str) -> str:
    return f"````{language}\n{code}\n````"


def _table(rows: Sequence[Sequence[str]], alignment: str) -> str:
    cells = [[cell.replace("\n", " ").replace("|", "") for cell in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([lines[0], "|" + f"{alignment}|" * len(rows[0]), *lines[1:]])


_tables = st.integers(1, 5).flatmap(
    lambda columns: st.builds(
        _table,
        st.lists(st.lists(inline, min_size=columns, max_size=columns), min_size=1, max_size=14),
        st.sampled_from(["---", ":--", "--:", ":-:"]),
    )
)
_leaves = st.one_of(
    inline,
    st.builds(
        "{} {}".format, st.sampled_from(["#", "##", "###", "######"]), inline.map(lambda text: text.replace("\n", " "))
    ),
    st.builds("{}\n{}".format, inline, st.sampled_from(["===", "---"])),
    st.builds(_fenced, _languages, _code),
    _code.map(lambda code: "\n".join(f"    {line}" for line in code.split("\n"))),
    _tables,
    st.sampled_from(
        ["---", "***", "<div>\nhtml\n</div>", "<!-- a\n\ncomment -->", "$$\nx_1 = *y*\n$$", "\\[\na_1\n\\]"]
    ),
    st.sampled_from(
        ["[ref]: https://example.com 'Title'", "[^1]: a footnote", "```\nnever closed", "| a | b |\n|---|"]
    ),
)


def _item(marker: str, block: str) -> str:
    indent = " " * (len(marker) + 1)
    return f"{marker} " + block.replace("\n", f"\n{indent}")


def _containers(blocks: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    joined = st.lists(blocks, min_size=1, max_size=4).flatmap(
        lambda parts: st.sampled_from(["\n", "\n\n"]).map(lambda separator: separator.join(parts))
    )
    return st.one_of(
        joined,
        st.builds(_item, st.sampled_from(["-", "*", "1.", "2)", "10.", "- [ ]", "- [x]", "  -"]), joined),
        joined.map(lambda text: "> " + text.replace("\n", "\n> ")),
    )


documents = st.lists(st.recursive(_leaves, _containers, max_leaves=5), min_size=1, max_size=3).map("\n\n".join)
any_text = st.text(
    st.one_of(st.sampled_from("\n\n *_`#>-+|[]()!$\\~<&=:;1.x\t\r"), st.characters(exclude_categories=["Cs"]))
)


@st.composite
def splits(draw: st.DrawFn, text: str) -> list[str]:
    """The text cut into deltas at any places."""
    if not text:
        return []
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=min(len(text), 20))) | {0, len(text)})
    return [text[start:end] for start, end in pairwise(cuts)]
