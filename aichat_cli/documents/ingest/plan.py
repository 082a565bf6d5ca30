"""What there is to do: which files and pages are new, changed, renamed, unchanged or gone. Reads names, not contents."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from aichat_cli.core.documents import Document
from aichat_cli.core.errors import NotFound
from aichat_cli.core.ingest import GivenText, IngestSource, IngestSummary
from aichat_cli.core.struct import Struct, field
from aichat_cli.documents.sources import FoundFile, SkippedFile

_URL = re.compile(r"https?://", re.IGNORECASE)

Walk = Callable[[Path], Iterable[FoundFile | SkippedFile]]


class Task(Struct, frozen=True):
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


class Plan(Struct):
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
    planner = _Planner(known, walk, summary, settings, again=again)
    for source in sources:
        planner.take(source)
    planner.plan.vanished = [document for document in planner.plan.vanished if document.path not in planner.seen]
    return planner.plan


class _Planner:
    """The plan as it grows, a source at a time; `seen` are the paths that have been looked at."""

    def __init__(
        self, known: Mapping[str, Document], walk: Walk, summary: IngestSummary, settings: str, *, again: bool
    ) -> None:
        self.plan = Plan()
        self.seen: set[str] = set()
        self._known = known
        self._walk = walk
        self._summary = summary
        self._settings = settings
        self._again = again

    def take(self, source: IngestSource) -> None:
        if isinstance(source, GivenText):
            path = f"stdin:{source.name}"
            self._add(Task(source.name, path, None, len(source.content), None, source.content, self._known.get(path)))
        elif is_url(source):
            self._add(Task(_without_password(source), source, None, 0, None, None, self._known.get(source)))
        else:
            resolved = _resolved(source)
            if resolved.is_dir():
                self._take_folder(resolved)
            else:
                self._take_file(resolved)

    def _take_file(self, path: Path) -> None:
        status = path.stat()
        # A document keeps the name that its folder gave it.
        old = self._known.get(str(path))
        name, root = (old.name, old.root) if old is not None else (path.name, None)
        self._add_file(FoundFile(str(path), _valid(name), status.st_size, status.st_mtime_ns), root)

    def _take_folder(self, path: Path) -> None:
        root = str(path)
        present: set[str] = set()
        unreadable: list[str] = []
        for entry in self._walk(path):
            if isinstance(entry, SkippedFile):
                self._summary.skipped[entry.reason] += 1
                skipped = os.path.join(root, entry.name)  # noqa: PTH118 (a hundred thousand times)
                # What is in a folder that cannot be read is not gone.
                unreadable += [skipped] if skipped.endswith("/") else []
                present.add(skipped)
                continue
            present.add(entry.path)
            self._add_file(entry, root)
        below = root.rstrip("/") + "/"
        self.plan.vanished += [
            document
            for document in self._known.values()
            if document.path not in present
            and document.path.startswith(below)
            and not document.path.startswith(tuple(unreadable))
        ]

    def _add_file(self, file: FoundFile, root: str | None) -> None:
        old = self._known.get(file.path)
        if self._again or old is None or not _is_unchanged(old, file, self._settings):
            self._add(Task(file.name, file.path, root, file.size, file.modified_ns, None, old))
        elif file.path not in self.seen:
            self.seen.add(file.path)
            self._summary.unchanged += 1

    def _add(self, task: Task) -> None:
        if task.path not in self.seen:
            self.seen.add(task.path)
            self.plan.tasks.append(task)


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


def _is_unchanged(old: Document, file: FoundFile, settings: str) -> bool:
    return old.modified_ns == file.modified_ns and old.size == file.size and old.settings == settings
