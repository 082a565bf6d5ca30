"""Small real files of every kind that is read, and a folder of them."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

MARKDOWN = """---
title: Tending the lighthouse
tags: [sea, lamp]
---

# Lighthouse manual

The lamp is lit at dusk and put out at dawn.

Oil
===

Whale oil was replaced by kerosene in 1869.

```sh
# not a heading
make lamp
```

## Fog signal ##

Three blasts every ninety seconds. A steam siren replaced the bell.
"""

HTML = """<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>Growing tomatoes &amp; basil</title>
<style>p { color: red }</style><script>var tracked = "by the script";</script></head>
<body>
<header><a href="/">Garden Weekly</a> <p>Subscribe to the newsletter</p></header>
<nav><ul><li>Home</li><li>About the site</li></ul></nav>
<main>
<h1>Growing tomatoes</h1>
<p>Tomatoes need six hours of <b>direct</b> sun &mdash; and caf&eacute; grounds.</p>
<p hidden>This was withdrawn.</p><p style="display: none">Secret instructions for a machine.</p>
<h2>Watering</h2>
<ul><li>Early in the morning</li><li>At the root<ul><li>never on leaves</li></ul></li></ul>
<ol><li>Dig</li><li>Water</li></ol>
<table><tr><th>Month</th><th>Litres</th></tr><tr><td>June</td><td>2</td></tr><tr><td>July</td><td>3</td></tr></table>
<pre><code>for plant in bed:
    water(plant)</code></pre>
<p>Line one<br>line two</p>
</main>
<aside>Advertisement: buy seeds</aside>
<footer>Copyright Garden Weekly</footer>
</body></html>
"""

CODE = '''"""Tide tables."""

import math

MOON_HOURS = 12.42


def next_high_tide(last: float) -> float:
    """When the water is highest again."""
    return last + MOON_HOURS


class Harbour:
    def depth(self, hours: float) -> float:
        return 4.0 + 2.0 * math.cos(2 * math.pi * hours / MOON_HOURS)
'''

CSV = 'name,born,city\nAda,1815,London\n"Hopper, Grace",1906,"New York"\n'

NOTEBOOK = json.dumps(
    {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"language": "python", "name": "python3"}},
        "cells": [
            {"cell_type": "markdown", "metadata": {}, "source": ["# Bird count\n", "Herons seen from the pier."]},
            {
                "cell_type": "code",
                "metadata": {},
                "execution_count": 1,
                "source": "sum(herons)",
                "outputs": [
                    {"output_type": "stream", "name": "stdout", "text": ["\x1b[31mcounting\x1b[0m\n"]},
                    {"output_type": "execute_result", "data": {"text/plain": "42", "image/png": "aGlkZGVu"}},
                ],
            },
        ],
    }
)

MAIL = (
    "From: Ada <ada@example.org>\r\nTo: bob@example.org\r\nSubject: =?utf-8?q?Caf=C3=A9_plan?=\r\n"
    "Date: Mon, 3 Nov 2025 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    "Content-Transfer-Encoding: 8bit\r\n\r\nHi Bob!\r\n\r\nThe café opens at nine.\r\n"
).encode()

RTF = rb"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}\f0\fs24 Dear Ada,\par Yes! The caf\'e9 is open.\par}"

_REPORT_PAGES = (
    ("Annual report of the ferry company", "Passengers rose to 81,000, an in-", "crease of nine percent."),
    ("Accidents", "There were no accidents in the year of the report."),
)


def pdf(
    pages: tuple[tuple[str, ...], ...] = _REPORT_PAGES,
    *,
    title: str = "",
    outline: tuple[tuple[str, int], ...] = (),
    password: str = "",
) -> bytes:
    """A PDF file with lines of text (ASCII) on its pages, and entries of an outline with the page, from 0, they lead to.

    With a password it says that it is encrypted, so that nobody reads it without.
    """
    page_numbers = [4 + 2 * index for index in range(len(pages))]
    first_entry = 4 + 2 * len(pages)
    kids = " ".join(f"{number} 0 R" for number in page_numbers)
    objects: list[str] = [
        f"<< /Type /Catalog /Pages 2 0 R{f' /Outlines {first_entry} 0 R' if outline else ''} >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, lines in zip(page_numbers, pages, strict=True):
        shown = " ".join(f"({_escaped(line)}) Tj T*" for line in lines)
        stream = f"BT /F1 12 Tf 14 TL 72 720 Td {shown} ET"
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> "
            f"/Contents {number + 1} 0 R >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    if outline:
        last = first_entry + len(outline)
        objects.append(f"<< /Type /Outlines /First {first_entry + 1} 0 R /Last {last} 0 R /Count {len(outline)} >>")
        for place, (text, page) in enumerate(outline, first_entry + 1):
            after = f" /Next {place + 1} 0 R" if place < last else ""
            before = f" /Prev {place - 1} 0 R" if place > first_entry + 1 else ""
            objects.append(
                f"<< /Title ({_escaped(text)}) /Parent {first_entry} 0 R{after}{before} "
                f"/Dest [{page_numbers[page]} 0 R /Fit] >>"
            )
    trailer = ""
    if title:
        objects.append(f"<< /Title ({_escaped(title)}) >>")
        trailer += f" /Info {len(objects)} 0 R"
    if password:
        objects.append(_encryption(password))
        trailer += f" /Encrypt {len(objects)} 0 R /ID [<{'00' * 16}> <{'00' * 16}>]"
    return _pdf_file(objects, trailer)


def docx(*paragraphs: tuple[str, str], title: str = "") -> bytes:
    """A Word file of paragraphs: style (`Heading1`, or nothing) and text."""
    body = "".join(
        f"<w:p>{f'<w:pPr><w:pStyle w:val={style!r}/></w:pPr>' if style else ''}"
        f'<w:r><w:t xml:space="preserve">{text.replace("&", "&amp;").replace("<", "&lt;")}</w:t></w:r></w:p>'
        for style, text in paragraphs
    )
    document = f'<w:document xmlns:w="{_WORD}"><w:body>{body}</w:body></w:document>'
    files = {
        "[Content_Types].xml": _types("word/document.xml", "wordprocessingml.document.main"),
        "_rels/.rels": _relations("officeDocument", "word/document.xml"),
        "word/document.xml": document,
    }
    if title:
        files["docProps/core.xml"] = (
            f'<cp:coreProperties xmlns:cp="{_PACKAGE}/metadata/core-properties" '
            f'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{title}</dc:title></cp:coreProperties>'
        )
    return zipped(files)


def xlsx() -> bytes:
    """A workbook of one sheet."""
    cell = '<c r="{}" t="inlineStr"><is><t>{}</t></is></c>'
    rows = "".join(
        f'<row r="{number}">{cell.format(f"A{number}", item)}{cell.format(f"B{number}", cost)}</row>'
        for number, (item, cost) in enumerate((("Item", "Cost!"), ("Rooms", "1200")), 1)
    )
    return zipped(
        {
            "[Content_Types].xml": _types("xl/workbook.xml", "spreadsheetml.sheet.main"),
            "_rels/.rels": _relations("officeDocument", "xl/workbook.xml"),
            "xl/workbook.xml": f'<workbook xmlns="{_MAIN}spreadsheetml/2006/main" xmlns:r="{_RELATIONS}">'
            '<sheets><sheet name="Costs" sheetId="1" r:id="rId1"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": _relations("worksheet", "worksheets/sheet1.xml"),
            "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{_MAIN}spreadsheetml/2006/main">'
            f"<sheetData>{rows}</sheetData></worksheet>",
        }
    )


def pptx() -> bytes:
    """A presentation of one slide."""
    spaces = f'xmlns:a="{_MAIN}drawingml/2006/main" xmlns:p="{_MAIN}presentationml/2006/main" xmlns:r="{_RELATIONS}"'
    text = "<p:txBody><a:p><a:r><a:t>{}</a:t></a:r></a:p></p:txBody>"
    head = '<p:nvSpPr><p:cNvPr id="{}" name="n"/><p:cNvSpPr/><p:nvPr>{}</p:nvPr></p:nvSpPr>'
    title = "<p:sp>" + head.format(1, "<p:ph type='title'/>") + text.format("Roadmap!") + "</p:sp>"
    shapes = f"{title}<p:sp>{head.format(2, '')}{text.format('Ship it (soon).')}</p:sp>"
    return zipped(
        {
            "[Content_Types].xml": _types("ppt/presentation.xml", "presentationml.presentation.main"),
            "_rels/.rels": _relations("officeDocument", "ppt/presentation.xml"),
            "ppt/presentation.xml": f"<p:presentation {spaces}><p:sldIdLst>"
            '<p:sldId id="256" r:id="rId1"/></p:sldIdLst></p:presentation>',
            "ppt/_rels/presentation.xml.rels": _relations("slide", "slides/slide1.xml"),
            "ppt/slides/slide1.xml": f"<p:sld {spaces}><p:cSld><p:spTree>{shapes}</p:spTree></p:cSld></p:sld>",
        }
    )


def odt() -> bytes:
    """An OpenDocument text."""
    space = "urn:oasis:names:tc:opendocument:xmlns"
    return zipped(
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "content.xml": f'<office:document-content xmlns:office="{space}:office:1.0" xmlns:text="{space}:text:1.0">'
            '<office:body><office:text><text:h text:outline-level="1">Minutes</text:h>'
            "<text:p>We agreed! On everything.</text:p></office:text></office:body></office:document-content>",
        }
    )


def epub() -> bytes:
    """A book of two chapters."""
    chapter = '<html xmlns="http://www.w3.org/1999/xhtml"><body><h1>{}</h1><p>{}</p></body></html>'
    item = '<item id="{0}" href="{0}.xhtml" media-type="application/xhtml+xml"/>'
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container version="1.0" '
            'xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile full-path="content.opf" '
            'media-type="application/oebps-package+xml"/></rootfiles></container>',
            "content.opf": '<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id"><metadata '
            'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>Small Book</dc:title><dc:identifier id="id">x'
            f"</dc:identifier></metadata><manifest>{item.format('a')}{item.format('b')}</manifest>"
            '<spine><itemref idref="a"/><itemref idref="b"/></spine></package>',
            "a.xhtml": chapter.format("Chapter One", "It was a dark night! Really."),
            "b.xhtml": chapter.format("Chapter Two", "The whale surfaced."),
        }
    )


def zipped(files: dict[str, str]) -> bytes:
    """A zip file; what is called `mimetype` stands first and uncompressed, as such packages want it."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as package:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)  # of 1980: the same bytes whenever they are made
            entry.compress_type = zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED
            package.writestr(entry, content)
    return made.getvalue()


def files() -> dict[str, bytes]:
    """The folder of real documents by name; some are there to be refused."""
    return {
        "manual.md": MARKDOWN.encode(),
        "garden/tomatoes.html": HTML.encode(),
        "reports/ferry.pdf": pdf(title="Ferry report", outline=(("Annual report", 0), ("Accidents", 1))),
        "reports/secret.pdf": pdf(password="tide"),
        "reports/offsite.docx": docx(
            ("Heading1", "Offsite"),
            ("", "Yes! It went well (mostly)."),
            ("Heading2", "Budget"),
            ("", "1200 for rooms."),
        ),
        "birds.ipynb": NOTEBOOK.encode(),
        "src/tides.py": CODE.encode(),
        "people.csv": CSV.encode(),
        "mail/plan.eml": MAIL,
        "old/wide.txt": "Der Leuchtturmwärter grüßt die Möwen.\r\nZweite Zeile.\r\n".encode("utf-16"),
        "old/latin.txt": "Le phare éclaire la mer à minuit — déjà vu.\n".encode("cp1252"),
        "empty.txt": b"",
        "core.dump": bytes(range(256)) * 16,
        "lamp.png": b"\x89PNG\r\n\x1a\n" + bytes(64),
        "notes/ignored.log": b"never to be found\n",
        ".hidden.md": b"# Hidden\n",
    }


def write_folder(folder: Path) -> None:
    """Make a folder of real documents: all of `files`, an ignore file, a link loop, a dead link and one that leads out."""
    for name, content in files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / ".gitignore").write_text("*.log\n")
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "dead").symlink_to("nowhere")
    (folder / "out").symlink_to(folder.parent, target_is_directory=True)


_MAIN = "http://schemas.openxmlformats.org/"
_WORD = f"{_MAIN}wordprocessingml/2006/main"
_PACKAGE = f"{_MAIN}package/2006"
_RELATIONS = f"{_MAIN}officeDocument/2006/relationships"
_PADDING = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")


def _types(part: str, kind: str) -> str:
    return (
        f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/><Override '
        f'PartName="/{part}" ContentType="application/vnd.openxmlformats-officedocument.{kind}+xml"/></Types>'
    )


def _relations(kind: str, target: str) -> str:
    return (
        f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="rId1" '
        f'Type="{_RELATIONS}/{kind}" Target="{target}"/></Relationships>'
    )


def _pdf_file(objects: list[str], trailer: str) -> bytes:
    made = bytearray(b"%PDF-1.4\n")
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(made))
        made += f"{number} 0 obj\n{content}\nendobj\n".encode("latin-1")
    entries = "".join(f"{place:010} 00000 n \n" for place in places)
    made += (
        f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{entries}"
        f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R{trailer} >>\nstartxref\n{len(made)}\n%%EOF\n"
    ).encode("latin-1")
    return bytes(made)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")


def _encryption(password: str) -> str:
    """The standard security handler, revision 2, of the PDF reference."""
    padded = (password.encode() + _PADDING)[:32]
    owner = _rc4(hashlib.md5(padded).digest()[:5], padded)
    permissions = -4
    key = hashlib.md5(padded + owner + permissions.to_bytes(4, "little", signed=True) + bytes(16)).digest()[:5]
    user = _rc4(key, _PADDING)
    return f"<< /Filter /Standard /V 1 /R 2 /O <{owner.hex()}> /U <{user.hex()}> /P {permissions} >>"


def _rc4(key: bytes, data: bytes) -> bytes:
    state = list(range(256))
    swap = 0
    for index in range(256):
        swap = (swap + state[index] + key[index % len(key)]) % 256
        state[index], state[swap] = state[swap], state[index]
    made = bytearray()
    first = second = 0
    for byte in data:
        first = (first + 1) % 256
        second = (second + state[first]) % 256
        state[first], state[second] = state[second], state[first]
        made.append(byte ^ state[(state[first] + state[second]) % 256])
    return bytes(made)
