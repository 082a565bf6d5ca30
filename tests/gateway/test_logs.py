"""What is logged, and what never is: no question, no answer, no key, whatever happens and however much is logged."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aichat_cli.gateway.logs import GatewayLog, LogHandler
from aichat_cli.gateway.middleware import Watched
from aichat_cli.gateway.watch import Watch
from tests.servers.gateway import PROVIDER_KEY, RunningGateway
from tests.servers.scripted import ScriptedServer

QUESTION = "where-is-the-honey"
ANSWER = "in-the-third-hive"


class Read:
    """A log that is read as it is written."""

    def __init__(self, **options: Any) -> None:
        reader, self._writer = os.pipe()
        self.log = GatewayLog(self._writer, **options)
        self.log.open()
        self.data = b""
        self._thread = threading.Thread(target=self._read, args=(reader,), daemon=True)
        self._thread.start()

    def close(self) -> bytes:
        if self._thread.is_alive():
            self.log.close()
            os.close(self._writer)
            self._thread.join(10)
        return self.data

    def lines(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """The lines of an event, once there are so many."""
        deadline = time.monotonic() + 10
        while True:
            whole = self.data.rpartition(b"\n")[0].splitlines()
            found = [line for line in map(json.loads, whole) if line["event"] == event]
            if len(found) >= count:
                return found
            assert time.monotonic() < deadline, self.data
            time.sleep(0.01)

    def _read(self, reader: int) -> None:
        with open(reader, "rb", buffering=0) as pipe:
            while data := pipe.read(65_536):
                self.data += data


@pytest.fixture
def read() -> Iterator[Read]:
    made = Read(level="debug", redact=lambda text: text.replace(PROVIDER_KEY, "***"))
    yield made
    made.close()


@pytest.fixture
def logged(tmp_path: Any, provider: ScriptedServer, read: Read) -> Iterator[RunningGateway]:
    logger = logging.getLogger()
    before, logger.handlers = logger.handlers, [LogHandler(read.log)]
    try:
        with RunningGateway(tmp_path, provider, watch=Watch(read.log)) as running:
            yield running
    finally:
        logger.handlers = before


def ask(gateway: RunningGateway, key: str, path: str = "/v1/chat/completions", **headers: str) -> httpx.Response:
    body = {"model": "gpt-4o-mini", "max_tokens": 50, "messages": [{"role": "user", "content": QUESTION}]}
    url = f"{gateway.url}{path}?secret={QUESTION}"
    return httpx.post(url, json=body, headers={"x-api-key": key, **headers}, trust_env=False)


def test_a_call_has_one_line_that_tells_whose_it_was_and_what_it_cost(
    logged: RunningGateway, provider: ScriptedServer, read: Read
) -> None:
    provider.script = {"text": ANSWER, "usage": {"input": 1200, "output": 300}}
    key, asked_id = logged.key("anna"), str(uuid4())
    answer = ask(logged, key, **{"X-Aichat-Request-Id": asked_id.upper()})
    [line] = read.lines("request")

    assert answer.headers.get_list("x-request-id") == [asked_id]
    assert line["id"] == asked_id
    assert (line["method"], line["route"], line["status"]) == ("POST", "/v1/chat/completions", 200)
    assert line["key"] == key[:15]
    assert line["model"] == "gpt-4o-mini"
    assert (line["input_tokens"], line["output_tokens"]) == (1200, 300)
    assert line["cost_nano"] == 1200 * 150 + 300 * 600
    assert line["bytes"] == len(answer.content)
    assert "address" not in line


def test_no_question_no_answer_and_no_key_is_logged_whatever_happens(
    logged: RunningGateway, provider: ScriptedServer, read: Read
) -> None:
    key = logged.key("anna")
    provider.script = [
        {"text": ANSWER},
        {"deltas": [ANSWER] * 3},
        {"status": 400, "error": {"message": f"You said {QUESTION}", "type": "invalid_request_error", "code": "x"}},
        {"status": 401, "error": {"message": f"Incorrect API key {PROVIDER_KEY}", "type": "x", "code": "x"}},
        {"text": ANSWER},
    ]
    for _ in range(4):
        ask(logged, key)
    ask(logged, key, "/v1/messages")
    ask(logged, key + "x")
    ask(logged, key, f"/v1/{QUESTION}")
    logging.getLogger("library").error("A library repeats %s and %s", key, PROVIDER_KEY)
    httpx.get(f"{logged.url}/v1/models/{QUESTION}", headers={"x-api-key": key}, trust_env=False)
    read.lines("request", 8)
    read.lines("library")
    text = read.close().decode()

    for secret in (QUESTION, ANSWER, key, key[16:], PROVIDER_KEY):
        assert secret not in text
    assert key[:15] in text


class Broken(Exception):
    """Not one of ours."""


def test_a_defect_is_500_with_its_id_and_its_traceback_is_in_the_log_alone(read: Read) -> None:
    async def broken(_: Request) -> Response:
        raise Broken("the details")

    app = Starlette(
        routes=[Route("/v1/broken", broken), Route("/v1/messages/broken", broken)],
        middleware=[Middleware(Watched, Watch(read.log))],
    )

    async def answers() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
            return [await client.get(path) for path in ("/v1/broken", "/v1/messages/broken")]

    openai, anthropic = asyncio.run(answers())
    lines = read.lines("request.failed", 2)

    assert (openai.status_code, anthropic.status_code) == (500, 500)
    assert openai.headers["content-type"] == "application/json"
    assert openai.json()["error"]["code"] == "internal_error"
    assert anthropic.json()["error"]["type"] == "api_error"
    assert anthropic.json()["request_id"] == anthropic.headers["x-request-id"]
    assert openai.headers["x-request-id"] in openai.json()["error"]["message"]
    assert "details" not in openai.text + anthropic.text
    assert [line["id"] for line in lines] == [openai.headers["x-request-id"], anthropic.headers["x-request-id"]]
    assert "Broken: the details" in lines[0]["traceback"]


def test_every_answer_has_its_id_and_no_banner(logged: RunningGateway) -> None:
    for path in ("/healthz", "/v1/account", "/nothing"):
        answer = httpx.get(f"{logged.url}{path}", trust_env=False)
        assert len(answer.headers["x-request-id"]) == 36
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "server" not in answer.headers


def test_lines_that_nobody_takes_are_dropped_and_counted_and_whoever_logs_goes_on() -> None:
    reader, writer = os.pipe()
    log = GatewayLog(writer, most_waiting=100)
    log.open()
    began = time.monotonic()
    for number in range(3000):
        log.write("info", "request", number=number, padding="x" * 100)
    assert time.monotonic() - began < 5
    assert log.dropped > 1000
    received = threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(reader, 65_536), b"")], daemon=True)
    received.start()
    log.close()
    os.close(writer)
    received.join(10)
    os.close(reader)


def test_a_line_for_a_terminal_is_in_words_and_moves_no_cursor() -> None:
    read = Read(is_text=True)
    read.log.write("info", "request", route="/v1/\x1b[2Jx", status=200)
    read.log.write("debug", "request", route="/healthz")
    text = read.close().decode()
    assert "request route=/v1/?[2Jx status=200" in text
    assert "healthz" not in text


def test_what_cannot_be_written_down_does_not_end_the_log(read: Read) -> None:
    read.log.write("error", "library", message="\udc80")
    read.log.write("error", "library", message=object())
    read.log.write("info", "request", status=200)
    assert read.lines("log.unwritable", 2)
    assert read.lines("request")[0]["status"] == 200
