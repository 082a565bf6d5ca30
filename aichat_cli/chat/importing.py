"""An import from its files to the database: archives are read as they come and stored batch by batch.

A batch is small enough that other processes get at the database in between, and each is whole: whenever an import
ends, what is stored are whole conversations, and the same import again adds what is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aichat_cli.chat.archives.reading import Source, sources
from aichat_cli.core import interrupts
from aichat_cli.core.archive import ArchivedConversation, ArchiveFormat, ImportSummary
from aichat_cli.storage import imports
from aichat_cli.storage.database import Database

BATCH_CONVERSATIONS = 100
BATCH_CHARACTERS = 2_000_000

Progress = Callable[[int, int, int], None]
"""Told after each batch: what is done of how much, in bytes or rows, and how many conversations were read."""


def import_archives(
    db: Database,
    paths: list[Path],
    summary: ImportSummary,
    *,
    archive_format: ArchiveFormat = "auto",
    is_rehearsal: bool = False,
    progress: Progress = lambda _done, _total, _conversations: None,
) -> None:
    """Import every conversation of some files and folders. `summary` always tells what is stored so far.

    A rehearsal reads and counts everything and stores nothing.

    Raises:
        StorageError: the database could not be written.
    """
    for source in sources(paths, archive_format):
        for found in source.conversations():
            batch: list[ArchivedConversation] = []
            characters = 0
            for each in found:
                if isinstance(each, ArchivedConversation):
                    batch.append(each)
                    characters += sum(len(message.content) for message in each.messages)
                else:
                    summary.fail(each)
                if len(batch) >= BATCH_CONVERSATIONS or characters >= BATCH_CHARACTERS:
                    _store(db, batch, source, summary, is_rehearsal=is_rehearsal)
                    progress(source.done, source.total, summary.conversations)
                    batch, characters = [], 0
            _store(db, batch, source, summary, is_rehearsal=is_rehearsal)
            progress(source.done, source.total, summary.conversations)


def _store(
    db: Database, batch: list[ArchivedConversation], source: Source, summary: ImportSummary, *, is_rehearsal: bool
) -> None:
    """The summary counts a batch once it is stored."""
    with_messages = [conversation for conversation in batch if conversation.messages]
    empty = len(batch) - len(with_messages)
    if empty:
        summary.skipped["empty conversations"] = summary.skipped.get("empty conversations", 0) + empty
    if with_messages:
        with interrupts.shielded():
            summary.add(imports.merge(db, with_messages, source=str(source.path), is_rehearsal=is_rehearsal))
