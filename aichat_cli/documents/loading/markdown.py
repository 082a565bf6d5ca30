"""Markdown and code as they are, with the headings that can be told from single lines. Parses no further than that."""

from __future__ import annotations

import re
from itertools import islice

from aichat_cli.core.documents import Heading, LoadedDocument
from aichat_cli.documents.loading.text import Decoded

MOST_HEADINGS = 50_000
_MOST_LINES = 4 * MOST_HEADINGS
"""That are looked at as perhaps a heading or a fence."""
_HEADING_CHARS = 200

_LINES = re.compile(
    r"^ {0,3}(?:"
    r"(?P<atx>#{1,6})(?:[ \t]+(?P<title>[^\n]*))?$"
    r"|(?P<fence>`{3,}|~{3,})(?P<info>[^\n]*)$"
    r"|(?P<line>=+|-+)[ \t]*$"
    r")",
    re.MULTILINE,
)
_CLOSING_MARKS = re.compile(r"(?:^|[ \t]{1,9})#+$")
_FRONT = re.compile(r"---[ \t]*\n(?:(?P<yaml>.*?)\n)?(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_FRONT_CHARS = 20_000
_FRONT_FIRST = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*[\"']?\w[\w .\"'-]*:(?:\s|\Z)")
"""Below comments and blank lines a key: else it is text between two rules."""
_FRONT_TITLE = re.compile(r"^title:[ \t]*(?P<title>\S[^\n]*)$", re.MULTILINE)
_NO_PARAGRAPH = re.compile(r" {4}|\t| {0,3}(?:#{1,6}[ \t]|>|[-*+][ \t]|\d{1,9}[.)][ \t]|\||<)")
"""Lines that a line of dashes below does not make a heading."""

_CODE_HEADING = re.compile(
    r"^(?:(?:export|default|public|private|protected|internal|static|abstract|final|sealed|open|data|async|pub(?:\([a-z]+\))?"
    r"|unsafe|extern|const|partial|declare|inline|suspend|override|local)[ \t]{1,4}){0,6}"
    r"(?:def|class|func|fn|function|interface|struct|enum|trait|impl|module|namespace|object|protocol|type|record|sub)"
    r"[ \t]{1,4}[^\s=][^\n]{0,200}",
    re.MULTILINE,
)
"""A definition that begins a line, in the words of the common languages."""


def markdown(source: Decoded, media_type: str) -> LoadedDocument:
    """The text as it is; its title is that of its front matter, else its first heading of level 1."""
    text = source.text
    front = _FRONT.match(text, 0, _FRONT_CHARS)
    if front and not _FRONT_FIRST.match(front["yaml"] or ""):
        front = None
    headings = markdown_headings(text, front.end() if front else 0)
    title = _front_title(front["yaml"] or "") if front else None
    title = title or next((heading.text for heading in headings if heading.level == 1), None)
    return LoadedDocument(text, media_type, "markdown", title, headings, notes=source.notes)


def markdown_headings(text: str, begin: int = 0) -> tuple[Heading, ...]:
    """Headings of both styles outside of fences, from a character on."""
    headings: list[Heading] = []
    fence = ""
    for match in islice(_LINES.finditer(text, begin), _MOST_LINES):
        if mark := match["fence"]:
            fence = _after_fence(fence, mark, match["info"])
        elif fence:
            continue
        elif match["atx"]:
            if title := _CLOSING_MARKS.sub("", (match["title"] or "")[:_HEADING_CHARS].strip()):
                headings.append(Heading(match.start(), len(match["atx"]), title))
        elif (above := _line_above(text, match.start(), begin)) is not None:
            level = 1 if match["line"][0] == "=" else 2
            headings.append(Heading(above, level, text[above : match.start()].strip()[:_HEADING_CHARS]))
    return tuple(headings[:MOST_HEADINGS])


def code(source: Decoded, media_type: str) -> LoadedDocument:
    """The text as it is; definitions that begin a line are its headings."""
    headings = []
    for match in _CODE_HEADING.finditer(source.text):
        headings.append(Heading(match.start(), 1, match.group()[:_HEADING_CHARS].rstrip(" \t{:")))
        if len(headings) >= MOST_HEADINGS:
            break
    return LoadedDocument(source.text, media_type, "code", headings=tuple(headings), notes=source.notes)


def _front_title(yaml: str) -> str | None:
    match = _FRONT_TITLE.search(yaml)
    title = match["title"].strip() if match else ""
    if len(title) > 1 and title[0] == title[-1] and title[0] in "'\"":
        title = title[1:-1].strip()
    return title[:_HEADING_CHARS] or None


def _after_fence(fence: str, mark: str, info: str) -> str:
    """The fence that is open after such a line."""
    if not fence:
        return "" if mark[0] == "`" and "`" in info else mark
    return "" if mark[0] == fence[0] and len(mark) >= len(fence) and not info.strip() else fence


def _line_above(text: str, start: int, begin: int) -> int | None:
    """Where the line above begins, None where it is not one line of text that a line below makes a heading."""
    if start <= begin:
        return None
    above = max(text.rfind("\n", begin, start - 1) + 1, begin)
    line = text[above : start - 1]
    if not line.strip() or len(line) > _HEADING_CHARS or _NO_PARAGRAPH.match(line):
        return None
    before = text[max(text.rfind("\n", begin, max(above - 1, begin)) + 1, begin) : max(above - 1, begin)]
    return above if not before.strip() else None
