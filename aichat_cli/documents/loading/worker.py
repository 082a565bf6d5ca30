r"""The process in which files are read that can crash, hang or fill the memory of who reads them.

    -> {"reader": "pdf", "media_type": "...", "plugin": "", "charset": null, "bytes": 1234, "seconds": 60}\n and so many bytes
    <- {"bytes": 99}\n and so many bytes of JSON: the document, or {"error": "..."}

The parent kills it when it takes too long. It ends by itself when the parent is gone: at the end of its stdin, or by an
alarm that native code cannot hold up.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from typing import IO, Any

from aichat_cli.core.errors import DocumentError
from aichat_cli.core.struct import asdict
from aichat_cli.documents.loading.formats import Format
from aichat_cli.documents.loading.readers import MEMORY_REASON, read

MEMORY_BYTES = 2_000_000_000
_ALARM_GRACE_SECONDS = 5


def main() -> None:
    """Read one document after the other, until there is no parent to read for."""
    if hasattr(signal, "pthread_sigmask"):
        # The thread that started it may have left its signals to another, which is inherited.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _limit_memory()
    requests: queue.SimpleQueue[tuple[dict[str, Any], bytes]] = queue.SimpleQueue()
    threading.Thread(target=_take, args=(sys.stdin.buffer, requests), daemon=True).start()
    while True:
        request, content = requests.get()
        _set_alarm(request["seconds"] + _ALARM_GRACE_SECONDS)
        answer = _answer(request, content)
        del content
        try:
            answers.write(b'{"bytes": %d}\n' % len(answer))
            answers.write(answer)
            answers.flush()
        except BrokenPipeError:
            os._exit(0)
        _set_alarm(0)


def _answer(request: dict[str, Any], content: bytes) -> bytes:
    try:
        kind = Format(request["reader"], request["media_type"], request["plugin"])
        return json.dumps(asdict(read(content, kind, request["charset"]))).encode()
    except DocumentError as exc:
        reason = exc.message
    except MemoryError:
        reason = MEMORY_REASON
    except Exception as exc:  # noqa: BLE001 - whatever a reader of hostile files raises is one file's failure
        reason = f"It is damaged: its reader failed ({type(exc).__name__})."
    return json.dumps({"error": reason}).encode()


def _take(source: IO[bytes], requests: queue.SimpleQueue[tuple[dict[str, Any], bytes]]) -> None:
    """Read requests; the end of stdin ends the process, whatever it is doing."""
    while line := source.readline():
        request = json.loads(line)
        content = source.read(request["bytes"])
        if len(content) < request["bytes"]:
            break
        requests.put((request, content))
        del content
    os._exit(0)


def _set_alarm(seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _limit_memory() -> None:
    """Where the platform can, of all memory that is not a file's; a core is not written for a damaged document."""
    try:
        import resource
    except ImportError:
        return
    for name, most in (("RLIMIT_DATA", MEMORY_BYTES), ("RLIMIT_AS", 2 * MEMORY_BYTES), ("RLIMIT_CORE", 0)):
        number = getattr(resource, name, None)
        if number is None:
            continue
        try:
            _, hard = resource.getrlimit(number)
            resource.setrlimit(number, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
        except (OSError, ValueError):
            continue


if __name__ == "__main__":
    main()
