"""What is embedded of a chunk, and the hash that vectors are found again by."""

from __future__ import annotations

from hashlib import blake2b

HASH_BYTES = 16


def embedding_text(title: str | None, heading: str, content: str) -> str:
    """The chunk with its title and headings before it, as a line of their own; a word for word repetition is left out.

    This is what vectors are made of and hashed by; what is stored and shown is `content` alone.
    """
    name = " ".join((title or "").split())
    parts = heading.split(" > ") if heading else []
    if parts and name.casefold() == parts[0].casefold():
        name = ""
    body = content.strip()
    first_line = body.split("\n", 1)[0].strip("#=* \t")
    if parts and first_line == parts[-1]:
        parts.pop()
    if name and first_line == name:
        name = ""
    place = " > ".join([name, *parts] if name else parts)
    return f"{place}\n{body}" if place else body


def content_hash(text: str) -> bytes:
    """16 bytes, the same for the same text in every version."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES).digest()
