"""Where finished lines stand: behind the marks of the open containers, and with a blank line before a new block.

Whether a blank line comes before a block depends only on what came before it, so that a line once out stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

from aichat_cli.core.struct import Struct
from aichat_cli.render.markdown.cells import Row, Span, ansi, cells
from aichat_cli.render.markdown.leaves import Kind
from aichat_cli.render.theme import Theme


class Quote(Struct):
    """A block quote."""


class ListBlock(Struct):
    """A list. `sign` is what its items have in common, `next_number` the number of the next one."""

    number: int
    sign: str
    next_number: int
    is_ordered: bool


class Item(Struct):
    """An item; `indent` is where its content begins in the source, `marker` what is shown, until it is shown."""

    indent: int
    marker: str
    cells: int
    is_empty: bool
    is_pending: bool = True


Container = Quote | ListBlock | Item


class Layout:
    """Turns rows into lines. `containers` are the open ones, outermost first; `width` may change at any time."""

    def __init__(self, width: int, theme: Theme) -> None:
        self.width = width
        self.containers: list[Container] = []
        self._theme = theme
        self._done: list[str] = []
        self._is_fresh = True
        self._has_blank = False
        self._shared_depth = 0
        self._last_kind: Kind | None = None
        self._last_list = 0
        self._last_depth = 0

    def copy(self) -> Layout:
        """One that goes on from here without changing this one."""
        twin = copy.copy(self)
        twin.containers = [copy.copy(container) for container in self.containers]
        twin._done = []  # noqa: SLF001 (its own class)
        return twin

    def flushed(self) -> list[str]:
        """The lines that were put out since the last time."""
        done, self._done = self._done, []
        return done

    def begin_block(self) -> None:
        """What is put out next is another block."""
        self._is_fresh = True

    def note_blank(self) -> None:
        """The source has a blank line here."""
        self._has_blank = True

    def pop(self) -> None:
        """The innermost container is over; an item that held nothing shows its marker."""
        container = self.containers[-1]
        if isinstance(container, Item) and container.is_pending:
            self._is_fresh = True
            self.emit("item", [[]])
        self.containers.pop()
        self._shared_depth = min(self._shared_depth, len(self.containers))

    def fill_items(self) -> None:
        """Something stands in the open items now: from here on they may hold blank lines."""
        for container in self.containers:
            if isinstance(container, Item):
                container.is_empty = False

    @property
    def room(self) -> int:
        """The width that the containers leave."""
        return max(self.width - sum(cells(span.text) for span in self._prefix(is_first=False)), 1)

    def _prefix(self, *, is_first: bool) -> Row:
        """What stands before a line in the open containers: the innermost ones, where there is no room for all."""
        spans: Row = []
        room = self.width // 2
        for container in reversed(self.containers):
            if isinstance(container, ListBlock):
                continue
            if isinstance(container, Quote):
                span = Span("│ ", self._theme.style("quote"))
            elif is_first and container.is_pending:
                span = Span(container.marker + " ", self._theme.style("marker"))
            else:
                span = Span(" " * container.cells)
            room -= cells(span.text)
            if room < 0 and spans:
                break
            spans.append(span)
        return spans[::-1]

    def emit(self, kind: Kind, rows: list[Row]) -> None:
        """Put out rows of the block that is open in the innermost container."""
        if not rows:
            return
        if self._is_fresh:
            self._separate()
        for row in rows:
            line = [*self._prefix(is_first=True), *row]
            self._mark_shown()
            self._done.append(ansi(list(_trimmed(line))))
        self._last_kind, self._is_fresh, self._has_blank = kind, False, False
        self._shared_depth = self._last_depth = len(self.containers)
        self._last_list = self._outermost_list()

    def _mark_shown(self) -> None:
        for container in self.containers:
            if isinstance(container, Item):
                container.is_pending = False

    def _separate(self) -> None:
        """A blank line between blocks; in a list only where the source has one."""
        if self._last_kind is None:
            return
        outermost = self._outermost_list()
        follows_text = self._last_kind == "paragraph" and not self._last_list and self._shared_depth == self._last_depth
        is_tight = outermost and (outermost == self._last_list or follows_text)
        if is_tight and not self._has_blank:
            return
        containers, self.containers = self.containers, self.containers[: self._shared_depth]
        self._done.append(ansi(list(_trimmed(self._prefix(is_first=False)))))
        self.containers = containers

    def _outermost_list(self) -> int:
        return next((container.number for container in self.containers if isinstance(container, ListBlock)), 0)


def _trimmed(row: Row) -> Iterator[Span]:
    """The row without blanks at its end, which would be copied with it."""
    last = len(row)
    while last and not row[last - 1].text.strip(" "):
        last -= 1
    yield from row[: last - 1] if last else ()
    if last:
        yield row[last - 1]._replace(text=row[last - 1].text.rstrip(" "))
