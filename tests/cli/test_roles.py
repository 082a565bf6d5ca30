from __future__ import annotations

from pathlib import Path

import pytest

from tests.pty.terminal import terminal
from tests.runner import Cli
from tests.servers.scripted import ScriptedServer

POET = '+++\nmodel = "claude-haiku-4-5"\noptions = { temperature = 0.5 }\n+++\nBe a poet.\n'


@pytest.fixture
def poet(cli: Cli) -> Path:
    file = cli.config_file.parent / "roles" / "poet.md"
    file.parent.mkdir(parents=True)
    file.write_text(POET)
    return file


def editor(text: str) -> dict[str, str]:
    """An editor that writes a text."""
    return {"VISUAL": f'sh -c \'printf "{text}" > "$0"\''}


def test_a_role_is_written_listed_shown_and_deleted(cli: Cli) -> None:
    assert cli.run("roles", "list").stderr == b"There are no roles yet. Run: aichat roles edit NAME\n"
    assert cli.run("roles", "edit", "critic", environ=editor("Be strict.\\n")).returncode == 0

    assert cli.run("roles", "list").stdout == b"critic\t\tBe strict.\n"
    assert cli.run("roles", "show", "critic").stdout == b"Be strict.\n"
    assert cli.json("roles", "list") == [{"name": "critic", "prompt": "Be strict.", "model": None, "options": {}}]
    assert cli.json("roles", "show", "critic") == cli.json("roles", "list")[0]
    assert (cli.config_file.parent / "roles" / "critic.md").stat().st_mode & 0o777 == 0o600

    assert cli.run("roles", "rm", "critic").returncode == 2
    assert cli.run("roles", "rm", "--yes", "critic").returncode == 0
    assert cli.json("roles", "list") == []


def test_a_deletion_is_asked_for_on_a_terminal(cli: Cli, poet: Path) -> None:
    with terminal(cli, "roles", "rm", "poet") as screen:
        screen.wait_for('Delete the role "poet"?')
        screen.type("y\r")
        screen.wait_for("Deleted")
    assert not poet.exists()


def test_an_editor_that_writes_nothing_leaves_no_role(cli: Cli) -> None:
    done = cli.run("roles", "edit", "critic", environ={"VISUAL": "true"})
    failed = cli.run("roles", "edit", "critic", environ={"VISUAL": "false"})

    assert (done.returncode, failed.returncode) == (0, 1)
    assert b'there is no role "critic"' in done.stderr
    assert cli.json("roles", "list") == []


def test_what_was_written_wrong_is_said_after_the_editor(cli: Cli) -> None:
    wrong = cli.run("roles", "edit", "critic", environ=editor("+++\\nmodel = 1\\n+++\\n"))
    unknown = cli.run("roles", "edit", "critic", environ=editor('+++\\nmodel = \\"no-such-model\\"\\n+++\\n'))

    assert (wrong.returncode, b"model is a text" in wrong.stderr) == (1, True)
    assert (unknown.returncode, b"no-such-model" in unknown.stderr) == (2, True)


def test_a_role_gives_a_question_its_system_prompt_model_and_options(
    cli: Cli, server: ScriptedServer, poet: Path
) -> None:
    done = cli.run("--role", "poet", "hello")

    assert done.returncode == 0, done.stderr.decode()
    body = server.requests[0].body
    assert (body["model"], body["system"], body["temperature"]) == ("claude-haiku-4-5", "Be a poet.", 0.5)


def test_flags_come_before_what_a_role_says(cli: Cli, server: ScriptedServer, poet: Path) -> None:
    cli.run("--role", "poet", "-m", "gpt-4o-mini", "-o", "temperature", "1", "hello")

    body = server.requests[0].body
    assert (body["model"], body["temperature"]) == ("gpt-4o-mini", 1)
    assert body["messages"][0] == {"role": "system", "content": "Be a poet."}


def test_a_conversation_keeps_the_system_prompt_of_its_role(cli: Cli, server: ScriptedServer, poet: Path) -> None:
    cli.run("--role", "poet", "hello")
    poet.unlink()
    cli.run("-c", "more")

    assert server.requests[1].body["system"] == "Be a poet."
    assert cli.json("history", "show", "hello")["system_prompt"] == "Be a poet."


def test_a_conversation_can_be_given_a_role(cli: Cli, server: ScriptedServer, poet: Path) -> None:
    cli.run("hello")
    cli.run("-c", "--role", "poet", "more")

    assert server.requests[1].body["system"] == "Be a poet."
    assert cli.json("history", "show", "hello")["system_prompt"] == "Be a poet."


def test_the_role_of_the_settings_holds_for_new_conversations_without_a_prompt_of_their_own(
    cli: Cli, server: ScriptedServer, poet: Path
) -> None:
    role = {"AICHAT_ROLE": "poet", "AICHAT_SYSTEM_PROMPT": "Be brief."}
    cli.run("hello")
    cli.run("-c", "more", environ=role)
    assert "system" not in str(server.requests[1].body["messages"])

    cli.run("-s", "Be long.", "hello", environ=role)
    assert server.requests[2].body["messages"][0]["content"] == "Be long."

    cli.run("hello", environ=role)
    assert server.requests[3].body["system"] == "Be a poet."


def test_a_role_that_cannot_be_used_is_refused(cli: Cli, server: ScriptedServer, poet: Path) -> None:
    refused = {
        ("--role", "poet", "-s", "x"): (2, b"-s and --role exclude each other"),
        ("--role", "pote"): (1, b'Did you mean "poet"?'),
        ("--role", "../poet"): (2, b"A role cannot be called"),
        ("--role", ""): (2, b"A role cannot be called"),
    }
    for arguments, (code, said) in refused.items():
        done = cli.run(*arguments, "hello")
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert server.requests == []


def test_a_role_cannot_smuggle_control_sequences(cli: Cli, poet: Path) -> None:
    poet.write_text("\x1b]0;evil\x07 poet \x9b2J")
    for arguments in (["roles", "list"], ["roles", "show", "poet"]):
        with terminal(cli, *arguments) as screen:
            assert screen.wait_for_exit() == 0
        assert b"\x1b]0" not in screen.sent
        assert "\x9b".encode() not in screen.sent
