from __future__ import annotations

import subprocess
from pathlib import Path

from tests.pty.terminal import terminal
from tests.runner import KEY, Cli
from tests.servers.scripted import ScriptedServer

STORED = "sk-stored-77aa88bb99cc"


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def without_environment_keys(cli: Cli) -> dict[str, str]:
    return {"OPENAI_API_KEY": "", "ANTHROPIC_API_KEY": ""}


def test_a_key_is_set_from_a_pipe_listed_used_and_removed(cli: Cli, server: ScriptedServer) -> None:
    cli.environ = without_environment_keys(cli)

    stored = cli.run("keys", "set", "openai", stdin=STORED + "\n")
    listed = cli.json("keys", "list")
    cli.run("-m", "gpt-4o-mini", "hello")
    removed = cli.run("keys", "rm", "openai")

    assert stored.returncode == 0
    assert listed == [{"name": "openai", "source": "keyring"}]
    assert server.requests[0].headers["authorization"] == f"Bearer {STORED}"
    assert removed.returncode == 0
    assert cli.json("keys", "list") == []
    assert cli.run("keys", "rm", "openai").returncode == 1


def test_a_key_is_asked_for_without_echo(cli: Cli) -> None:
    with terminal(cli, "keys", "set", "openai") as screen:
        screen.wait_for("Key for openai")
        screen.settle()  # what is typed before the echo is off is thrown away
        screen.type(STORED + "\r")
        assert screen.wait_for_exit() == 0

    assert STORED.encode() not in screen.sent
    assert cli.json("keys", "list") == [{"name": "openai", "source": "keyring"}]


def test_the_environment_comes_before_the_keyring_and_the_flag_before_both(cli: Cli, server: ScriptedServer) -> None:
    cli.run("keys", "set", "openai", stdin=STORED)

    cli.run("hello")
    cli.run("--key", "sk-by-flag", "hello")
    cli.run("--key=sk-by-flag-2", "hello")
    cli.environ = without_environment_keys(cli)
    cli.run("hello")

    sent = [request.headers["authorization"].removeprefix("Bearer ") for request in server.requests]
    assert sent == [KEY, "sk-by-flag", "sk-by-flag-2", STORED]


def test_without_a_keyring_the_key_goes_into_a_private_file_and_that_is_said(cli: Cli, server: ScriptedServer) -> None:
    cli.environ = without_environment_keys(cli) | {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}

    done = cli.run("keys", "set", "openai", stdin=STORED)
    cli.run("hello")

    assert b"no keyring" in done.stderr
    assert server.requests[0].headers["authorization"] == f"Bearer {STORED}"
    assert oct((cli.home / "config" / "aichat" / "keys.toml").stat().st_mode)[-3:] == "600"


def test_no_key_is_in_the_database_the_files_or_the_output_after_a_full_run(cli: Cli, server: ScriptedServer) -> None:
    cli.run("keys", "set", "mistral", stdin=STORED)
    server.script = [
        {"text": "fine"},
        {"status": 401, "error": {"message": f"Incorrect API key provided: {KEY}."}},
        {"status": 400, "error": {"message": f"odd: {KEY}"}},
        {"deltas": ["some", {"error": {"message": f"broke with {KEY}"}}]},
        {"body": f"<html>{KEY}</html>", "content_type": "text/html"},
    ]
    runs = [cli.run("hello", "--debug", environ={"AICHAT_RETRY_ATTEMPTS": "1"}) for _ in range(5)]
    runs += [cli.run("doctor"), cli.run("keys", "list"), cli.run("config", "list"), cli.run("models", "list")]

    output = b"".join(run.stdout + run.stderr for run in runs)
    for key in (KEY, STORED):
        assert key.encode() not in output
        assert key.encode() not in everything_in(cli.home)
    assert [run.returncode for run in runs[:5]] == [0, 3, 6, 6, 6]


def test_a_key_given_as_a_flag_is_not_in_the_process_list(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"deltas": ["x", "y"], "stall_after": 1}
    with cli.start("--key", "sk-flag-secret", "hello", fresh=True) as process:
        server.wait_for_requests(1)
        listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, check=True).stdout
        server.release()
        process.communicate(timeout=10)

    assert b"aichat_cli" in listed
    assert b"sk-flag-secret" not in listed
    assert server.requests[0].headers["authorization"] == "Bearer sk-flag-secret"


def test_a_key_command_gives_the_key(cli: Cli, server: ScriptedServer) -> None:
    cli.environ = without_environment_keys(cli)
    cli.run("config", "set", "key_command", "printf sk-from-%s {name}")

    cli.run("-m", "gpt-4o", "hello")

    assert server.requests[0].headers["authorization"] == "Bearer sk-from-openai"
