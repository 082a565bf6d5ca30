"""Turns through Helicone: what it and the provider are each told, what its answers cost, and what its failures are."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.cli.test_keys_and_secrets import everything_in
from tests.runner import KEY, Cli
from tests.servers.helicone_double import KEY as HELICONE_KEY
from tests.servers.helicone_double import HeliconeDouble
from tests.servers.raw import RawServer, read_head
from tests.servers.scripted import ScriptedServer

GPT, CLAUDE = "gpt-4o-mini", "claude-haiku-4-5"


@pytest.fixture
def helicone(server: ScriptedServer) -> Iterator[HeliconeDouble]:
    with HeliconeDouble(server) as running:
        yield running


def through(cli: Cli, url: str, **more: str) -> Cli:
    """The program with both providers at their own addresses, asked through Helicone at a URL."""
    cli.environ = {
        "OPENAI_BASE_URL": "",
        "ANTHROPIC_BASE_URL": "",
        "HELICONE_API_KEY": HELICONE_KEY,
        "AICHAT_HELICONE_PROVIDERS": "openai,anthropic",
        "AICHAT_HELICONE_URL": url,
        "AICHAT_RETRY_ATTEMPTS": "1",
        **more,
    }
    return cli


@pytest.mark.parametrize(
    ("model", "path", "header"),
    [
        (GPT, "/v1/chat/completions", {"authorization": f"Bearer {KEY}"}),
        (CLAUDE, "/v1/messages", {"x-api-key": KEY}),
    ],
)
def test_a_turn_goes_through_with_each_key_in_a_header_of_its_own(
    cli: Cli, server: ScriptedServer, helicone: HeliconeDouble, model: str, path: str, header: dict[str, str]
) -> None:
    done = through(cli, helicone.url, AICHAT_HELICONE_USER="me").run("-m", model, "hello", "--debug")
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"You said: hello"
    [call], [passed] = helicone.calls, server.requests
    [[conversation, request_id]] = cli.rows("SELECT conversation_id, request_id FROM usage")
    told = {name: value for name, value in call.headers.items() if name.startswith("helicone-")}
    assert told == {
        "helicone-auth": f"Bearer {HELICONE_KEY}",
        "helicone-request-id": request_id,
        "helicone-user-id": "me",
        "helicone-session-id": conversation,
        "helicone-session-name": "aichat",
        "helicone-session-path": "/chat",
        "helicone-omit-request": "true",
        "helicone-omit-response": "true",
    }
    assert passed.path == path
    assert header.items() <= passed.headers.items()
    assert [name for name, value in call.headers.items() if KEY in value] == list(header)
    seen = done.stdout + done.stderr + everything_in(cli.home)
    assert KEY.encode() not in seen
    assert HELICONE_KEY.encode() not in seen


def test_the_turns_of_a_conversation_are_one_session(cli: Cli, helicone: HeliconeDouble) -> None:
    through(cli, helicone.url).run("-m", GPT, "one")
    cli.run("-c", "-m", CLAUDE, "two")
    cli.run("-m", GPT, "another")
    first, second, third = (call.headers["helicone-session-id"] for call in helicone.calls)
    assert first == second != third


def test_nothing_of_helicones_is_sent_where_it_is_off_or_the_provider_is_elsewhere(
    cli: Cli, server: ScriptedServer, helicone: HeliconeDouble
) -> None:
    off = through(cli, helicone.url, OPENAI_BASE_URL=server.openai_url, AICHAT_HELICONE_PROVIDERS="").run("one")
    elsewhere = cli.run("-m", GPT, "two", environ={"AICHAT_HELICONE_PROVIDERS": "openai"})
    assert [off.returncode, elsewhere.returncode] == [0, 0]
    assert len(server.requests) == 2
    assert not any(name.startswith(("helicone", "cache")) for each in server.requests for name in each.headers)
    assert not helicone.calls


def test_without_a_key_for_helicone_nothing_is_sent(cli: Cli, server: ScriptedServer, helicone: HeliconeDouble) -> None:
    done = through(cli, helicone.url, HELICONE_API_KEY="").run("-m", GPT, "hello")
    assert done.returncode == 3
    assert b'No API key for "helicone", through which openai, anthropic is to be asked.' in done.stderr
    assert b"aichat keys set helicone" in done.stderr
    assert not helicone.calls
    assert not server.requests


def test_the_key_is_kept_in_the_keyring_and_no_flag_takes_its_place(cli: Cli, helicone: HeliconeDouble) -> None:
    assert (
        through(cli, helicone.url, HELICONE_API_KEY="").run("keys", "set", "helicone", stdin=HELICONE_KEY).returncode
        == 0
    )
    assert cli.run("--key", "sk-by-flag-0123", "-m", GPT, "hello").returncode == 0
    [call] = helicone.calls
    assert call.headers["helicone-auth"] == f"Bearer {HELICONE_KEY}"
    assert call.headers["authorization"] == "Bearer sk-by-flag-0123"
    assert HELICONE_KEY.encode() not in everything_in(cli.home)


def test_a_provider_that_cannot_be_proxied_is_refused_where_it_is_set(cli: Cli) -> None:
    done = cli.run("config", "set", "helicone.providers", "openai,ollama")
    assert done.returncode == 2
    assert b"it takes names out of anthropic, cerebras," in done.stderr
    assert cli.run("config", "set", "helicone.user", "zo\u00eb").returncode == 2


@pytest.mark.parametrize("model", [GPT, CLAUDE])
def test_an_answer_out_of_its_cache_costs_nothing_and_says_so(
    cli: Cli, server: ScriptedServer, helicone: HeliconeDouble, model: str
) -> None:
    server.script = {"text": "fine", "usage": {"input": 1000, "output": 500}}
    through(cli, helicone.url, AICHAT_HELICONE_CACHE_SECONDS="3600")
    first, second = (cli.run("-m", model, "hello") for _ in range(2))
    assert first.stdout == second.stdout == b"fine"
    assert b"cache" not in first.stderr
    assert b"Answered from Helicone's cache: it cost nothing." in second.stderr
    assert [call.headers["cache-control"] for call in helicone.calls] == ["max-age=3600"] * 2
    assert len(server.requests) == 1
    paid, kept = cli.rows("SELECT input_tokens, output_tokens, cost_nano, provenance FROM usage ORDER BY created_at")
    assert paid[2] > 0
    assert kept == (1000, 500, 0, "provider")


def test_a_key_that_helicone_refuses_is_told_as_helicones(
    cli: Cli, server: ScriptedServer, helicone: HeliconeDouble
) -> None:
    bad = "sk-helicone-no-such-key"
    done = through(cli, helicone.url, HELICONE_API_KEY=bad).run("-m", GPT, "hello")
    assert done.returncode == 3
    assert b"Helicone refused its key: Invalid Helicone API key: Bearer ***." in done.stderr
    assert b"aichat keys set helicone" in done.stderr
    assert bad.encode() not in done.stderr + everything_in(cli.home)
    assert not server.requests


def test_what_a_provider_refuses_is_told_as_the_providers(
    cli: Cli, server: ScriptedServer, helicone: HeliconeDouble
) -> None:
    server.script = {"status": 401, "error": {"message": "Incorrect API key provided."}}
    done = through(cli, helicone.url).run("-m", GPT, "hello")
    assert done.returncode == 3
    assert b"openai through Helicone refused the API key from $OPENAI_API_KEY" in done.stderr


def _garbage(connection: socket.socket) -> None:
    read_head(connection)
    connection.sendall(b"\x00\x01 no HTTP at all\r\n\r\n")


def _page(connection: socket.socket) -> None:
    head = read_head(connection)
    body = b"<html>" + head + b"</html>"
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def _silence(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


@pytest.mark.parametrize(
    ("serve", "said"),
    [
        (_garbage, "does not answer in HTTP"),
        (_page, "openai through Helicone answered with something else than a model's answer"),
        (_silence, "did not answer within 0.3 s"),
        (None, "Could not connect to http://127.0.0.1:"),
    ],
    ids=["garbage", "page", "silence", "dead"],
)
def test_a_helicone_that_fails_is_one_clear_error_and_the_turn_is_settled(cli: Cli, serve: object, said: str) -> None:
    cli.environ = {"OPENAI_API_KEY": KEY}
    with RawServer(serve if callable(serve) else _silence) as raw:
        port = raw.port if serve else 1
        through(cli, f"http://127.0.0.1:{port}/v1/gateway", OPENAI_API_KEY=KEY, AICHAT_TIMEOUTS_FIRST_BYTE="0.3")
        done = cli.run("-m", GPT, "hello")
    assert done.returncode == 6
    assert said in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert cli.rows("SELECT status FROM messages WHERE role = 'assistant'") == [("failed",)]
    assert HELICONE_KEY.encode() not in done.stderr + everything_in(cli.home)
    assert KEY.encode() not in done.stderr + everything_in(cli.home)


def test_doctor_says_whether_helicone_can_be_used_where_it_is_on(cli: Cli, helicone: HeliconeDouble) -> None:
    good = through(cli, helicone.url).run("doctor")
    bad = cli.run("doctor", environ={"HELICONE_API_KEY": "sk-helicone-no-such-key"})
    assert b"accepts the key; asked: openai, anthropic" in good.stdout
    assert bad.returncode == 1
    assert b"Helicone refused its key" in bad.stdout
    assert b"no-such-key" not in bad.stdout
