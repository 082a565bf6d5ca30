"""The prompt that stays alive: what happens to keys while an answer streams, and to the screen."""

from __future__ import annotations

import signal
import time
from itertools import pairwise

import pytest

from tests.pty.terminal import Terminal, terminal
from tests.runner import Cli
from tests.servers.scripted import ScriptedServer

CTRL_C, CTRL_D, CTRL_O, TAB = "\x03", "\x04", "\x0f", "\t"
UP = "\x1b[A"
PROMPT = "gpt-4o-mini | "
STALLED = {"deltas": ["Once upon ", "a time"], "stall_after": 1}


def prompts(server: ScriptedServer) -> list[str]:
    return [request.body["messages"][-1]["content"] for request in server.requests]


def last_input_line(text: str) -> str:
    return [line for line in text.splitlines() if line.startswith(">")][-1]


def ask_and_stall(screen: Terminal, server: ScriptedServer, *answers: str) -> None:
    server.script = [STALLED, *({"text": answer} for answer in answers)]
    screen.wait_for(PROMPT)
    screen.type("tell\r")
    screen.wait_for("Once upon")


@pytest.mark.parametrize("key", ["\r", TAB], ids=["enter", "tab"])
def test_what_is_sent_while_an_answer_streams_waits_its_turn(cli: Cli, server: ScriptedServer, key: str) -> None:
    with terminal(cli) as screen:
        ask_and_stall(screen, server, "first answer", "second answer")
        screen.type(f"and then{key}")
        screen.wait_for("queued: and then")
        screen.type(f"and after{key}")
        screen.wait_for("queued: and after")
        assert len(server.requests) == 1
        server.release()
        screen.wait_for("second answer")

    assert prompts(server) == ["tell", "and then", "and after"]
    assert screen.text.count("> and then") == 1


def test_up_takes_the_last_message_that_waits_back_into_the_prompt(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        ask_and_stall(screen, server, "fine")
        screen.type("one\r")
        screen.wait_for("queued: one")
        screen.type("two\r")
        screen.wait_for("queued: two")
        screen.type(UP)
        screen.wait_for(lambda text: "queued: two" not in text and last_input_line(text) == "> two")
        server.release()
        screen.wait_for("fine")
        assert last_input_line(screen.settle()) == "> two"

    assert prompts(server) == ["tell", "one"]


def test_after_a_stop_nothing_that_waited_is_sent_unasked(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        ask_and_stall(screen, server, "fine")
        screen.type("one\r")
        screen.wait_for("queued: one")
        screen.type("half typed")
        screen.wait_for("> half typed")
        screen.type(CTRL_C)
        screen.wait_for("Stopped; what arrived is kept.")
        screen.wait_for(lambda text: "> one" in text and "half typed" in text)
        assert len(server.requests) == 1
        screen.type("\r")
        screen.wait_for("fine")

    assert prompts(server) == ["tell", "one\nhalf typed"]


def test_after_a_failure_nothing_that_waited_is_sent_unasked(cli: Cli, server: ScriptedServer) -> None:
    server.script = [{"deltas": ["Once ", {"error": {"message": "broke down"}}], "stall_after": 1}, {"text": "fine"}]
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("tell\r")
        screen.wait_for("Once")
        screen.type("next\r")
        screen.wait_for("queued: next")
        server.release()
        screen.wait_for("broke down")
        screen.wait_for(lambda text: last_input_line(text) == "> next")

    assert prompts(server) == ["tell"]


LEAVES_SOON = "Leaves when the answer is complete; Ctrl+C leaves now."


def test_ctrl_d_while_an_answer_streams_leaves_when_it_is_complete(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        ask_and_stall(screen, server)
        screen.type(CTRL_D)
        screen.wait_for(LEAVES_SOON)
        server.release()
        assert screen.wait_for_exit() == 0

    assert cli.rows("SELECT status FROM messages WHERE role = 'assistant'") == [("complete",)]


def test_ctrl_c_after_ctrl_d_stops_the_answer_and_leaves(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        ask_and_stall(screen, server)
        screen.type(CTRL_D)
        screen.wait_for(LEAVES_SOON)
        screen.type(CTRL_C)
        assert screen.wait_for_exit() == 0

    assert cli.rows("SELECT status FROM messages WHERE role = 'assistant'") == [("stopped",)]


def test_a_message_after_ctrl_d_is_sent_instead_of_leaving(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        ask_and_stall(screen, server)
        screen.type(CTRL_D)
        screen.wait_for(LEAVES_SOON)
        screen.type("one more\r")
        screen.wait_for("queued: one more")
        server.release()
        screen.wait_for(lambda text: not text.rstrip().splitlines()[-1].count("answering"))
        screen.type(CTRL_D)
        assert screen.wait_for_exit() == 0

    assert prompts(server)[-1] == "one more"


@pytest.mark.parametrize("stalled_at", [-1, 0, 1, 2], ids=["no response", "no word", "a word", "all words"])
def test_ctrl_c_at_every_stage_of_a_turn_leaves_a_session_that_works(
    cli: Cli, server: ScriptedServer, stalled_at: int
) -> None:
    server.script = [{"deltas": ["Once upon ", "a time"], "stall_after": stalled_at}, {"text": "still here"}]
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("tell\r")
        screen.wait_for("answering")
        screen.settle(0.3)
        screen.type(CTRL_C)
        screen.wait_for("Stopped")
        screen.type("go on\r")
        screen.wait_for("still here")
        screen.type(CTRL_D)
        assert screen.wait_for_exit() == 0

    assert cli.rows("SELECT status FROM messages WHERE role = 'assistant' ORDER BY seq")[-1] == ("complete",)
    assert cli.rows("SELECT count(*) FROM messages WHERE status = 'streaming'") == [(0,)]


def test_ctrl_c_hit_again_and_again_leaves_a_session_that_works(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": "word " * 400, "split": 5, "delay": 0.01}
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        for number in range(6):
            screen.type(f"question {number}\r")
            screen.wait_for("s, Ctrl+C stops")
            time.sleep(0.05 * number)
            for _ in range(3):
                screen.type(CTRL_C)
            screen.wait_for(lambda text: "s, Ctrl+C stops" not in text and "| stopping" not in text)
        server.script = {"text": "still here"}
        screen.type("and now?\r")
        screen.wait_for("still here")

    assert cli.rows("SELECT count(*) FROM messages WHERE status = 'streaming'") == [(0,)]


def test_keys_typed_while_an_answer_streams_show_before_it_ends(cli: Cli, server: ScriptedServer) -> None:
    text = "word and **more** words, " * 200
    server.script = {"text": text, "split": 4, "delay": 0.001, "stall_after": len(text) // 4 - 1}
    with terminal(cli, columns=100, rows=40) as screen:
        screen.wait_for(PROMPT)
        screen.type("tell\r")
        screen.wait_for("word and")
        for length in range(1, 11):
            screen.type("k")
            screen.wait_for(lambda text, length=length: last_input_line(text) == f"> {'k' * length}")  # type: ignore[misc]
            screen.wait_for(lambda text: "Ctrl+C stops" in text.splitlines()[-1])
        screen.type(CTRL_C)
        screen.wait_for("Stopped")
        screen.wait_for(lambda text: last_input_line(text) == "> kkkkkkkkkk")


def test_a_paste_of_two_megabytes_neither_sends_nor_hangs_and_arrives_whole(cli: Cli, server: ScriptedServer) -> None:
    pasted = "".join(f"line {number} of a long log\n" for number in range(80_000))
    with terminal(cli, "-m", "gpt-4.1-mini") as screen:
        screen.wait_for("gpt-4.1-mini | ")
        screen.type_slowly(f"\x1b[200~{pasted}\x1b[201~")
        screen.wait_for("[pasted #1: 80,001 lines]")
        assert server.requests == []
        screen.type(" what is this?")
        screen.wait_for("what is this?")
        server.script = {"text": "a log"}
        screen.type("\r")
        screen.wait_for("a log\n")

    assert prompts(server) == [f"{pasted} what is this?"]


def test_a_resize_while_an_answer_streams_loses_and_doubles_nothing(cli: Cli, server: ScriptedServer) -> None:
    words = [f"word{number:03d}" for number in range(120)]
    # This terminal cuts finished lines off where it becomes narrower: until then they are short.
    starts = [*range(0, 60, 6), *range(60, 120, 30)]
    text = "\n\n".join(" ".join(words[start:end]) for start, end in pairwise([*starts, 120]))
    server.script = {"text": text, "split": 9, "delay": 0.02}
    with terminal(cli, columns=80, rows=24, TERM="linux") as screen:
        screen.wait_for(PROMPT)
        screen.type("tell\r")
        screen.wait_for("word030")
        screen.resize(60, 24)
        screen.wait_for("word075")
        screen.resize(90, 24)
        screen.wait_for("word119")
        shown = screen.settle()

    assert [word for word in shown.split() if word.startswith("word")] == words


def test_what_a_model_thinks_is_shown_while_it_does_and_again_when_asked_for(cli: Cli, server: ScriptedServer) -> None:
    server.script = {
        "deltas": [{"reasoning": "Let me see: "}, {"reasoning": "two and two."}, "Four."],
        "stall_after": 2,
    }
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("2+2\r")
        screen.wait_for("Let me see: two and two.")
        screen.type(CTRL_O)
        screen.wait_for(lambda text: "Let me see" not in text and "(Ctrl+O shows it)" in text)
        server.release()
        screen.wait_for("Four.")
        screen.wait_for("Thought for")
        screen.type(CTRL_O)
        screen.wait_for("Let me see: two and two.")


def test_a_hangup_ends_the_session_and_keeps_what_arrived(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        ask_and_stall(screen, server)
        screen.process.send_signal(signal.SIGHUP)
        assert screen.wait_for_exit() == 129

    assert cli.rows("SELECT content, status FROM messages WHERE role = 'assistant'") == [("Once upon ", "stopped")]


def test_a_terminal_that_does_not_tell_where_the_cursor_is_works_as_well(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.tells_position = False
        screen.wait_for("Welcome")
        screen.type("hello\r")
        screen.wait_for("You said: hello")
        screen.wait_for(PROMPT)
        assert "WARNING" not in screen.text
