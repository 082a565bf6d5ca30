"""What a client may not do to the gateway: every one of these is refused or cut, and nothing of it is charged."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import httpx
import pytest

from aichat_cli.core.struct import replace
from aichat_cli.gateway.deps import ServerOptions
from aichat_cli.gateway.protocol import MORE_TO_BE_TOLD, WireLimits
from aichat_cli.gateway.server import Listening
from tests.servers.gateway import RunningGateway
from tests.servers.scripted import ScriptedServer

LIMITS = WireLimits(most_connections=6, head_bytes=4096, head_seconds=0.4, stalled_seconds=0.4)
CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\n"


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, provider: ScriptedServer) -> Iterator[RunningGateway]:
    options = ServerOptions(most_body_bytes=2000, body_seconds=0.4)
    listening = Listening(limits=LIMITS)
    folder = tmp_path_factory.mktemp("strict")
    with RunningGateway(folder, provider, options=options, listening=listening) as running:
        yield running


@pytest.fixture(scope="module")
def key(strict: RunningGateway) -> str:
    return strict.key("anna")


@contextmanager
def connection(gateway: RunningGateway) -> Iterator[socket.socket]:
    with closing(socket.create_connection(("127.0.0.1", gateway.port), timeout=20)) as opened:
        yield opened


def said(sent: socket.socket) -> bytes:
    """All that comes until the connection is closed."""
    received = b""
    try:
        while data := sent.recv(65_536):
            received += data
    except ConnectionResetError:
        pass
    return received


def answer_to(gateway: RunningGateway, data: bytes) -> tuple[int, str]:
    """The status of the answer to these bytes, and its code; 0 where the connection is closed without one."""
    with connection(gateway) as sent:
        sent.sendall(data)
        received = said(sent)
    if not received:
        return 0, ""
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["code"]


def balance(gateway: RunningGateway) -> tuple[int, int]:
    with closing(gateway.store.users()) as users:
        anna = users.user("anna")
    return anna.balance_nano, anna.held_nano


def request_with(key: str, headers: bytes, body: bytes = b"") -> bytes:
    return CHAT + b"x-api-key: %s\r\nconnection: close\r\n%s\r\n\r\n%s" % (key.encode(), headers, body)


CASES = {
    "a head that is too large at once": (b"x: " + b"y" * 5000, b"", 431, "head_too_large"),
    "a body that says it is too large": (b"content-length: 2001", b"", 413, "body_too_large"),
    "a body that is too large without saying so": (
        b"transfer-encoding: chunked", b"7d1\r\n" + b" " * 2001 + b"\r\n0\r\n\r\n", 413, "body_too_large",
    ),
    "a body that does not come": (b"content-length: 50", b"{", 408, "body_too_slow"),
    "a body that is not JSON": (b"content-length: 8", b"nonsense", 400, "not_json"),
    "a body of another kind of JSON": (b"content-length: 2", b"[]", 400, "not_json"),
    "a body nested without end": (b"content-length: 1900", b"[" * 1900, 400, "not_json"),
    "no length at all": (b"x: y", b"", 400, "not_json"),
    "two lengths": (b"content-length: 5\r\ncontent-length: 6", b"12345", 400, "not_http"),
    "a length beside chunks": (b"content-length: 5\r\ntransfer-encoding: chunked", b"0\r\n\r\n", 400, "not_http"),
    "a chunk whose length is none": (b"transfer-encoding: chunked", b"zz\r\n", 400, "not_http"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_too_much_or_makes_no_sense_is_refused_and_costs_nothing(
    strict: RunningGateway, key: str, case: str
) -> None:
    headers, body, status, code = CASES[case]
    before = balance(strict)
    with connection(strict) as sent:
        sent.sendall(request_with(key, headers, body))
        received = said(sent)
    assert int(received.split()[1]) == status, received
    assert code.encode() in received
    assert balance(strict) == before
    assert not strict.server.requests


@pytest.mark.parametrize(
    "data",
    [b"nonsense\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET / HTTP/9.9\r\n\r\n"],
    ids=["words", "half", "TLS", "version"],
)
def test_what_is_not_http_is_refused(strict: RunningGateway, data: bytes) -> None:
    assert answer_to(strict, data) == (400, "not_http")


def test_a_head_that_comes_byte_by_byte_is_cut_off(strict: RunningGateway) -> None:
    began = time.monotonic()
    with connection(strict) as sent:
        try:
            for byte in CHAT * 100:
                sent.sendall(bytes([byte]))
                time.sleep(0.02)
                if time.monotonic() - began > 10:
                    break
        except OSError:
            pass
        received = said(sent)
    assert b"408" in received or not received
    assert time.monotonic() - began < 10


def test_a_head_that_never_ends_is_refused_at_its_limit(strict: RunningGateway) -> None:
    with connection(strict) as sent:
        try:
            sent.sendall(CHAT)
            for number in range(200):
                sent.sendall(b"x-%d: %s\r\n" % (number, b"y" * 100))
        except OSError:
            pass
        received = said(sent)
    assert b"431" in received or not received


def test_a_connection_that_asks_for_nothing_is_closed(strict: RunningGateway) -> None:
    with connection(strict) as sent:
        assert said(sent) == b""


def test_a_connection_that_is_kept_open_by_blank_lines_is_closed_too(strict: RunningGateway) -> None:
    with connection(strict) as sent:
        sent.sendall(b"GET /healthz HTTP/1.1\r\nhost: gateway\r\n\r\n")
        assert b"200" in sent.recv(65_536)
        sent.sendall(b"\r\n")
        assert b"408" in said(sent)


def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_nothing_behind(strict: RunningGateway, key: str) -> None:
    before = balance(strict)
    with connection(strict) as sent:
        sent.sendall(request_with(key, b"content-length: 500", b'{"model": "gpt-4o-mini"'))
    assert httpx.get(f"{strict.url}/healthz", trust_env=False).status_code == 200
    assert balance(strict) == before


def test_requests_sent_at_once_are_answered_in_turn(strict: RunningGateway, key: str) -> None:
    one = b"GET /v1/account HTTP/1.1\r\nhost: gateway\r\nx-api-key: %s\r\n" % key.encode()
    with connection(strict) as sent:
        sent.sendall((one + b"\r\n") * 3 + one + b"connection: close\r\n\r\n")
        received = said(sent)
    assert received.count(b"HTTP/1.1 200 OK") == 4
    assert received.count(b'"name":"anna"') == 4


@pytest.mark.parametrize("upgrade", [b"websocket", b"h2c"])
def test_another_protocol_is_not_spoken(strict: RunningGateway, key: str, upgrade: bytes) -> None:
    with connection(strict) as sent:
        headers = b"connection: upgrade\r\nupgrade: %s\r\nsec-websocket-key: x\r\n" % upgrade
        sent.sendall(b"GET /v1/account HTTP/1.1\r\nhost: gateway\r\nx-api-key: %s\r\n%s\r\n" % (key.encode(), headers))
        received = sent.recv(65_536)
    assert received.startswith(b"HTTP/1.1 200 OK")


def test_a_client_that_takes_nothing_of_its_answer_is_cut_off(
    strict: RunningGateway, key: str, provider: ScriptedServer
) -> None:
    size = 12_000_000
    provider.script = {"text": "x" * size}
    body = json.dumps(
        {"model": "gpt-4o-mini", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
    ).encode()
    with connection(strict) as sent:
        sent.sendall(request_with(key, b"content-length: %d" % len(body), body))
        deadline = time.monotonic() + 20
        while not strict.deps.watch.metrics.first_bytes.total and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(1)
        received = said(sent)
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert len(received) < size
    assert balance(strict)[1] == 0
    provider.requests.clear()


def test_more_connections_than_allowed_are_told_so_and_one_that_is_free_again_is_taken(
    tmp_path_factory: pytest.TempPathFactory, provider: ScriptedServer
) -> None:
    limits = replace(LIMITS, head_seconds=30)
    folder = tmp_path_factory.mktemp("crowd")
    with RunningGateway(folder, provider, listening=Listening(limits=limits)) as crowded:
        held = [socket.create_connection(("127.0.0.1", crowded.port)) for _ in range(limits.most_connections)]
        try:
            deadline = time.monotonic() + 20
            while (told := answer_to(crowded, b""))[0] != 503 and time.monotonic() < deadline:
                time.sleep(0.01)
            assert told == (503, "too_many_connections")
            beyond = [socket.create_connection(("127.0.0.1", crowded.port)) for _ in range(MORE_TO_BE_TOLD + 20)]
            for each in beyond:
                each.close()
        finally:
            for each in held:
                each.close()
        deadline = time.monotonic() + 20
        while True:
            try:
                if httpx.get(f"{crowded.url}/healthz", trust_env=False).status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            assert time.monotonic() < deadline
            time.sleep(0.02)
