"""Every slash command, as a user types it."""

from __future__ import annotations

import base64
import re

from tests.pty.terminal import terminal
from tests.runner import Cli
from tests.servers.scripted import ScriptedServer

PROMPT = "gpt-4o-mini | "
CTRL_C = "\x03"
CODE = "Here:\n\n```python\nprint(1)\n```\n\nand\n\n```sh\nls -l\n```\n"


def sent_texts(server: ScriptedServer, number: int = -1) -> list[str]:
    return [message["content"] for message in server.requests[number].body["messages"]]


def copied(sent: bytes) -> list[str]:
    return [base64.b64decode(data).decode() for data in re.findall(rb"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07", sent)]


def test_edit_asks_the_changed_question_in_a_new_branch(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("keep\r")
        screen.wait_for("You said: keep")
        screen.type("mistake\r")
        screen.wait_for("You said: mistake")
        screen.type("/edit\r")
        screen.wait_for(lambda text: text.count("> mistake") == 2)
        screen.type(" mended\r")
        screen.wait_for("You said: mistake mended")

    assert sent_texts(server) == ["keep", "You said: keep", "mistake mended"]
    assert cli.rows("SELECT count(*) FROM messages") == [(6,)]


def test_an_edit_that_is_given_up_leaves_the_branch_as_it_was(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("first\r")
        screen.wait_for("You said: first")
        screen.type("/edit\r")
        screen.wait_for(lambda text: text.count("> first") == 2)
        screen.type(CTRL_C)
        screen.wait_for(lambda text: text.count("> first") == 1)
        screen.type("/edit -\r")
        screen.wait_for("goes on")
        screen.type("second\r")
        screen.wait_for("You said: second")

    assert sent_texts(server) == ["first", "You said: first", "second"]


def test_title_shows_and_changes_the_title(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("/title\r")
        screen.wait_for("There is no conversation yet.")
        screen.type("tell me about birds\r")
        screen.wait_for("You said: tell me about birds")
        screen.type("/title A walk   with birds\r")
        screen.wait_for('Now called "A walk with birds".')

    assert cli.json("history", "list")[0]["title"] == "A walk with birds"


def test_copy_puts_an_answer_or_its_code_on_the_clipboard(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": CODE}
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("/copy\r")
        screen.wait_for("There is no answer yet.")
        screen.type("hello\r")
        screen.wait_for("ls -l")
        for command, said in (("/copy", CODE), ("/copy code", "ls -l\n"), ("/copy 1", "print(1)\n")):
            before = len(copied(screen.sent))
            screen.type(f"{command}\r")
            screen.wait_for(f"Copied {len(said)} characters.")
            assert copied(screen.sent)[before:] == [said]
        screen.type("/copy 3\r")
        screen.wait_for('"3" is neither')


def test_save_writes_an_answer_to_a_new_file_and_never_over_one(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": CODE}
    with terminal(cli, folder=cli.home) as screen:
        screen.wait_for(PROMPT)
        screen.type("hello\r")
        screen.wait_for("ls -l")
        screen.type("/save answer.md\r")
        screen.wait_for("Saved to")
        screen.type("/save code list.sh\r")
        screen.wait_for("list.sh.")
        screen.type("/save answer.md\r")
        screen.wait_for("exists already; nothing was written.")
        screen.type("/save /nowhere/at/all\r")
        screen.wait_for("Cannot write /nowhere/at/all")
        screen.type("/save\r")
        screen.wait_for("/save needs a file.")

    assert (cli.home / "answer.md").read_text() == CODE
    assert (cli.home / "list.sh").read_text() == "ls -l\n"


def test_usage_tells_what_the_conversation_and_the_day_cost(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": "ok", "usage": {"input": 12_000, "output": 800, "cached": 2_000}}
    cli.run("earlier today")
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("hello\r")
        screen.wait_for("$0.0021")
        screen.type("/usage\r")
        screen.wait_for("12,000 tokens in (2,000 cached), 800 out, 1 call")
        screen.wait_for("today          $0.0043")
        screen.wait_for("this month     $0.0043")
        assert "14 days        ·············█  most: $0.0043" in screen.text


def test_a_setting_is_shown_changed_and_kept(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("/theme\r")
        screen.wait_for("theme = auto (default)")
        screen.type("/theme light\r")
        screen.wait_for("theme = light")
        screen.type("/set keys vi\r")
        screen.wait_for("keys = vi")
        screen.type("/set keys nonsense\r")
        screen.wait_for('keys cannot be "nonsense"')
        screen.type("/set\r")
        screen.wait_for("/set needs the name of a setting.")

    assert cli.run("config", "get", "theme").stdout == b"light\n"
    assert cli.run("config", "get", "keys").stdout == b"vi\n"


def test_delete_is_taken_back_by_undo(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("about birds\r")
        screen.wait_for("You said: about birds")
        screen.type("/delete\r")
        screen.wait_for('Deleted "about birds".')
        assert cli.json("history", "list") == []
        screen.type("/delete undo\r")
        screen.wait_for("(2 messages)")
        screen.type("more\r")
        screen.wait_for("You said: more")

    assert sent_texts(server) == ["about birds", "You said: about birds", "more"]
    assert cli.json("history", "list")[0]["messages"] == 4


def test_what_was_deleted_is_gone_for_good_when_the_session_ends(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("a secret\r")
        screen.wait_for("You said: a secret")
        screen.type("/delete\r")
        screen.wait_for("Deleted")
        screen.type("/quit\r")
        assert screen.wait_for_exit() == 0

    assert cli.rows("SELECT count(*) FROM conversations") == [(0,)]
    assert cli.rows("SELECT count(*) FROM usage") == [(1,)]


def test_retry_with_another_model_asks_that_one(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("hello\r")
        screen.wait_for("You said: hello")
        screen.type("/retry claude-haiku-4-5\r")
        screen.wait_for("claude-haiku-4-5 | ctx")
        server.wait_for_requests(2)

    assert server.requests[1].path.endswith("/v1/messages")


def test_a_conversation_deleted_in_another_session_is_said_so_and_the_message_stays(
    cli: Cli, server: ScriptedServer
) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("about birds\r")
        screen.wait_for("ctx 0%")
        cli.run("history", "rm", "--yes", "about birds")
        screen.type("and more\r")
        screen.wait_for("aichat: This conversation was deleted in another session. /new begins another")
        screen.wait_for(lambda text: text.count("> and more") == 2)


def test_what_a_killed_session_deleted_can_be_taken_back_in_the_next(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("about birds\r")
        screen.wait_for("ctx 0%")
        screen.type("/delete\r")
        screen.wait_for("Deleted")
        screen.process.kill()
        screen.process.wait(10)

    assert cli.json("history", "list") == []
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("/delete undo\r")
        screen.wait_for("You said: about birds")
        screen.type("/delete undo\r")
        screen.wait_for("Nothing was deleted that could be taken back.")

    assert [row["title"] for row in cli.json("history", "list")] == ["about birds"]
