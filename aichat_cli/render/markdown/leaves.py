"""The open block that holds text: what it has taken so far, and the lines that are finished by what it takes next."""

from __future__ import annotations

import re
from typing import Literal

from aichat_cli.core.struct import Struct, field, replace
from aichat_cli.render.markdown.cells import Row, Span, cut, wrapped
from aichat_cli.render.markdown.code import Highlighter
from aichat_cli.render.markdown.inline import MATHS_SIGNS, InlineRenderer, definitions, with_closed_marks
from aichat_cli.render.markdown.table import Table
from aichat_cli.render.theme import Role, Theme

PARAGRAPH_LIMIT = 4096
"""Characters after which a paragraph is printed although it goes on: marks that span the cut stay as they are written."""

_LEAST_COST = 40
"""What a line of a paragraph counts for at least: many short ones take many rows."""

Kind = Literal["paragraph", "heading", "rule", "code", "html", "math", "table", "item"]

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_MATH_OPENER = re.compile(r" {0,3}(\$\$|\\\[)(.*)")
_HTML_NAMES = (
    "address|article|aside|base|basefont|blockquote|body|caption|center|col|colgroup|dd|details|dialog|dir|div|dl|dt|"
    "fieldset|figcaption|figure|footer|form|frame|frameset|h[1-6]|head|header|hr|html|iframe|legend|li|link|main|menu|"
    "menuitem|nav|noframes|ol|optgroup|option|p|param|search|section|summary|table|tbody|td|tfoot|th|thead|title|tr|track|ul"
)
_ATTRIBUTE = r"\s+[A-Za-z_:][\w:.-]*(?:\s*=\s*(?:[^\s\"'=<>`]+|'[^']*'|\"[^\"]*\"))?"
_HTML_OPENERS: tuple[tuple[re.Pattern[str], re.Pattern[str] | None], ...] = (
    (
        re.compile(r"<(?:script|pre|style|textarea)(?:\s|>|$)", re.IGNORECASE),
        re.compile(r"</(?:script|pre|style|textarea)>", re.IGNORECASE),
    ),
    (re.compile(r"<!--"), re.compile(r"-->")),
    (re.compile(r"<\?"), re.compile(r"\?>")),
    (re.compile(r"<![A-Za-z]"), re.compile(r">")),
    (re.compile(r"<!\[CDATA\["), re.compile(r"\]\]>")),
    (re.compile(rf"</?(?:{_HTML_NAMES})(?:\s|/?>|$)", re.IGNORECASE), None),
    (re.compile(rf"(?:<[A-Za-z][A-Za-z0-9-]*(?:{_ATTRIBUTE})*\s*/?>|</[A-Za-z][A-Za-z0-9-]*\s*>)\s*$"), None),
)
_ANY_TAG = len(_HTML_OPENERS) - 1
"""The last kind of HTML block, which does not interrupt a paragraph."""


class Paragraph(Struct):
    """Lines that are filled. `carried` is the beginning of a screen line whose text was printed but for it."""

    inline: InlineRenderer
    lines: list[str] = field(default_factory=list)
    size: int = 0
    carried: Row = field(default_factory=list)
    is_cut: bool = False

    def add(self, line: str, width: int) -> list[Row]:
        """Take a line; the screen lines that are finished, where the paragraph has grown too long to wait for its end."""
        if self.carried and not self.lines and not self.carried[-1].text.endswith(" "):
            self.carried = [*self.carried, Span(" ")]
        self.lines.append(line)
        return self._grown(max(len(line), _LEAST_COST), width)

    def more(self, piece: str, width: int) -> list[Row]:
        """Take more of the last line."""
        if self.lines:
            self.lines[-1] += piece
        else:
            self.lines.append(piece)
        return self._grown(len(piece), width)

    def rows(self, width: int, style: str = "") -> list[Row]:
        """All of it, as it stands."""
        return wrapped(self._spans(style), width)

    def definitions(self, theme: Theme) -> Row:
        """Take out the link definitions it begins with: what is shown of them."""
        text = "\n".join(self.lines)
        count = 0 if self.is_cut else definitions(text, self.inline.references)
        shown, self.lines = "\n".join(self.lines[:count]), self.lines[count:]
        return [Span(shown, theme.style("url"))] if shown else []

    def close_marks(self) -> None:
        """Add what closes the emphasis and the code that are open, so that they look from the start as they will."""
        self.lines = with_closed_marks("\n".join(self.lines)).split("\n")

    def copy(self) -> Paragraph:
        """One that goes on from here without changing this one."""
        return replace(self, lines=list(self.lines))

    def _grown(self, size: int, width: int) -> list[Row]:
        self.size += size
        if self.size <= PARAGRAPH_LIMIT:
            return []
        spans = self._spans("")
        *rows, self.carried = wrapped(spans, width)
        if spans and spans[-1].text.endswith(" "):
            self.carried = [*self.carried, Span(" ")]
        self.lines, self.size, self.is_cut = [], 0, True
        return rows

    def _spans(self, style: str) -> Row:
        text = "\n".join(self.lines)
        if self.is_cut:
            return [*self.carried, *self.inline.spans(text, style)]
        return self.inline.spans(text.strip(" "), style)


class Verbatim(Struct):
    """Lines that are shown as they stand: code, HTML, maths.

    `fence` closes it, or a line that `ender` finds something in, which still belongs to it; `ends_at_blank` a blank line, which
    does not. `indent` blanks are taken off each line. `carried` is the rest of a line that was too long to be taken at once.
    """

    kind: Kind
    style: str = ""
    fence: str = ""
    indent: int = 0
    ender: re.Pattern[str] | None = None
    ends_at_blank: bool = False
    is_indented: bool = False
    highlighter: Highlighter | None = None
    blanks: int = 0
    carried: Row = field(default_factory=list)

    def add(self, line: str, width: int, *, is_cut: bool = False) -> list[Row]:
        """Take a line of its content."""
        if not line.strip(" ") and self.is_indented:
            self.blanks += 1
            return []
        blanks, self.blanks = self.blanks, 0
        taken = min(len(line) - len(line.lstrip(" ")), self.indent)
        return [*([[]] * blanks), *self.more(line[taken:], width, is_cut=is_cut)]

    def more(self, piece: str, width: int, *, is_cut: bool = False) -> list[Row]:
        """Take more of the last line; `is_cut` tells that this is not its end either."""
        text = piece if is_cut else piece.rstrip(" ")
        styled = self.highlighter.line(text) if self.highlighter else [Span(text, self.style)] if text else []
        rows = (cut if self.kind == "code" else wrapped)([*self.carried, *styled], width)
        self.carried = rows.pop() if is_cut else []
        return rows

    def is_ended_by(self, line: str, *, is_first: bool) -> bool:
        """Whether a line that belongs to it is its last."""
        start = 2 if is_first and self.kind == "math" else 0  # what opens maths may close it too
        return self.ender is not None and self.ender.search(line.lstrip(" "), start) is not None

    def is_closing_fence(self, line: str) -> bool:
        """Whether the line closes a fenced block."""
        match = _FENCE.fullmatch(line) if self.fence else None
        return match is not None and match[1].startswith(self.fence) and not match[2].strip(" ")

    def copy(self) -> Verbatim:
        """One that goes on from here without changing this one."""
        return replace(self, highlighter=self.highlighter.copy() if self.highlighter else None)


Leaf = Paragraph | Verbatim | Table


def fenced(line: str, theme: Theme) -> tuple[Verbatim, str] | None:
    """The code block that a line opens, and what its fence says of it; None where it opens none."""
    match = _FENCE.fullmatch(line)
    if match is None or (match[1][0] == "`" and "`" in match[2]):
        return None
    info = match[2].strip(" ")
    language = re.split(r"[\s{,:]", info.lstrip("{."), maxsplit=1)[0]
    indent = len(line) - len(line.lstrip(" "))
    block = Verbatim("code", fence=match[1], indent=indent, highlighter=Highlighter(language, theme))
    return block, info


def indented(theme: Theme) -> Verbatim:
    """A code block by indentation alone."""
    return Verbatim("code", indent=4, is_indented=True, highlighter=Highlighter("", theme))


def html(line: str, theme: Theme, *, in_paragraph: bool) -> Verbatim | None:
    """The HTML block that a line opens, None where it opens none. The line belongs to it."""
    text = line.lstrip(" ")
    if not text.startswith("<"):
        return None
    for number, (opener, ender) in enumerate(_HTML_OPENERS):
        if opener.match(text) and not (number == _ANY_TAG and in_paragraph):
            return Verbatim("html", theme.style("markup"), ender=ender, ends_at_blank=ender is None)
    return None


def display_math(line: str, theme: Theme) -> Verbatim | None:
    """The maths block that a line opens, None where it opens none. The line belongs to it."""
    match = _MATH_OPENER.fullmatch(line)
    if match is None:
        return None
    closer = "$$" if match[1] == "$$" else "\\]"
    _, closing, after = match[2].partition(closer)
    if after.strip(" .,;") or (closing and not match[2].removesuffix(closer).strip(" ")):
        return None
    if closer == "\\]" and match[2].strip(" ") and not MATHS_SIGNS.search(match[2].removesuffix(closer)):
        return None  # an escaped bracket
    return Verbatim("math", theme.style("math"), indent=3, ender=re.compile(re.escape(closer)), ends_at_blank=True)


def role_of_heading(level: int) -> Role:
    """The style of a heading."""
    return "heading1" if level == 1 else "heading2" if level == 2 else "heading3" if level == 3 else "heading"
