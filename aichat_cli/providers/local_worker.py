"""The process in which the embedded model runs: requests on stdin, what comes back on stdout, one JSON object a line.

Run as a script with one argument, the parameters as JSON: path, threads, context. It imports nothing of aichat. The
native code holds the interpreter while it loads, cannot be cancelled in the middle of a batch, and ends the process when
it fails an assertion: so it has a process of its own, which can be killed and cannot take the chat with it.

    <- {"ready": true} | {"fatal": "..."}
    -> {"id": 1, "body": {...}}          a chat completion, as OpenAI's
    -> {"stop": 1}                       no more of it
    <- {"id": 1, "chunk": {...}}         as the server streams them
    <- {"id": 1, "end": true}            always the last of a request
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from typing import IO, Any

BATCH_TOKENS = 128
"""Prompt tokens read between two looks at whether to stop."""


class Requests:
    """What the parent asks for, read by a thread; the end of stdin ends the process."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._stopped_id = 0
        self.waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def is_stopped(self, request_id: int) -> bool:
        """Whether the parent no longer wants this request."""
        return request_id <= self._stopped_id

    def _read(self) -> None:
        for line in self._source:
            message = json.loads(line)
            if "stop" in message:
                self._stopped_id = max(self._stopped_id, message["stop"])
            else:
                self.waiting.put(message)
        os._exit(0)


def load(parameters: dict[str, Any]) -> Any:
    """The loaded model as llama.cpp's server, closed to everyone who does not know a random key."""
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = parameters["path"]
    settings.n_ctx = parameters["context"]
    settings.n_parallel = 1
    settings.n_batch = settings.n_ubatch = BATCH_TOKENS
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = parameters["threads"]
    settings.warmup = False
    settings.verbosity = -1
    settings.cache_ram_mib = 0
    settings.ui = False
    settings.api_keys = [os.urandom(16).hex()]
    return xllamacpp.Server(settings)


def serve(server: Any, requests: Requests, answers: IO[bytes]) -> None:
    """Answer one request after the other, for ever."""

    def tell(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message).encode() + b"\n")
        answers.flush()

    tell({"ready": True})
    while True:
        request = requests.waiting.get()
        request_id = request["id"]

        def on_chunk(chunk: dict[str, Any], request_id: int = request_id) -> bool:
            if requests.is_stopped(request_id):
                return True
            tell({"id": request_id, "chunk": chunk})
            return False

        if not requests.is_stopped(request_id):
            server.handle_chat_completions(request["body"], on_chunk)
        tell({"id": request_id, "end": True})


def main() -> None:
    """Load and serve; whatever native code prints goes nowhere."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    requests = Requests(sys.stdin.buffer)
    try:
        server = load(json.loads(sys.argv[1]))
    except Exception as exc:  # noqa: BLE001 - whatever it is, the parent reports it
        answers.write(json.dumps({"fatal": str(exc)}).encode() + b"\n")
        answers.flush()
        os._exit(1)
    try:
        serve(server, requests, answers)
    except BrokenPipeError:
        os._exit(0)


if __name__ == "__main__":
    main()
