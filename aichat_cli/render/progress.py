"""Progress bars on stderr; nothing where nobody watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def byte_progress(label: str, total: int) -> Iterator[Callable[[int, int], None]]:
    """A bar that is told (bytes done, bytes in all)."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(label, total=total)
        yield lambda done, whole: progress.update(task, completed=done, total=whole)


@contextmanager
def import_progress(label: str) -> Iterator[Callable[[int, int, int], None]]:
    """A bar that is told (done, in all, conversations read), with the conversations a second."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[conversations]:,} conversations, {task.fields[rate]:,.0f}/s"),
    )
    began = time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(label, total=None, conversations=0, rate=0.0)

        def update(done: int, total: int, conversations: int) -> None:
            rate = conversations / max(time.monotonic() - began, 0.001)
            progress.update(task, completed=done, total=total or None, conversations=conversations, rate=rate)

        yield update
