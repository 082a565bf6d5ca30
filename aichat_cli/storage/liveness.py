"""Which turns are still being written: one byte of `<database>-live` is locked for each, by the process that writes it.

The kernel drops such a lock when its process dies, whatever kills it, so no process id and no timeout is needed.
A process has one descriptor per file here and remembers its own turns: POSIX locks of one process never conflict,
and closing any descriptor of a file drops all of them.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path


class _LiveFile:
    """The open lock file of one database and the turns this process writes in it."""

    def __init__(self, descriptor: int | None) -> None:
        self.descriptor = descriptor
        self.own: set[int] = set()


_files: dict[str, _LiveFile] = {}
_mutex = threading.Lock()


def hold(path: Path | None, seq: int) -> None:
    """Mark a turn as being written by this process. Call before the transaction that shows it to others commits."""
    if path is None:
        return
    with _mutex:
        live = _live_file(path)
        live.own.add(seq)
        if live.descriptor is not None:
            _try_lock(live.descriptor, seq)


def claim(path: Path | None, seq: int) -> bool:
    """Mark something as being done by this process, if nobody is doing it; whether it is ours now. `release` ends it.

    Where the lock file cannot be opened only this process is known of.
    """
    if path is None:
        return True
    with _mutex:
        live = _live_file(path)
        if seq in live.own or (live.descriptor is not None and not _try_lock(live.descriptor, seq)):
            _close_if_idle(path)
            return False
        live.own.add(seq)
        return True


def release(path: Path | None, seq: int) -> None:
    """The turn is settled, or was never begun."""
    if path is None:
        return
    with _mutex:
        live = _live_file(path)
        if seq in live.own and live.descriptor is not None:
            _unlock(live.descriptor, seq)
        live.own.discard(seq)
        _close_if_idle(path)


def is_own(path: Path | None, seq: int) -> bool:
    """Whether this process is writing the turn."""
    if path is None:
        return False
    with _mutex:
        live = _files.get(_key(path))
        return live is not None and seq in live.own


def abandoned(path: Path | None, seqs: Iterable[int]) -> list[int]:
    """Those of the turns that certainly nobody is writing any more; none where the lock file cannot be opened."""
    if path is None:
        return []
    with _mutex:
        live = _live_file(path)
        try:
            return [seq for seq in seqs if seq not in live.own and _is_free(live.descriptor, seq)]
        finally:
            _close_if_idle(path)


def _live_file(path: Path) -> _LiveFile:
    key = _key(path)
    if key not in _files:
        try:
            descriptor = os.open(key, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            descriptor = None
        _files[key] = _LiveFile(descriptor)
    return _files[key]


def _close_if_idle(path: Path) -> None:
    live = _files[_key(path)]
    if not live.own:
        del _files[_key(path)]
        if live.descriptor is not None:
            os.close(live.descriptor)


@lru_cache(maxsize=64)
def _key(path: Path) -> str:
    return f"{os.path.realpath(path)}-live"


def _is_free(descriptor: int | None, seq: int) -> bool:
    if descriptor is None or not _try_lock(descriptor, seq, shared=True):
        return False
    _unlock(descriptor, seq)
    return True


def _forget() -> None:
    """In a forked child: the turns are its parent's, whose locks the child neither has nor can drop."""
    global _mutex
    _mutex = threading.Lock()
    for live in _files.values():
        if live.descriptor is not None:
            os.close(live.descriptor)
    _files.clear()


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int, seq: int, *, shared: bool = False) -> bool:  # noqa: ARG001 (Windows knows one kind)
        os.lseek(descriptor, seq, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(descriptor: int, seq: int) -> None:
        os.lseek(descriptor, seq, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(descriptor: int, seq: int, *, shared: bool = False) -> bool:
        try:
            fcntl.lockf(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB, 1, seq)
        except OSError:
            return False
        return True

    def _unlock(descriptor: int, seq: int) -> None:
        fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, seq)

    os.register_at_fork(after_in_child=_forget)
