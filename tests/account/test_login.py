"""Logging in to a gateway, out again, and being told who one is there."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.account.users import OFFLINE, account_file, log_in
from tests.pty.terminal import terminal
from tests.runner import Cli
from tests.servers.gateway import RunningGateway
from tests.servers.raw import CERTIFICATE, tls_context
from tests.servers.scripted import ScriptedServer
from tests.test_docs import fields_of, shapes

NOBODY = "aichat-" + "a" * 8 + "-" + "b" * 52


@pytest.fixture
def nowhere() -> Iterator[str]:
    """An address at which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def is_logged_out(cli: Cli) -> bool:
    address = cli.run("config", "get", "gateway.url").stdout.strip()
    return cli.json("keys", "list") == [] and address == b"" and not account_file(cli).exists()


def test_a_login_says_who_one_is_what_one_has_and_what_to_type_next(cli: Cli, gateway: RunningGateway) -> None:
    key = gateway.key("anna", plan="pro", credits_=50)

    done = cli.run("login", gateway.url + "/v1/", stdin=f"{key}\n")

    told = done.stderr.decode()
    assert done.returncode == 0, told
    assert f"Logged in to {gateway.url} as anna: plan pro, 150 credits." in told
    assert "aichat models list gateway" in told
    assert "gateway/gpt-4o-mini answers from now on, and your credits there pay. Try: aichat hello" in told
    assert "The key is kept in the keyring" in told
    assert done.stdout == b""
    assert key not in told
    assert cli.json("keys", "list") == [{"name": "gateway", "source": "keyring"}]
    assert stat.S_IMODE(account_file(cli).stat().st_mode) == 0o600
    assert key not in account_file(cli).read_text()


def test_whoami_tells_the_account_as_it_is_now(cli: Cli, gateway: RunningGateway) -> None:
    log_in(cli, gateway.url, gateway.key("otto", plan="free"))
    with_more = gateway.store.users()
    with_more.grant(with_more.user("otto").id, 7, ref="more", actor="test")
    with_more.close()

    told = cli.json("whoami")

    assert told["user"]["name"] == "otto"
    assert told["credits"]["balance"] == 107
    assert told["window"] == {"limit": 20, "remaining": 20, "reset_at": None}
    assert told["live"] is True
    assert "gateway/gpt-4o-mini" in told["models"]
    text = cli.run("whoami").stdout.decode()
    assert "otto" in text
    assert "107 credits" in text
    assert "as of" not in text


def test_whoami_without_a_network_tells_what_was_last_known_and_ends_with_6(cli: Cli, gateway: RunningGateway) -> None:
    log_in(cli, gateway.url, gateway.key("paul"))
    done = cli.run("whoami", "--json", environ=OFFLINE)

    told = json.loads(done.stdout)
    assert done.returncode == 6
    assert told["user"]["name"] == "paul"
    assert told["live"] is False
    assert told["as_of"].startswith("20")
    assert json.loads(done.stderr)["error"]["code"] == "connect_failed"
    assert b"as of" in cli.run("whoami", environ=OFFLINE).stdout


def test_a_logout_forgets_the_key_the_address_and_the_models_and_keeps_the_history(
    cli: Cli, gateway: RunningGateway
) -> None:
    log_in(cli, gateway.url, gateway.key("quinn"))

    done = cli.run("logout")

    assert done.returncode == 0
    assert b"nothing has changed there" in done.stderr
    assert is_logged_out(cli)
    assert cli.run("whoami").returncode == 3
    assert cli.run("logout").stderr == b"You were not logged in.\n"


def test_another_login_takes_the_place_of_the_first_and_says_so(cli: Cli, gateway: RunningGateway) -> None:
    log_in(cli, gateway.url, gateway.key("rosa"))

    done = cli.run("login", stdin=gateway.key("saul"))

    assert b"as saul" in done.stderr
    another = gateway.key("saul")
    assert (
        f"This key takes the place of {cli.json('whoami')['key']['prefix']}..."
        in cli.run("login", stdin=another).stderr.decode()
    )
    assert another.startswith(cli.json("whoami")["key"]["prefix"])
    assert len(cli.json("whoami")["key"]["prefix"]) == 15
    assert b"This takes the place of rosa." in done.stderr
    assert cli.json("whoami")["user"]["name"] == "saul"


def test_the_key_is_asked_for_without_echo(cli: Cli, gateway: RunningGateway) -> None:
    key = gateway.key("tess")
    with terminal(cli, "login", gateway.url) as screen:
        screen.wait_for(f"Key for {gateway.url}")
        screen.settle()
        screen.type(key + "\r")
        assert screen.wait_for_exit() == 0
    assert key.encode() not in screen.sent
    assert cli.json("whoami")["user"]["name"] == "tess"


def test_ctrl_c_while_the_key_is_asked_for_changes_nothing(cli: Cli, gateway: RunningGateway) -> None:
    with terminal(cli, "login", gateway.url) as screen:
        screen.wait_for("Key for")
        screen.settle()
        screen.type("\x03")
        assert screen.wait_for_exit() == 130
    assert is_logged_out(cli)


def test_the_key_may_come_from_the_environment(cli: Cli, gateway: RunningGateway) -> None:
    done = cli.run("login", gateway.url, environ={"AICHAT_GATEWAY_KEY": gateway.key("ugo")})
    assert done.returncode == 0, done.stderr
    assert b"as ugo" in done.stderr


def test_an_environment_with_address_and_key_needs_no_login(cli: Cli, gateway: RunningGateway) -> None:
    cli.environ |= {"AICHAT_GATEWAY_URL": gateway.url, "AICHAT_GATEWAY_KEY": gateway.key("vito")}
    assert cli.json("whoami")["user"]["name"] == "vito"


def test_a_key_as_an_argument_is_refused_and_not_repeated(cli: Cli, gateway: RunningGateway) -> None:
    key = gateway.key("wanda")
    done = cli.run("login", gateway.url, key)
    assert done.returncode == 2
    assert b"never an argument" in done.stderr
    assert key.encode() not in done.stderr


def test_without_a_keyring_the_key_goes_into_a_private_file_and_that_is_said(cli: Cli, gateway: RunningGateway) -> None:
    cli.environ |= {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
    done = cli.run("login", gateway.url, stdin=gateway.key("xena"))
    assert b"no keyring" in done.stderr
    assert cli.json("whoami")["user"]["name"] == "xena"


@pytest.mark.parametrize("key", [NOBODY, "sk-proj-0123456789abcdef", "two words"])
def test_a_wrong_key_is_refused_and_nothing_is_kept(key: str, cli: Cli, gateway: RunningGateway) -> None:
    done = cli.run("login", gateway.url, stdin=key)
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert key.encode() not in done.stderr
    assert is_logged_out(cli)


def test_a_key_of_another_kind_is_not_even_sent(cli: Cli) -> None:
    with ScriptedServer() as elsewhere:
        done = cli.run("login", elsewhere.url, stdin="sk-proj-0123456789abcdef")
        assert elsewhere.requests == []
    assert b"was not sent" in done.stderr


@pytest.mark.parametrize("what", ["revoked", "suspended"])
def test_a_key_that_no_longer_opens_anything_is_told_with_what_to_do(
    what: str, cli: Cli, gateway: RunningGateway
) -> None:
    log_in(cli, gateway.url, gateway.key(what))
    users = gateway.store.users()
    user = users.user(what)
    if what == "revoked":
        users.revoke_key(users.keys(user_id=user.id)[0].id, actor="test")
    else:
        users.suspend(user.id, suspended=True, actor="test")
    users.close()

    done = cli.run("whoami")

    assert done.returncode == 3
    assert what in done.stderr.decode()
    assert ("aichat login" if what == "revoked" else "perator") in done.stderr.decode()


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ({"body": "<html>Welcome to our shop</html>", "content_type": "text/html"}, 6, "not a gateway"),
        ({"status": 404, "body": "<html>nothing here</html>", "content_type": "text/html"}, 6, "not a gateway"),
        ({"status": 404, "error": {"message": "Unknown path", "type": "invalid_request_error"}}, 6, "not a gateway"),
        ({"body": '{"hello": "world"}', "content_type": "application/json"}, 6, "not a gateway"),
        ({"status": 502, "body": "<html>bad</html>", "content_type": "text/html"}, 6, "cannot answer now (502)"),
        (
            {"status": 301, "headers": {"Location": "https://www.example.org/"}},
            6,
            "redirects to https://www.example.org/",
        ),
        (
            {"status": 429, "error": {"message": "The free plan allows 20 calls"}, "headers": {"Retry-After": "7"}},
            5,
            "7 s",
        ),
    ],
)
def test_what_answers_and_is_no_gateway_is_told_in_one_line(
    answer: dict[str, object], code: int, words: str, cli: Cli
) -> None:
    with ScriptedServer(answer) as elsewhere:
        done = cli.run("login", elsewhere.url, stdin=NOBODY)
    assert done.returncode == code
    assert words in done.stderr.decode()
    assert len(done.stderr.splitlines()) == 1
    assert NOBODY.encode() not in done.stderr
    assert is_logged_out(cli)


def test_where_nothing_listens_that_is_said(cli: Cli, nowhere: str) -> None:
    done = cli.run("login", nowhere, stdin=NOBODY)
    assert done.returncode == 6
    assert b"connection refused" in done.stderr
    assert is_logged_out(cli)


def test_a_certificate_nobody_trusts_is_refused(cli: Cli) -> None:
    with ScriptedServer(tls=tls_context()) as elsewhere:
        done = cli.run("login", elsewhere.url, stdin=NOBODY)
        trusted = cli.run("login", elsewhere.url, stdin=NOBODY, environ={"SSL_CERT_FILE": str(CERTIFICATE)})
    assert done.returncode == 6
    assert b"certificate is not trusted" in done.stderr
    assert b"not a gateway" in trusted.stderr


@pytest.mark.parametrize(
    "address",
    ["ftp://chat.example.org", "http://", "https://anna:secret@chat.example.org", "chat example", "http://:0"],
)
def test_what_is_no_address_is_refused(address: str, cli: Cli) -> None:
    done = cli.run("login", address, stdin=NOBODY)
    assert done.returncode == 2
    assert b"https://chat.example.org" in done.stderr


def test_a_key_does_not_cross_a_network_in_the_clear_unasked(cli: Cli) -> None:
    refused = cli.run("login", "http://chat.example.org", stdin=NOBODY)
    assert refused.returncode == 2
    assert b"Use https://chat.example.org, or --insecure" in refused.stderr
    with ScriptedServer({"status": 502, "body": "down"}) as proxy:
        environ = {"HTTP_PROXY": proxy.url, "NO_PROXY": ""}
        asked_for = cli.run("login", "--insecure", "http://chat.example.org", stdin=NOBODY, environ=environ)
    assert asked_for.returncode == 6
    assert proxy.requests[0].path == "http://chat.example.org/v1/account"


def test_a_login_without_an_address_or_a_key_asks_for_nothing_and_says_what_is_missing(
    cli: Cli, gateway: RunningGateway
) -> None:
    assert b"Which gateway?" in cli.run("login", stdin=NOBODY).stderr
    assert b"No key was given" in cli.run("login", gateway.url).stderr


@pytest.mark.parametrize("content", ["", "{", '{"account": {}}', "\xff\x00"])
def test_a_damaged_file_is_told_and_mended_by_asking_again(content: str, cli: Cli, gateway: RunningGateway) -> None:
    log_in(cli, gateway.url, gateway.key("yves"))
    account_file(cli).write_text(content, "latin-1")

    offline = cli.run("whoami", environ=OFFLINE)
    online = cli.json("whoami")

    assert offline.returncode == 6
    assert offline.stdout == b""
    assert online["user"]["name"] == "yves"
    assert json.loads(account_file(cli).read_text())["account"]["user_name"] == "yves"


def test_the_doctor_looks_at_the_account(cli: Cli, gateway: RunningGateway) -> None:
    def finding() -> dict[str, str]:
        listed = json.loads(cli.run("doctor", "--json").stdout)
        return next(each for each in listed if each["subject"] == "gateway")

    assert finding()["state"] == "missing"
    log_in(cli, gateway.url, gateway.key("zoe"))
    assert finding()["state"] == "ok"
    assert f"{gateway.url}: zoe, 100 credits" in finding()["detail"]
    users = gateway.store.users()
    users.suspend(users.user("zoe").id, suspended=True, actor="test")
    users.close()
    assert finding()["state"] == "broken"
    assert "suspended" in finding()["detail"]


def test_fifty_processes_that_log_in_at_once_leave_one_account(
    cli: Cli, gateway: RunningGateway, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    told.mkdir()
    # The file of the tests' keyring is not written whole or not at all, so it is left out.
    cli.environ |= {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
    key = gateway.key("crowd")
    log_in(cli, gateway.url, key)
    environ = {**cli.environment, "AICHAT_GATEWAY_KEY": key}
    subprocess.run(
        [sys.executable, "-m", "tests.cli.crowd", "50", str(told), "login", gateway.url],
        env=environ,
        check=True,
        timeout=120,
    )
    codes = [(told / f"{number}.code").read_text() for number in range(50)]
    assert codes == ["0"] * 50, {path.read_text() for path in told.glob("*.err")}
    assert cli.json("whoami")["user"]["name"] == "crowd"
    assert [path.name for path in account_file(cli).parent.iterdir()] == ["account.json"]


def test_what_is_printed_as_json_has_the_documented_shape(cli: Cli, gateway: RunningGateway) -> None:
    log_in(cli, gateway.url, gateway.key("jules"))
    documented = shapes()
    assert fields_of(cli.json("whoami")) == fields_of(documented["`aichat whoami --json`"])
    assert fields_of(cli.json("credits")) == fields_of(documented["`aichat credits --gateway --json`"])
