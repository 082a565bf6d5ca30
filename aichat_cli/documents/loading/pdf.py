"""PDF files to text, page by page. For the worker process only: the library is native code that damaged files crash."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from aichat_cli.core.documents import Heading, LoadedDocument
from aichat_cli.core.errors import DocumentError
from aichat_cli.documents.loading.text import normalised

MOST_TEXT_CHARS = 50_000_000
_MOST_PAGES = 100_000
_MOST_HEADINGS = 5_000
_TITLE_CHARS = 200
_LISTED_PAGES = 5

_BROKEN_WORD = re.compile(r"(?P<left>\b[^\W\d_]{2,40})(?:-\n|[\u00ad\ufffe\x02]\n?)(?P<right>[^\W\d_]{2,40}\b)")
_MARKS = str.maketrans({"\ufffe": "-", "\x02": "-", "\uffff": None, "\u00ad": None})
_PASSWORD_ERROR, _SECURITY_ERROR = 4, 5


def pdf(content: bytes, media_type: str) -> LoadedDocument:
    """The text of a PDF file, with where its pages start and its outline as headings.

    Raises:
        DocumentError: it is encrypted, damaged, or has more text than any book.
    """
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as exc:
        raise DocumentError(_reason(getattr(exc, "err_code", 0))) from exc
    try:
        return _read(document, media_type)
    except pypdfium2.PdfiumError as exc:
        raise DocumentError("It is damaged: a page of it cannot be read.") from exc
    finally:
        document.close()


def _reason(error_code: int) -> str:
    if error_code == _PASSWORD_ERROR:
        return "It is encrypted: a password is needed to read it."
    if error_code == _SECURITY_ERROR:
        return "It is encrypted in a way that cannot be read."
    return "It is damaged: no PDF file that can be read."


def _read(document: Any, media_type: str) -> LoadedDocument:
    texts = []
    length = 0
    for page in range(min(len(document), _MOST_PAGES)):
        texts.append(_page_text(document, page))
        length += len(texts[-1])
        if length > MOST_TEXT_CHARS:
            raise DocumentError(f"It has more than {MOST_TEXT_CHARS // 1_000_000} million characters of text.")
    whole = "\n".join(texts)
    parts: list[str] = []
    pages: list[int] = []
    length = 0
    for text in texts:
        pages.append(length)
        joined = _joined_words(text, whole)
        if joined:
            parts.append(joined + "\n\n")
            length += len(parts[-1])
    text = "".join(parts)
    pages = [min(start, len(text)) for start in pages]
    empty = [number for number, page in enumerate(texts, 1) if not page]
    title = " ".join(normalised(document.get_metadata_value("Title")).split())[:_TITLE_CHARS] or None
    headings = tuple(_headings(document, text, pages))
    return LoadedDocument(text, media_type, "prose", title, headings, tuple(pages), _notes(empty, len(texts)))


def _page_text(document: Any, index: int) -> str:
    """The text of a page; empty where the page is damaged, which the notes then name."""
    import pypdfium2

    try:
        page = document[index]
        try:
            text_page = page.get_textpage()
            try:
                text = text_page.get_text_bounded()
            finally:
                text_page.close()
        finally:
            page.close()
    except pypdfium2.PdfiumError:
        return ""
    return normalised(text).strip()


def _joined_words(text: str, whole: str) -> str:
    """Words that were broken at the end of a line in one piece; those that have a hyphen elsewhere keep it."""

    def joined(match: re.Match[str]) -> str:
        left, right = match["left"], match["right"]
        if not right[0].islower() or f"{left}-{right}" in whole:
            return f"{left}-{right}"
        return left + right

    return _BROKEN_WORD.sub(joined, text).translate(_MARKS)


def _notes(empty: list[int], page_count: int) -> tuple[str, ...]:
    if not empty:
        return ()
    if len(empty) == page_count:
        return ("None of its pages holds text; they may be images.",)
    if len(empty) == 1:
        return (f"Page {empty[0]} holds no text; it may be an image.",)
    listed = ", ".join(map(str, empty[:_LISTED_PAGES])) + (", ..." if len(empty) > _LISTED_PAGES else "")
    return (f"{len(empty)} of {page_count} pages hold no text ({listed}); they may be images.",)


def _headings(document: Any, text: str, pages: list[int]) -> Iterator[Heading]:
    """The outline; each at the line of its page that says it, else at the start of its page."""
    found: list[Heading] = []
    for item in _outline(document):
        page = item[1]
        end = pages[page + 1] if page + 1 < len(pages) else len(text)
        start = text.find(item[2], pages[page], end)
        start = text.rfind("\n", pages[page], start) + 1 if start > pages[page] else pages[page]
        if pages[page] < len(text):
            found.append(Heading(max(start, pages[page]), item[0], item[2]))
    yield from sorted(found, key=lambda heading: heading.start)


def _outline(document: Any) -> Iterator[tuple[int, int, str]]:
    """Level, page and title of the outline's entries."""
    import pypdfium2

    try:
        for count, item in enumerate(document.get_toc(max_depth=6)):
            if count >= _MOST_HEADINGS:
                return
            destination = item.get_dest()
            page = destination.get_index() if destination else None
            title = " ".join(normalised(item.get_title()).split())[:_TITLE_CHARS]
            if title and page is not None and 0 <= page < len(document):
                yield item.level + 1, page, title
    except (pypdfium2.PdfiumError, AttributeError, ValueError):
        return
