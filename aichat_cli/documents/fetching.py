"""Pages of the web, fetched with limits: on size, time and redirects, and on whose machines may be asked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FetchedPage:
    """A page: its final URL, its bytes, its media type with the charset, and what to compare the next time."""

    url: str
    content: bytes
    media_type: str | None
    etag: str | None


@dataclass(frozen=True, slots=True)
class NotModified:
    """The page is as it was."""


def fetch(url: str, *, max_bytes: int, allow_private: bool, etag: str | None) -> FetchedPage | NotModified:
    raise NotImplementedError
