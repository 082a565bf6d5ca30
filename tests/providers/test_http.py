from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from aichat_cli import __version__
from aichat_cli.core.errors import (
    BadResponse,
    ConfigError,
    ConnectFailed,
    ProviderError,
    TimedOut,
    is_transient,
)
from aichat_cli.providers import connect
from aichat_cli.providers.base import Timeouts
from aichat_cli.providers.connect import proxy_for
from aichat_cli.providers.http import HttpTransport
from tests.servers.raw import CERTIFICATE, ForwardProxy, RawServer, tls_context
from tests.servers.scripted import ScriptedServer

QUICK = Timeouts(connect=5, first_byte=5, idle=5)
BODY = json.dumps({"stream": True, "messages": []}).encode()


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def transport() -> Iterator[HttpTransport]:
    with closing(HttpTransport()) as made:
        yield made


def _url(server: ScriptedServer) -> str:
    return f"{server.openai_url}/chat/completions"


def _read(transport: HttpTransport, url: str, timeouts: Timeouts = QUICK) -> bytes:
    response = transport.post_json(url, {}, BODY, timeouts)
    with closing(response):
        return b"".join(response.chunks())


def test_a_request_says_who_sends_it_and_the_body_arrives(server: ScriptedServer, transport: HttpTransport) -> None:
    response = transport.post_json(f"{_url(server)}?api-version=1", {"X-Mine": "yes"}, BODY, QUICK)
    with closing(response):
        assert response.status == 200
        assert response.headers.get("content-TYPE") == "text/event-stream"
    request = server.requests[0]
    assert request.path == "/v1/chat/completions?api-version=1"
    assert request.raw_body == BODY
    assert request.headers["user-agent"] == f"aichat/{__version__}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-mine"] == "yes"
    assert request.headers["host"] == f"127.0.0.1:{server.port}"


@pytest.mark.parametrize("framing", ["chunked", "length"])
def test_a_connection_is_used_again_after_a_whole_body(
    framing: str, server: ScriptedServer, transport: HttpTransport
) -> None:
    server.script = {"text": "hello", "framing": framing, "chunk_size": 3}
    bodies = {_read(transport, _url(server)) for _ in range(3)}
    assert len(bodies) == 1
    assert b"hello" in bodies.pop()
    assert server.connections == 1


@pytest.mark.parametrize("script", [{"framing": "close"}, {"keep_alive": False}, {"hang_up": True}])
def test_a_closed_connection_is_replaced_in_silence(
    script: dict[str, object], server: ScriptedServer, transport: HttpTransport
) -> None:
    server.script = {"text": "hello", **script}
    for _ in range(2):
        assert b"hello" in _read(transport, _url(server))
    assert server.connections == 2


def test_a_kept_connection_that_dies_before_a_byte_is_reopened_once(
    server: ScriptedServer, transport: HttpTransport
) -> None:
    server.script = [{"text": "one"}, {"cut_after_bytes": 0}, {"text": "two"}]
    assert b"one" in _read(transport, _url(server))
    assert b"two" in _read(transport, _url(server))
    assert server.connections == 2
    server.script = {"cut_after_bytes": 0}
    with pytest.raises(ConnectFailed, match="closed the connection without an answer"):
        _read(transport, _url(server))
    assert len(server.requests) == 5


def test_a_fresh_connection_that_dies_is_not_tried_again(server: ScriptedServer, transport: HttpTransport) -> None:
    server.script = {"cut_after_bytes": 5, "reset": True}
    with pytest.raises((ConnectFailed, BadResponse)):
        _read(transport, _url(server))
    assert len(server.requests) == 1


def test_leaving_a_response_early_closes_the_connection(server: ScriptedServer, transport: HttpTransport) -> None:
    server.script = {"text": "abc", "split": 1, "stall_after": 1}
    response = transport.post_json(_url(server), {}, BODY, QUICK)
    next(response.chunks())
    response.close()
    response.close()
    assert server.requests[0].client_left.wait(5)


def test_a_response_whose_content_ended_gives_its_connection_back(
    server: ScriptedServer, transport: HttpTransport
) -> None:
    response = transport.post_json(_url(server), {}, BODY, QUICK)
    next(response.chunks())
    response.finish()
    response.close()
    assert b"DONE" in _read(transport, _url(server))
    assert server.connections == 1


@pytest.mark.parametrize("tail", [{"stall_after": 1}, {"text": "x" * 200_000, "split": 50}])
def test_a_response_that_goes_on_after_its_content_costs_its_connection(
    tail: dict[str, object], server: ScriptedServer, transport: HttpTransport
) -> None:
    server.script = [{"text": "ab", "split": 1, **tail}, {"text": "next"}]
    response = transport.post_json(_url(server), {}, BODY, QUICK)
    next(response.chunks())
    response.finish()
    assert b"next" in _read(transport, _url(server))
    assert server.connections == 2


def test_closing_the_transport_closes_kept_and_unread_connections(server: ScriptedServer) -> None:
    server.script = {"text": "ab", "split": 1, "stall_after": 1}
    transport = HttpTransport()
    response = transport.post_json(_url(server), {}, BODY, QUICK)
    next(response.chunks())
    response.finish()
    transport.close()
    assert server.requests[0].client_left.wait(5)
    late = transport.post_json(_url(server), {}, BODY, QUICK)
    late.finish()
    assert server.wait_for_requests(2)[1].client_left.wait(5)


def test_a_second_open_connection_on_a_route_replaces_the_first(
    server: ScriptedServer, transport: HttpTransport
) -> None:
    responses = [transport.post_json(_url(server), {}, BODY, QUICK) for _ in range(2)]
    for response in responses:
        with closing(response):
            list(response.chunks())
    assert b"DONE" in _read(transport, _url(server))
    assert server.connections == 2


@pytest.mark.parametrize("framing", ["chunked", "length"])
@pytest.mark.parametrize("cut", [0, 1, 60])
def test_a_body_cut_short_is_seen_as_broken(
    framing: str, cut: int, server: ScriptedServer, transport: HttpTransport
) -> None:
    server.script = {"text": "hello", "framing": framing, "cut_in_body": cut}
    with pytest.raises(ConnectFailed, match=r"127\.0\.0\.1:\d+ closed the connection before the answer was complete"):
        _read(transport, _url(server))


def test_a_reset_connection_is_seen_as_broken(server: ScriptedServer, transport: HttpTransport) -> None:
    server.script = {"text": "hello", "cut_in_body": 30, "reset": True}
    with pytest.raises(ConnectFailed):
        _read(transport, _url(server))


def test_a_body_that_ends_with_the_connection_is_whole(server: ScriptedServer, transport: HttpTransport) -> None:
    server.script = {"body": "all of it", "framing": "close"}
    assert _read(transport, _url(server)) == b"all of it"


def test_only_so_much_of_a_body_is_read(server: ScriptedServer, transport: HttpTransport) -> None:
    server.script = {"body": "x" * 300_000}
    with closing(transport.post_json(_url(server), {}, BODY, QUICK)) as response:
        assert response.read_limited(1000) == b"x" * 1000
    server.script = {"body": "short"}
    with closing(transport.post_json(_url(server), {}, BODY, QUICK)) as response:
        assert response.read_limited(1000) == b"short"


def test_no_answer_in_time_is_a_timeout_that_names_the_setting(
    server: ScriptedServer, transport: HttpTransport
) -> None:
    server.script = {"stall_after": -1}
    with pytest.raises(TimedOut, match=r"did not answer within 0\.2 s") as caught:
        _read(transport, _url(server), Timeouts(first_byte=0.2))
    assert "timeouts.first_byte" in (caught.value.hint or "")
    assert server.requests[0].client_left.wait(5)


def test_a_silence_in_the_body_is_a_timeout(server: ScriptedServer, transport: HttpTransport) -> None:
    server.script = {"stall_after": 0}
    started = time.monotonic()
    with pytest.raises(TimedOut, match=r"sent nothing for 0\.2 s") as caught:
        _read(transport, _url(server), Timeouts(first_byte=30, idle=0.2))
    assert time.monotonic() - started < 15
    assert "timeouts.idle" in (caught.value.hint or "")
    assert server.requests[0].client_left.wait(5)


def test_a_slow_start_is_not_held_to_the_idle_timeout(server: ScriptedServer, transport: HttpTransport) -> None:
    server.script = {"text": "late", "first_byte_delay": 0.4}
    assert b"late" in _read(transport, _url(server), Timeouts(first_byte=5, idle=0.1))


def test_a_refused_connection_names_the_place(transport: HttpTransport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectFailed) as caught:
        _read(transport, f"http://127.0.0.1:{port}/v1?key=secret")
    assert caught.value.message == f"Could not connect to http://127.0.0.1:{port}: connection refused."
    assert caught.value.hint == "Is it running?"


def test_an_unknown_host_is_named(transport: HttpTransport) -> None:
    with pytest.raises(ConnectFailed, match=r"https://no-such-host\.invalid: the host was not found"):
        _read(transport, "https://no-such-host.invalid/v1")


def test_a_handshake_that_hangs_runs_into_the_connect_timeout(transport: HttpTransport) -> None:
    with (
        RawServer(_wait_for_end) as hanging,
        pytest.raises(TimedOut, match=r"no connection within 0\.2 s"),
    ):
        _read(transport, f"https://127.0.0.1:{hanging.port}/v1", Timeouts(connect=0.2))


def _wait_for_end(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def _say(text: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        _wait_for_end(connection)

    return serve


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    ],
)
def test_what_is_not_http_is_called_that(answer: bytes, transport: HttpTransport) -> None:
    with RawServer(_say(answer)) as other, pytest.raises(BadResponse, match="does not answer in HTTP"):
        _read(transport, f"http://127.0.0.1:{other.port}/")


def test_plain_http_behind_an_https_url_is_a_failed_connection(transport: HttpTransport) -> None:
    with RawServer(_say(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as plain, pytest.raises(ConnectFailed) as caught:
        _read(transport, f"https://127.0.0.1:{plain.port}/")
    assert caught.value.message.startswith(f"Could not connect to https://127.0.0.1:{plain.port}: ")


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://user:pw@elsewhere.test/v2/chat?key=secret#x", "https://elsewhere.test/v2/chat,"),
        ("/v2/chat", "/v2/chat,"),
        ("", "another place,"),
    ],
)
def test_a_redirect_is_not_followed_but_named(
    location: str, shown: str, server: ScriptedServer, transport: HttpTransport
) -> None:
    server.script = {"status": 307, "headers": {"Location": location}}
    with pytest.raises(BadResponse) as caught:
        _read(transport, _url(server))
    assert f"redirects to {shown}" in caught.value.message
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    "url", ["ftp://x/", "http://", "x", "http://x:0/", "http://x:y/", "http://x/a b", "http://x/\x1b", "http://[::1"]
)
def test_a_url_that_cannot_be_called_is_a_setting_to_correct(url: str, transport: HttpTransport) -> None:
    with pytest.raises(ConfigError, match="base URL"):
        transport.post_json(url, {}, BODY, QUICK)
    transport.warm(url, QUICK)


def test_a_host_that_no_name_can_have_is_refused(transport: HttpTransport) -> None:
    with pytest.raises((ConfigError, ConnectFailed)):
        transport.post_json(f"http://{'x' * 70}.test/", {}, BODY, QUICK)


@pytest.mark.parametrize("value", ["sk-1\nX: y", "sk-é"])
def test_a_header_that_cannot_be_sent_is_not_shown(
    value: str, server: ScriptedServer, transport: HttpTransport
) -> None:
    with pytest.raises(ConfigError) as caught:
        transport.post_json(_url(server), {"Authorization": value}, BODY, QUICK)
    assert "sk-" not in caught.value.message
    assert server.requests == []


def test_a_name_and_password_in_the_url_become_basic_authorization(
    server: ScriptedServer, transport: HttpTransport
) -> None:
    url = f"http://me:p%40ss@127.0.0.1:{server.port}/v1/chat/completions"
    with closing(transport.post_json(url, {}, BODY, QUICK)):
        pass
    assert server.requests[0].headers["authorization"] == "Basic bWU6cEBzcw=="
    assert server.requests[0].headers["host"] == f"127.0.0.1:{server.port}"


def test_wide_characters_in_a_path_are_escaped(server: ScriptedServer, transport: HttpTransport) -> None:
    server.script = {"body": "x"}
    assert _read(transport, f"{server.url}/modèle%20x?q=é") == b"x"
    assert server.requests[0].path == "/mod%C3%A8le%20x?q=%C3%A9"


def test_a_warmed_connection_serves_the_next_request(server: ScriptedServer, transport: HttpTransport) -> None:
    transport.warm(_url(server), QUICK)
    transport.warm(_url(server), QUICK)
    server.wait_for_connections(1)
    assert server.requests == []
    _read(transport, _url(server))
    assert server.connections == 1


def test_a_request_waits_for_the_connection_being_warmed(transport: HttpTransport) -> None:
    release = threading.Event()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    def slow_tls(connection: socket.socket) -> None:
        release.wait(10)
        with tls_context().wrap_socket(connection, server_side=True) as secured:
            secured.recv(65536)
            secured.sendall(answer)
            _wait_for_end(secured)

    with RawServer(slow_tls) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        url = f"https://127.0.0.1:{server.port}/"
        warming = threading.Thread(target=transport.warm, args=(url, QUICK))
        warming.start()
        while not server.connections:
            time.sleep(0.005)
        threading.Timer(0.1, release.set).start()
        assert _read(transport, url) == b"ok"
        warming.join()
        assert server.connections == 1
        transport.close()


def test_warming_fails_in_silence_and_after_the_end_does_nothing(server: ScriptedServer) -> None:
    transport = HttpTransport()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    transport.warm(f"http://127.0.0.1:{port}/", QUICK)
    transport.close()
    transport.warm(_url(server), QUICK)
    assert server.connections == 0


def test_https_trusts_the_certificates_that_ssl_cert_file_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with ScriptedServer({"text": "hello"}, tls=tls_context()) as server, closing(HttpTransport()) as transport:
        for _ in range(2):
            assert b"hello" in _read(transport, _url(server))
        assert server.connections == 1


def test_a_warmed_tls_connection_is_not_taken_for_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with ScriptedServer({"text": "hello"}, tls=tls_context()) as server, closing(HttpTransport()) as transport:
        transport.warm(_url(server), QUICK)
        time.sleep(0.05)
        assert b"hello" in _read(transport, _url(server))
        assert server.connections == 1


def test_certifi_is_used_where_openssl_has_no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "")
    monkeypatch.setenv("SSL_CERT_DIR", "")
    assert not ssl.create_default_context().cert_store_stats()["x509_ca"]
    with ScriptedServer(tls=tls_context()) as server, closing(HttpTransport()) as transport:
        with pytest.raises(ProviderError, match="not trusted"):
            _read(transport, _url(server))
        assert connect.tls_context().cert_store_stats()["x509_ca"] > 50


def test_an_untrusted_certificate_is_no_reason_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with ScriptedServer(tls=tls_context()) as server, closing(HttpTransport()) as transport:
        with pytest.raises(ProviderError, match="its certificate is not trusted: self-signed certificate") as caught:
            _read(transport, _url(server))
        assert not is_transient(caught.value)
        assert "SSL_CERT_FILE" in (caught.value.hint or "")


def test_http_goes_through_the_proxy_in_absolute_form(
    server: ScriptedServer, transport: HttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ForwardProxy(server.port) as proxy:
        monkeypatch.setenv("http_proxy", f"http://me:p%40ss@127.0.0.1:{proxy.port}")
        assert b"said:" in _read(transport, "http://provider.test/v1/chat/completions")
        assert proxy.heads[0].startswith("POST http://provider.test/v1/chat/completions HTTP/1.1\r\n")
        assert "Proxy-Authorization: Basic bWU6cEBzcw==" in proxy.heads[0]
        assert "Host: provider.test\r\n" in proxy.heads[0]
        transport.close()


def test_https_goes_through_the_proxy_in_a_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with (
        ScriptedServer({"text": "hello"}, tls=tls_context()) as server,
        ForwardProxy(server.port) as proxy,
        closing(HttpTransport()) as transport,
    ):
        monkeypatch.setenv("ALL_PROXY", f"me:pw@127.0.0.1:{proxy.port}")
        for _ in range(2):
            assert b"hello" in _read(transport, "https://provider.test/v1/chat/completions")
        assert len(proxy.heads) == 1
        assert proxy.heads[0].startswith("CONNECT provider.test:443 HTTP/1.")
        assert "Proxy-Authorization: Basic bWU6cHc=" in proxy.heads[0]
        assert "proxy-authorization" not in server.requests[0].headers
        transport.close()


def test_no_proxy_keeps_hosts_out_of_the_proxy(
    server: ScriptedServer, transport: HttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "example.com,127.0.0.1")
    assert b"said:" in _read(transport, _url(server))
    assert proxy_for("http", "api.example.com", 80) is None
    assert proxy_for("http", "example.org", 80) is not None
    assert proxy_for("https", "example.org", 443) is None


@pytest.mark.parametrize(("refusal", "is_worth_another_try"), [("407 Who are you", False), ("502 Bad Gateway", True)])
def test_a_refusing_proxy_is_named_without_its_password(
    refusal: str, *, is_worth_another_try: bool, monkeypatch: pytest.MonkeyPatch, transport: HttpTransport
) -> None:
    with ForwardProxy(1, refusal=refusal) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@127.0.0.1:{proxy.port}")
        with pytest.raises(ProviderError) as caught:
            _read(transport, "https://provider.test/v1")
    assert f"through the proxy 127.0.0.1:{proxy.port}" in caught.value.message
    assert refusal.lower() in caught.value.message.lower()
    assert is_transient(caught.value) is is_worth_another_try
    assert "secret" not in f"{caught.value.message}{caught.value.hint}"
    assert "NO_PROXY" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "value", ["socks5://127.0.0.1:1080", "https://secret@proxy", "http://", "http://x:y", "not a url"]
)
def test_a_proxy_that_cannot_be_used_is_a_setting_to_correct(
    value: str, transport: HttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", value)
    with pytest.raises(ConfigError) as caught:
        _read(transport, "http://provider.test/")
    assert "$HTTP_PROXY" in caught.value.message
    assert "secret" not in caught.value.message


def test_a_proxy_does_not_show_its_password_in_a_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://me:secret@proxy.test:3128")
    proxy = proxy_for("http", "x.test", 80)
    assert proxy is not None
    assert "Basic" not in repr(proxy)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a reset may take away what was not yet read")
def test_an_answer_given_before_the_body_was_read_is_used(transport: HttpTransport) -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
        time.sleep(0.1)

    with RawServer(refuse) as server:
        response = transport.post_json(f"http://127.0.0.1:{server.port}/", {}, b"x" * 30_000_000, QUICK)
        with closing(response):
            assert (response.status, response.read_limited(10)) == (413, b"big")
