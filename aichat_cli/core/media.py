"""What a file is, told by its first bytes; by its name only where no one could be mistaken for another."""

from __future__ import annotations

import codecs
from pathlib import PurePath

_SIGNATURES: tuple[tuple[bytes, int, bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", 0, b"", "image/png"),
    (b"\xff\xd8\xff", 0, b"", "image/jpeg"),
    (b"GIF87a", 0, b"", "image/gif"),
    (b"GIF89a", 0, b"", "image/gif"),
    (b"RIFF", 8, b"WEBP", "image/webp"),
    (b"RIFF", 8, b"WAVE", "audio/wav"),
    (b"ID3", 0, b"", "audio/mpeg"),
)
"""How a file begins, and what stands at an offset after that."""

RASTER_IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})

_BY_SUFFIX = {
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".avif": "image/avif",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".bmp": "image/bmp",
    ".ogg": "audio/ogg",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".aac": "audio/aac",
}
"""Kinds some providers read. Those above are not here: a `.png` that does not begin as one is none."""

_UTF32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_BINARY = bytes({*range(0x20), 0x7F} - {*b"\t\n\v\f\r\b\x1b"})
"""Control characters that no text of a one-byte encoding has; tabs, line ends and escape sequences it may have."""


def media_type_of(name: str, content: bytes) -> str | None:
    """The media type of a file a model may read besides text; None for text and for what is not known."""
    if sniffed := sniffed_type(content):
        return sniffed
    return None if text_of(content) is not None else _BY_SUFFIX.get(PurePath(name).suffix.lower())


def sniffed_type(content: bytes) -> str | None:
    """The media type of the formats that begin with a signature, None for all others."""
    for opening, offset, marker, media_type in _SIGNATURES:
        is_opening = content.startswith(opening) and content.startswith(marker, offset)
        # An opening of letters may begin a text about such files.
        if is_opening and (not opening.isalnum() or text_of(content) is None):
            return media_type
    if content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n\f\0").startswith(b"%PDF-"):
        return "application/pdf"
    return "audio/mpeg" if _is_mp3_frame(content) else None


def stored_type(name: str, content: bytes) -> str:
    """The media type of any file: by its bytes, else by the suffix of its name, else `application/octet-stream`."""
    from mimetypes import guess_type

    return media_type_of(name, content) or guess_type(name)[0] or "application/octet-stream"


def text_of(content: bytes) -> str | None:
    """The text of a file without its byte order mark, None where it is no text.

    UTF-8, UTF-16 and UTF-32 with a mark, or else Windows-1252, which is Latin-1 with letters where that has none.
    """
    for encoding in _encodings(content):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        return None if "\0" in text else text
    return None


def _encodings(content: bytes) -> tuple[str, ...]:
    if content.startswith(_UTF32):
        return ("utf-32",)
    if content.startswith(_UTF16):
        return ("utf-16",)
    has_controls = content.translate(None, _BINARY) != content
    return ("utf-8-sig",) if has_controls else ("utf-8-sig", "cp1252", "latin-1")


def _is_mp3_frame(content: bytes) -> bool:
    """Eleven bits of ones, layer III, and neither a bit rate nor a sampling rate that does not exist."""
    if len(content) < 4 or content[0] != 0xFF or content[1] & 0xE6 != 0xE2:
        return False
    return content[1] & 0x18 != 0x08 and content[2] & 0xF0 != 0xF0 and content[2] & 0x0C != 0x0C
