"""Every key of the prompt that is not tested beside what it belongs to."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.pty.terminal import terminal
from tests.runner import Cli
from tests.servers.scripted import ScriptedServer

PROMPT = "gpt-4o-mini | "
CTRL_D, CTRL_G, CTRL_R, ESCAPE = "\x04", "\x07", "\x12", "\x1b"
EDITOR_KEYS = {"ctrl+g": CTRL_G, "ctrl+x ctrl+e": "\x18\x05"}


def prompts(server: ScriptedServer) -> list[str]:
    return [request.body["messages"][-1]["content"] for request in server.requests]


@pytest.fixture
def editor(cli: Cli) -> Path:
    """An editor that adds a line, and keeps what it was given."""
    script = cli.home / "editor.sh"
    script.write_text(f'#!/bin/sh\ncp "$1" "{cli.home}/was.md"\nprintf "\\nand a second line\\n" >> "$1"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    cli.environ["EDITOR"] = str(script)
    return script


@pytest.mark.parametrize("keys", EDITOR_KEYS.values(), ids=EDITOR_KEYS)
def test_the_editor_takes_what_is_typed_and_gives_back_what_it_leaves(
    cli: Cli, server: ScriptedServer, editor: Path, keys: str
) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type(f"first line{keys}")
        screen.wait_for("and a second line")
        assert server.requests == []
        screen.type("\r")
        screen.wait_for("You said:")

    assert (cli.home / "was.md").read_text() == "first line"
    assert prompts(server) == ["first line\nand a second line"]


def test_an_editor_that_fails_leaves_the_message_as_it_was(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli, EDITOR="false") as screen:
        screen.wait_for(PROMPT)
        screen.type(f"first line{CTRL_G}")
        screen.wait_for('The editor "false" ended with code 1')
        screen.type("\r")
        screen.wait_for("You said: first line")


def test_ctrl_r_finds_what_was_typed_in_an_earlier_session(cli: Cli, server: ScriptedServer) -> None:
    for text in ("how tall is the tower", "another thing"):
        with terminal(cli) as screen:
            screen.wait_for(PROMPT)
            screen.type(f"{text}\r")
            screen.wait_for(f"You said: {text}")
            screen.type(CTRL_D)
            assert screen.wait_for_exit() == 0
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type(f"{CTRL_R}tall")
        screen.wait_for("> how tall is the tower")
        screen.type("\r")
        screen.settle()
        screen.type("\r")
        screen.wait_for("You said: how tall")


@pytest.mark.parametrize("sequence", ["\x1b[13;2u", "\x1b[27;2;13~"], ids=["csi u", "modifyOtherKeys"])
def test_shift_enter_gives_a_new_line_where_the_terminal_tells_it(
    cli: Cli, server: ScriptedServer, sequence: str
) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type(f"first{sequence}second")
        screen.settle()
        assert server.requests == []
        screen.type("\r")
        screen.wait_for("You said:")

    assert prompts(server) == ["first\nsecond"]


def test_vi_keys_move_and_delete_where_they_are_set(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli, AICHAT_KEYS="vi") as screen:
        screen.wait_for(PROMPT)
        screen.type("one two three")
        screen.wait_for("one two three")
        screen.type(ESCAPE)
        screen.settle(0.8)
        screen.type("bdw\r")
        screen.wait_for("You said: one two")

    assert prompts(server) == ["one two"]


def test_a_paste_that_is_large_stands_for_itself_and_can_be_edited_around(cli: Cli, server: ScriptedServer) -> None:
    pasted = "\n".join(f"line {number}" for number in range(100))
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type(f"before \x1b[200~{pasted}\x1b[201~ after")
        screen.wait_for("before [pasted #1: 100 lines] after")
        screen.type("\r")
        screen.wait_for("You said:")

    assert prompts(server) == [f"before {pasted} after"]


def test_the_welcome_is_shown_once(cli: Cli, server: ScriptedServer) -> None:
    cli.run("a question from the shell")
    with terminal(cli) as screen:
        screen.wait_for("Welcome to aichat.")
        screen.wait_for("~/data/aichat/aichat.db")
        screen.wait_for(PROMPT)
        screen.type(CTRL_D)
        assert screen.wait_for_exit() == 0
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        assert "Welcome" not in screen.settle()


def test_there_is_no_welcome_in_a_pipe(cli: Cli, server: ScriptedServer) -> None:
    done = cli.run("hello")

    assert b"Welcome" not in done.stdout + done.stderr


def test_commands_are_offered_in_the_smallest_terminal(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli, columns=20, rows=5) as screen:
        screen.wait_for("gpt-4o-mini")
        screen.type("/mod")
        screen.wait_for("> /mod\n")
        screen.type("\t")
        screen.wait_for("> /model\n")


def test_escape_before_a_command_does_not_take_its_slash(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type(ESCAPE)
        screen.settle(0.7)  # longer than a terminal takes to send a key, shorter than a prefix waits for the next one
        screen.type("/title\r")
        screen.wait_for("There is no conversation yet.")

    assert server.requests == []
