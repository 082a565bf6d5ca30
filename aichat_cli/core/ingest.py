"""What an ingest is asked to do, and what it did."""

from __future__ import annotations

from collections import Counter

from aichat_cli.core.money import NANO_PER_DOLLAR
from aichat_cli.core.struct import Struct, field

MOST_LISTED = 1000
"""Failures kept with their reasons; more are counted."""


class GivenText(Struct, frozen=True):
    """A text that was handed in, not found: what is piped in."""

    name: str
    content: bytes


IngestSource = str | GivenText
"""A path of a file or folder, or a URL, as the user wrote it; or a text."""


class IngestOptions(Struct, frozen=True):
    """How to ingest.

    Attributes:
        prune: remove documents whose file is no longer in its folder.
        is_rehearsal: read and count everything, store nothing and embed nothing.
        again: read and store also what did not change.
    """

    prune: bool = False
    is_rehearsal: bool = False
    again: bool = False


class IngestPreview(Struct, frozen=True):
    """What embedding by a paid model would take. `cost_nano` is None where its price is unknown."""

    model: str
    documents: int
    tokens: int
    cost_nano: int | None

    def is_within(self, usd: float) -> bool:
        """Whether it costs at most so many dollars; what nobody knows the price of never does."""
        return self.cost_nano is not None and self.cost_nano <= usd * NANO_PER_DOLLAR


class IngestProgress(Struct, frozen=True):
    """How far it is: files, and bytes of them; `total` is None while they are being found."""

    done: int
    total: int | None
    bytes: int
    name: str


class Failure(Struct, frozen=True):
    """A file or page that could not be taken in, and why."""

    name: str
    reason: str


class IngestSummary(Struct):
    """What an ingest did, filled while it runs.

    Attributes:
        added, updated, unchanged, renamed, removed: documents.
        gone: documents whose file is no longer there and that were kept.
        chunks, tokens, bytes: of what was added and updated; bytes of the files.
        skipped: reason to number of files that are not documents, such as images.
        failures: what could not be read; the first `MOST_LISTED`.
        notes: what the user should know of single documents.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    renamed: int = 0
    removed: int = 0
    gone: int = 0
    chunks: int = 0
    tokens: int = 0
    bytes: int = 0
    seconds: float = 0.0
    skipped: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    failure_count: int = 0
    notes: list[str] = field(default_factory=list)

    def fail(self, name: str, reason: str) -> None:
        """Count what could not be read."""
        self.failure_count += 1
        if len(self.failures) < MOST_LISTED:
            self.failures.append(Failure(name, reason))

    def note(self, text: str) -> None:
        """Keep a note, up to a thousand."""
        if len(self.notes) < MOST_LISTED:
            self.notes.append(text)

    @property
    def changed(self) -> int:
        """How many documents are other than before."""
        return self.added + self.updated + self.renamed + self.removed
