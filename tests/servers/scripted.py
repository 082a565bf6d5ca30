"""A threaded loopback server that answers as `tests.servers.script` says, in OpenAI's dialect at any path that ends in
`/chat/completions` or `/embeddings` and in Anthropic's at any that ends in `/messages`.

    with ScriptedServer([{"status": 500}, {"deltas": ["Hel", "lo"]}]) as server:
        call(server.openai_url)          # http://127.0.0.1:PORT/v1
        server.requests[0].body["model"], server.requests[0].headers["authorization"]

As a process: `python -m tests.servers.scripted --port 0 --script FILE.json [--log FILE.jsonl]` prints its port and
serves until it is ended; the log gets one JSON object per request.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.servers.script import (
    Dialect,
    Part,
    Script,
    anthropic_stream,
    echo_script,
    embedding_answer,
    error_body,
    openai_stream,
    whole_answer,
)

ScriptLike = Script | Mapping[str, Any]


class _Hangup(Exception):
    """The connection is over: cut by the script, left by the client, or the server closes."""


@dataclass(slots=True)
class RecordedRequest:
    """One request as it arrived. `answered` is set when the response was sent whole, `client_left` when the client
    closed the connection before that (`left_at` is when, by time.monotonic)."""

    method: str
    path: str
    headers: dict[str, str]
    raw_body: bytes
    connection: int
    received_at: float
    answered: threading.Event = field(default_factory=threading.Event)
    client_left: threading.Event = field(default_factory=threading.Event)
    left_at: float | None = None

    @property
    def body(self) -> dict[str, Any]:
        """The body, read as JSON."""
        parsed = json.loads(self.raw_body or b"{}")
        assert isinstance(parsed, dict)
        return parsed


class ScriptedServer:
    """The server as a context manager. `script` (one, or a list used one per request) may be set again while it runs."""

    def __init__(
        self,
        script: ScriptLike | Sequence[ScriptLike] | None = None,
        *,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.requests: list[RecordedRequest] = []
        self.connections = 0
        self._released = threading.Event()
        self._closing = threading.Event()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._scripts: list[Script] = []
        self._tls = tls
        self.script = script
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port: int = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def openai_url(self) -> str:
        """The base URL of the OpenAI dialect."""
        return f"{self.url}/v1"

    @property
    def anthropic_url(self) -> str:
        """The base URL of the Anthropic dialect."""
        return self.url

    @property
    def script(self) -> list[Script]:
        """The scripts still to be used."""
        return list(self._scripts)

    @script.setter
    def script(self, value: ScriptLike | Sequence[ScriptLike] | None) -> None:
        items = [] if value is None else [value] if isinstance(value, Script | Mapping) else list(value)
        self._scripts = [item if isinstance(item, Script) else Script(**item) for item in items]

    def release(self) -> None:
        """Let stalled responses go on."""
        self._released.set()

    def wait_for_requests(self, count: int, timeout: float = 10.0) -> list[RecordedRequest]:
        """The requests, as soon as there are `count` of them."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= count, timeout), "no such request arrived"
            return list(self.requests)

    def wait_for_connections(self, count: int, timeout: float = 10.0) -> None:
        """Return when `count` connections have been accepted in all."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.connections >= count, timeout), "no such connection arrived"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._sockets):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive(), "a connection did not end"

    def _start(self, target: Any, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                readable, _, _ = select.select([self._listener], [], [], 0.2)
                if not readable:
                    continue
                connection, _ = self._listener.accept()
            except (OSError, ValueError):
                return
            self._sockets.append(connection)
            with self._changed:
                self.connections += 1
                number = self.connections
                self._changed.notify_all()
            self._start(self._serve, connection, number)

    def _serve(self, connection: socket.socket, number: int) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._sockets.append(connection)
            with connection, connection.makefile("rb") as reader:
                while not self._closing.is_set():
                    request = _read_request(reader, number)
                    if request is None:
                        return
                    with self._changed:
                        self.requests.append(request)
                        script = self._script_for(request)
                        self._changed.notify_all()
                    if not self._answer(connection, request, script):
                        return
        except (_Hangup, OSError):
            pass
        finally:
            connection.close()

    def _script_for(self, request: RecordedRequest) -> Script:
        if not self._scripts:
            return echo_script(request.body)
        return self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]

    def _answer(self, connection: socket.socket, request: RecordedRequest, script: Script) -> bool:
        """Send one response; whether the connection goes on."""
        response = _Response(connection, request, script, self)
        try:
            response.send()
        except _Hangup:
            raise
        except OSError:
            request.left_at = time.monotonic()
            request.client_left.set()
            raise
        request.answered.set()
        return script.keep_alive and script.framing != "close" and not script.hang_up

    def stalled(self, connection: socket.socket, request: RecordedRequest) -> None:
        """Wait until the client leaves, which ends the connection, or `release` is called."""
        while not self._released.is_set() and not self._closing.is_set():
            self.pause(connection, request, 0.02)
        if self._closing.is_set():
            raise _Hangup

    def pause(self, connection: socket.socket, request: RecordedRequest, seconds: float) -> None:
        """Wait, watching whether the client leaves."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self._closing.is_set():
            readable, _, _ = select.select([connection], [], [], min(left, 0.05))
            if not readable:
                continue
            if not _client_left(connection):
                time.sleep(min(left, 0.02))
                continue
            request.left_at = time.monotonic()
            request.client_left.set()
            raise _Hangup


def _client_left(connection: socket.socket) -> bool:
    if isinstance(connection, ssl.SSLSocket):
        connection.settimeout(0.05)
        try:
            return connection.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True
        finally:
            connection.settimeout(None)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True


def _read_request(reader: Any, number: int) -> RecordedRequest | None:
    line = reader.readline(65536).decode("latin-1").split()
    if len(line) != 3:
        return None
    headers: dict[str, str] = {}
    while (header := reader.readline(65536).decode("latin-1").strip()) != "":
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    body = reader.read(int(headers.get("content-length", "0")))
    return RecordedRequest(line[0], line[1], headers, body, number, time.monotonic())


class _Response:
    """One response on its way out: framing, cutting, stalling."""

    def __init__(
        self, connection: socket.socket, request: RecordedRequest, script: Script, server: ScriptedServer
    ) -> None:
        self._connection = connection
        self._request = request
        self._script = script
        self._server = server
        self._sent = 0
        self._cut = script.cut_after_bytes

    def send(self) -> None:
        script = self._script
        if script.stall_after == -1:
            self._server.stalled(self._connection, self._request)
        self._server.pause(self._connection, self._request, script.first_byte_delay)
        parts, content_type = self._plan()
        if script.framing == "length":
            whole = b"".join(part for part in parts if isinstance(part, bytes))
            parts = iter([whole])
            self._write(self._head(content_type, len(whole)))
        else:
            self._write(self._head(content_type, None))
        if script.cut_in_body is not None:
            self._cut = self._sent + script.cut_in_body
            self._write(b"")
        for part in parts:
            if part == math.inf:
                self._server.stalled(self._connection, self._request)
                continue
            if not isinstance(part, bytes):
                self._server.pause(self._connection, self._request, part)
                continue
            for start in range(0, len(part), script.chunk_size or len(part) or 1):
                self._write_framed(part[start : start + (script.chunk_size or len(part))])
        if script.framing == "chunked":
            self._write(b"0\r\n\r\n")

    def _plan(self) -> tuple[Iterator[Part], str]:
        script, request = self._script, self._request
        dialect: Dialect = "anthropic" if request.path.split("?")[0].endswith("/messages") else "openai"
        if script.body is not None:
            text = script.body if isinstance(script.body, str) else json.dumps(script.body)
            kind = "text/html" if isinstance(script.body, str) else "application/json"
            return iter([text.encode()]), script.content_type or kind
        if script.status >= 400:
            return iter([json.dumps(error_body(dialect, script)).encode()]), "application/json"
        if script.status >= 300:
            return iter([b""]), "text/plain"
        if request.path.split("?")[0].endswith("/embeddings"):
            return iter([json.dumps(embedding_answer(script, request.body)).encode()]), "application/json"
        if script.json or not request.body.get("stream"):
            whole = whole_answer(dialect, script, request.body)
            return iter([json.dumps(whole).encode()]), "application/json"
        stream = anthropic_stream if dialect == "anthropic" else openai_stream
        return stream(script, request.body), script.content_type or "text/event-stream"

    def _head(self, content_type: str, length: int | None) -> bytes:
        script = self._script
        headers = {"Content-Type": content_type, "X-Request-Id": "req-scripted"}
        if script.framing == "chunked":
            headers["Transfer-Encoding"] = "chunked"
        if length is not None:
            headers["Content-Length"] = str(length)
        if script.framing == "close" or not script.keep_alive:
            headers["Connection"] = "close"
        headers |= script.headers
        lines = [f"HTTP/1.1 {script.status} Scripted", *(f"{name}: {value}" for name, value in headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _write_framed(self, data: bytes) -> None:
        if self._script.framing != "chunked":
            self._write(data)
        elif data:
            self._write(b"%x\r\n%s\r\n" % (len(data), data))

    def _write(self, data: bytes) -> None:
        if self._cut is not None and self._sent + len(data) >= self._cut:
            self._connection.sendall(data[: self._cut - self._sent])
            if self._script.reset:
                self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                self._connection.shutdown(socket.SHUT_RDWR)
            raise _Hangup
        self._connection.sendall(data)
        self._sent += len(data)


def _log_requests(server: ScriptedServer, log: Path) -> Iterator[None]:
    count = 0
    while True:
        for request in server.wait_for_requests(count + 1, timeout=1e6)[count:]:
            count += 1
            line = {"path": request.path, "headers": request.headers, "body": request.body}
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        yield


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser(description="A scripted model server on loopback.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--script", type=Path)
    parser.add_argument("--log", type=Path)
    arguments = parser.parse_args()
    script = json.loads(arguments.script.read_text(encoding="utf-8")) if arguments.script else None
    with ScriptedServer(script, port=arguments.port) as server, contextlib.suppress(KeyboardInterrupt):
        print(server.port, flush=True)
        if arguments.log is None:
            threading.Event().wait()
        for _ in _log_requests(server, arguments.log):
            pass


if __name__ == "__main__":
    main()
