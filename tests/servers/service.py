"""What doubles of services are made of: a loopback server that speaks JSON over HTTP, remembers what it was asked, and fails as it
is told to.

    class Postbox(Service):
        def reply(self, request: RecordedRequest) -> Reply:
            return Reply(200, {"taken": request.body})

    with Postbox() as postbox:
        postbox.fault = HANGS                # until it is set to None again
        with postbox.refusing(): ...         # nobody listens at its port
        postbox.requests, postbox.connections
        postbox.clear()                      # as new, for the next test: one server will do for all of them

What a request changes is up to `reply`, which is called for one request at a time.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.servers.script import Script
from tests.servers.scripted import RecordedRequest, ScriptedServer


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in JSON."""

    status: int
    body: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fault:
    """A way to fail.

    Attributes:
        changes: what is answered differently, as fields of `Script`.
        is_taken: whether the service does what it was asked, and only the answer goes wrong.
        is_read: whether a request is read at all.
        raw: these bytes are the answer, and the end of the connection.
    """

    changes: Mapping[str, Any] = field(default_factory=dict)
    is_taken: bool = False
    is_read: bool = True
    raw: bytes | None = None


HANGS_UNREAD = Fault(is_read=False)
"""Connections are accepted, and that is all."""
HANGS = Fault({"stall_after": -1})
"""A request is read, and nothing follows."""
HANGS_TAKEN = Fault({"stall_after": -1}, is_taken=True)
"""A request is done, and nothing follows."""
GARBAGE = Fault(raw=b"\x16\x03\x01 this is not HTTP\r\n\r\n")
NOT_JSON = Fault({"body": "<html>It works!</html>", "status": 200})
"""What a captive portal says, or a proxy; the request went nowhere."""


def answers(status: int, **headers: str) -> Fault:
    """Nothing is done, and this is the status."""
    return Fault({"body": {"detail": "The service is told to fail."}, "status": status, "headers": headers})


def cut(after: int, *, is_taken: bool = True, reset: bool = False) -> Fault:
    """The connection is closed after so many bytes of the answer; 0 is without one."""
    return Fault({"cut_after_bytes": after, "reset": reset}, is_taken=is_taken)


class Service(ScriptedServer):
    """The server, as a context manager; subclasses say what is answered, and forget all in `clear`."""

    def __init__(self) -> None:
        super().__init__()
        self.fault: Fault | None = None

    def reply(self, request: RecordedRequest) -> Reply:
        """Do what is asked, and answer."""
        raise NotImplementedError

    def clear(self) -> None:
        """Be as new, but for the port."""
        with self._changed:
            self.fault = None
            self.requests.clear()
            self.connections = 0

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Refuse connections; the port is kept."""
        port, bound = self.port, socket.socket()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join(10)
        self._listener.close()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", port))
        self._listener = bound
        try:
            yield
        finally:
            bound.listen(128)
            self._start(self._accept)

    def _start(self, target: Any, *args: object) -> None:
        super()._start(target, *args)
        if target == self._accept:
            self._accepting: threading.Thread = self._threads[-1]

    def _serve(self, connection: socket.socket, number: int) -> None:
        fault = self.fault
        if fault is None or fault.is_read:
            super()._serve(connection, number)
            return
        with connection:
            while self.fault is fault and not self._closing.is_set():
                self._closing.wait(0.02)

    def _script_for(self, request: RecordedRequest) -> Script:
        fault = self.fault
        answer = self.reply(request) if fault is None or fault.is_taken else Reply(200)
        # A list is no body of a script, but the text of one is.
        script = {
            "status": answer.status,
            "headers": answer.headers,
            "body": json.dumps(answer.body),
            "content_type": "application/json",
            "framing": "length",
        }
        return Script(**{**script, **(fault.changes if fault else {})})

    def _answer(self, connection: socket.socket, request: RecordedRequest, script: Script) -> bool:
        fault = self.fault
        if fault is not None and fault.raw is not None:
            connection.sendall(fault.raw)
            return False
        return super()._answer(connection, request, script)
