"""Helicone on loopback, as somebody runs it themselves: it passes calls on to a scripted provider, and keeps answers.

    with HeliconeDouble(provider) as helicone:
        call(helicone.url)               # what the setting helicone.url takes
        helicone.calls[0].headers["helicone-user-id"]

It takes `KEY` and no other, passes no header of its own on, and answers a prompt that it has an answer for from its cache where
the call asks for that. Its API, at `/v1/request/query-clickhouse`, tells whether the key is good.
"""

from __future__ import annotations

import http.client
import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from uuid import uuid4

from tests.servers.scripted import ScriptedServer

KEY = "sk-helicone-4kq2m7x-9d1f3ab-77c2e0p-5v8w6zt"
_OPENAI, _ANTHROPIC = "/v1/gateway/oai", "/v1/gateway/anthropic"
_API = "/v1/request/query-clickhouse"
_NOT_OURS = frozenset(("host", "content-length", "connection", "accept-encoding"))


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it arrived, the names of its headers in small letters."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer."""

    status: int
    content_type: str
    body: bytes


class HeliconeDouble:
    """The server as a context manager."""

    def __init__(self, provider: ScriptedServer) -> None:
        self.calls: list[Call] = []
        self.asked: list[Call] = []
        self._provider = provider
        self._cache: dict[tuple[str, ...], Kept] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """Where providers are asked."""
        return f"http://127.0.0.1:{self._server.server_port}/v1/gateway"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def answer(self, call: Call) -> tuple[Kept, dict[str, str]]:
        """What is answered, and with which headers of Helicone's."""
        if call.path == _API:
            self.asked.append(call)
            return self._told(call.headers.get("authorization", "")), {}
        self.calls.append(call)
        given = call.headers.get("helicone-auth", "")
        if given != f"Bearer {KEY}":
            return self._told(given), {"Helicone-Error": "true"}
        names = ("authorization", "helicone-cache-seed")
        place = (call.path, call.body.decode(), *(call.headers.get(name, "") for name in names))
        told = {"Helicone-Id": str(uuid4())}
        if call.headers.get("helicone-cache-enabled") != "true":
            return self._passed_on(call), told
        assert call.headers["cache-control"].startswith("max-age=")
        if place in self._cache:
            return self._cache[place], told | {"Helicone-Cache": "HIT"}
        answer = self._passed_on(call)
        if answer.status == 200:
            self._cache[place] = answer
        return answer, told | {"Helicone-Cache": "MISS"}

    def _told(self, given: str) -> Kept:
        """Whether the key is good, in words that repeat a bad one."""
        is_good = given == f"Bearer {KEY}"
        body: dict[str, object] = (
            {"data": [], "error": None} if is_good else {"error": f"Invalid Helicone API key: {given}"}
        )
        return Kept(200 if is_good else 401, "application/json", json.dumps(body).encode())

    def _passed_on(self, call: Call) -> Kept:
        path = call.path.removeprefix(_OPENAI).removeprefix(_ANTHROPIC)
        assert path != call.path
        headers = {
            name: value
            for name, value in call.headers.items()
            if name not in _NOT_OURS and not name.startswith("helicone-")
        }
        connection = http.client.HTTPConnection("127.0.0.1", self._provider.port, timeout=10)
        try:
            connection.request("POST", path, call.body, headers)
            response = connection.getresponse()
            return Kept(response.status, response.headers.get("Content-Type", ""), response.read())
        finally:
            connection.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 10

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer, told = double.answer(Call(self.path, headers, body))
                self.send_response(answer.status)
                for name, value in told.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", answer.content_type)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is theirs)
                pass

        return Handler
