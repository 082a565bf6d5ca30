"""The pickers as the session opens them, and what it does with what was chosen."""

from __future__ import annotations

import pytest

from tests.pty.terminal import Terminal, terminal
from tests.runner import Cli
from tests.servers.scripted import ScriptedServer

PROMPT = "gpt-4o-mini | "
F2, F3, F4, ESCAPE, UP, DOWN = "\x1bOQ", "\x1bOR", "\x1bOS", "\x1b", "\x1b[A", "\x1b[B"
CTRL_D, CTRL_E, CTRL_F = "\x04", "\x05", "\x06"


def said(server: ScriptedServer, number: int = -1) -> list[str]:
    return [message["content"] for message in server.requests[number].body["messages"]]


def ask(screen: Terminal, text: str) -> None:
    screen.type(f"{text}\r")
    screen.wait_for(f"You said: {text}")


@pytest.mark.parametrize("keys", [F2, "/chats\r", "/resume\r"], ids=["f2", "chats", "resume"])
def test_a_chat_is_found_and_gone_on_with(cli: Cli, server: ScriptedServer, keys: str) -> None:
    cli.run("about birds")
    cli.run("about fish")
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type(keys)
        screen.wait_for("Today")
        screen.type("birds")
        screen.wait_for(lambda text: "about fish" not in text)
        screen.type("\r")
        screen.wait_for("(2 messages)")
        ask(screen, "more")

    assert said(server) == ["about birds", "You said: about birds", "more"]


def test_what_was_typed_is_there_again_after_a_picker(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        ask(screen, "hello")
        screen.type("half a thought")
        screen.wait_for("> half a thought")
        screen.type(F2)
        screen.wait_for("Today")
        screen.type(ESCAPE)
        screen.wait_for("> half a thought")
        screen.type("\r")
        screen.wait_for("You said: half a thought")


def test_a_chat_is_deleted_in_the_picker_and_taken_back(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        ask(screen, "about birds")
        screen.type(F2)
        screen.wait_for("Today")
        screen.type(CTRL_D)
        screen.wait_for("Deleted")
        screen.type(ESCAPE)
        screen.wait_for("/delete undo takes it back")
        assert cli.json("history", "list") == []
        screen.type("/delete undo\r")
        screen.wait_for("(2 messages)")

    assert len(cli.json("history", "list")) == 1


def test_a_chat_is_forked_in_the_picker_and_gone_on_with(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        ask(screen, "about birds")
        screen.type(F2)
        screen.wait_for("Today")
        screen.type(CTRL_F)
        screen.wait_for("about birds (fork)")
        ask(screen, "more")

    assert said(server) == ["about birds", "You said: about birds", "more"]
    assert {row["title"]: row["messages"] for row in cli.json("history", "list")} == {
        "about birds (fork)": 4,
        "about birds": 2,
    }


def test_a_chat_is_exported_from_the_picker_and_by_command(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli, folder=cli.home) as screen:
        screen.wait_for(PROMPT)
        ask(screen, "about birds")
        screen.type(F2)
        screen.wait_for("Today")
        screen.type(CTRL_E)
        screen.wait_for("Exported to")
        screen.type(ESCAPE)
        screen.wait_for(PROMPT)
        screen.type("/export birds.html\r")
        screen.wait_for("birds.html.")
        screen.type("/export birds.html\r")
        screen.wait_for("is there already.")

    [written] = cli.home.glob("*about-birds*.md")
    assert "You said: about birds" in written.read_text()
    assert (cli.home / "birds.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("keys", [F3, "/model\r"], ids=["f3", "command"])
def test_a_model_is_chosen(cli: Cli, server: ScriptedServer, keys: str) -> None:
    with terminal(cli, columns=100) as screen:
        screen.wait_for(PROMPT)
        screen.type(keys)
        screen.wait_for("Model")
        screen.type("claude-haiku-4-5")
        screen.wait_for(lambda text: "gpt-4o-mini" not in text)
        screen.type("\r")
        screen.wait_for("answers from now on.")
        screen.wait_for("claude-haiku-4-5 | ")
        ask(screen, "hello")

    assert server.requests[0].path.endswith("/v1/messages")


def test_a_setting_is_changed_and_holds_at_once(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": "ok", "usage": {"input": 10, "output": 5}}
    with terminal(cli, columns=100) as screen:
        screen.wait_for(PROMPT)
        screen.type(F4)
        screen.wait_for("show_usage")
        screen.type("show_usage")
        screen.wait_for(lambda text: "timeouts" not in text)
        screen.type("\r")
        screen.wait_for("true")
        screen.type(ESCAPE)
        screen.wait_for(lambda text: "documents.collection" in text)
        screen.type(ESCAPE)
        screen.wait_for("Changed: show_usage.")
        screen.type("hello\r")
        screen.wait_for("10 in, 5 out")


def test_another_branch_is_chosen_in_the_picture_of_the_tree(cli: Cli, server: ScriptedServer) -> None:
    server.script = [{"text": "first answer"}, {"text": "second answer"}, {"text": "third answer"}]
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("hello\r")
        screen.wait_for("first answer")
        screen.type("/retry\r")
        screen.wait_for("second answer")
        screen.type("/branches\r")
        screen.wait_for("Branches")
        screen.type("first")
        screen.settle()
        screen.type("\r")
        screen.wait_for(lambda text: text.count("first answer") == 2)
        screen.type("go on\r")
        screen.wait_for("third answer")

    assert said(server) == ["hello", "first answer", "go on"]


def test_fork_goes_on_in_a_copy(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("/fork\r")
        screen.wait_for("There is no conversation yet.")
        ask(screen, "about birds")
        screen.type("/fork Another try\r")
        screen.wait_for('Going on in "Another try"')
        ask(screen, "more")

    assert said(server) == ["about birds", "You said: about birds", "more"]
    assert {row["title"]: row["messages"] for row in cli.json("history", "list")} == {
        "Another try": 4,
        "about birds": 2,
    }
    assert cli.rows("SELECT count(*) FROM usage") == [(2,)]
