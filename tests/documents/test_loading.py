"""What each format becomes. The samples are real files; those that need it are read in the real child process."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from aichat_cli.core.documents import LoadedDocument
from aichat_cli.core.errors import DocumentError
from aichat_cli.documents.loading.loader import Loader
from tests.documents import samples


@pytest.fixture(scope="module")
def loader() -> Iterator[Loader]:
    with Loader() as shared:
        yield shared


def headings_of(document: LoadedDocument) -> list[tuple[int, str]]:
    """Level and text, after a look that each begins where it says."""
    for heading in document.headings:
        assert document.text[heading.start :].lstrip("#").lstrip().startswith(heading.text)
    return [(heading.level, heading.text) for heading in document.headings]


def test_markdown_keeps_its_text_and_both_kinds_of_headings_but_none_of_a_fence(loader: Loader) -> None:
    document = loader.load(samples.MARKDOWN.encode(), "manual.md")
    assert document.text == samples.MARKDOWN
    assert (document.kind, document.media_type) == ("markdown", "text/markdown")
    assert document.title == "Tending the lighthouse"
    assert headings_of(document) == [(1, "Lighthouse manual"), (1, "Oil"), (2, "Fog signal")]


@pytest.mark.parametrize(
    ("text", "headings"),
    [
        ("# One\n## Two ##\n#no\n####### no\n", [(1, "One"), (2, "Two")]),
        ("Title\n---\n\n- item\n---\n\npara\ngraph\n---\n", [(2, "Title")]),
        ("~~~\n# in\n```\n# still in\n~~~\n# out\n", [(1, "out")]),
        ("````\n```\n# in\n````\n# out\n", [(1, "out")]),
        ("---\n\n# After a rule\n\n---\n# Also\n", [(1, "After a rule"), (1, "Also")]),
        ("---\n# a comment: of the front matter\nkey: 1\n---\n# Out\n", [(1, "Out")]),
        ("#\n##   \n    # code\n", []),
    ],
)
def test_only_what_is_a_heading_is_one(loader: Loader, text: str, headings: list[tuple[int, str]]) -> None:
    document = loader.load(text.encode(), "a.md")
    assert headings_of(document) == headings


def test_code_has_its_definitions_as_headings(loader: Loader) -> None:
    document = loader.load(samples.CODE.encode(), "tides.py")
    assert document.text == samples.CODE
    assert document.kind == "code"
    assert headings_of(document) == [(1, "def next_high_tide(last: float) -> float"), (1, "class Harbour")]
    other = loader.load(b"package main\n\nfunc (b *Boat) Sail(to string) error {\n}\n\npub fn row() {\n", "a.go")
    assert headings_of(other) == [(1, "func (b *Boat) Sail(to string) error"), (1, "pub fn row()")]


def test_a_page_keeps_what_a_reader_sees_and_drops_what_surrounds_every_page(loader: Loader) -> None:
    document = loader.load(samples.HTML.encode(), "tomatoes.html")
    assert document.title == "Growing tomatoes & basil"
    assert document.text == (
        "# Growing tomatoes\n\nTomatoes need six hours of direct sun — and café grounds.\n\n## Watering\n\n"
        "- Early in the morning\n- At the root\n  - never on leaves\n\n1. Dig\n2. Water\n\n"
        "| Month | Litres |\n| --- | --- |\n| June | 2 |\n| July | 3 |\n\n"
        "```\nfor plant in bed:\n    water(plant)\n```\n\nLine one\nline two\n"
    )
    assert headings_of(document) == [(1, "Growing tomatoes"), (2, "Watering")]


def test_a_page_of_nothing_but_boilerplate_is_read_with_it(loader: Loader) -> None:
    assert loader.load(b"<html><nav>Only a menu</nav></html>", "a.html").text == "Only a menu\n"


def test_a_page_without_a_main_part_keeps_the_heading_of_its_header(loader: Loader) -> None:
    page = b"<header><h1>Moths</h1><p>Sign in</p></header><p>They fly by night.</p><footer>(c)</footer>"
    assert loader.load(page, "a.html").text == "# Moths\n\nThey fly by night.\n"


def test_tables_that_lay_out_a_page_become_paragraphs(loader: Loader) -> None:
    page = "<table><tr><td>Left</td><td><h2>Right</h2><table><tr><td>a</td><td>b</td></tr></table></td></tr></table>"
    assert loader.load(page.encode(), "a.html").text == "Left\n\n## Right\n\n| a | b |\n"


@pytest.mark.parametrize(
    ("page", "media_type"),
    [
        ("<meta charset='windows-1251'><p>Привет, мир".encode("cp1251"), None),
        ('<?xml version="1.0" encoding="iso-8859-5"?><html><p>Привет, мир'.encode("iso8859_5"), None),
        ("<p>Привет, мир".encode("koi8_r"), "text/html; charset=KOI8-R"),
        ("<p>Привет, мир".encode("utf-16"), None),
        ("<meta charset=latin-1><p>Привет, мир".encode(), None),
    ],
)
def test_a_page_is_read_in_the_encoding_it_declares(loader: Loader, page: bytes, media_type: str | None) -> None:
    assert loader.load(page, "a.html", media_type=media_type).text == "Привет, мир\n"


def test_a_pdf_has_pages_a_title_an_outline_and_whole_words(loader: Loader) -> None:
    document = loader.load(samples.files()["reports/ferry.pdf"], "ferry.pdf")
    assert document.media_type == "application/pdf"
    assert document.title == "Ferry report"
    assert "an increase of nine percent" in document.text
    first, second = document.pages
    assert document.text[first:].startswith("Annual report")
    assert document.text[second:].startswith("Accidents")
    assert headings_of(document) == [(1, "Annual report"), (1, "Accidents")]


def test_pages_without_text_are_named(loader: Loader) -> None:
    document = loader.load(samples.pdf((("First",), (), ("Third",))), "a.pdf")
    assert document.notes == ("Page 2 holds no text; it may be an image.",)
    assert [document.text[start:].split()[:1] for start in document.pages] == [["First"], ["Third"], ["Third"]]
    assert loader.load(samples.pdf(((),)), "a.pdf").notes == ("None of its pages holds text; they may be images.",)


def test_a_notebook_is_its_cells_with_what_they_printed(loader: Loader) -> None:
    document = loader.load(samples.NOTEBOOK.encode(), "birds.ipynb")
    assert document.title == "Bird count"
    assert document.text == (
        "# Bird count\nHerons seen from the pier.\n\n```python\nsum(herons)\n```\n\n```\ncounting\n```\n\n```\n42\n```\n"
    )


def test_a_row_of_a_table_carries_the_names_of_its_columns(loader: Loader) -> None:
    document = loader.load(samples.CSV.encode(), "people.csv")
    assert document.kind == "table"
    assert document.text == (
        "name | born | city\nname: Ada | born: 1815 | city: London\nname: Hopper, Grace | born: 1906 | city: New York\n"
    )
    assert loader.load(b"1;2\n3;4\n", "a.csv").text == "1 | 2\n3 | 4\n"
    assert loader.load(b"a\tb\n1\t2\n", "a.tsv").text == "a | b\na: 1 | b: 2\n"
    huge = b"a,b\n1," + b"x" * 200_000 + b"\n"
    assert loader.load(huge, "a.csv").text == huge.decode()


def test_json_is_readable_and_keeps_the_lines_it_has(loader: Loader) -> None:
    written = '{\n  "name": "caf\\u00e9 \\ud83d\\ude00",\n  "note": "one\\ntwo \\"three\\""\n}\n'
    assert loader.load(written.encode(), "a.json").text == (
        '{\n  "name": "café 😀",\n  "note": "one two \\"three\\""\n}\n'
    )
    minified = json.dumps([{"n": number, "of": "x"} for number in range(500)], separators=(",", ":"))
    lines = loader.load(minified.encode(), "a.json").text.splitlines()
    assert lines[1] == '{"n":1,"of":"x"},'
    assert loader.load(b"<a><b>1</b>" * 500, "a.xml").text.splitlines()[1] == "<b>1</b>"


def test_a_mail_is_its_headers_and_what_it_says(loader: Loader) -> None:
    document = loader.load(samples.MAIL, "plan.eml")
    assert document.title == "Café plan"
    assert document.text.startswith("Subject: Café plan\nFrom: Ada <ada@example.org>\nTo: bob@example.org\n")
    assert document.text.endswith("\n\nHi Bob!\n\nThe café opens at nine.\n")
    parted = (
        b"Subject: Two\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\n"
        b"<p>Hello <b>you</b></p>\n--b\nContent-Type: image/png\nContent-Disposition: attachment; filename=x.png\n\n"
        b"aaaa\n--b--\n"
    )
    document = loader.load(parted, "two.eml")
    assert document.text == "Subject: Two\n\nHello you\n"
    assert document.notes == ("Its attachments are not read: x.png.",)


def test_a_word_file_loses_the_backslashes_its_reader_adds(loader: Loader) -> None:
    content = samples.docx(
        ("Heading1", "Offsite!"), ("", "Yes! 5 * 4 = 20 & C:\\temp <b>."), ("Heading2", "Budget"), ("", "# one")
    )
    document = loader.load(content, "offsite.docx")
    assert "Yes! 5 * 4 = 20 & C:\\temp <b>." in document.text
    assert [text for _, text in headings_of(document)] == ["Offsite!", "Budget"]
    assert document.title == "Offsite!"
    assert loader.load(samples.docx(("", "Text."), title="Named"), "a.docx").title == "Named"


@pytest.mark.parametrize(
    ("content", "name", "text"),
    [
        (samples.xlsx(), "costs.xlsx", "| Item | Cost! |\n| --- | --- |\n| Rooms | 1200 |"),
        (samples.pptx(), "road.pptx", "## Roadmap!\n\nShip it (soon)."),
        (samples.odt(), "minutes.odt", "# Minutes\n\nWe agreed! On everything."),
        (samples.epub(), "book.epub", "# Chapter One\n\nIt was a dark night! Really.\n\n# Chapter Two"),
        (samples.RTF, "ada.rtf", "Dear Ada,\n\nYes! The café is open."),
    ],
)
def test_office_files_become_markdown(loader: Loader, content: bytes, name: str, text: str) -> None:
    document = loader.load(content, name)
    assert text in document.text
    assert document.kind == "markdown"
    assert loader.load(content, "no-suffix") == document


def test_the_content_counts_before_the_type_of_the_server_and_that_before_the_name(loader: Loader) -> None:
    assert loader.load(samples.pdf(), "a.html", media_type="text/html").media_type == "application/pdf"
    assert loader.load(b"<p>Hi</p>", "a.md", media_type="text/html; charset=utf-8").text == "Hi\n"
    assert loader.load(b"# Hi", "a.md", media_type="text/plain").kind == "markdown"
    assert loader.load(b"<!doctype html><p>Hi", "page").text == "Hi\n"
    assert loader.load(b"#!/bin/sh\nexit\n", "run").kind == "code"


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        (b"", "a.txt", "It is empty."),
        (bytes(range(256)) * 4, "a.txt", "It is a binary file, not text."),
        (b"\x7fELF\x02", "a", "It is a program."),
        (b"\x89PNG\r\n\x1a\n", "a.txt", "It is an image, which holds no text."),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a.doc", "It is an old Office file; save it as docx, xlsx or pptx."),
        (samples.zipped({"a.txt": "hi"}), "a.zip", "It is a zip archive, or a kind of document that is not read."),
        (samples.pdf(password="tide"), "a.pdf", "It is encrypted: a password is needed to read it."),
        (b"%PDF-1.7 nothing else", "a.pdf", "It is damaged: no PDF file that can be read."),
        (b"no pdf", "a.pdf", "It is damaged, or not what its name says: no pdf file begins so."),
        (samples.docx(("", "x"))[:-30], "a.docx", "It is damaged: the package it comes in cannot be opened."),
        (b"{", "a.ipynb", "It is damaged: it is no whole JSON, as a notebook has to be."),
        (b"[" * 100_000, "a.ipynb", "It is damaged: it is no whole JSON, as a notebook has to be."),
        (b"[1]", "a.ipynb", "It is no notebook: it has no cells."),
    ],
)
def test_what_is_no_document_is_refused_with_its_reason(loader: Loader, content: bytes, name: str, reason: str) -> None:
    with pytest.raises(DocumentError) as caught:
        loader.load(content, name)
    assert caught.value.message == reason


def test_a_package_that_unpacks_to_more_than_memory_is_refused_unopened(loader: Loader) -> None:
    huge = bytearray(samples.docx(("", "x")))
    place = huge.find(b"PK\x01\x02")
    huge[place + 24 : place + 28] = (2_000_000_000).to_bytes(4, "little")
    with pytest.raises(DocumentError, match="unpacks to more than 500 MB"):
        loader.load(bytes(huge), "bomb.docx")
