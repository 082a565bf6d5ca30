"""Ctrl-C and SIGTERM as exceptions, and sections that they may not cut in two."""

from __future__ import annotations

import _thread
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """A signal asked the program to stop; `exit_code` is 128 + its number."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.exit_code = 128 + signal_number


_IMPORTS = "<frozen importlib."
_IMPORT_LOCKS = frozenset({"cb", "_get_module_lock", "_lock_unlock_module", "acquire", "release", "__init__"})
_LOCKING = frozenset({"__enter__", "__exit__"})
_AGAIN_SECONDS = 0.005

_shield_depth = 0
_pending_signal: int | None = None


def install() -> None:
    """Turn SIGINT, SIGTERM and SIGHUP into `Interrupted`. Call once, from the main thread."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, deliver)


def deliver(signal_number: int, frame: FrameType | None = None) -> None:
    """Raise `Interrupted` in the main thread, or hold the signal back where it is shielded: a signal handler.

    At a bad moment the signal is sent again, a few milliseconds later.
    """
    global _pending_signal
    if _shield_depth:
        _pending_signal = signal_number
    elif comes_at_a_bad_moment(frame):
        # Not by a Timer, which takes locks itself.
        _thread.start_new_thread(_send_again, (signal_number,))
    else:
        raise Interrupted(signal_number)


def comes_at_a_bad_moment(frame: FrameType | None) -> bool:
    """Whether what is raised in a frame would leave a lock taken for good, and every thread that imports waiting, or be
    lost: while a lock is being taken or given back, and in what Python's imports do around modules.
    """
    if frame is not None and (frame.f_code.co_name in _LOCKING or frame.f_code.co_filename.startswith(_IMPORTS)):
        return True
    while frame is not None:
        # Also in a handler that itself was called there.
        if frame.f_code.co_filename.startswith(_IMPORTS) and frame.f_code.co_name in _IMPORT_LOCKS | _LOCKING:
            return True
        frame = frame.f_back
    return False


def _send_again(signal_number: int) -> None:
    leave_signals_to_the_main_thread()
    time.sleep(_AGAIN_SECONDS)
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal_number)
    else:
        os.kill(os.getpid(), signal_number)


def leave_signals_to_the_main_thread() -> None:
    """Call at the start of another thread: one that took a signal would not wake the main thread from its waiting."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def is_pending() -> bool:
    """Whether a signal waits for a shield to end: what is waiting for something else should give up."""
    return _pending_signal is not None


@contextmanager
def shielded() -> Iterator[None]:
    """Hold signals back until the block ends, so that a transaction is whole; then deliver the last one.

    Signals reach only the main thread; elsewhere this does nothing.
    """
    global _shield_depth, _pending_signal
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _shield_depth += 1
    try:
        yield
    finally:
        _shield_depth -= 1
        if not _shield_depth and _pending_signal is not None:
            number, _pending_signal = _pending_signal, None
            raise Interrupted(number)
