"""Where files cost no disk: what tests write need not outlive the machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_SHARED_MEMORY = Path("/dev/shm")
_ROOM = 4 * 1024**3


def folder() -> Path | None:
    """The folder that is in memory; None where there is none, or none that will do."""
    # Containers often give it 64 MB, or forbid that programs are in it.
    is_usable = (
        os.access(_SHARED_MEMORY, os.W_OK)
        and shutil.disk_usage(_SHARED_MEMORY).free > _ROOM
        and not os.statvfs(_SHARED_MEMORY).f_flag & os.ST_NOEXEC
    )
    return _SHARED_MEMORY if is_usable else None
