"""Files that are not what they should be: a document or a reason comes out, whatever goes in, and soon."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aichat_cli.core.documents import LoadedDocument
from aichat_cli.core.errors import DocumentError
from aichat_cli.documents.loading.loader import Loader
from aichat_cli.documents.loading.text import decoded, normalised
from tests.documents import samples

NAMES = ("a.txt", "a.md", "a.py", "a.html", "a.csv", "a.tsv", "a.json", "a.xml", "a.ipynb", "a.eml", "a")
REAL = {
    "a.md": samples.MARKDOWN.encode(),
    "a.html": samples.HTML.encode(),
    "a.csv": samples.CSV.encode(),
    "a.ipynb": samples.NOTEBOOK.encode(),
    "a.eml": samples.MAIL,
    "utf16.txt": samples.MARKDOWN.encode("utf-16"),
    "a.pdf": samples.pdf(title="Report", outline=(("Accidents", 1),)),
    "secret.pdf": samples.pdf(password="tide"),
    "a.docx": samples.docx(("Heading1", "One"), ("", "Two & three"), title="Four"),
    "a.xlsx": samples.xlsx(),
    "a.pptx": samples.pptx(),
    "a.odt": samples.odt(),
    "a.epub": samples.epub(),
    "a.rtf": samples.RTF,
}


@pytest.fixture(scope="module")
def loader() -> Iterator[Loader]:
    with Loader() as shared:
        yield shared


def require_valid(document: LoadedDocument) -> None:
    text = document.text
    text.encode("utf-8")
    assert "\0" not in text
    assert "\r" not in text
    starts = [heading.start for heading in document.headings]
    assert starts == sorted(starts)
    assert all(0 <= start < len(text) for start in starts)
    assert all(
        heading.level >= 1 and heading.text.strip() and "\n" not in heading.text for heading in document.headings
    )
    assert list(document.pages) == sorted(document.pages)
    assert all(0 <= page <= len(text) for page in document.pages)
    for words in (document.title or "x", *document.notes, *(heading.text for heading in document.headings)):
        words.encode("utf-8")
        assert words.strip()
        assert "\0" not in words


def require_outcome(loader: Loader, content: bytes, name: str, seconds: float = 5.0) -> None:
    start = time.monotonic()
    reason = "."
    try:
        require_valid(loader.load(content, name, timeout_s=seconds))
    except DocumentError as exc:
        reason = exc.message
    assert reason.endswith(".")
    assert reason.isprintable()
    assert time.monotonic() - start < seconds + 1


FRAGMENTS = st.lists(
    st.sampled_from(
        [
            *("<p>", "</p>", "<table>", "<tr>", "<td>", "<th>", "</table>", "<ul>", "<li>", "</ul>", "<pre>", "</pre>"),
            *("<h1>", "</h1>", "<h2>", "<br>", "<main>", "</main>", "<nav>", "</nav>", "<title>", "<header>", "<!--"),
            *(
                "<p hidden>",
                "<script>",
                "&lt;",
                "&#0;",
                "&#xD800;",
                "&nope;",
                "<![CDATA[",
                "\ufeff",
                "\0",
                "\r\n",
                "\v",
            ),
            *("# ", "\n", "---\n", "===\n", "```\n", "~~~", "title: x\n", " ", "\t", "¶", "text", "é", "漢字", "😀"),
            *(
                '"',
                ",",
                ";",
                "\\",
                "\\ud83d",
                "\\u0000",
                "[",
                "]",
                "{",
                "}",
                "def f",
                "class A:",
                "From: a\n",
                "\x1b[0m",
            ),
            *('{"cells": [', '{"cell_type": "code", "source": ["', '"outputs": [{"text": 1}]', "Content-Type: "),
        ]
    ),
    max_size=40,
).map("".join)


@settings(max_examples=150, deadline=None)
@given(
    text=FRAGMENTS, name=st.sampled_from(NAMES), encoding=st.sampled_from(["utf-8", "utf-16", "cp1252", "utf-32-be"])
)
def test_any_text_is_read_or_refused(loader: Loader, text: str, name: str, encoding: str) -> None:
    require_outcome(loader, text.encode(encoding, "replace"), name)


@settings(max_examples=80, deadline=None)
@given(content=st.binary(max_size=300), name=st.sampled_from((*NAMES, "a.pdf", "a.docx", "a.rtf")))
def test_any_bytes_are_read_or_refused(loader: Loader, content: bytes, name: str) -> None:
    require_outcome(loader, content, name)


@pytest.mark.parametrize("name", REAL)
def test_truncated_files_are_read_or_refused(loader: Loader, name: str) -> None:
    content = REAL[name]
    for count in range(0, len(content), max(1, len(content) // 12)):
        require_outcome(loader, content[:count], name)


@pytest.mark.parametrize("name", REAL)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_damaged_files_are_read_or_refused(loader: Loader, name: str, data: st.DataObject) -> None:
    content = bytearray(REAL[name])
    if content.startswith(b"PK") and data.draw(st.booleans()):
        require_outcome(loader, _repacked(bytes(content), data), name)
        return
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    require_outcome(loader, bytes(content), name)


def _repacked(content: bytes, data: st.DataObject) -> bytes:
    """The package with one of its parts damaged, its checksums right."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as package, zipfile.ZipFile(made, "w") as changed:
        names = package.namelist()
        damaged = data.draw(st.sampled_from(names))
        for name in names:
            part = package.read(name)
            if name == damaged:
                place = data.draw(st.integers(0, len(part) - 1))
                part = part[:place] + data.draw(st.binary(max_size=5)) + part[place + data.draw(st.integers(0, 9)) :]
            changed.writestr(name, part)
    return made.getvalue()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"<div>" * 30_000, "a.html"),
        (b"<table><tr><td>" * 15_000, "a.html"),
        (b"<a " + b"b=c " * 200_000, "a.html"),
        (b"<!DOCTYPE html [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;'>]><p>&b;", "a.html"),
        (b"[" * 1_000_000, "a.json"),
        (b"\\u" * 500_000, "a.json"),
        (b'"' * 1_000_000, "a.csv"),
        (b"a" * 200 + b",b\n" + b",\n" * 50_000, "a.csv"),
        (b"# " + b" #" * 500_000, "a.md"),
        (b"a\n---\n" * 50_000, "a.md"),
        (b"---\n" + b"a: b\n" * 200_000, "a.md"),
        (b"export " * 200_000, "a.py"),
        (b"def" + b" " * 1_000_000, "a.py"),
        (b"Content-Type: multipart/mixed; boundary=a\n\n" + b"--a\n" * 50_000, "a.eml"),
        (b"{\\rtf1" + b"{" * 200_000, "a.rtf"),
        (samples.docx(("", "x" * 500_000)), "a.docx"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value[:12]),
)
def test_files_made_to_take_for_ever_do_not(loader: Loader, content: bytes, name: str) -> None:
    require_outcome(loader, content, name)


@settings(max_examples=100, deadline=None)
@given(
    text=st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\t\r"), min_size=1),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
)
def test_any_text_in_a_unicode_encoding_with_its_mark_is_read_exactly(text: str, encoding: str) -> None:
    marked = encoding != "utf-8"
    expected = normalised(text if marked else text.removeprefix("\ufeff"))
    assert decoded(text.encode(encoding)).text == expected.removeprefix("\ufeff")
