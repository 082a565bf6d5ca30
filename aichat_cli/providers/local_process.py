"""The child process of the embedded model, seen from the parent: started, asked, stopped, killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from aichat_cli.core.struct import Struct, asdict

_STOP_SECONDS = 1.0
_READ_BYTES = 1 << 16


class Parameters(Struct, frozen=True):
    """What a model is loaded with; another value of any of them needs another process."""

    path: str
    threads: int
    context: int


class WorkerDied(Exception):
    """The process ended, or says something that is not our protocol; the text tells how."""


class WorkerProcess:
    """One child process with one model. All but `kill` is for one thread at a time."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self._buffer = b""
        self._last_id = 0
        self._is_answering = False
        script = Path(__file__).with_name("local_worker.py")
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(script), json.dumps(asdict(parameters))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as exc:
            raise WorkerDied(str(exc)) from exc

    def wait_until_loaded(self) -> None:
        """Return when requests are taken.

        Raises:
            WorkerDied: the model could not be loaded.
        """
        message = self._next_message()
        if "ready" not in message:
            raise WorkerDied(str(message.get("fatal", "unexpected answer")).rstrip("."))

    def chunks(self, body: dict[str, Any]) -> Generator[dict[str, Any], None, None]:
        """Send a request and yield what the model's server streams. Closing the generator stops the model.

        Raises:
            WorkerDied: the process ended before the answer did.
        """
        self._last_id += 1
        request_id = self._last_id
        self._is_answering = True
        self._send({"id": request_id, "body": body})
        try:
            while True:
                message = self._next_message()
                if message.get("id") != request_id:
                    raise WorkerDied("an answer to another request")
                if "end" in message:
                    self._is_answering = False
                    return
                yield message["chunk"]
        finally:
            if self._is_answering:
                self._stop(request_id)

    def is_free(self) -> bool:
        """Whether it takes a request; waits a moment for one that was stopped to come to its end."""
        if self._process.poll() is not None:
            return False
        deadline = time.monotonic() + _STOP_SECONDS
        try:
            while self._is_answering:
                message = self._next_message(deadline)
                self._is_answering = "end" not in message
        except WorkerDied:
            return False
        return True

    def kill(self) -> None:
        """End the process at once and forget it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _stop(self, request_id: int) -> None:
        try:
            self._send({"stop": request_id})
        except WorkerDied:
            return

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        remaining = memoryview(json.dumps(message).encode() + b"\n")
        try:
            while remaining:
                remaining = remaining[self._process.stdin.write(remaining) or 0 :]
        except (OSError, ValueError) as exc:
            raise WorkerDied(self._ending()) from exc

    def _next_message(self, deadline: float | None = None) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            self._read_more(deadline)
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            message = json.loads(line)
        except ValueError as exc:
            raise WorkerDied("an answer that is not JSON") from exc
        if not isinstance(message, dict):
            raise WorkerDied("an answer that is no object")
        return message

    def _read_more(self, deadline: float | None) -> None:
        assert self._process.stdout is not None
        timer = threading.Timer(max(0.0, deadline - time.monotonic()), self._process.kill) if deadline else None
        if timer:
            timer.start()
        try:
            data = os.read(self._process.stdout.fileno(), _READ_BYTES)
        except (OSError, ValueError) as exc:
            raise WorkerDied(self._ending()) from exc
        finally:
            if timer:
                timer.cancel()
        if not data:
            raise WorkerDied(self._ending())
        self._buffer += data

    def _ending(self) -> str:
        """How the process ended, in words."""
        try:
            code = self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return "it closed its output"
        return f"its process was ended by signal {-code}" if code < 0 else f"its process ended with exit code {code}"
