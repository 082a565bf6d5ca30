"""What a file is, told by its first bytes; its name and its claimed type may lie."""

from __future__ import annotations

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"ID3", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
)
RASTER_IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


def sniffed_type(content: bytes) -> str | None:
    """The media type of the formats that begin with a signature, None for all others."""
    if content[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(content[8:12])
    return next((media_type for magic, media_type in _MAGIC if content.startswith(magic)), None)


def media_type_of(name: str, content: bytes) -> str:
    """By the bytes, else by the suffix of the name, else `application/octet-stream`."""
    from mimetypes import guess_type

    return sniffed_type(content) or guess_type(name)[0] or "application/octet-stream"
