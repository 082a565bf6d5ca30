"""HTTP as uvicorn and httptools read it, with the limits they lack: how long and how large the head of a request may be, how
many connections there are, and how long a client may take nothing of its answer.
"""

from __future__ import annotations

import asyncio
from typing import Any

from httptools import HttpParserCallbackError
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from aichat_cli.core.struct import Struct, to_json


class WireLimits(Struct, frozen=True):
    """What a connection may do.

    Attributes:
        most_connections: beyond them a connection is told to come again, and beyond a few more closed at once.
        head_bytes: of the first line and the headers.
        head_seconds: from the first moment of a connection, or of its next request, to the end of the headers.
        stalled_seconds: how long a client may take nothing of what is sent.
    """

    most_connections: int = 1000
    head_bytes: int = 32_768
    head_seconds: float = 15.0
    stalled_seconds: float = 120.0


MORE_TO_BE_TOLD = 128
"""Connections beyond the limit that are told so; further ones are closed."""


class LimitedProtocol(HttpToolsProtocol):
    """One connection."""

    limits = WireLimits()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._head_timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None
        self._head_size = 0
        self._refusal = (400, "not_http", "This is not an HTTP request.")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        beyond = len(self.connections) - self.limits.most_connections
        if beyond > MORE_TO_BE_TOLD:
            transport.abort()
        elif beyond > 0:
            self._refuse(503, "too_many_connections", "The gateway has as many connections as it takes. Try again.")
        else:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._forget_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self.transport.is_closing():
            return
        is_between = self.cycle is None or self.cycle.response_complete
        if is_between and self._head_timer is None:
            self._expect_head()
        self._head_size += len(data)
        super().data_received(data)
        if (
            self._head_timer is not None
            and self._head_size > self.limits.head_bytes
            and not self.transport.is_closing()
        ):
            self._refuse_head()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._end_head()
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.limits.head_bytes:
            self._refusal = (431, "head_too_large", self._too_large)
            raise HttpParserCallbackError
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 (the signature is uvicorn's)
        """Refuse what cannot be read."""
        self._refuse(*self._refusal)

    def pause_writing(self) -> None:
        """The client takes nothing at present."""
        super().pause_writing()
        if self._stall_timer is None:
            self._stall_timer = self.loop.call_later(self.limits.stalled_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client takes something again."""
        super().resume_writing()
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    @property
    def _too_large(self) -> str:
        return f"The head of the request is larger than {self.limits.head_bytes:,} bytes."

    def _expect_head(self) -> None:
        self._head_size = 0
        self._head_timer = self.loop.call_later(self.limits.head_seconds, self._head_is_late)

    def _end_head(self) -> None:
        self._head_size = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._head_size:
            self._refuse(408, "head_too_slow", "The head of the request took too long to arrive.")
        else:
            self.transport.close()

    def _refuse_head(self) -> None:
        self._refuse(431, "head_too_large", self._too_large)

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Say why, and close."""
        self._forget_timers()
        kind = "server_error" if status >= 500 else "invalid_request_error"
        body = to_json({"error": {"message": message, "type": kind, "param": None, "code": code}})
        head = [
            STATUS_LINE[status],
            *(b"%s: %s\r\n" % header for header in self.server_state.default_headers),
            b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n" % len(body),
            b"retry-after: 2\r\n" if status == 503 else b"",
            b"\r\n",
        ]
        self.transport.write(b"".join(head) + body)
        self.transport.close()

    def _forget_timers(self) -> None:
        for timer in (self._head_timer, self._stall_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._stall_timer = None
