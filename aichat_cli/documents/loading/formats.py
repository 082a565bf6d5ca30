"""Which reader a file is for: by how it begins, then by what its server said, then by its name. Reads no further."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal

from aichat_cli.core.errors import DocumentError
from aichat_cli.core.media import sniffed_type
from aichat_cli.core.struct import Struct
from aichat_cli.documents.loading.plugged import loader_for

Reader = Literal[
    "text", "markdown", "code", "table", "json", "xml", "html", "notebook", "pdf", "office", "mail", "plugin"
]


class Format(Struct, frozen=True):
    """The reader of a file and the media type it is stored with; `plugin` names the loader that another package adds."""

    reader: Reader
    media_type: str
    plugin: str = ""


_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"(\xb5/\xfd", "a zstd archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a rar archive"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90\0", "a program"),
    (b"\xcf\xfa\xed\xfe", "a program"),
    (b"\xca\xfe\xba\xbe", "a program"),
    (b"\0asm", "a program"),
    (b"SQLite format 3\0", "a database"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office file; save it as docx, xlsx or pptx"),
)
_OFFICE = "application/vnd.openxmlformats-officedocument."
_OPEN = "application/vnd.oasis.opendocument."
DOCX, PPTX, XLSX = (
    f"{_OFFICE}wordprocessingml.document",
    f"{_OFFICE}presentationml.presentation",
    f"{_OFFICE}spreadsheetml.sheet",
)
ODT, EPUB, RTF, EML = f"{_OPEN}text", "application/epub+zip", "application/rtf", "message/rfc822"
_PACKAGES = (
    (b"word/document", DOCX),
    (b"ppt/presentation", PPTX),
    (b"xl/workbook", XLSX),
    (b"mimetypeapplication/epub+zip", EPUB),
    (b"mimetypeapplication/vnd.oasis.opendocument.text", ODT),
)
"""What stands uncompressed in the directory of a zip file, and what the file is then."""

_BY_TYPE: dict[str, Reader] = {
    "text/html": "html",
    "application/xhtml+xml": "html",
    "text/markdown": "markdown",
    "text/csv": "table",
    "text/tab-separated-values": "table",
    "application/json": "json",
    "application/xml": "xml",
    "text/xml": "xml",
    "application/x-ipynb+json": "notebook",
    "application/rtf": "office",
    "text/rtf": "office",
    "message/rfc822": "mail",
}
_BY_SUFFIX: dict[str, tuple[Reader, str]] = {
    **dict.fromkeys((".md", ".markdown", ".mdown", ".mkd", ".mdx", ".qmd", ".rmd"), ("markdown", "text/markdown")),
    **dict.fromkeys((".html", ".htm", ".xhtml"), ("html", "text/html")),
    **dict.fromkeys((".json", ".jsonl", ".ndjson", ".geojson", ".webmanifest"), ("json", "application/json")),
    **dict.fromkeys((".xml", ".xsd", ".xsl", ".rss", ".atom", ".svg", ".plist", ".opml"), ("xml", "application/xml")),
    ".csv": ("table", "text/csv"),
    ".tsv": ("table", "text/tab-separated-values"),
    ".ipynb": ("notebook", "application/x-ipynb+json"),
    ".eml": ("mail", EML),
    ".docx": ("office", DOCX),
    ".pptx": ("office", PPTX),
    ".xlsx": ("office", XLSX),
    ".odt": ("office", ODT),
    ".epub": ("office", EPUB),
    ".rtf": ("office", RTF),
    ".pdf": ("pdf", "application/pdf"),
}
_CODE_SUFFIXES = """.py .pyi .pyx .js .mjs .cjs .jsx .ts .tsx .java .kt .kts .scala .groovy .c .h .cc .cpp .cxx .hh .hpp .m .mm .cs .fs
    .go .rs .swift .rb .php .pl .pm .lua .r .jl .dart .ex .exs .erl .hrl .hs .ml .mli .clj .cljs .lisp .el .scm .sh .bash
    .zsh .fish .ps1 .bat .cmd .sql .vue .svelte .css .scss .sass .less .toml .yaml .yml .ini .cfg .conf .properties .env
    .gradle .cmake .mk .tf .hcl .proto .graphql .gql .thrift .nim .zig .v .sv .vhd .asm .s .f .f90 .f95 .pas .d .cu .glsl
    .wgsl .nix .bazel .bzl .diff .patch .awk .sed .tcl .vb .vbs .coffee .sol .cr .odin"""
_CODE_NAMES = (
    "makefile gnumakefile dockerfile containerfile jenkinsfile vagrantfile rakefile gemfile procfile build workspace"
)
_CODE = frozenset((*_CODE_SUFFIXES.split(), *_CODE_NAMES.split()))
_CONTAINERS = frozenset({"pdf", "office"})
_OURS = frozenset((*_BY_SUFFIX, *_CODE, "", ".txt", ".text", ".log", ".png", ".jpg", ".jpeg", ".gif", ".webp"))
"""Suffixes for which nobody else is asked."""


def format_of(content: bytes, name: str, media_type: str | None = None) -> Format:
    """What a file is.

    Args:
        name: of the file, its suffix counts; the last part of a path or URL.
        media_type: what a server said it is, parameters allowed.

    Raises:
        DocumentError: it is an image, an archive, a program or another thing without text to read.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    suffix = path.suffix.lower()
    if suffix not in _OURS and (added := loader_for(suffix)):
        return Format("plugin", f"application/x-{suffix[1:]}", added)
    if (signed := _signed(content)) is not None:
        return signed
    declared = (media_type or "").partition(";")[0].strip().lower()
    if (reader := _BY_TYPE.get(declared)) is not None:
        return Format(reader, RTF if declared == "text/rtf" else declared)
    if (named := _BY_SUFFIX.get(suffix)) is not None and named[0] not in _CONTAINERS:
        return Format(*named)
    if named is not None:
        raise DocumentError(f"It is damaged, or not what its name says: no {suffix[1:]} file begins so.")
    if suffix in _CODE or path.name.lower() in _CODE or content.startswith(b"#!"):
        return Format("code", "text/plain")
    return _by_opening(content)


def _signed(content: bytes) -> Format | None:
    """The formats that begin with a signature."""
    sniffed = sniffed_type(content[:4096])
    if sniffed == "application/pdf":
        return Format("pdf", sniffed)
    if sniffed is not None:
        raise DocumentError(f"It is {'an image' if sniffed.startswith('image/') else 'audio'}, which holds no text.")
    if content.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        for marker, media_type in _PACKAGES:
            if marker in content:
                return Format("office", media_type)
        raise DocumentError("It is a zip archive, or a kind of document that is not read.")
    if content.startswith(b"{\\rtf"):
        return Format("office", RTF)
    for signature, what in _SIGNATURES:
        if content.startswith(signature):
            raise DocumentError(f"It is {what}.")
    return None


def _by_opening(content: bytes) -> Format:
    opening = content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n\f").lower()
    if opening.startswith((b"<!doctype html", b"<html")):
        return Format("html", "text/html")
    if opening.startswith(b"<?xml"):
        return Format("html", "text/html") if b"<html" in opening else Format("xml", "application/xml")
    return Format("text", "text/plain")
