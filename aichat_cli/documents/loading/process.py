"""The worker process seen from its parent: started when first needed, asked, given up on, killed."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from aichat_cli.core.documents import Heading, LoadedDocument
from aichat_cli.core.errors import DocumentError
from aichat_cli.documents.loading.formats import Format

_MOST_ANSWER_BYTES = 400_000_000
_PIECE_BYTES = 1 << 16
_ROOT = str(Path(__file__).parents[3])
_START = "import sys; sys.path.insert(0, sys.argv[1]); from aichat_cli.documents.loading.worker import main; main()"


class Stopped(Exception):
    """The process ended, or its answer is none."""


class WorkerProcess:
    """One child that reads documents, one at a time. `kill` may come from any thread."""

    def __init__(self) -> None:
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, _ROOT],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as exc:
            raise DocumentError(f"The process that reads it cannot be started: {exc.strerror or exc}.") from exc
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._to, False)
        os.set_blocking(self._from, False)
        self._closing = threading.Lock()
        self.pid = self._process.pid
        self.is_interrupted = False

    def read(self, content: bytes, kind: Format, charset: str | None, timeout_s: float) -> LoadedDocument:
        """Have a document read. After Stopped or TimeoutError the process is of no more use: kill it.

        Raises:
            DocumentError: it cannot be read, for the reason the reader gives.
            TimeoutError: it took longer.
            Stopped: the process died of it.
        """
        deadline = time.monotonic() + timeout_s
        request = {
            "reader": kind.reader,
            "media_type": kind.media_type,
            "plugin": kind.plugin,
            "charset": charset,
            "bytes": len(content),
            "seconds": timeout_s,
        }
        self._send(json.dumps(request).encode() + b"\n", deadline)
        self._send(content, deadline)
        answer = self._answer(deadline)
        if "error" in answer:
            raise DocumentError(answer["error"])
        return LoadedDocument(
            text=answer["text"],
            media_type=answer["media_type"],
            kind=answer["kind"],
            title=answer["title"],
            headings=tuple(Heading(**heading) for heading in answer["headings"]),
            pages=tuple(answer["pages"]),
            notes=tuple(answer["notes"]),
        )

    def interrupt(self) -> None:
        """End the process at once; whoever waits for its answer is told that it stopped."""
        self.is_interrupted = True
        self._process.kill()

    def kill(self) -> None:
        """End the process and forget it. Not while another thread is in `read`: `interrupt` first."""
        with self._closing:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()

    def _send(self, data: bytes, deadline: float) -> None:
        remaining = memoryview(data)
        while remaining:
            self._wait(self._to, selectors.EVENT_WRITE, deadline)
            try:
                remaining = remaining[os.write(self._to, remaining[: 1 << 20]) :]
            except BlockingIOError:
                continue
            except OSError as exc:
                raise Stopped from exc

    def _answer(self, deadline: float) -> dict[str, Any]:
        received = bytearray()
        expected: int | None = None
        while expected is None or len(received) < expected:
            self._wait(self._from, selectors.EVENT_READ, deadline)
            try:
                piece = os.read(self._from, _PIECE_BYTES)
            except BlockingIOError:
                continue
            except OSError as exc:
                raise Stopped from exc
            if not piece:
                raise Stopped
            received += piece
            if expected is None and b"\n" in received:
                line, _, received = received.partition(b"\n")
                expected = int(json.loads(line)["bytes"])
                if expected > _MOST_ANSWER_BYTES:
                    raise DocumentError("It has more text than can be taken.")
        answer: dict[str, Any] = json.loads(received)
        return answer

    def _wait(self, descriptor: int, event: int, deadline: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, event)
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
