"""What reads files, folders and pages for a prompt, as the program puts it together."""

from __future__ import annotations

from pathlib import Path

from aichat_cli.chat.inclusions import Readers
from aichat_cli.documents.fetching import Fetcher
from aichat_cli.documents.loading.loader import Loader
from aichat_cli.documents.sources import walk
from aichat_cli.providers.connect import connect_to, proxy_headers

MB = 1_000_000


def readers(loader: Loader | None = None, *, max_bytes: int = MB) -> Readers:
    """The real ones; pages may be of this machine. Hand in a loader that is closed where PDF files are read."""
    loading = loader or Loader()
    fetcher = Fetcher(connect_to, proxy_headers, max_bytes=max_bytes, allow_private=True)
    return Readers(
        load=lambda content, name, media_type: loading.load(content, name, media_type=media_type),
        fetch=fetcher.fetch,
        walk=lambda folder: walk(Path(folder), ignore=(), max_bytes=max_bytes),
        max_bytes=max_bytes,
    )
