from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time

import pytest

from tests.runner import KEY, PROGRAM, Cli
from tests.servers.scripted import ScriptedServer

ANSWERS = [
    "plain",
    "ends with a newline\n",
    "\n\n  blanks around  \n\n",
    "Grüße, 漢字, 👩‍👩‍👧, \u202eright to left\u202c",
    "control \x1b[2J sequences \x1b]52;c;eA==\x07 go to a pipe as they are\r\n\x00",
    "x" * 100_000,
]


@pytest.mark.parametrize("model", ["gpt-4o-mini", "claude-3.5-sonnet"])
@pytest.mark.parametrize("answer", ANSWERS, ids=range(len(ANSWERS)))
def test_a_pipe_gets_the_answer_exact_to_the_byte(cli: Cli, server: ScriptedServer, model: str, answer: str) -> None:
    server.script = {"text": answer, "split": 7 if len(answer) < 1000 else 999}

    done = cli.run("-m", model, "hello")

    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == answer.encode()


@pytest.mark.parametrize("model", ["gpt-4o-mini", "claude-3.5-sonnet"])
def test_stdin_a_blank_line_and_the_prompt_are_one_user_message(cli: Cli, server: ScriptedServer, model: str) -> None:
    cli.run("-m", model, "what", "broke?", stdin="line 1\nline 2\n")

    assert server.requests[0].body["messages"] == [{"role": "user", "content": "line 1\nline 2\n\nwhat broke?"}]


def test_stdin_alone_is_the_prompt_as_it_stands(cli: Cli, server: ScriptedServer) -> None:
    cli.run(stdin="only this\n")

    assert server.requests[0].body["messages"][-1]["content"] == "only this\n"


def test_a_file_on_stdin_is_read_too(cli: Cli, server: ScriptedServer, tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "notes").write_text("from a file")
    with (tmp_path / "notes").open("rb") as file, cli.start("sum up", stdin=file) as process:
        process.communicate(timeout=30)

    assert server.requests[0].body["messages"][-1]["content"] == "from a file\n\nsum up"


def test_ten_megabytes_of_broken_text_on_stdin_reach_the_provider(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": "a summary"}

    done = cli.run("-m", "mine", "sum up", stdin=b"\xff\xfe\x00 words and more words" * 500_000)

    assert done.returncode == 0, done.stderr.decode()[:500]
    assert len(server.requests[0].body["messages"][-1]["content"]) > 10_000_000


def test_a_prompt_far_over_the_window_is_refused_before_it_is_sent(cli: Cli, server: ScriptedServer) -> None:
    done = cli.run("-m", "gpt-4o-mini", "sum up", stdin="many words here " * 200_000)

    assert done.returncode == 6
    assert b"window" in done.stderr
    assert done.stderr.count(b"\n") == 1
    assert server.requests == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who holds the other end of a pipe")
def test_a_silent_pipe_nobody_feeds_does_not_hang_it(cli: Cli, server: ScriptedServer) -> None:
    with cli.start("hello", stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        answer = process.stdout.read()
        assert process.wait(30) == 0

    assert answer == b"You said: hello"


def test_a_slow_pipeline_is_waited_for(cli: Cli, server: ScriptedServer) -> None:
    command = f"(sleep 3; echo late data) | {shlex.join(PROGRAM)} hello"
    done = subprocess.run(["sh", "-c", command], env=cli.environment, capture_output=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert server.requests[0].body["messages"][-1]["content"] == "late data\n\nhello"


def test_an_empty_prompt_is_a_usage_error(cli: Cli, server: ScriptedServer) -> None:
    for done in (cli.run(), cli.run(stdin=""), cli.run("", stdin=" \n")):
        assert done.returncode == 2
        assert b"There is no prompt." in done.stderr
    assert server.requests == []


@pytest.mark.parametrize("model", ["gpt-4o-mini", "claude-3.5-sonnet"])
def test_continue_sends_the_earlier_turns(cli: Cli, server: ScriptedServer, model: str) -> None:
    cli.run("-m", model, "-s", "be brief", "first")
    cli.run("-c", "second")
    cli.run("-c", "third")

    sent = [message for message in server.requests[2].body["messages"] if message["role"] != "system"]
    assert [message["content"] for message in sent] == [
        "first",
        "You said: first",
        "second",
        "You said: second",
        "third",
    ]
    assert "be brief" in json.dumps(server.requests[2].body)
    assert [row["messages"] for row in cli.json("history", "list")] == [6]


def test_resume_finds_a_conversation_by_title_and_by_id(cli: Cli, server: ScriptedServer) -> None:
    cli.run("about birds")
    cli.run("about fish")
    identifier = next(row["id"] for row in cli.json("history", "list") if row["title"] == "about birds")

    by_title = cli.run("-r", "birds", "more")
    by_id = cli.run("-r", identifier, "and more")

    assert (by_title.returncode, by_id.returncode) == (0, 0)
    assert len(server.requests[3].body["messages"]) == 5
    assert cli.run("-r", "nothing like this", "x").returncode == 1


def test_continue_without_a_conversation_begins_one(cli: Cli, server: ScriptedServer) -> None:
    assert cli.run("-c", "first").returncode == 0
    assert len(server.requests[0].body["messages"]) == 1


@pytest.mark.parametrize(
    ("model", "usage", "cost"),
    [
        ("gpt-4o-mini", {"input": 1200, "output": 300, "cached": 1024}, 176 * 150 + 1024 * 75 + 300 * 600),
        ("gpt-4o", {"input": 1000, "output": 500}, 7_500_000),
        ("claude-3.5-sonnet", {"input": 1000, "output": 500}, 10_500_000),
        ("claude-3.5-haiku", {"input": 10, "output": 20, "cached": 4}, None),
    ],
)
def test_usage_and_cost_are_the_servers_own_numbers(
    cli: Cli, server: ScriptedServer, model: str, usage: dict[str, int], cost: int | None
) -> None:
    server.script = {"text": "ok", "usage": usage, "id": "resp-1"}

    cli.run("-m", model, "hello")

    [row] = cli.rows(
        "SELECT input_tokens, cached_tokens, output_tokens, cost_nano, provenance, provider_id, raw, status FROM usage"
    )
    assert row[:3] == (usage["input"], usage.get("cached", 0), usage["output"])
    if cost is not None:
        assert row[3] == cost
    assert row[4:6] == ("calculated", "resp-1")
    assert json.loads(row[6])
    assert row[7] == "complete"


def test_json_prints_the_answer_its_usage_and_its_ids(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": "ok\x9b2J", "usage": {"input": 4, "output": 2}, "finish": "length"}

    done = cli.run("--json", "-m", "gpt-4o-mini", "hello")

    answer = json.loads(done.stdout)
    assert b"\x9b" not in done.stdout.replace("\x9b".encode(), b"?") or b"\\u009b" in done.stdout
    [(conversation, message)] = cli.rows("SELECT conversation_id, id FROM messages WHERE role = 'assistant'")
    assert answer == {
        "conversation_id": conversation,
        "message_id": message,
        "model": "gpt-4o-mini",
        "content": "ok\x9b2J",
        "status": "complete",
        "finish_reason": "length",
        "input_tokens": 4,
        "cached_tokens": 0,
        "output_tokens": 2,
        "reasoning_tokens": 0,
        "cost_usd": 4 * 150e-9 + 2 * 600e-9,
        "sources": [],
    }


def test_extract_prints_only_the_first_code_block(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": "Here:\n```sh\nls -l\n```\nDone.\n"}
    assert cli.run("-x", "hello").stdout == b"ls -l\n"

    server.script = {"text": "no code"}
    without = cli.run("-x", "hello")
    assert (without.stdout, without.returncode) == (b"no code", 0)
    assert b"no code block" in without.stderr


def test_usage_is_printed_on_stderr_only(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": "ok", "usage": {"input": 1204, "output": 310, "cached": 1024}}

    done = cli.run("-u", "-m", "gpt-4o-mini", "hello")

    assert done.stdout == b"ok"
    assert done.stderr == b"gpt-4o-mini: 1,204 in (1,024 cached), 310 out, $0.000290\n"


@pytest.mark.parametrize("model", ["gpt-4o-mini", "claude-3.5-sonnet"])
def test_no_stream_asks_for_one_piece(cli: Cli, server: ScriptedServer, model: str) -> None:
    server.script = {"text": "whole"}

    done = cli.run("--no-stream", "-m", model, "hello")

    assert (done.stdout, done.returncode) == (b"whole", 0)
    assert not server.requests[0].body.get("stream")
    assert cli.rows("SELECT input_tokens, output_tokens FROM usage") == [(10, 5)]


def test_no_log_keeps_the_usage_but_not_a_word(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": "an unforgettable answer"}

    done = cli.run("-n", "-m", "gpt-4o-mini", "a forgettable question")

    assert done.stdout == b"an unforgettable answer"
    assert cli.rows("SELECT count(*) FROM messages") == [(0,)]
    assert cli.rows("SELECT conversation_id, input_tokens, cost_nano FROM usage") == [(None, 10, 4500)]
    everything = b"".join(path.read_bytes() for path in cli.home.rglob("*") if path.is_file())
    assert b"forgettable" not in everything


def test_options_are_sent_as_json_values(cli: Cli, server: ScriptedServer) -> None:
    cli.run("-o", "temperature", "0.5", "-o", "stop", '["a"]', "-o", "user=me", "-o", "max_tokens", "7", "hello")

    body = server.requests[0].body
    assert (body["temperature"], body["stop"], body["user"], body["max_completion_tokens"]) == (0.5, ["a"], "me", 7)


def test_a_reasoning_model_is_not_sent_what_it_refuses_and_that_is_said(cli: Cli, server: ScriptedServer) -> None:
    done = cli.run("-m", "o3-mini", "-o", "temperature", "0", "-o", "max_tokens", "9", "hello")

    body = server.requests[0].body
    assert "temperature" not in body
    assert "max_tokens" not in body
    assert body["max_completion_tokens"] == 9
    assert b"temperature" in done.stderr


def test_a_retired_model_is_asked_and_its_successor_named(cli: Cli, server: ScriptedServer) -> None:
    done = cli.run("-m", "claude-3.5-sonnet", "hello")

    assert done.returncode == 0
    assert b"retired" in done.stderr
    assert b"claude-sonnet" in done.stderr


def test_everything_after_the_first_unknown_word_is_the_prompt(cli: Cli, server: ScriptedServer) -> None:
    cli.run("why", "is", "history", "long")
    cli.run("chat", "history")
    cli.run("-m", "gpt-4o", "history", "list")
    cli.run("--", "-c is a flag of what?")

    assert [request.body["messages"][-1]["content"] for request in server.requests] == [
        "why is history long",
        "history",
        "history list",
        "-c is a flag of what?",
    ]


def test_an_unknown_model_is_a_usage_error_that_names_a_near_one(cli: Cli) -> None:
    done = cli.run("-m", "gpt-4o-mimi-x", "hello", environ={"OPENAI_API_KEY": KEY})
    unknown = cli.run("-m", "no-such-model", "hello")

    assert unknown.returncode == 2
    assert b"aichat models list" in unknown.stderr
    assert done.returncode in {2, 6}


def test_a_missing_key_ends_with_3_and_keeps_the_prompt(cli: Cli) -> None:
    done = cli.run("-m", "gpt-4o", "hello")

    assert done.returncode == 3
    assert done.stderr == (
        b'aichat: No API key for "openai", which gpt-4o needs. Run: aichat keys set openai, or set OPENAI_API_KEY\n'
    )
    assert cli.rows("SELECT role, content, status FROM messages ORDER BY seq") == [
        ("user", "hello", "complete"),
        ("assistant", "", "failed"),
    ]


def test_errors_are_json_where_json_was_asked_for(cli: Cli) -> None:
    done = cli.run("--json", "-m", "gpt-4o", "hello")
    usage = cli.run("--json", "--no-such-flag")

    error = json.loads(done.stderr)["error"]
    assert (error["code"], error["exit_code"]) == ("key_missing", 3)
    assert done.stdout == b""
    assert json.loads(usage.stderr)["error"]["exit_code"] == 2


def test_head_closes_the_pipe_and_all_that_arrived_is_kept(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"deltas": ["first line\n", *["more\n"] * 200], "delay": 0.02}
    command = f"{shlex.join(PROGRAM)} hello | head -1"
    done = subprocess.run(["sh", "-c", command], env=cli.environment, capture_output=True, timeout=60, check=False)

    assert (done.stdout, done.stderr) == (b"first line\n", b"")
    [(content, status)] = cli.rows("SELECT content, status FROM messages WHERE role = 'assistant'")
    assert content.startswith("first line\nmore\n")
    assert status == "stopped"
    assert cli.rows("SELECT provenance FROM usage") == [("estimated",)]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /dev/full")
def test_an_answer_that_cannot_be_written_is_an_error_and_is_kept(cli: Cli, server: ScriptedServer) -> None:
    with open("/dev/full", "wb") as full, cli.start("hello", stdout=full) as process:
        _, errors = process.communicate(timeout=30)

    assert process.returncode == 1
    assert b"Cannot write to stdout" in errors
    assert cli.rows("SELECT count(*) FROM messages") == [(2,)]


def test_a_closed_stdin_stdout_or_stderr_is_survived(cli: Cli, server: ScriptedServer) -> None:
    for redirection in ("<&-", "2>&-", ">&-"):
        command = f"{shlex.join(PROGRAM)} hello {redirection}"
        done = subprocess.run(
            ["sh", "-c", command],
            env=cli.environment,
            capture_output=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert b"Traceback" not in done.stderr
    assert len(server.requests) >= 2


def test_text_reaches_the_pipe_as_it_comes(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"deltas": ["first ", "second"], "stall_after": 1}
    with cli.start("hello") as process:
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 100) == b"first "
        time.sleep(0.05)
        assert process.poll() is None
        server.release()
        assert process.stdout.read() == b"second"
        assert process.wait(10) == 0


def test_the_version_and_the_help_are_there(cli: Cli) -> None:
    from aichat_cli import __version__

    assert cli.run("--version").stdout.decode() == f"aichat {__version__}\n"
    help_text = cli.run("--help").stdout.decode()
    for word in ("Exit codes", "history", "models", "keys", "config", "doctor"):
        assert word in help_text
    assert "--fallback" in cli.run("chat", "--help").stdout.decode()


@pytest.mark.parametrize("model", ["gpt-4o-mini", "claude-haiku-4-5"])
def test_an_answer_of_nothing_is_said(cli: Cli, server: ScriptedServer, model: str) -> None:
    server.script = {"deltas": []}

    done = cli.run("-m", model, "hello")

    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr.decode() == f"{model} answered with nothing.\n"
