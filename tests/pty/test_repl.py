from __future__ import annotations

import shlex
import signal
import stat
import time

import pytest

from tests.pty.terminal import terminal
from tests.runner import PROGRAM, Cli
from tests.servers.scripted import ScriptedServer

ALT_ENTER = "\x1b\r"
CTRL_C, CTRL_D, CTRL_J = "\x03", "\x04", "\n"
UP = "\x1b[A"
PROMPT = "gpt-4o-mini | "


def last_prompt(server: ScriptedServer) -> str:
    return server.requests[-1].body["messages"][-1]["content"]  # type: ignore[no-any-return]


def test_a_question_is_answered_and_the_conversation_goes_on(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("hello there\r")
        screen.wait_for("You said: hello there")
        screen.type("again\r")
        screen.wait_for("You said: again")
        screen.type(CTRL_D)
        assert screen.wait_for_exit() == 0

    assert [m["content"] for m in server.requests[1].body["messages"]] == [
        "hello there",
        "You said: hello there",
        "again",
    ]
    assert cli.json("history", "list")[0]["messages"] == 4


def test_the_status_line_shows_model_window_and_cost(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": "ok", "usage": {"input": 12_000, "output": 800}}
    with terminal(cli) as screen:
        screen.wait_for("gpt-4o-mini | $0")
        screen.type("hello\r")
        screen.wait_for("gpt-4o-mini | ctx 10% | $0.0023")


@pytest.mark.parametrize("new_line", [ALT_ENTER, CTRL_J, "\\\r"], ids=["alt+enter", "ctrl+j", "backslash"])
def test_a_message_of_several_lines_is_sent_as_one(cli: Cli, server: ScriptedServer, new_line: str) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type(f"first{new_line}second")
        time.sleep(0.2)
        assert server.requests == []
        screen.type("\r")
        screen.wait_for("You said:")

    assert last_prompt(server) == "first\nsecond"


def test_pasting_many_lines_sends_nothing(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("\x1b[200~line 1\rline 2\rline 3\r\x1b[201~")
        screen.wait_for("line 3")
        screen.settle()
        assert server.requests == []
        screen.type("\r")
        screen.wait_for("You said:")

    assert last_prompt(server) == "line 1\nline 2\nline 3"


def test_ctrl_c_stops_an_answer_and_keeps_what_arrived(cli: Cli, server: ScriptedServer) -> None:
    server.script = [{"deltas": ["Once upon ", "a time"], "stall_after": 1}, {"text": "and so on"}]
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("tell\r")
        screen.wait_for("Once upon")
        screen.type(CTRL_C)
        screen.wait_for("Stopped; what arrived is kept.")
        screen.wait_for(lambda text: text.rstrip().splitlines()[-1].startswith("gpt-4o-mini"))
        screen.type("go on\r")
        screen.wait_for("and so on")
        screen.type(CTRL_D)
        assert screen.wait_for_exit() == 0

    assert [m["content"] for m in server.requests[1].body["messages"]] == ["tell", "Once upon ", "go on"]
    assert cli.rows("SELECT content, status FROM messages WHERE role = 'assistant' ORDER BY seq") == [
        ("Once upon ", "stopped"),
        ("and so on", "complete"),
    ]


def test_ctrl_c_clears_the_input_which_the_up_key_brings_back(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("a long thought")
        screen.wait_for("> a long thought")
        screen.type(CTRL_C)
        screen.wait_for(lambda text: "> a long thought" not in text)
        screen.type(UP)
        screen.wait_for("> a long thought")


def test_ctrl_c_twice_at_an_empty_prompt_leaves_and_once_does_not(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type(CTRL_C)
        screen.settle()
        assert screen.process.poll() is None
        screen.type(CTRL_C)
        assert screen.wait_for_exit() == 0


@pytest.mark.parametrize("moment", ["at the prompt", "while it streams"])
def test_sigterm_ends_it_with_143_and_leaves_the_terminal_sane(cli: Cli, server: ScriptedServer, moment: str) -> None:
    server.script = {"deltas": ["Once ", "upon"], "stall_after": 1}
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        if moment == "while it streams":
            screen.type("tell\r")
            screen.wait_for("Once")
        screen.process.send_signal(signal.SIGTERM)
        assert screen.wait_for_exit() == 143

    assert "Traceback" not in screen.text
    if moment == "while it streams":
        assert cli.rows("SELECT content, status FROM messages WHERE role = 'assistant'") == [("Once ", "stopped")]


def test_what_was_typed_is_remembered_in_the_next_session(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("remember this\r")
        screen.wait_for("You said: remember this")
        screen.type("/quit\r")
        assert screen.wait_for_exit() == 0
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type(UP + UP)
        screen.wait_for("> remember this")

    history = cli.home / "state" / "aichat" / "input_history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600


def test_without_a_log_nothing_of_a_session_is_kept(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli, "-n") as screen:
        screen.wait_for("not kept")
        screen.type("a secret\r")
        screen.wait_for("You said: a secret")
        screen.type("and on\r")
        screen.wait_for("You said: and on")
        screen.type(CTRL_D)
        assert screen.wait_for_exit() == 0

    assert len(server.requests[1].body["messages"]) == 3
    assert b"a secret" not in b"".join(path.read_bytes() for path in cli.home.rglob("*") if path.is_file())
    assert cli.rows("SELECT count(*) FROM usage") == [(2,)]


def test_help_lists_every_command_and_the_keys(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli, rows=40) as screen:
        screen.wait_for(PROMPT)
        screen.type("/help\r")
        text = screen.wait_for("is never a command")
        for command in ("/help", "/new", "/model", "/system", "/retry", "/undo", "/resume", "/quit"):
            assert command in text


def test_a_slash_completes_commands_with_their_help(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("/re")
        screen.wait_for("the old answer is kept as a branch")
        screen.type("\t")
        screen.wait_for("> /re")


def test_an_unknown_command_is_not_sent(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("/modle\r")
        screen.wait_for("No command /modle. Did you mean /model?")
        screen.type("/etc/hosts is a file\r")
        screen.wait_for("You said: /etc/hosts is a file")

    assert len(server.requests) == 1


def test_new_begins_another_conversation(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("first\r")
        screen.wait_for("You said: first")
        screen.type("/new\r")
        screen.wait_for("A new conversation.")
        screen.type("second\r")
        screen.wait_for("You said: second")

    assert len(server.requests[1].body["messages"]) == 1
    assert len(cli.json("history", "list")) == 2


def test_model_changes_who_answers(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("/model claude-haiku-4-5\r")
        screen.wait_for("claude-haiku-4-5 | $0")
        screen.type("hello\r")
        screen.wait_for("You said: hello")
        screen.type("/model nonsense-model!\r")
        screen.settle()

    assert server.requests[0].path.endswith("/v1/messages")


def test_system_is_sent_from_the_next_turn_on_and_kept(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("/system\r")
        screen.wait_for("There is no system prompt.")
        screen.type("/system be brief\r")
        screen.wait_for("be brief")
        screen.type("hello\r")
        screen.wait_for("You said: hello")
        screen.type("/system be long\r")
        screen.settle()
        screen.type("more\r")
        screen.wait_for("You said: more")
        screen.type("/system -\r")
        screen.settle()
        screen.type("third\r")
        screen.wait_for("You said: third")

    system = [[m["content"] for m in r.body["messages"] if m["role"] == "system"] for r in server.requests]
    assert system == [["be brief"], ["be long"], []]


def test_retry_asks_again_and_keeps_the_first_answer_as_a_branch(cli: Cli, server: ScriptedServer) -> None:
    server.script = [{"text": "answer one"}, {"text": "answer two"}, {"text": "answer three"}]
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("/retry\r")
        screen.wait_for("nothing to take back or ask again")
        screen.type("hello\r")
        screen.wait_for("answer one")
        screen.type("/retry\r")
        screen.wait_for("answer two")
        screen.type("more\r")
        screen.wait_for("answer three")
        screen.type("/quit\r")
        assert screen.wait_for_exit() == 0

    assert [m["content"] for m in server.requests[1].body["messages"]] == ["hello"]
    assert [m["content"] for m in server.requests[2].body["messages"]] == ["hello", "answer two", "more"]
    contents = [row[0] for row in cli.rows("SELECT content FROM messages ORDER BY seq")]
    assert contents == ["hello", "answer one", "answer two", "more", "answer three"]


def test_undo_takes_the_last_exchange_back_for_editing(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("keep\r")
        screen.wait_for("You said: keep")
        screen.type("mistake\r")
        screen.wait_for("You said: mistake")
        screen.type("/undo\r")
        screen.wait_for("Taken back.")
        screen.wait_for(lambda text: text.count("> mistake") == 2)
        screen.type(" mended\r")
        screen.wait_for("You said: mistake mended")

    assert [m["content"] for m in server.requests[2].body["messages"]] == ["keep", "You said: keep", "mistake mended"]


def test_resume_goes_on_with_an_earlier_conversation(cli: Cli, server: ScriptedServer) -> None:
    cli.run("about birds")
    cli.run("about fish")
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("/resume birds\r")
        screen.wait_for("You said: about birds")
        screen.type("more\r")
        screen.wait_for("You said: more")

    assert [m["content"] for m in server.requests[-1].body["messages"]] == [
        "about birds",
        "You said: about birds",
        "more",
    ]


def test_coming_back_with_continue_shows_where_you_were(cli: Cli, server: ScriptedServer) -> None:
    cli.run("about birds")
    with terminal(cli, "-c") as screen:
        screen.wait_for("You said: about birds")
        screen.wait_for(PROMPT)
        screen.type("more\r")
        screen.wait_for("You said: more")

    assert len(server.requests[-1].body["messages"]) == 3


def test_a_failed_turn_leaves_a_session_that_works_and_retry_asks_again(cli: Cli, server: ScriptedServer) -> None:
    server.script = [{"status": 400, "error": {"message": "no way"}}, {"text": "now it works"}]
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("hello\r")
        screen.wait_for("no way")
        screen.type("/retry\r")
        screen.wait_for("now it works")


def test_a_terminal_is_never_sent_a_control_sequence_of_a_model(cli: Cli, server: ScriptedServer) -> None:
    server.script = {
        "text": "safe\x1b]52;c;ZXZpbA==\x07 \x1b]0;evil\x07\x9b2Jtext\x1b[2J\x1b[31m end\u202e",
        "split": 1,
    }
    with terminal(cli, "-m", "gpt-4o-mini", "hello") as screen:
        assert screen.wait_for_exit() == 0

    assert screen.sent == b"safe text end\r\n"


def test_the_repl_works_on_a_tiny_and_on_a_dumb_terminal(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli, columns=30, rows=10) as screen:
        screen.wait_for(">")
        screen.type("hi\r")
        screen.wait_for("You said: hi")
    with terminal(cli, TERM="dumb") as screen:
        screen.wait_for(">")
        screen.type("hi\r")
        screen.wait_for("You said: hi")


def test_the_embedded_models_name_is_said_when_no_key_is_there(cli: Cli) -> None:
    with terminal(cli) as screen:
        screen.wait_for("smollm2")


def test_what_is_typed_while_an_answer_streams_is_shown_and_survives_ctrl_c(cli: Cli, server: ScriptedServer) -> None:
    server.script = [{"deltas": ["Once upon ", "a time"], "stall_after": 1}, {"text": "fine"}]
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("tell\r")
        screen.wait_for("Once upon")
        screen.type("typed ahead")
        screen.wait_for("> typed ahead")
        screen.type(CTRL_C)
        screen.wait_for("Stopped; what arrived is kept.")
        screen.type("\r")
        screen.wait_for("fine")

    assert last_prompt(server) == "typed ahead"


def test_a_line_that_begins_with_a_blank_is_no_command(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type(" /help is what?\r")
        screen.wait_for("You said: /help is what?")


def test_resume_asks_the_model_of_that_conversation(cli: Cli, server: ScriptedServer) -> None:
    cli.run("-m", "claude-haiku-4-5", "about birds")
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("/resume birds\r")
        screen.wait_for("claude-haiku-4-5 | ")


def test_a_suspended_session_comes_back_as_it_was(cli: Cli, server: ScriptedServer) -> None:
    server.script = [{"deltas": ["Once upon ", "a time"], "stall_after": 1}, {"text": "fine"}]
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("tell\r")
        screen.wait_for("Once upon")
        screen.process.send_signal(signal.SIGSTOP)
        screen.make_usual()
        screen.process.send_signal(signal.SIGCONT)
        screen.settle()
        screen.type("kept\r")
        screen.wait_for("queued: kept")
        server.release()
        screen.wait_for("fine")

    assert last_prompt(server) == "kept"


def test_ctrl_z_leaves_the_shell_a_clean_terminal(cli: Cli, server: ScriptedServer) -> None:
    server.script = [{"deltas": ["Once upon ", "a time"], "stall_after": 1}]
    with terminal(cli, program=("sh", "-i"), PS1="shell: ") as screen:
        screen.type(f"{shlex.join(PROGRAM)}\r")
        screen.wait_for(PROMPT)
        screen.type("tell\r")
        screen.wait_for("Once upon")
        screen.type("half ty\x1a")
        screen.wait_for("Stopped")
        assert screen.settle(0.5).endswith("shell:")  # and nothing that the terminal answered to the program
        screen.type("fg\r")
        screen.wait_for("> half ty")
        screen.type("ped")
        screen.wait_for("> half typed")
        server.release()
        screen.wait_for("a time")
