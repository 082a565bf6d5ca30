"""A loader of `.memo` files: the first line is the title, an empty line, then the text."""

from __future__ import annotations

from aichat_cli.plugins import DocumentError, Heading, LoadedDocument


def load(content: bytes) -> LoadedDocument:
    """Called in a process that can be killed, with the whole file."""
    title, gap, text = content.decode("utf-8", "replace").partition("\n\n")
    if not gap:
        raise DocumentError("It is no memo: no empty line follows its title.")
    return LoadedDocument(
        text=f"{title}\n\n{text}",
        media_type="application/x-memo",
        title=title,
        headings=(Heading(0, 1, title),),
    )
