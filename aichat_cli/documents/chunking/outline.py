"""Where in its document a chunk is: the path of headings above it, its line, its page."""

from __future__ import annotations

from bisect import bisect_right

from aichat_cli.core.documents import Chunk, LoadedDocument

SEPARATOR = " > "


class Outline:
    """Places of one document's characters. Chunks are asked for in the order of their starts."""

    def __init__(self, document: LoadedDocument) -> None:
        self._text = document.text
        self._pages = document.pages
        self._heading_starts = [heading.start for heading in document.headings]
        self._paths = _paths(document)
        self._line = 1
        self._counted = 0

    def chunk(self, start: int, end: int, tokens: int) -> Chunk:
        """The chunk with its place. Heading and page are those of its first character that is not blank."""
        self._line += self._text.count("\n", self._counted, start)
        self._counted = start
        first = end - len(self._text[start:end].lstrip())
        first = start if first == end else first
        above = bisect_right(self._heading_starts, first)
        return Chunk(
            start=start,
            end=end,
            heading=self._paths[above - 1] if above else "",
            line=self._line,
            page=max(1, bisect_right(self._pages, first)) if self._pages else None,
            tokens=tokens,
        )


def _paths(document: LoadedDocument) -> list[str]:
    """For each heading, it and those it is under."""
    paths: list[str] = []
    above: list[tuple[int, str]] = []
    for heading in document.headings:
        above = [(level, text) for level, text in above if level < heading.level]
        if name := " ".join(heading.text.split()):
            above.append((heading.level, name))
        paths.append(SEPARATOR.join(text for _level, text in above))
    return paths
