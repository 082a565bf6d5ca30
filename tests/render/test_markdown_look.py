"""Screens that a human looked at."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console
from rich.markdown import Markdown

from aichat_cli.render.markdown import MarkdownStream, Theme, render
from aichat_cli.render.markdown.cells import cells
from aichat_cli.render.markdown.code import Highlighter

PLAIN = Theme(is_colored=False)
SEQUENCES = re.compile(r"\x1b\[[0-9;]*m|\x1b\]8;;[^\x1b]*\x1b\\")

ANSWER = r"""# Retrying

The *first* answer says **429**, so `wait()` as long as the header says; ~~at once~~ never sooner.
Short lines
stay lines.

1. Read the header
   - in seconds
   - or as a date
     - of HTTP

     with a remark
2. Wait
10. Tell

- [ ] open
- [x] done

> Never twice.
>
> > Said somebody
> 1. in a quote

```python
def wait():
	return 1
```

| status | meaning |
|-------:|:-------:|
| 429 | too *many* requests |
| 5 | `a\|b` |

Euler: $e^{i\pi} + 1 = 0$, \(a_1 * b_2 * c\) for $5 and $10.

$$
\sum_{i=1}^n x_i * y_i
= \int f
$$

---

See [the docs](https://example.com/a_b "Docs"), https://example.com/x_y_z, and ![a chart](chart.png).
<kbd>Ctrl</kbd> 漢字&amp;[^1]

[^1]: A footnote.
"""

SCREEN = r"""Retrying

The first answer says 429, so wait() as long as the header
says; at once never sooner.
Short lines
stay lines.

1. Read the header
   • in seconds
   • or as a date
     ◦ of HTTP

     with a remark
2. Wait
3. Tell

☐ open
☑ done

│ Never twice.
│
│ │ Said somebody
│
│ 1. in a quote

python
def wait():
    return 1

status │      meaning
───────┼──────────────────
   429 │ too many requests
     5 │        a|b

Euler: $e^{i\pi} + 1 = 0$, \(a_1 * b_2 * c\) for $5 and $10.

$$
\sum_{i=1}^n x_i * y_i
= \int f
$$

────────────────────────────────────────────────────────────

See the docs (https://example.com/a_b "Docs"),
https://example.com/x_y_z, and a chart (chart.png).
<kbd>Ctrl</kbd> 漢字&[^1]

[^1]: A footnote."""


def shown(text: str, width: int, theme: Theme = PLAIN) -> str:
    return "\n".join(SEQUENCES.sub("", line) for line in render(text, width, theme))


def test_a_typical_answer() -> None:
    assert shown(ANSWER, 60) == SCREEN


@pytest.mark.parametrize(
    ("source", "width", "lines"),
    [
        (
            "| a | b |\n|---|---|\n| one two three four | x |",
            20,
            ["a                │ b", "─────────────────┼──", "one two three    │ x", "four             │"],
        ),
        (
            "| name | value |\n|---|---|\n| something | another thing |\n| z | w |",
            12,
            ["name:", "something", "value:", "another", "thing", "────────────", "name: z", "value: w"],
        ),
        ("| a |\n|---|\n| x | y |", 40, ["a", "─────", "x | y"]),
        ("| a | b |\n|---|---|\n| 1<br>2 | 3 |", 40, ["a │ b", "──┼──", "1 │ 3", "2 │"]),
        ("| k | v |\n|---|---|\n" + "| 1 | a |\n" * 9 + "| 10 | b |", 40, ["k   │ v"]),
    ],
)
def test_tables(source: str, width: int, lines: list[str]) -> None:
    assert shown(source, width).split("\n")[: len(lines)] == lines


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("$5 and $10", "$5 and $10"),
        ("costs $5 or 5$ *each*", "costs $5 or 5$ each"),
        ("$a_1*b_2*c$", "$a_1*b_2*c$"),
        ("$$a *b* c$$ then", "$$a *b* c$$ then"),
        (r"\(a\*b\)", r"\(a\*b\)"),
        (r"\[x_1 = *2*\]", r"\[x_1 = *2*\]"),
        (r"\[not maths\]", "[not maths]"),
        ("`$x` and `y$`", "$x and y$"),
        ("$$\nnever closed", "$$\nnever closed"),
        ("$$\na\n- b\n= c\n$$\nafter *it*", "$$\na\n- b\n= c\n$$\n\nafter it"),
    ],
)
def test_maths_is_left_as_it_is_and_prices_are_none(source: str, expected: str) -> None:
    assert shown(source, 60) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("text\n- a\n- b", "text\n• a\n• b"),
        ("# h\n- a", "h\n\n• a"),
        ("- a\n\n- b", "• a\n\n• b"),
        ("- a\n- b\n\ntext", "• a\n• b\n\ntext"),
        ("- a\n* b", "• a\n\n• b"),
        ("3) a\n3) b", "3) a\n4) b"),
        ("-\n- b", "•\n• b"),
        ("> a\n\n> b", "│ a\n\n│ b"),
        ("- a\n\n  ```\n  x\n\n  y\n  ```", "• a\n\n  x\n\n  y"),
        ("a\n***\nb", "a\n\n────────────────────\n\nb"),
        ("Title\n===\ntext", "Title\n\ntext"),
        ("[x]: /u\n[x]", "[x]: /u\nx (/u)"),
        ("[x]\n\n[x]: /u", "[x]\n\n[x]: /u"),
        ("```\n\n\nx\n\n```", "\n\nx\n"),
    ],
)
def test_blank_lines_and_markers(source: str, expected: str) -> None:
    assert shown(source, 20) == expected


def test_code_has_neither_frame_nor_padding_and_is_never_cut_off() -> None:
    code = "x" * 45 + "\n\n    indented\n"

    assert shown(f"```\n{code}```", 20) == "\n".join(["x" * 20, "x" * 20, "x" * 5, "", "    indented"])


@pytest.mark.parametrize(
    ("language", "lines"),
    [
        ("c", ["int a; /* one", "two */ int b;"]),
        ("js", ["let a = `one", "two`; let b"]),
        ("python", ['a = """one', 'two"""; b = 1']),
        ("html", ["<!-- one", "two --> <b>x</b>"]),
        ("css", ["/* one", "two */ a { color: red }"]),
        ("go", ["a := `one", "two`; b := 1"]),
        ("rust", ["/* one", "two */ let b = 1;"]),
        ("sql", ["/* one", "two */ select 1"]),
        ("java", ["/** one", "two */ int b;"]),
        ("lua", ["--[[ one", "two ]] local b = 1"]),
        ("haskell", ["{- one", "two -} b = 1"]),
        ("yaml", ["a: |", "  one", "b: 1"]),
        ("bash", ["a='one", "two'; echo b"]),
        ("json", ['{"a": "b",', ' "c": 1}']),
        ("diff", ["- a", "+ b"]),
        ("php", ["$a = 1; /* one", "two */ echo $a;"]),
    ],
)
def test_code_is_coloured_line_by_line_as_it_would_be_at_once(language: str, lines: list[str]) -> None:
    from pygments.lexers import get_lexer_by_name

    from aichat_cli.render.markdown.code import token_style

    theme, highlighter = Theme(), Highlighter(language, Theme())
    by_line = [highlighter.line(line) for line in lines]
    lexer = get_lexer_by_name(language, stripnl=False, startinline=True)
    at_once = [(c, token_style(kind, theme)) for kind, text in lexer.get_tokens("\n".join(lines)) for c in text]
    drawn = [(c, span.style) for row in by_line for span in row for c in span.text]

    assert [each for each in drawn if not each[0].isspace()] == [each for each in at_once if not each[0].isspace()]


def test_code_in_a_language_nobody_knows_and_in_none_looks_like_code_in_a_line() -> None:
    for block in ("```nonsense\ndef f(): 1\n```", "```\ndef f(): 1\n```", "```text\ndef f(): 1", "    def f(): 1"):
        assert render(block, 40, Theme())[-1] == render("`def f(): 1`", 40, Theme())[0]


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("1.2G\t/var\n12\t/log", ["1.2G    /var", "12      /log"]),
        ("\tif x {\n\t\ty\t// z", ["    if x {", "        y       // z"]),
    ],
)
def test_tabs_in_code_indent_by_four_and_set_columns_as_a_terminal_does(source: str, lines: list[str]) -> None:
    assert shown(f"```\n{source}\n```", 60).split("\n") == lines


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("Once upon a midnight dreary, while I pondered, weak and weary,\nOver many a volume", 2),
        ("Once upon a *midnight* dreary, while I pondered, weak and weary,\n*Over* many a volume", 2),
        ("So what may be the reason that nobody has ever said so?\n**Answer:** nobody knows", 2),
        ("[^1]: A footnote that says rather more than the others say of it\n[^2]: Another", 2),
        ("A line that was wrapped by the editor it was written in, and\ngoes on", 1),
        ("A line that was wrapped by the editor it was written in by\n**Alice**", 1),
    ],
)
def test_a_line_of_the_source_is_one_on_the_screen_where_it_ends_a_clause(source: str, lines: int) -> None:
    assert len(shown(source, 120).split("\n")) == lines


def test_links_are_osc_8_where_the_terminal_has_it() -> None:
    theme = Theme(is_colored=False, hyperlinks=True)

    assert render("[a](https://example.com/ä?b=c d)", 60, theme) == [
        "[a](\x1b]8;;https://example.com/%C3%A4?b=c\x1b\\\x1b[4mhttps://example.com/ä?b=c\x1b[0m\x1b]8;;\x1b\\ d)"
    ]
    assert render("[a](<https://e.com/ä b>)", 60, theme) == [
        "\x1b]8;;https://e.com/%C3%A4%20b\x1b\\\x1b[4ma\x1b[0m\x1b]8;;\x1b\\"
    ]
    assert shown("[a](ftp://x/y)", 60, theme) == "a (ftp://x/y)"
    assert (
        shown("[https://bank.example](https://evil.example)", 60, theme)
        == "https://bank.example (https://evil.example)"
    )


def test_an_address_in_a_link_is_a_link_of_its_own() -> None:
    source = "[see <https://e.com/x> there](https://o.example)"

    assert shown(source, 80) == "see https://e.com/x there (https://o.example)"
    assert re.findall(r"8;;([^\x1b]+)", render(source, 80, Theme(hyperlinks=True))[0]) == [
        "https://o.example",
        "https://e.com/x",
        "https://o.example",
    ]


@pytest.mark.parametrize("hyperlinks", [True, False])
def test_addresses_are_shown_in_the_letters_of_their_script(hyperlinks: bool) -> None:
    theme = Theme(is_colored=False, hyperlinks=hyperlinks)

    assert shown("<https://e.com/ü>", 60, theme) == "https://e.com/ü"
    assert shown("[https://e.com/ü](https://e.com/ü)", 60, theme) == "https://e.com/ü"
    assert shown("[a](ftp://e.com/机%20%FF)", 60, theme) == "a (ftp://e.com/机%20%FF)"


def test_without_colors_bold_italic_and_underline_stay() -> None:
    assert render("# A\n**b** *c* `d`", 40, PLAIN) == ["\x1b[1;4mA\x1b[0m", "", "\x1b[1mb\x1b[0m \x1b[3mc\x1b[0m d"]


def test_a_code_theme_of_pygments_is_used_in_as_many_colors_as_there_are() -> None:
    source = "```python\ndef\n```"
    assert "\x1b[38;2;" in render(source, 40, Theme(code_theme="monokai", has_truecolor=True))[-1]
    assert "\x1b[38;5;" in render(source, 40, Theme(code_theme="monokai"))[-1]


@pytest.mark.parametrize("theme", [Theme(), Theme(code_theme="monokai")])
def test_a_kind_of_token_that_no_style_knows_looks_like_the_kind_it_is_one_of(theme: Theme) -> None:
    assert shown("```yaml\na: [1, 2]\n```", 40, theme) == "yaml\na: [1, 2]"


@pytest.mark.parametrize("width", [40, 80, 100])
def test_the_words_are_those_that_rich_shows_in_the_same_order(width: int) -> None:
    source = ANSWER.replace("- [ ] ", "- ").replace("- [x] ", "- ").partition("Euler")[0]
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(Markdown(source, hyperlinks=False))
    theirs = console.file.getvalue()  # type: ignore[attr-defined]

    def words(text: str) -> list[str]:
        return re.findall(r"[^\W\d_]+", text)

    assert [word for word in words(shown(source, width)) if word != "python"] == words(theirs)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("some **bo", "some \x1b[1mbo\x1b[0m"),
        ("some **", "some"),
        ("a `co", "a \x1b[36mco\x1b[0m"),
        ("**a `co", "\x1b[1ma \x1b[0m\x1b[1;36mco\x1b[0m"),
        ("~~o", "\x1b[9mo\x1b[0m"),
        ("`**` and **b", "\x1b[36m**\x1b[0m and \x1b[1mb\x1b[0m"),
        ("done **b** x", "done \x1b[1mb\x1b[0m x"),
        ("2 * 3", "2 * 3"),
    ],
)
def test_what_is_open_looks_as_it_will_when_its_marks_are_closed(text: str, line: str) -> None:
    stream = MarkdownStream(80, Theme())
    stream.feed(text)

    assert stream.open_lines() == [line]


def test_a_paragraph_without_end_is_printed_in_parts() -> None:
    stream = MarkdownStream(80, PLAIN)
    finished = stream.feed("word " * 2_000)

    assert len(finished) > 50
    assert all(len(line) == 79 for line in finished)


def test_marks_without_end_make_no_line_without_end() -> None:
    assert max(map(len, render("a" + "\u0301" * 20_000, 40, PLAIN))) < 4_000


def test_a_blank_with_a_joiner_is_as_wide_as_what_it_joins() -> None:
    assert all(cells(line) <= 20 for line in render("中中中中_-  \u200d1```_\u200d* é)", 20, PLAIN))
