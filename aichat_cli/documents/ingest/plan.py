"""What there is to do: which files and pages are new, changed, renamed, unchanged or gone. Reads names, not contents."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aichat_cli.core.documents import Document
from aichat_cli.core.errors import NotFound
from aichat_cli.core.ingest import GivenText, IngestSource, IngestSummary
from aichat_cli.documents.sources import FoundFile, SkippedFile

_URL = re.compile(r"https?://", re.IGNORECASE)

Walk = Callable[[Path], Iterable[FoundFile | SkippedFile]]


@dataclass(frozen=True, slots=True)
class Task:
    """A document to read.

    Attributes:
        path: what it is known by: an absolute path, a URL, or `stdin:NAME`.
        root: the folder it was found in, None where it was named itself.
        text: what was handed in; None for what has to be read.
        old: what is stored of it already, unchanged in nothing but perhaps its content.
    """

    name: str
    path: str
    root: str | None
    size: int
    modified_ns: int | None
    text: bytes | None = None
    old: Document | None = None

    @property
    def is_page(self) -> bool:
        """Whether it is fetched."""
        return self.text is None and is_url(self.path)


@dataclass(slots=True)
class Plan:
    """What to read, and what is stored of files that are no longer in their folder."""

    tasks: list[Task] = field(default_factory=list)
    vanished: list[Document] = field(default_factory=list)


def is_url(source: str) -> bool:
    """Whether a source is a page of the web."""
    return _URL.match(source) is not None


def planned(
    sources: Sequence[IngestSource],
    known: Mapping[str, Document],
    walk: Walk,
    summary: IngestSummary,
    *,
    settings: str,
    again: bool,
) -> Plan:
    """Compare what there is with what is stored.

    Args:
        known: the documents of the collection by path.
        walk: what finds the files of a folder.
        summary: unchanged and skipped files are counted in it.
        settings: how documents are split now; one that was split otherwise is read again.

    Raises:
        NotFound: a source is not there.
    """
    plan = Plan()
    seen: set[str] = set()
    for source in sources:
        if isinstance(source, GivenText):
            path = f"stdin:{source.name}"
            tasks = [Task(source.name, path, None, len(source.content), None, source.content, known.get(path))]
        elif is_url(source):
            tasks = [Task(_without_password(source), source, None, 0, None, None, known.get(source))]
        else:
            tasks = _of_path(source, known, walk, summary, plan)
        for task in tasks:
            if task.path in seen:
                continue
            seen.add(task.path)
            if not again and _is_unchanged(task, settings):
                summary.unchanged += 1
            else:
                plan.tasks.append(task)
    plan.vanished = [document for document in plan.vanished if document.path not in seen]
    return plan


def _of_path(
    source: str,
    known: Mapping[str, Document],
    walk: Walk,
    summary: IngestSummary,
    plan: Plan,
) -> list[Task]:
    path = _resolved(source)
    if not path.is_dir():
        status = path.stat()
        # A document keeps the name that its folder gave it.
        old = known.get(str(path))
        name, root = (old.name, old.root) if old is not None else (path.name, None)
        return [Task(_valid(name), str(path), root, status.st_size, status.st_mtime_ns, None, old)]
    root = str(path)
    tasks: list[Task] = []
    present: set[str] = set()
    unreadable: list[str] = []
    for entry in walk(path):
        if isinstance(entry, SkippedFile):
            summary.skipped[entry.reason] += 1
            skipped = os.path.join(root, entry.name)  # noqa: PTH118 (a hundred thousand times)
            # What is in a folder that cannot be read is not gone.
            unreadable += [skipped] if skipped.endswith("/") else []
            present.add(skipped)
            continue
        found = str(entry.path)
        present.add(found)
        tasks.append(Task(entry.name, found, root, entry.size, entry.modified_ns, None, known.get(found)))
    below = root.rstrip("/") + "/"
    plan.vanished += [
        document
        for document in known.values()
        if document.path.startswith(below)
        and document.path not in present
        and not document.path.startswith(tuple(unreadable))
    ]
    return tasks


def _resolved(source: str) -> Path:
    try:
        return Path(source).expanduser().resolve(strict=True)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(
            f'There is no file or folder "{source}".', hint="What was ingested of it before is kept"
        ) from None
    except (OSError, RuntimeError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise NotFound(f'"{source}" cannot be read: {reason}.') from exc


def _without_password(url: str) -> str:
    """A URL as it may be shown; one with a user name or a password is refused when it is fetched."""
    return re.sub(r"(?<=//)[^/?#]*@", "", url)


def _valid(name: str) -> str:
    return name.encode("utf-8", "replace").decode("utf-8")


def _is_unchanged(task: Task, settings: str) -> bool:
    old = task.old
    return (
        old is not None
        and task.modified_ns is not None
        and old.size == task.size
        and old.modified_ns == task.modified_ns
        and old.settings == settings
    )
