"""Clients that leave, and gateways that end, in the middle of an answer: the provider is told, and what arrived is paid."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from aichat_cli.gateway.server import Listening
from aichat_cli.providers import tokens
from aichat_cli.storage.database import Database
from tests.gateway.asking import HELLO, anthropic_of, money, openai_of, settled, soon, used
from tests.servers.gateway import RunningGateway
from tests.servers.scripted import ScriptedServer

OPENAI, CLAUDE = "gpt-4o-mini", "claude-haiku-4-5"
MODELS = pytest.mark.parametrize("model", [OPENAI, CLAUDE])
DELTAS = ["One ", "two ", "three ", "four ", "five "]


@MODELS
def test_a_client_that_leaves_after_some_deltas_pays_for_them(
    gateway: RunningGateway, provider: ScriptedServer, model: str
) -> None:
    provider.script = {"deltas": DELTAS, "stall_after": 3, "usage": {"input": 10, "output": 5}}
    name = f"leo-{model}"
    stream = openai_of(gateway, gateway.key(name)).chat.completions.create(model=model, messages=HELLO, stream=True)
    text = ""
    for chunk in stream:
        text += chunk.choices[0].delta.content or ""
        if text == "One two three ":
            break
    assert money(gateway, name).held > 0
    left_at = time.monotonic()
    stream.close()
    [request] = provider.requests
    assert request.client_left.wait(5)
    assert (request.left_at or 0) - left_at < 1
    assert settled(gateway, name).balance == 99
    [call] = used(gateway, name)
    resolved = gateway.deps.house.registry.resolve(model)
    assert (call.status, call.provenance) == ("stopped", "estimated")
    assert call.output_tokens == tokens.count(text, resolved)


def test_an_anthropic_client_that_leaves_pays_for_what_arrived(
    gateway: RunningGateway, provider: ScriptedServer
) -> None:
    provider.script = {"deltas": DELTAS, "stall_after": 2}
    client = anthropic_of(gateway, gateway.key("liv"))
    with client.messages.stream(model=CLAUDE, max_tokens=100, messages=HELLO) as stream:
        assert next(iter(stream.text_stream)) == "One "
    assert provider.requests[0].client_left.wait(5)
    assert settled(gateway, "liv").balance == 99
    assert used(gateway, "liv")[0].status == "stopped"


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_before_the_first_byte_pays_nothing(
    gateway: RunningGateway, provider: ScriptedServer, *, stream: bool
) -> None:
    provider.script = {"text": "late", "stall_after": -1}
    name = f"lou-{stream}"
    connection = ask_and_keep(gateway, gateway.key(name), {"model": OPENAI, "messages": HELLO, "stream": stream})
    [request] = provider.wait_for_requests(1)
    assert money(gateway, name).held > 0
    connection.close()
    assert request.client_left.wait(5)
    assert settled(gateway, name).balance == 100
    assert used(gateway, name) == []


def test_a_client_that_leaves_while_vectors_are_made_pays_nothing(
    gateway: RunningGateway, provider: ScriptedServer
) -> None:
    provider.script = {"stall_after": -1}
    asked = {"model": "text-embedding-3-small", "input": "some text"}
    connection = ask_and_keep(gateway, gateway.key("vic"), asked, path="/v1/embeddings")
    [request] = provider.wait_for_requests(1)
    connection.close()
    assert request.client_left.wait(5)
    assert settled(gateway, "vic").balance == 100


def test_what_has_arrived_is_noted_while_it_arrives(gateway: RunningGateway, provider: ScriptedServer) -> None:
    provider.script = {"deltas": DELTAS, "stall_after": 5}
    stream = openai_of(gateway, gateway.key("nora")).chat.completions.create(model=OPENAI, messages=HELLO, stream=True)
    for chunk in stream:
        if chunk.choices[0].delta.content == "five ":
            break
    with_note = soon(lambda: noted(gateway))
    assert with_note is not None
    assert with_note["output_tokens"] > 0
    stream.close()
    settled(gateway, "nora")


def test_a_gateway_that_ends_settles_what_is_under_way(tmp_path: Path, provider: ScriptedServer) -> None:
    provider.script = {"deltas": DELTAS, "stall_after": 2}
    with RunningGateway(tmp_path, provider, listening=Listening(shutdown_seconds=1)) as gateway:
        stream = openai_of(gateway, gateway.key("gerd")).chat.completions.create(
            model=OPENAI, messages=HELLO, stream=True
        )
        for chunk in stream:
            if chunk.choices[0].delta.content == "two ":
                break
    stream.close()
    assert [call.status for call in used(gateway, "gerd")] == ["stopped"]
    assert money(gateway, "gerd") == (99, 0)


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory, provider: ScriptedServer) -> Iterator[RunningGateway]:
    with RunningGateway(
        tmp_path_factory.mktemp("impatient"), provider, environ={"AICHAT_TIMEOUTS_IDLE": "0.5"}
    ) as running:
        yield running


def test_a_client_that_reads_nothing_is_gone(impatient: RunningGateway, provider: ScriptedServer) -> None:
    provider.script = {"deltas": ["x" * 60_000] * 400}
    key = impatient.key("rita")
    connection = ask_and_keep(impatient, key, {"model": OPENAI, "messages": HELLO, "stream": True}, receive_bytes=4096)
    [request] = provider.wait_for_requests(1)
    assert request.client_left.wait(10)
    settled(impatient, "rita")
    assert [call.status for call in used(impatient, "rita")] == ["stopped"]
    connection.close()


def test_a_slow_reader_gets_all_of_it(impatient: RunningGateway, provider: ScriptedServer) -> None:
    provider.script = {"deltas": ["y" * 60_000] * 40}
    headers = {"Authorization": f"Bearer {impatient.key('sven')}"}
    asked = {"model": OPENAI, "messages": HELLO, "stream": True}
    received = b""
    with httpx.stream(
        "POST", f"{impatient.openai_url}/chat/completions", headers=headers, json=asked, trust_env=False
    ) as answer:
        for piece in answer.iter_raw():
            received += piece
            time.sleep(0.001)
    assert received.count(b"y" * 60_000) == 40
    assert received.endswith(b"[DONE]\n\n")
    assert [call.status for call in used(impatient, "sven")] == ["complete"]


def ask_and_keep(
    gateway: RunningGateway,
    key: str,
    body: dict[str, Any],
    *,
    path: str = "/v1/chat/completions",
    headers: dict[str, str] | None = None,
    receive_bytes: int | None = None,
) -> socket.socket:
    """Send a request and read nothing of the answer."""
    connection = socket.socket()
    if receive_bytes is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.connect(("127.0.0.1", gateway.port))
    payload = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {key}\r\nContent-Length: {len(payload)}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    connection.sendall(f"{head}\r\n".encode() + payload)
    return connection


def noted(gateway: RunningGateway) -> dict[str, Any] | None:
    """The note of a call of whose answer something has arrived."""
    with closing(Database.open(gateway.database, read_only=True)) as db:
        notes = [json.loads(row[0]) for row in db.rows("SELECT call FROM credit_holds")]
    return next((note for note in notes if note["output_tokens"]), None)
