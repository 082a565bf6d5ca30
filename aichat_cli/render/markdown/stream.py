"""Markdown on its way to a terminal: text in, in pieces of any size; finished lines out, which never change again.

What comes out depends on the text alone, never on how it was cut: the machine below sees whole lines, and a line that
goes on and on in pieces of a fixed size. It writes nowhere and knows nothing of the terminal but its width.
"""

from __future__ import annotations

from aichat_cli.render.markdown.blocks import Blocks
from aichat_cli.render.sanitize import Sanitizer
from aichat_cli.render.theme import Theme

LINE_LIMIT = 4096
"""Characters of one source line that are held before they are shown for good."""

MIN_WIDTH = 8


class MarkdownStream:
    """One Markdown document, rendered while it arrives.

    The lines it returns are styled with ANSI sequences, end without a newline or blanks, and are at most `width` cells
    wide (8 at least). All of `feed` and `finish`, joined, is what `render` returns for the whole text.
    """

    def __init__(self, width: int, theme: Theme) -> None:
        self._blocks = Blocks(max(width, MIN_WIDTH), theme)
        self._sanitizer = Sanitizer()
        self._pending: list[str] = []
        self._pending_size = 0
        self._is_continuation = False
        self._open: list[str] | None = None

    def feed(self, delta: str) -> list[str]:
        """Take the next piece of text, as it came from outside; the lines that are finished by it."""
        text = self._sanitizer.feed(delta)
        if not text:
            return []
        self._open = None
        if "\n" not in text and self._pending_size + len(text) <= LINE_LIMIT:
            self._pending.append(text)
            self._pending_size += len(text)
            return []
        done: list[str] = []
        *lines, rest = ("".join(self._pending) + text).split("\n")
        for line in lines:
            done += self._take(self._without_whole_pieces(line, done), is_cut=False)
            self._is_continuation = False
        rest = self._without_whole_pieces(rest, done)
        self._pending, self._pending_size = [rest], len(rest)
        return done

    def open_lines(self) -> list[str]:
        """The lines that may still change, as they would be if the text ended here and open marks were closed."""
        if self._open is None:
            ahead = self._blocks.copy()
            pending = "".join(self._pending)
            taken = _taken(ahead, pending, is_continuation=self._is_continuation) if pending else []
            self._open = taken + ahead.finish(is_interim=True)
        return self._open

    def finish(self) -> list[str]:
        """The end of the text: the lines that were still open."""
        done = self.feed(self._sanitizer.flush())
        pending, self._pending, self._pending_size = "".join(self._pending), [], 0
        done += (self._take(pending, is_cut=False) if pending else []) + self._blocks.finish()
        self._open = []
        return done

    def resize(self, width: int) -> None:
        """Go on in another width; only what is open changes."""
        self._blocks.resize(max(width, MIN_WIDTH))
        self._open = None

    def _without_whole_pieces(self, line: str, done: list[str]) -> str:
        """Take the beginning of a line that is too long; what is left of it."""
        while len(line) > LINE_LIMIT:
            end = line.rfind(" ", LINE_LIMIT // 2, LINE_LIMIT) + 1 or LINE_LIMIT
            done += self._take(line[:end], is_cut=True)
            self._is_continuation = True
            line = line[end:]
        return line

    def _take(self, line: str, *, is_cut: bool) -> list[str]:
        return _taken(self._blocks, line, is_continuation=self._is_continuation, is_cut=is_cut)


def _taken(blocks: Blocks, line: str, *, is_continuation: bool, is_cut: bool = False) -> list[str]:
    """Hand a line on."""
    return blocks.more(line, is_cut=is_cut) if is_continuation else blocks.take(line, is_cut=is_cut)


def render(text: str, width: int, theme: Theme) -> list[str]:
    """The lines of a whole document."""
    stream = MarkdownStream(width, theme)
    return [*stream.feed(text), *stream.finish()]
