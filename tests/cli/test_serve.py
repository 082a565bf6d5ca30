"""`aichat serve` as a process: it starts, serves, tells what it does, and ends without leaving anything held."""

from __future__ import annotations

import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.pty.terminal import terminal
from tests.runner import KEY, Cli
from tests.servers.scripted import ScriptedServer
from tests.servers.serving import Serving, a_team, serving

PEM = Path(__file__).parent.parent / "servers" / "loopback.pem"


@pytest.fixture
def key(cli: Cli, server: ScriptedServer) -> str:
    return a_team(cli)


def ask(gateway: Serving, key: str, **options: Any) -> httpx.Response:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Tell me of bees."}], **options}
    return httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers={"x-api-key": key}, trust_env=False)


def held(cli: Cli) -> float:
    return float(cli.json("users", "show", "anna")["held"])


class Stream:
    """An answer that is under way, and how it ends."""

    def __init__(self, gateway: Serving, key: str) -> None:
        self.received = b""
        self.error: Exception | None = None
        self.has_begun = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(gateway, key), daemon=True)
        self._thread.start()
        assert self.has_begun.wait(20)

    def _read(self, gateway: Serving, key: str) -> None:
        body = {"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "Tell me of bees."}]}
        url = f"{gateway.url}/v1/chat/completions"
        try:
            with (
                httpx.Client(trust_env=False, timeout=30) as client,
                client.stream("POST", url, json=body, headers={"x-api-key": key}) as answer,
            ):
                for part in answer.iter_bytes():
                    self.received += part
                    self.has_begun.set()
        except httpx.HTTPError as exc:
            self.error = exc

    def end(self) -> bytes:
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.received


def test_a_gateway_says_where_it_listens_and_what_it_serves_answers_and_ends_with_0(
    cli: Cli, key: str, server: ScriptedServer
) -> None:
    server.script = {"text": "They make honey."}
    with serving(cli) as gateway:
        answer = ask(gateway, key)
        code = gateway.end(signal.SIGTERM)

    assert re.match(rf"Serving at {gateway.url}: [\d,]+ models, 1 user, 1 key, in .*gateway\.db\.$", gateway.told)
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "They make honey."
    assert code == 0
    assert held(cli) == 0
    assert KEY not in gateway.everything
    assert key not in gateway.everything


def test_a_stream_under_way_is_finished_while_nobody_new_gets_in(cli: Cli, key: str, server: ScriptedServer) -> None:
    server.script = {"deltas": ["One ", "two ", "three."], "stall_after": 1}
    with serving(cli) as gateway:
        stream = Stream(gateway, key)
        gateway.process.send_signal(signal.SIGTERM)
        gateway.wait_for('"ending"')
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{gateway.url}/readyz", trust_env=False)
        server.release()
        received = stream.end()
        code = gateway.process.wait(20)

    assert b"three." in received
    assert received.endswith(b"data: [DONE]\n\n")
    assert code == 0
    assert held(cli) == 0


@pytest.mark.parametrize("how", ["deadline", "second signal"])
def test_what_takes_too_long_is_cut_and_charged_for_what_arrived(
    cli: Cli, key: str, server: ScriptedServer, how: str
) -> None:
    server.script = {"deltas": ["One ", "two."], "stall_after": 1}
    with serving(cli, "--shutdown-seconds", "0" if how == "deadline" else "60") as gateway:
        stream = Stream(gateway, key)
        gateway.process.send_signal(signal.SIGTERM)
        if how == "second signal":
            gateway.wait_for('"ending"')
            gateway.process.send_signal(signal.SIGTERM)
        code = gateway.process.wait(20)
        received = stream.end()
        server.release()

    assert code == 0
    assert b"One" in received
    assert b"[DONE]" not in received
    assert "Traceback" not in gateway.everything
    anna = cli.json("users", "show", "anna")
    assert anna["held"] == 0
    assert anna["balance"] == 99


def test_whoever_has_nothing_of_an_answer_yet_is_told_to_try_again(cli: Cli, key: str, server: ScriptedServer) -> None:
    server.script = {"text": "Too late.", "stall_after": -1}
    with serving(cli, "--shutdown-seconds", "0") as gateway:
        answers: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: answers.append(ask(gateway, key)))
        asking.start()
        while not server.requests:
            time.sleep(0.02)
        code = gateway.end(signal.SIGTERM)
        asking.join(20)
        server.release()

    assert code == 0
    assert (answers[0].status_code, answers[0].json()["error"]["code"]) == (503, "ending")
    assert answers[0].headers["retry-after"] == "2"
    assert "Traceback" not in gateway.everything
    assert held(cli) == 0


def test_a_key_made_or_revoked_while_it_serves_counts_at_once(cli: Cli, key: str, server: ScriptedServer) -> None:
    server.script = [{"text": "Yes."}] * 2
    with serving(cli) as gateway:
        new = cli.run("api-keys", "create", "anna").stdout.decode().strip()
        assert ask(gateway, new).status_code == 200
        cli.run("api-keys", "revoke", new[:15])
        assert ask(gateway, new).status_code == 401
        assert ask(gateway, key).status_code == 200
        cli.run("users", "suspend", "anna")
        assert ask(gateway, key).status_code == 403


def test_tls_encrypts_and_a_new_certificate_is_taken_without_an_end(cli: Cli, tmp_path: Path) -> None:
    a_team(cli)
    certificate = tmp_path / "gateway.pem"
    certificate.write_bytes(PEM.read_bytes())
    context = ssl.create_default_context(cafile=str(PEM))
    with serving(cli, "--tls-cert", str(certificate), "--tls-key", str(certificate)) as gateway:
        assert gateway.url.startswith("https://")
        assert httpx.get(f"{gateway.url}/healthz", verify=context, trust_env=False).status_code == 200
        gateway.process.send_signal(signal.SIGHUP)
        gateway.wait_for("certificate.reread")
        certificate.write_text("nonsense")
        gateway.process.send_signal(signal.SIGHUP)
        gateway.wait_for("certificate.refused")
        assert httpx.get(f"{gateway.url}/healthz", verify=context, trust_env=False).status_code == 200
        assert gateway.end(signal.SIGTERM) == 0


def refused(cli: Cli, *arguments: str) -> str:
    done = cli.run("serve", *arguments)
    assert done.returncode in {1, 2}, done
    said = done.stderr.decode()
    assert said.count("\n") == 1, said
    return said


def test_what_keeps_it_from_serving_is_told_in_one_line(cli: Cli, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("nonsense")
    taken = socket.create_server(("127.0.0.1", 0))
    with taken:
        port = str(taken.getsockname()[1])
        assert "is taken by another program" in refused(cli, "--port", port)
    assert "aichat users create NAME" in refused(cli, "--host", "0.0.0.0")
    assert "go together" in refused(cli, "--tls-cert", str(PEM))
    assert "not a certificate and its key" in refused(cli, "--tls-cert", str(broken), "--tls-key", str(broken))
    assert "No such file" in refused(cli, "--tls-cert", "nowhere.pem", "--tls-key", str(PEM))
    assert "takes a network" in refused(cli, "--behind-proxy", "everybody")
    assert "no such address" in refused(cli, "--host", "a..b")
    assert "not an address of this machine" in refused(cli, "--host", "192.0.2.1", "--database", str(with_key(cli)))
    assert "info, debug, warning or error" in refused(cli, "--log-level", "loud")
    assert "http:// or https://" in refused(cli, "--public-url", "nonsense")
    assert "aichat models list" in refused(cli, "--port", "0", "--models", "no-such-model*")


def with_key(cli: Cli) -> Path:
    place = cli.home / "team.db"
    cli.run("users", "create", "anna", "--database", str(place))
    cli.run("api-keys", "create", "anna", "--database", str(place))
    return place


def test_listening_to_others_without_encryption_is_warned_of(cli: Cli) -> None:
    a_team(cli)
    with serving(cli, "--host", "0.0.0.0") as gateway:
        assert "unencrypted" in gateway.everything
    with serving(cli, "--host", "0.0.0.0", "--behind-proxy", "127.0.0.0/8") as gateway:
        assert "unencrypted" not in gateway.everything


def test_the_address_of_a_caller_is_logged_where_that_is_asked_for_and_a_proxys_word_is_taken(
    cli: Cli, key: str
) -> None:
    told = {"x-forwarded-for": "203.0.113.9"}
    with serving(cli, "--log-addresses", "--behind-proxy", "127.0.0.0/8") as gateway:
        httpx.get(f"{gateway.url}/v1/nothing", headers=told, trust_env=False)
        gateway.wait_for('"address":"203.0.113.9"')
    with serving(cli, "--log-addresses") as gateway:
        httpx.get(f"{gateway.url}/v1/nothing", headers=told, trust_env=False)
        gateway.wait_for('"address":"127.0.0.1"')
    with serving(cli) as gateway:
        httpx.get(f"{gateway.url}/v1/nothing", headers=told, trust_env=False)
        gateway.wait_for('"status":404')
        assert '"address"' not in gateway.everything


def test_a_full_pipe_of_logs_stops_nobody(cli: Cli, key: str) -> None:
    with serving(cli, is_read=False) as gateway:
        with httpx.Client(trust_env=False, headers={"x-api-key": key, "x-padding": "x" * 50}) as client:
            for _ in range(500):
                assert client.get(f"{gateway.url}/v1/nothing").status_code == 404
        assert gateway.end(signal.SIGTERM) == 0


def test_on_a_terminal_it_logs_in_words_and_ctrl_c_ends_it(cli: Cli, key: str) -> None:
    with terminal(cli, "serve", "--port", "0", columns=160) as screen:
        url = re.search(r"http://\S+:\d+", screen.wait_for("Serving at"))
        assert url
        httpx.get(f"{url[0]}/v1/account", headers={"x-api-key": key}, trust_env=False)
        screen.wait_for("route=/v1/account status=200")
        screen.type("\x03")
        assert screen.wait_for_exit() == 0


def test_without_the_extra_it_says_how_to_get_it(cli: Cli, tmp_path: Path) -> None:
    without = tmp_path / "without.py"
    without.write_text(
        "import sys\nsys.modules['uvicorn'] = None\nfrom aichat_cli.__main__ import main\nmain()\n", "utf-8"
    )

    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, without, *arguments], env=cli.environment, capture_output=True, timeout=60, check=False
        )

    refused = run("serve")
    assert refused.returncode == 1
    assert refused.stderr == (
        b"aichat: aichat serve needs uvicorn, which is not installed. Run: pip install 'aichat-terminal[server]'\n"
    )
    assert run("users", "create", "anna").returncode == 0
