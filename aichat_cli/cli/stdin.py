"""What was piped in, read without ever hanging on a pipe that has nothing to say."""

from __future__ import annotations

import os
import select
import stat
import sys
from pathlib import Path

from aichat_cli.core.errors import AichatError
from aichat_cli.render.diagnostics import Diagnostics

GRACE_SECONDS = 2.0
"""How long a pipe nobody asked for may stay silent before we look who holds its other end."""


def piped_text(diagnostics: Diagnostics, *, is_needed: bool, is_asked_for: bool) -> str:
    """Everything on stdin when it is a pipe, a socket or a file; empty otherwise.

    Args:
        is_asked_for: the prompt is `-`: a terminal is read too, up to Ctrl+D.
        is_needed: there is no other prompt, so wait as long as it takes. Else a silent pipe that no pipeline feeds
            (a service manager's, an editor's) is passed over after two seconds, and that is said.
    """
    try:
        descriptor = sys.stdin.fileno()
        mode = os.fstat(descriptor).st_mode
    except (OSError, ValueError, AttributeError):
        return ""  # closed, as under some service managers
    if stat.S_ISREG(mode) or (is_asked_for and os.isatty(descriptor)):
        return _read(descriptor)
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return ""
    if not is_needed and not _says_something(descriptor, diagnostics):
        diagnostics.notice("stdin is a silent pipe: answering without it. To wait for it, give - as the prompt.")
        return ""
    return _read(descriptor)


def _says_something(descriptor: int, diagnostics: Diagnostics) -> bool:
    if select.select([descriptor], [], [], GRACE_SECONDS)[0]:
        return True
    if not _has_pipeline_writer(descriptor):
        return False
    diagnostics.notice("Waiting for what is piped in.")
    return True


def _has_pipeline_writer(descriptor: int) -> bool:
    """Whether a process that is not an ancestor of ours holds the pipe's other end: `slow | aichat ...`.

    Only Linux tells; elsewhere a pipe is taken for a pipeline, whose data must not be lost.
    """
    try:
        pipe = os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return True
    ours = _ancestors() | {os.getpid()}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) in ours:
            continue
        try:
            held = {os.readlink(entry) for entry in (process / "fd").iterdir()}
        except OSError:
            continue
        if pipe in held:
            return True
    return False


def _ancestors() -> set[int]:
    found: set[int] = set()
    process = os.getppid()
    while process > 1 and process not in found:
        found.add(process)
        try:
            fields = Path(f"/proc/{process}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            break
        process = int(fields[1])
    return found | {1}


def _read(descriptor: int) -> str:
    pieces = []
    try:
        while piece := os.read(descriptor, 1 << 20):
            pieces.append(piece)
    except OSError as exc:
        raise AichatError(f"Cannot read stdin: {exc.strerror}.") from exc
    return b"".join(pieces).decode("utf-8", "replace")
