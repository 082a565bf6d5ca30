"""The block structure of Markdown, one line at a time: CommonMark's own algorithm, which needs no line twice.

A line is matched against the open containers (quotes, lists, items), may open more of them, and ends in a leaf. Whatever
a line finishes is returned at once and never changes. What needs to know the future is decided by a rule of the text so
far instead: a blank line between items is shown where the source has one; an item is indented by its own marker; link
definitions count from where they stand. This module knows no terminal but its width.
"""

from __future__ import annotations

import copy
import re

from aichat_cli.render.markdown import leaves
from aichat_cli.render.markdown.cells import Span, cells, wrapped
from aichat_cli.render.markdown.inline import InlineRenderer
from aichat_cli.render.markdown.layout import Container, Item, Layout, ListBlock, Quote
from aichat_cli.render.markdown.leaves import Leaf, Paragraph, Verbatim
from aichat_cli.render.markdown.table import Table, cells_of, delimiters
from aichat_cli.render.theme import Theme

TAB = 4
CODE_TAB = 8
"""The stops of tabs behind other text in code: it was laid out for a terminal."""

MAX_DEPTH = 24
"""Containers in containers; what opens more is text."""

_BULLETS = "•◦▪"
_ITEM = re.compile(r"( {0,3})([-+*]|\d{1,9}[.)])( +|$)")
_HEADING = re.compile(r" {0,3}(#{1,6})(?: +|$)(.*)")
_HEADING_END = re.compile(r"(?:^| +)#+ *$")
_RULE = re.compile(r" {0,3}(?:(?:\* *){3,}|(?:- *){3,}|(?:_ *){3,})")
_UNDERLINE = re.compile(r" {0,3}(=+|-+) *")
_QUOTE = re.compile(r" {0,3}> ?")
_TASK = re.compile(r"\[([ xX])\] +(?=\S)")
_CODE_PREFIX = re.compile(r"[ \t>]*")
_STARTERS = frozenset("#`~<>-+*_=|:$\\0123456789")


class Blocks:
    """One document on its way to the screen. `take` a line, or `more` of it, and get the lines that it finishes."""

    def __init__(self, width: int, theme: Theme) -> None:
        self._theme = theme
        self._layout = Layout(width, theme)
        self._inline = InlineRenderer(theme)
        self._leaf: Leaf | None = None
        self._list_count = 0

    def take(self, line: str, *, is_cut: bool = False) -> list[str]:
        """One line of the source, without its newline; `is_cut` tells that `more` of it follows."""
        if "\t" in line:
            line = _without_tabs(line, is_code=isinstance(self._leaf, Verbatim) and bool(self._leaf.fence))
        rest, depth = self._matched(line)
        if depth < len(self._containers) or not self._taken_by_leaf(rest, is_cut=is_cut):
            self._open_blocks(rest, depth, is_cut=is_cut)
        return self._layout.flushed()

    def more(self, piece: str, *, is_cut: bool = False) -> list[str]:
        """The next piece of a line that is too long to be taken at once."""
        piece = piece.expandtabs(TAB)
        if isinstance(self._leaf, Verbatim):
            self._layout.emit(self._leaf.kind, self._leaf.more(piece, self._layout.room, is_cut=is_cut))
        elif isinstance(self._leaf, Paragraph):
            self._layout.emit("paragraph", self._leaf.more(piece, self._layout.room))
        else:
            self._close_leaf()
            self._begin_paragraph(piece)
        return self._layout.flushed()

    def finish(self, *, is_interim: bool = False) -> list[str]:
        """The end of the source. `is_interim` closes the marks that are open: more of it is expected."""
        if is_interim and isinstance(self._leaf, Paragraph):
            self._leaf.close_marks()
        self._close_leaf()
        self._close(0)
        return self._layout.flushed()

    def copy(self) -> Blocks:
        """One that goes on from here without changing this one."""
        twin = copy.copy(self)
        inline, leaf = self._inline.copy(), self._leaf.copy() if self._leaf is not None else None
        if isinstance(leaf, Paragraph):
            leaf.inline = inline
        twin._layout, twin._inline, twin._leaf = self._layout.copy(), inline, leaf  # noqa: SLF001 (its own class)
        return twin

    def resize(self, width: int) -> None:
        """Go on in another width."""
        self._layout.width = width

    @property
    def _containers(self) -> list[Container]:
        return self._layout.containers

    # What a line belongs to.

    def _matched(self, line: str) -> tuple[str, int]:
        """The line without what the open containers take of it, and how many of them it continues."""
        for depth, container in enumerate(self._containers):
            if isinstance(container, Quote):
                match = _QUOTE.match(line)
                if match is None:
                    return line, depth
                line = line[match.end() :]
            elif isinstance(container, Item):
                is_blank = not line.strip(" ")
                if container.is_empty if is_blank else _indent(line) < container.indent:
                    return line, depth
                line = line[container.indent :]
        return line, len(self._containers)

    def _taken_by_leaf(self, line: str, *, is_cut: bool) -> bool:
        leaf = self._leaf
        if not isinstance(leaf, Verbatim):
            return False
        is_blank = not line.strip(" ")
        if leaf.is_closing_fence(line):
            self._close_leaf()
            return True
        if (leaf.ends_at_blank and is_blank) or (leaf.is_indented and not is_blank and _indent(line) < TAB):
            self._close_leaf()
            return False
        self._layout.emit(leaf.kind, leaf.add(line, self._layout.room, is_cut=is_cut))
        if leaf.is_ended_by(line, is_first=False):
            self._close_leaf()
        return True

    def _open_blocks(self, line: str, depth: int, *, is_cut: bool) -> None:
        are_all_matched = depth == len(self._containers)
        paragraph = self._leaf if isinstance(self._leaf, Paragraph) else None
        is_new = False
        while (start := line.lstrip(" ")) and (start[0] in _STARTERS or _indent(line) >= TAB):
            interrupts = paragraph if are_all_matched and not is_new else None
            if _indent(line) >= TAB:
                if paragraph is None or is_new:
                    self._close(depth)
                    self._begin_verbatim(leaves.indented(self._theme), line, is_cut=is_cut)
                    return
                break
            if self._opens_leaf(line, depth, interrupts, is_cut=is_cut):
                return
            inside = self._opened_container(line, depth, interrupts)
            if inside is None:
                break
            line, is_new = inside, True
            depth = len(self._containers)
        self._add_text(line, depth, is_lazy=not are_all_matched and not is_new)

    def _add_text(self, line: str, depth: int, *, is_lazy: bool) -> None:
        text = line.lstrip(" ")  # blanks at the end may be a line break
        if not text:
            self._close(depth)
            self._close_leaf()
            self._layout.note_blank()
            return
        if not (is_lazy and isinstance(self._leaf, Paragraph)):
            self._close(depth)
        if isinstance(self._leaf, Paragraph):
            self._layout.emit("paragraph", self._leaf.add(text, self._layout.room))
        elif isinstance(self._leaf, Table):
            self._layout.emit("table", self._leaf.add(text, self._layout.room))
        else:
            self._begin_paragraph(text)

    def _opens_leaf(self, line: str, depth: int, interrupts: Paragraph | None, *, is_cut: bool) -> bool:
        """Whether the line is, or opens, a block that holds text in its own way."""
        if interrupts is not None and (self._makes_table(line, interrupts) or self._makes_heading(line, interrupts)):
            return True
        if match := _HEADING.fullmatch(line):
            self._begin(depth)
            self._heading(_HEADING_END.sub("", match[2]).strip(" "), len(match[1]))
            return True
        if _RULE.fullmatch(line):
            self._begin(depth)
            self._layout.emit("rule", [[Span("─" * self._layout.room, self._theme.style("rule"))]])
            return True
        opened = leaves.fenced(line, self._theme)
        if opened is not None:
            self._begin(depth)
            self._leaf, info = opened
            self._layout.emit(
                "code", wrapped([Span(info, self._theme.style("label"))], self._layout.room) if info else []
            )
            return True
        is_in_paragraph = isinstance(self._leaf, Paragraph)
        block = leaves.html(line, self._theme, in_paragraph=is_in_paragraph) or leaves.display_math(line, self._theme)
        if block is None:
            return False
        self._begin(depth)
        self._begin_verbatim(block, line, is_cut=is_cut)
        return True

    def _opened_container(self, line: str, depth: int, interrupts: Paragraph | None) -> str | None:
        """Open a quote or an item; the rest of the line, None where it opens neither."""
        if len(self._containers) >= MAX_DEPTH:
            return None
        if match := _QUOTE.match(line):
            self._begin(depth)
            self._containers.append(Quote())
            return line[match.end() :]
        match = _ITEM.match(line)
        if match is None:
            return None
        rest = line[match.end() :]
        is_empty = not rest.strip(" ")
        number = int(match[2][:-1]) if match[2][0].isdigit() else None
        if interrupts is not None and (is_empty or number not in {None, 1}):
            return None
        self._close_leaf()
        self._close(depth)
        self._open_item(match, number, is_empty=is_empty)
        blanks = len(match[3])
        return " " * (blanks - 1) + rest if blanks > TAB else rest

    def _open_item(self, match: re.Match[str], number: int | None, *, is_empty: bool) -> None:
        sign = match[2][-1]
        above = self._containers[-1] if self._containers else None
        if not (isinstance(above, ListBlock) and above.sign == sign):
            if isinstance(above, ListBlock):
                self._close(len(self._containers) - 1)
            self._list_count += 1
            above = ListBlock(self._list_count, sign, number or 0, number is not None)
            self._containers.append(above)
        if above.is_ordered:
            marker = f"{above.next_number}{sign}"
            above.next_number += 1
        else:
            lists = sum(isinstance(container, ListBlock) and not container.is_ordered for container in self._containers)
            marker = _BULLETS[(lists - 1) % len(_BULLETS)]
        blanks = len(match[3])
        padding = 1 if is_empty or blanks > TAB else blanks
        indent = len(match[1]) + len(match[2]) + padding
        self._containers.append(Item(indent, marker, cells(marker) + 1, is_empty))

    def _makes_table(self, line: str, paragraph: Paragraph) -> bool:
        aligns = delimiters(line) if paragraph.lines and "|" in paragraph.lines[-1] else None
        header = cells_of(paragraph.lines[-1]) if aligns else []
        if not aligns or len(header) != len(aligns):
            return False
        paragraph.lines.pop()
        self._close_leaf()
        self._layout.begin_block()
        self._leaf = Table(header, aligns, self._theme, self._inline.spans)
        return True

    def _makes_heading(self, line: str, paragraph: Paragraph) -> bool:
        match = _UNDERLINE.fullmatch(line)
        if match is None or paragraph.is_cut:
            return False
        self._show_definitions(paragraph)
        self._leaf = None
        if not paragraph.lines:
            return False
        self._layout.begin_block()
        self._heading("\n".join(paragraph.lines).strip(" "), 1 if match[1][0] == "=" else 2)
        return True

    # Opening and closing.

    def _begin(self, depth: int) -> None:
        """Make room for a block that is no item: a list holds items only."""
        self._close(depth)
        if self._containers and isinstance(self._containers[-1], ListBlock):
            self._close(len(self._containers) - 1)
        self._close_leaf()
        self._layout.begin_block()

    def _begin_paragraph(self, text: str) -> None:
        self._begin(len(self._containers))
        self._layout.fill_items()
        self._leaf = Paragraph(self._inline)
        self._layout.emit("paragraph", self._leaf.add(text, self._layout.room))

    def _begin_verbatim(self, block: Verbatim, line: str, *, is_cut: bool) -> None:
        self._begin(len(self._containers))
        self._layout.fill_items()
        self._leaf = block
        self._layout.emit(block.kind, block.add(line, self._layout.room, is_cut=is_cut))
        if block.is_ended_by(line, is_first=True):
            self._close_leaf()

    def _close(self, depth: int) -> None:
        """Close all containers but the first `depth`, and the leaf where it is in one of them."""
        if depth >= len(self._containers):
            return
        self._close_leaf()
        while len(self._containers) > depth:
            self._layout.pop()

    def _close_leaf(self) -> None:
        leaf, self._leaf = self._leaf, None
        if isinstance(leaf, Paragraph):
            self._show_definitions(leaf)
            if leaf.lines or leaf.is_cut:
                self._take_task(leaf)
                self._layout.emit("paragraph", leaf.rows(self._layout.room))
        elif isinstance(leaf, Table):
            self._layout.emit("table", leaf.end(self._layout.room))
        elif leaf is not None and leaf.carried:
            self._layout.emit(leaf.kind, leaf.more("", self._layout.room))

    def _show_definitions(self, paragraph: Paragraph) -> None:
        shown = paragraph.definitions(self._theme)
        if shown:
            self._layout.emit("paragraph", wrapped(shown, self._layout.room))

    def _take_task(self, paragraph: Paragraph) -> None:
        """Make a box of the `[x]` that an item begins with."""
        item = self._containers[-1] if self._containers else None
        if not isinstance(item, Item) or not item.is_pending or paragraph.is_cut:
            return
        match = _TASK.match(paragraph.lines[0])
        if match is not None:
            box = "☐" if match[1] == " " else "☑"
            item.marker = box if item.marker in _BULLETS else f"{item.marker} {box}"
            item.cells = cells(item.marker) + 1
            paragraph.lines[0] = paragraph.lines[0][match.end() :]

    def _heading(self, text: str, level: int) -> None:
        self._layout.fill_items()
        style = self._theme.style(leaves.role_of_heading(level))
        self._layout.emit("heading", wrapped(self._inline.spans(text, style), self._layout.room) if text else [])


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _without_tabs(line: str, *, is_code: bool) -> str:
    """The line with blanks for tabs: an indentation of `TAB` each; what follows text in code is set in columns as it was."""
    if not is_code:
        return line.expandtabs(TAB)
    match = _CODE_PREFIX.match(line)
    assert match is not None
    return match[0].expandtabs(TAB) + line[match.end() :].expandtabs(CODE_TAB)
