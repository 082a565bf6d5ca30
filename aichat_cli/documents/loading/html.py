"""Web pages as Markdown: headings, paragraphs, lists, tables and code, without what surrounds every page of a site.

The parser hands over one tag after the other and no tree is built, so memory grows with the text and nesting costs
nothing. Nothing is fetched, run or expanded. What a reader of the page does not see is not text of it.
"""

from __future__ import annotations

import re

from aichat_cli.core.documents import Heading, LoadedDocument
from aichat_cli.core.errors import DocumentError
from aichat_cli.core.struct import Struct, field
from aichat_cli.documents.loading.markdown import MOST_HEADINGS
from aichat_cli.documents.loading.text import decoded, normalised

_TITLE_CHARS = 200
_MAIN_CHARS = 200
_FEED_BYTES = 1 << 20

_NEVER_SEEN = "script style noscript template svg iframe object embed canvas audio video map datalist textarea select"
_BOILERPLATE = frozenset(("nav", "aside", "footer", "dialog", "button", "menu"))
_SITE_ROLES = "navigation contentinfo complementary search menu menubar toolbar dialog alertdialog"
_UNSEEN_CLASSES = re.compile(r"\b(?:sr-only|visually-hidden|screen-reader-text|skip-link|headerlink|noprint)\b")
_UNSEEN_STYLE = re.compile(r"(?:display\s{0,9}:\s{0,9}none|visibility\s{0,9}:\s{0,9}hidden)", re.IGNORECASE)
_BLOCK_TAGS = """address article blockquote body center dd details div dl dt fieldset figcaption figure form header hgroup hr
    legend li main ol p section summary table tbody td tfoot th thead tr ul caption"""
_NEVER = frozenset(_NEVER_SEEN.split())
_BOILERPLATE_ROLES = frozenset(_SITE_ROLES.split())
_BLOCKS = frozenset(_BLOCK_TAGS.split())
_LEVELS = {f"h{level}": level for level in range(1, 7)}
_SUSPECT = _NEVER | _BOILERPLATE
_MEANINGFUL = _BLOCKS | set(_LEVELS) | {"title", "br", "pre"}
"""All other tags stand in a line of text."""
_META_CHARSET = re.compile(rb"<meta\b[^>]{0,200}?\bcharset\s{0,9}=\s{0,9}[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_XML_CHARSET = re.compile(rb"<\?xml\b[^>]{0,100}?\bencoding\s{0,9}=\s{0,9}[\"']([\w.:-]{1,40})", re.IGNORECASE)


def html(content: bytes, media_type: str, charset: str | None = None) -> LoadedDocument:
    """The text of a page.

    Args:
        charset: what its server said; else what the page says counts.

    Raises:
        DocumentError: it is binary.
    """
    source = decoded(content, charset or declared_charset(content))
    data = source.text.encode()
    page = _read(data, keeps_boilerplate=False)
    if not page.blocks:
        page = _read(data, keeps_boilerplate=True)
    notes = source.notes
    if page.is_cut:
        notes = (*notes, "It nests its elements so deep that it was not read to its end.")
    return _document(page, media_type, notes)


def declared_charset(content: bytes) -> str | None:
    """What the page itself says its encoding is."""
    opening = content[:4096]
    match = _META_CHARSET.search(opening) or _XML_CHARSET.match(opening.lstrip())
    return match[1].decode("ascii", "replace") if match else None


class _Block(Struct):
    """A paragraph, heading, list item, table or fence; `level` is that of a heading, `is_next` an item below another."""

    text: str
    level: int = 0
    is_next: bool = False


class _Table(Struct):
    rows: list[list[str]] = field(default_factory=list)
    head_rows: int = 0
    is_layout: bool = False


class _Page:
    """Takes tags and text in their order, as lxml's parser target, and keeps the blocks they make."""

    def __init__(self, *, keeps_boilerplate: bool) -> None:
        self.blocks: list[_Block] = []
        self.title: list[str] = []
        self.is_cut = False
        self._keeps_boilerplate = keeps_boilerplate
        self._inline: list[str] = []
        self._depth = 0
        self._dropped_at = 0
        self._header_at = 0
        self._content_depth = 0
        self._main_at = 0
        self._main_start = 0
        self._mains: list[slice] = []
        self._title_at = 0
        self._pre_at = 0
        self._level = 0
        self._lists: list[int] = []
        """Of each open list: the number of its next item, 0 for bullets."""
        self._is_in_list = False
        self._mark = ""
        self._tables: list[_Table] = []

    def main_blocks(self) -> list[_Block]:
        """What stands in the one main part, where the page has one that is more than a placeholder."""
        if len(self._mains) != 1:
            return self.blocks
        main = self.blocks[self._mains[0]]
        is_whole = sum(len(block.text) for block in main) >= _MAIN_CHARS or len(main) * 2 > len(self.blocks)
        return main if is_whole else self.blocks

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._dropped_at:
            return
        if (attributes or tag in _SUSPECT) and self._is_unseen(tag, attributes):
            self._dropped_at = self._depth
        elif tag not in _MEANINGFUL:
            return
        elif tag == "title":
            self._title_at = self._title_at or self._depth
        elif tag == "br":
            self._inline.append("\n" if self._pre_at else "\v")
        elif tag == "pre" or tag in _LEVELS:
            self._leave_cell()
            self._flush()
            self._level = _LEVELS.get(tag, 0)
            if tag == "pre":
                self._pre_at = self._pre_at or self._depth
        elif tag in _BLOCKS:
            self._start_block(tag, attributes)

    def end(self, tag: str) -> None:
        depth, self._depth = self._depth, self._depth - 1
        if self._dropped_at:
            if depth == self._dropped_at:
                self._dropped_at = 0
            return
        if tag not in _MEANINGFUL:
            return
        if tag == "pre" and depth == self._pre_at:
            self._end_pre()
        elif tag in _LEVELS:
            self._flush()
            self._level = 0
        elif tag in _BLOCKS:
            self._end_block(tag)
        if depth == self._title_at:
            self._title_at = 0
        if depth == self._header_at:
            self._header_at = 0
        if depth == self._main_at:
            self._end_main()

    def data(self, text: str) -> None:
        if self._dropped_at:
            return
        if self._title_at:
            self.title.append(text)
        elif self._inline or self._pre_at or not text.isspace():
            self._inline.append(text)

    def close(self) -> None:
        self._end_pre() if self._pre_at else self._flush()
        while self._tables:
            self._end_table()
        if self._main_at:
            self._end_main()

    def _end_main(self) -> None:
        self._main_at = 0
        self._mains.append(slice(self._main_start, len(self.blocks)))

    def _is_unseen(self, tag: str, attributes: dict[str, str]) -> bool:
        if tag in _NEVER or attributes.get("hidden", "until-found") != "until-found":
            return True
        if "style" in attributes and _UNSEEN_STYLE.search(attributes["style"]):
            return True
        if self._keeps_boilerplate:
            return False
        if tag in _BOILERPLATE or attributes.get("aria-hidden") == "true":
            return True
        if "class" in attributes and _UNSEEN_CLASSES.search(attributes["class"]):
            return True
        return attributes.get("role") in _BOILERPLATE_ROLES

    def _start_block(self, tag: str, attributes: dict[str, str]) -> None:
        if tag in ("td", "th", "tr"):
            self._start_cell(tag)
            return
        if tag == "table":
            self._leave_cell()
            self._flush()
            self._tables.append(_Table())
            return
        self._break()
        role = attributes.get("role")
        if tag == "main" or role == "main":
            if not self._main_at:
                self._main_at = self._depth
                self._main_start = len(self.blocks)
        elif tag == "header" or role == "banner":
            inside = self._main_at or self._content_depth
            if not inside and not self._keeps_boilerplate:
                self._header_at = self._header_at or self._depth
        if tag in ("article", "section"):
            self._content_depth += 1
        elif tag in ("ul", "ol"):
            self._is_in_list = self._is_in_list and bool(self._lists)
            self._lists.append(1 if tag == "ol" else 0)
        elif tag == "li":
            self._start_item()

    def _start_item(self) -> None:
        if not self._lists:
            self._mark = "- "
            return
        number = self._lists[-1]
        self._mark = f"{number}. " if number else "- "
        if number:
            self._lists[-1] += 1

    def _end_block(self, tag: str) -> None:
        if tag in ("td", "th", "tr"):
            self._end_cell(tag)
        elif tag == "table":
            if self._tables:
                self._end_table()
        else:
            self._break()
            if tag in ("ul", "ol") and self._lists:
                self._lists.pop()
            elif tag == "li":
                self._mark = ""
            elif tag in ("article", "section"):
                self._content_depth -= 1

    def _break(self) -> None:
        """The end of a paragraph; in a cell, of which a row is one line, a space."""
        if self._tables and not self._tables[-1].is_layout:
            self._inline.append(" ")
        else:
            self._flush()

    def _flush(self) -> None:
        if not self._inline:
            return
        if self._pre_at:
            return
        joined = "".join(self._inline)
        self._inline.clear()
        text = "\n".join(line for part in joined.split("\v") if (line := " ".join(part.split())))
        if not text or (self._header_at and not self._level):
            return
        if self._level:
            text = text.replace("\n", " ").strip("¶§ ").removesuffix(" #").rstrip()
            if text:
                self.blocks.append(_Block(f"{'#' * self._level} {text}", self._level))
            return
        if self._lists or self._mark:
            indent = "  " * max(0, min(len(self._lists), 12) - 1)
            lead = indent + (self._mark or "  ")
            text = lead + text.replace("\n", "\n" + indent + "  ")
            self._mark = ""
            self.blocks.append(_Block(text, is_next=self._is_in_list))
            self._is_in_list = True
            return
        self.blocks.append(_Block(text))

    def _end_pre(self) -> None:
        self._pre_at = 0
        text = normalised("".join(self._inline).replace("\v", "\n")).strip("\n")
        self._inline.clear()
        if text.strip() and not self._header_at:
            longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
            fence = "`" * (longest + 1)
            self.blocks.append(_Block(f"{fence}\n{text}\n{fence}"))

    def _start_cell(self, tag: str) -> None:
        table = self._tables[-1] if self._tables else None
        if table is None or table.is_layout:
            self._flush()
        elif tag == "tr":
            self._inline.clear()
            table.rows.append([])
        else:
            self._inline.clear()
            if tag == "th" and len(table.rows) == 1:
                table.head_rows = 1

    def _end_cell(self, tag: str) -> None:
        table = self._tables[-1] if self._tables else None
        if table is None or table.is_layout:
            self._flush()
        elif tag != "tr":
            if not table.rows:
                table.rows.append([])
            table.rows[-1].append(" ".join("".join(self._inline).replace("\v", " ").split()))
            self._inline.clear()

    def _leave_cell(self) -> None:
        """A heading, code or another table in a cell: the tables around are layout, their cells are paragraphs."""
        for table in reversed(self._tables):
            if table.is_layout:
                break
            table.is_layout = True
            pending, self._inline = self._inline, []
            for row in table.rows:
                self._inline.append(" ".join(row))
                self._flush()
            self._inline = pending
            table.rows.clear()

    def _end_table(self) -> None:
        table = self._tables.pop()
        if table.is_layout:
            self._flush()
            return
        caption = " ".join("".join(self._inline).replace("\v", " ").split())
        self._inline.clear()
        if self._header_at:
            return
        rows = [row for row in table.rows if any(row)]
        if max(map(len, rows), default=0) < 2:
            self.blocks.extend(_Block(row[0]) for row in rows)
        elif rows:
            lines = [f"| {' | '.join(row)} |" for row in rows]
            if table.head_rows:
                lines.insert(1, "|" + " --- |" * len(rows[0]))
            self.blocks.append(_Block("\n".join(lines)))
        if caption:
            self.blocks.append(_Block(caption))


def _read(data: bytes, *, keeps_boilerplate: bool) -> _Page:
    from lxml import etree

    page = _Page(keeps_boilerplate=keeps_boilerplate)
    parser = etree.HTMLParser(
        target=page,
        encoding="utf-8",
        recover=True,
        no_network=True,
        remove_comments=True,
        remove_pis=True,
        huge_tree=True,
    )
    try:
        for start in range(0, len(data), _FEED_BYTES):
            parser.feed(data[start : start + _FEED_BYTES])
        parser.close()
    except etree.XMLSyntaxError:
        page.close()
    except (AssertionError, ValueError, etree.LxmlError) as exc:
        raise DocumentError("It is damaged: the reader of web pages makes nothing of it.") from exc
    page.is_cut = any(entry.type_name == "ERR_RESOURCE_LIMIT" for entry in parser.feed_error_log)
    return page


def _document(page: _Page, media_type: str, notes: tuple[str, ...]) -> LoadedDocument:
    """The blocks, a blank line between all but items of a list."""
    parts: list[str] = []
    headings: list[Heading] = []
    length = 0
    for block in page.main_blocks():
        if parts:
            parts.append("\n" if block.is_next else "\n\n")
            length += len(parts[-1])
        if block.level and len(headings) < MOST_HEADINGS:
            headings.append(Heading(length, block.level, block.text[block.level + 1 :][:_TITLE_CHARS]))
        parts.append(block.text)
        length += len(block.text)
    if parts:
        parts.append("\n")
    first = next((heading.text for heading in headings if heading.level == 1), None)
    title = " ".join("".join(page.title).split())[:_TITLE_CHARS] or first
    return LoadedDocument("".join(parts), media_type, "markdown", title, tuple(headings), notes=notes)
