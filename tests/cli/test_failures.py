from __future__ import annotations

import os
import re
import resource
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aichat_cli.storage.database import Database
from tests.runner import Cli
from tests.servers.scripted import ScriptedServer

MODELS = ["gpt-4o-mini", "claude-3.5-sonnet"]
# Root may write what is read-only, unless it gives that right up.
AS_ANYBODY = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
ONE_TRY = {"AICHAT_RETRY_ATTEMPTS": "1"}


def answer_row(cli: Cli) -> tuple[str, str]:
    [row] = cli.rows("SELECT content, status FROM messages WHERE role = 'assistant'")
    return row


@pytest.mark.parametrize("model", MODELS)
def test_kill_9_keeps_the_prompt_and_all_text_older_than_a_second(cli: Cli, server: ScriptedServer, model: str) -> None:
    server.script = [{"deltas": ["old text ", "never sent"], "stall_after": 1}, {"text": "the end"}]
    with cli.start("-m", model, "tell me") as process:
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 100) == b"old text "
        time.sleep(1.1)
        process.send_signal(signal.SIGKILL)
        process.wait(10)

    assert cli.run("-c", "go on").stdout == b"the end"

    assert cli.rows("SELECT role, content, status FROM messages ORDER BY seq") == [
        ("user", "tell me", "complete"),
        ("assistant", "old text ", "stopped"),
        ("user", "go on", "complete"),
        ("assistant", "the end", "complete"),
    ]
    sent = [message["content"] for message in server.requests[1].body["messages"]]
    assert sent == ["tell me", "old text ", "go on"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_keeps_all_text_and_closes_the_connection(
    cli: Cli, server: ScriptedServer, model: str, number: signal.Signals, code: int
) -> None:
    server.script = {"deltas": ["all ", "of ", "this", " not this"], "stall_after": 3}
    with cli.start("-m", model, "tell me") as process:
        assert process.stdout is not None
        received = b""
        while received != b"all of this":
            received += os.read(process.stdout.fileno(), 100)
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)

    assert process.returncode == code
    assert [line for line in errors.splitlines() if b"retired" not in line] == []
    assert answer_row(cli) == ("all of this", "stopped")
    assert cli.rows("SELECT provenance, status FROM usage") == [("estimated", "stopped")]
    assert server.requests[0].client_left.wait(5)


def test_a_signal_before_the_first_byte_keeps_the_prompt(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"stall_after": -1}
    with cli.start("tell me") as process:
        server.wait_for_requests(1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)

    assert process.returncode == 130
    assert answer_row(cli) == ("", "stopped")
    assert cli.rows("SELECT content FROM messages WHERE role = 'user'") == [("tell me",)]


@pytest.mark.parametrize("delay", [0.1, 0.15, 0.2, 0.25, 0.3, 0.4])
def test_a_signal_at_any_moment_of_the_start_is_quiet(cli: Cli, server: ScriptedServer, delay: float) -> None:
    server.script = {"stall_after": -1}
    with cli.start("tell me", fresh=True) as process:
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=10)

    # A signal that arrives before Python itself is up ends it by the signal, or by Python's own words, as with any program.
    is_up = not re.search(rb"import (the site|runpy) module", errors)
    assert process.returncode in {130, -signal.SIGINT} or not is_up
    assert (output, b"Traceback" in errors and process.returncode == 130) == (b"", False)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        ({"status": 401, "error": {"message": "bad key"}}, 3, b"aichat keys set"),
        ({"status": 404, "error": {"message": "no such model"}}, 6, b"aichat models list"),
        ({"status": 429, "headers": {"Retry-After": "3600"}}, 5, b""),
        ({"status": 500}, 6, b""),
        ({"status": 400, "error": {"message": "it is\x1b[2J wrong"}}, 6, b"wrong"),
        ({"body": "<html>garbage</html>", "content_type": "text/html"}, 6, b""),
        ({"body": "data: {not json\n\n", "content_type": "text/event-stream"}, 6, b""),
        ({"cut_after_bytes": 0}, 6, b""),
        ({"cut_after_bytes": 20}, 6, b""),
    ],
    ids=["401", "404", "429", "500", "400", "html", "not json", "gone before a byte", "gone in the head"],
)
def test_a_failing_provider_has_its_exit_code_and_one_clear_line(
    cli: Cli, server: ScriptedServer, model: str, script: dict[str, object], code: int, said: bytes
) -> None:
    server.script = script

    done = cli.run("-m", model, "hello", environ=ONE_TRY)

    told = [line for line in done.stderr.splitlines() if b"retired" not in line]
    assert done.returncode == code, done.stderr
    assert len(told) == 1, done.stderr
    assert told[0].startswith(b"aichat: ")
    assert said in told[0]
    assert done.stdout == b""
    assert answer_row(cli) == ("", "failed")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("cut", range(0, 1200, 193))
def test_a_connection_that_dies_at_any_byte_loses_nothing(
    cli: Cli, server: ScriptedServer, model: str, cut: int
) -> None:
    server.script = {"text": "one two three four five", "split": 4, "cut_in_body": cut}

    done = cli.run("-m", model, "hello", environ=ONE_TRY)

    text, status = answer_row(cli)
    assert text.encode() == done.stdout
    assert "one two three four five".startswith(text)
    assert (done.returncode, status) in {(6, "failed"), (0, "complete")}
    if status == "complete":
        assert text == "one two three four five"


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_transient_failure_is_tried_again_and_that_is_said(cli: Cli, server: ScriptedServer, status: int) -> None:
    server.script = [{"status": status, "headers": {"Retry-After": "0"}}, {"text": "fine"}]

    done = cli.run("hello")

    assert (done.returncode, done.stdout) == (0, b"fine")
    assert b"Trying again" in done.stderr
    assert answer_row(cli) == ("fine", "complete")
    assert cli.rows("SELECT count(*) FROM usage") == [(1,)]


def test_retry_after_is_told(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"status": 429, "headers": {"Retry-After": "3600"}}

    done = cli.run("--json", "hello")

    assert b'"retry_after": 3600' in done.stderr


@pytest.mark.parametrize("model", MODELS)
def test_a_stall_ends_at_the_idle_timeout_and_keeps_what_came(cli: Cli, server: ScriptedServer, model: str) -> None:
    server.script = {"deltas": ["some ", "more"], "stall_after": 1}

    done = cli.run("-m", model, "hello", environ={"AICHAT_TIMEOUTS_IDLE": "0.5", **ONE_TRY})

    assert (done.returncode, done.stdout) == (6, b"some ")
    assert answer_row(cli) == ("some ", "failed")


def test_an_answer_that_never_begins_ends_at_the_first_byte_timeout(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"stall_after": -1}

    done = cli.run("hello", environ={"AICHAT_TIMEOUTS_FIRST_BYTE": "0.5", **ONE_TRY})

    assert done.returncode == 6


def test_nobody_at_the_address_is_one_clear_line(cli: Cli) -> None:
    done = cli.run("hello", environ={"OPENAI_BASE_URL": "http://127.0.0.1:9/v1", **ONE_TRY})

    assert done.returncode == 6
    assert done.stderr.count(b"\n") == 1
    assert b"127.0.0.1:9" in done.stderr


def test_a_fallback_answers_where_the_first_model_fails_and_that_is_said(cli: Cli, server: ScriptedServer) -> None:
    server.script = [{"status": 500}, {"text": "from the second"}]

    done = cli.run("-m", "gpt-4o", "--fallback", "claude-haiku-4-5", "hello", environ=ONE_TRY)

    assert (done.returncode, done.stdout) == (0, b"from the second")
    assert b"Asking claude-haiku-4-5 instead." in done.stderr
    assert cli.rows("SELECT model FROM usage") == [("claude-haiku-4-5",)]
    assert cli.rows("SELECT model FROM messages WHERE role = 'assistant'") == [("claude-haiku-4-5",)]


def test_no_fallback_once_text_arrived(cli: Cli, server: ScriptedServer) -> None:
    server.script = [{"deltas": ["some ", {"error": {"message": "overloaded"}}]}, {"text": "never asked"}]

    done = cli.run("-m", "gpt-4o", "--fallback", "claude-haiku-4-5", "hello", environ=ONE_TRY)

    assert (done.returncode, done.stdout) == (6, b"some ")
    assert len(server.requests) == 1


@pytest.mark.first_start
def test_fifty_at_once_on_one_new_database_are_fifty_answers_and_fifty_turns(cli: Cli, server: ScriptedServer) -> None:
    def ask(number: int) -> subprocess.CompletedProcess[bytes]:
        return cli.run(f"question {number}", timeout=170)

    with ThreadPoolExecutor(50) as pool:
        done = list(pool.map(ask, range(50)))
    assert [run.returncode for run in done] == [0] * 50, [run.stderr for run in done if run.returncode]
    assert {run.stdout for run in done} == {f"You said: question {n}".encode() for n in range(50)}
    assert cli.rows("SELECT count(*), sum(status = 'complete') FROM messages WHERE role = 'assistant'") == [(50, 50)]
    assert cli.rows("SELECT count(*) FROM usage") == [(50,)]


def test_the_history_is_searched_while_another_process_streams(cli: Cli, server: ScriptedServer) -> None:
    cli.run("about herons")
    server.script = {"deltas": ["a long answer", "end"], "stall_after": 1}
    with cli.start("about geese") as process:
        assert process.stdout is not None
        os.read(process.stdout.fileno(), 100)
        hits = cli.json("history", "search", "herons")
        assert cli.rows("SELECT status FROM messages ORDER BY seq DESC LIMIT 1") == [("streaming",)]
        server.release()
        assert process.wait(20) == 0

    assert {hit["title"] for hit in hits} == {"about herons"}
    assert cli.rows("SELECT status FROM messages ORDER BY seq DESC LIMIT 1") == [("complete",)]


def make_newer(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()


def make_corrupt(path: Path) -> None:
    path.write_bytes(b"this was a database once " * 1000)


@pytest.mark.parametrize("damage", [make_newer, make_corrupt])
def test_a_database_that_cannot_be_used_is_said_and_left_alone_and_the_answer_is_printed(
    cli: Cli, server: ScriptedServer, damage: Callable[[Path], None]
) -> None:
    cli.run("first")
    damage(cli.database)
    for leftover in cli.database.parent.glob("aichat.db-*"):
        leftover.unlink()
    before = cli.database.read_bytes()

    done = cli.run("second")

    assert done.stdout == b"You said: second"
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert str(cli.database).encode() in done.stderr
    assert cli.database.read_bytes() == before
    assert cli.run("-c", "third").returncode == 1
    assert cli.run("history", "list").returncode == 1


def test_a_read_only_database_still_answers_and_lists(cli: Cli, server: ScriptedServer) -> None:
    cli.run("first")
    cli.database.parent.chmod(0o555)
    cli.database.chmod(0o444)
    try:
        with cli.start("second", prefix=AS_ANYBODY) as process:
            output, errors = process.communicate(timeout=30)
        with cli.start("history", "list", prefix=AS_ANYBODY) as listing:
            listed, _ = listing.communicate(timeout=30)
    finally:
        cli.database.parent.chmod(0o755)
        cli.database.chmod(0o644)

    assert (process.returncode, output) == (1, b"You said: second")
    assert errors.count(b"\n") == 1
    assert b"first" in listed
    assert cli.rows("SELECT count(*) FROM messages") == [(2,)]


def test_a_place_that_cannot_hold_a_database_is_said_and_the_answer_printed(cli: Cli, server: ScriptedServer) -> None:
    (cli.home / "file").write_text("x")

    done = cli.run("hello", environ={"AICHAT_DATABASE": str(cli.home / "file" / "aichat.db")})

    assert (done.returncode, done.stdout) == (1, b"You said: hello")
    assert done.stderr.count(b"\n") == 1


def test_a_full_disk_is_said_and_the_answer_printed(cli: Cli, server: ScriptedServer) -> None:
    cli.run("first")
    server.script = {"text": "a very long answer " * 50_000, "split": 5000}
    limit = cli.database.stat().st_size + 300_000

    def leave_little_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    with cli.start("second", preexec_fn=leave_little_room) as process:
        output, errors = process.communicate(timeout=60)

    assert output == b"a very long answer " * 50_000
    assert process.returncode == 1
    assert b"aichat: " in errors
    assert cli.rows("SELECT content FROM messages WHERE role = 'user' ORDER BY seq")[0] == ("first",)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait_for_a_locked_database(cli: Cli, server: ScriptedServer, number: signal.Signals) -> None:
    cli.run("first")
    with Database.open(cli.database) as holder, holder.transaction(), cli.start("second") as process:
        time.sleep(1.5)
        assert process.poll() is None
        started = time.monotonic()
        process.send_signal(number)
        process.communicate(timeout=20)

    assert process.returncode == 128 + number
    assert time.monotonic() - started < 3


def test_a_failing_key_command_is_told_where_the_embedded_model_answers_instead(cli: Cli) -> None:
    done = cli.run("hello", environ={"AICHAT_KEY_COMMAND": "false", "PIP_INDEX_URL": "http://127.0.0.1:9/simple"})

    assert b"key_command gave no key" in done.stderr


def test_a_prompt_is_kept_where_the_embedded_model_cannot_be_fetched(cli: Cli) -> None:
    done = cli.run("hello", environ={"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"})

    assert done.returncode == 6
    assert cli.rows("SELECT role, content, status FROM messages ORDER BY seq") == [
        ("user", "hello", "complete"),
        ("assistant", "", "failed"),
    ]
