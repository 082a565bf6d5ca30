"""Deliveries through the program itself: each turn arrives once, and no turn is the worse for it."""

from __future__ import annotations

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aichat_cli.storage.database import Database
from tests.pty.terminal import terminal
from tests.runner import Cli
from tests.servers.langsmith_double import KEY, LangSmithDouble
from tests.servers.scripted import ScriptedServer
from tests.servers.service import GARBAGE, HANGS, HANGS_TAKEN, HANGS_UNREAD, NOT_JSON, Fault, answers, cut
from tests.starting import ROOT

BOUND_S = 5.0
"""Two seconds, and what a machine with twice as many processes as cores takes more. Whoever waited for an answer would wait ten."""


@pytest.fixture
def on(cli: Cli, server: ScriptedServer, langsmith: LangSmithDouble) -> Cli:
    """The program with LangSmith on."""
    server.script = {"text": "All is well.", "split": 4}
    cli.environ |= {
        "AICHAT_INTEGRATIONS": "langsmith",
        "AICHAT_LANGSMITH_URL": langsmith.url,
        "LANGSMITH_API_KEY": KEY,
    }
    return cli


def forgive(cli: Cli) -> None:
    """Time passes: what was claimed or failed may be tried again."""
    with Database.open(cli.database) as database:
        database.execute("UPDATE deliveries SET claimed_until = 0")
        database.execute("UPDATE integrations SET retry_at = 0")


def waiting(cli: Cli) -> int:
    """How many deliveries are in the database."""
    return int(cli.rows("SELECT count(*) FROM deliveries")[0][0])


def turns(cli: Cli) -> set[str]:
    """The ids of all turns in the books."""
    return {row[0] for row in cli.rows("SELECT request_id FROM usage")}


@pytest.mark.parametrize("arguments", [[], ["--no-stream"], ["--no-log"]], ids=["streamed", "whole", "not-kept"])
def test_a_one_shot_is_one_trace_before_it_ends(on: Cli, langsmith: LangSmithDouble, arguments: list[str]) -> None:
    done = on.run("is all well?", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"All is well.", b"")
    root, answered = langsmith.trace()
    assert {root["id"]} == turns(on)
    assert root["extra"]["metadata"]["streamed"] is (arguments != ["--no-stream"])
    assert ("thread_id" in root["extra"]["metadata"]) is (arguments != ["--no-log"])
    assert answered["extra"]["metadata"]["usage_metadata"]["total_tokens"] == 15
    assert (len(langsmith.requests), waiting(on)) == (1, 0)
    assert not any(word in langsmith.requests[0].raw_body for word in (b"all well", b"All is well"))


def test_a_failed_turn_is_a_trace_with_each_attempt(
    on: Cli, langsmith: LangSmithDouble, server: ScriptedServer
) -> None:
    server.script = {"status": 500, "error": {"message": "the secret reason"}, "headers": {"Retry-After": "0"}}
    assert on.run("hello", environ={"AICHAT_RETRY_ATTEMPTS": "2"}).returncode != 0
    root, *attempts = langsmith.trace()
    assert [run["error"] for run in attempts] == ["provider_unavailable"] * 2
    assert (root["error"], root["extra"]["metadata"]["status"]) == ("provider_unavailable", "failed")
    assert b"secret" not in langsmith.requests[0].raw_body


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_turn_is_a_trace(
    on: Cli, langsmith: LangSmithDouble, server: ScriptedServer, number: int
) -> None:
    server.script = {"deltas": ["All is ", "well."], "stall_after": 1}
    with on.start("hello") as process:
        assert process.stdout is not None
        assert process.stdout.read(3) == b"All"
        process.send_signal(number)
        assert process.wait(20) == 128 + number
    root, answered = langsmith.trace()
    assert (root["extra"]["metadata"]["status"], len(answered["events"])) == ("stopped", 1)


def test_a_turn_whose_reader_left_is_a_trace(on: Cli, langsmith: LangSmithDouble, server: ScriptedServer) -> None:
    server.script = {"deltas": ["All is well.\n"] * 50, "delay": 0.02}
    with on.start("hello") as process:
        assert process.stdout is not None
        process.stdout.read(3)
        process.stdout.close()
        process.wait(20)
    assert langsmith.trace()[0]["extra"]["metadata"]["status"] == "stopped"


def test_fifty_processes_at_once_are_fifty_traces(on: Cli, langsmith: LangSmithDouble) -> None:
    on.run("first")
    with ThreadPoolExecutor(50) as pool:
        codes = [done.returncode for done in pool.map(lambda number: on.run(f"question {number}"), range(49))]
    assert set(codes) == {0}
    forgive(on)
    if waiting(on):  # of a process that ended before its answer came, on a busy machine
        on.run("last")
    assert set(langsmith.traces) == turns(on)
    assert {len(runs) for runs in langsmith.traces.values()} == {2}
    assert waiting(on) == 0


def timed(cli: Cli) -> float:
    """How long the program takes from its answer on; the turn is as ever."""
    with cli.start("is all well?") as process:
        assert process.stdout is not None
        assert process.stdout.read(12) == b"All is well."
        began = time.monotonic()
        assert process.wait(30) == 0
        took = time.monotonic() - began
        assert process.stderr is not None
        assert (process.stdout.read(), process.stderr.read()) == (b"", b"")
    return took


FAULTS = {
    "hangs-unread": HANGS_UNREAD,
    "hangs": HANGS,
    "hangs-taken": HANGS_TAKEN,
    "garbage": GARBAGE,
    "portal": NOT_JSON,
    "500": answers(500),
    "429": answers(429),
    "404": answers(404),
    "cut": cut(0),
    "cut-in-answer": cut(40, reset=True),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_whatever_is_wrong_over_there_the_turn_is_as_ever_and_its_trace_arrives_later_once(
    on: Cli, langsmith: LangSmithDouble, fault: Fault
) -> None:
    langsmith.fault = fault
    assert timed(on) < BOUND_S
    langsmith.fault = None
    asked = len(langsmith.requests)
    timed(on)
    assert len(langsmith.requests) == asked, "nothing is tried for a while"
    assert waiting(on) == 2
    forgive(on)
    on.run("and now?")
    assert set(langsmith.traces) == turns(on)
    assert (len(langsmith.traces), waiting(on)) == (3, 0)
    assert (
        on.rows("SELECT status, content FROM messages WHERE role = 'assistant'") == [("complete", "All is well.")] * 3
    )


def test_a_service_that_refuses_connections_costs_nothing(on: Cli, langsmith: LangSmithDouble) -> None:
    with langsmith.refusing():
        assert timed(on) < BOUND_S
    forgive(on)
    on.run("and now?")
    assert set(langsmith.traces) == turns(on)


def test_a_trace_that_is_refused_does_not_hold_up_others(on: Cli, langsmith: LangSmithDouble) -> None:
    langsmith.fault = answers(500)
    for _ in range(3):
        on.run("hello")
    langsmith.fault = None
    forgive(on)
    bad = on.rows("SELECT id FROM deliveries ORDER BY id")[1][0]
    langsmith.refuses = lambda run: run["trace_id"] == bad
    on.run("hello")
    assert set(langsmith.traces) == turns(on) - {bad}
    on.run("hello")
    assert set(langsmith.traces) == turns(on) - {bad}, "what is new does not wait for it"
    for _ in range(3):
        assert waiting(on) == 1
        forgive(on)
        on.run("hello")
    assert (waiting(on), on.rows("SELECT dropped FROM integrations")) == (0, [(1,)])


def test_what_a_killed_process_was_at_arrives_later_once(on: Cli, langsmith: LangSmithDouble) -> None:
    langsmith.fault = HANGS_TAKEN
    with on.start("hello") as process:
        langsmith.wait_for_requests(1)
        process.kill()
        process.wait(10)
    langsmith.fault = None
    forgive(on)
    on.run("hello")
    assert set(langsmith.traces) == turns(on)
    assert (len(langsmith.traces), langsmith.repeated > 0, waiting(on)) == (2, True, 0)


def test_ctrl_c_ends_the_waiting_at_once(on: Cli, langsmith: LangSmithDouble) -> None:
    langsmith.fault = HANGS
    with on.start("hello") as process:
        assert process.stdout is not None
        assert process.stdout.read(12) == b"All is well."
        langsmith.wait_for_requests(1)
        time.sleep(0.1)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert time.monotonic() - began < 1.0
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert waiting(on) == 1


def test_a_wrong_key_is_told_and_keeps_the_trace(on: Cli, langsmith: LangSmithDouble) -> None:
    on.environ["LANGSMITH_API_KEY"] = "lsv2_pt_wrong"
    done = on.run("hello")
    assert (done.returncode, done.stdout) == (0, b"All is well.")
    assert b"LangSmith refuses the key from $LANGSMITH_API_KEY (401)." in done.stderr
    assert b"lsv2_pt_wrong" not in done.stderr
    assert waiting(on) == 1
    del on.environ["LANGSMITH_API_KEY"]
    assert on.run("keys", "set", "langsmith", stdin=KEY.encode()).returncode == 0
    on.run("hello again")
    assert (len(langsmith.traces), waiting(on)) == (2, 0)


def test_without_a_database_traces_are_sent_all_the_same(on: Cli, langsmith: LangSmithDouble) -> None:
    on.database.write_bytes(b"this is no database" * 100)
    done = on.run("hello", environ={"AICHAT_LANGSMITH_CONTENT": "true"})
    assert done.stdout == b"All is well."
    assert langsmith.trace()[0]["outputs"] != {}
    langsmith.clear()
    on.run("hello", "--no-log", environ={"AICHAT_LANGSMITH_CONTENT": "true"})
    assert langsmith.trace()[0]["outputs"] == {}


def test_every_turn_of_a_session_is_a_trace_of_its_thread(on: Cli, langsmith: LangSmithDouble) -> None:
    with terminal(on) as screen:
        screen.wait_for("gpt-4o-mini | ")
        for number in (1, 2):
            screen.type(f"question {number}\r")
            langsmith.wait_for_requests(number)
        screen.type("\x04")
        assert screen.wait_for_exit() == 0
    assert len(langsmith.traces) == 2
    assert len({runs[0]["extra"]["metadata"]["thread_id"] for runs in langsmith.traces.values()}) == 1


AUDIT = """
import atexit, json, os, sys, threading
seen, threads = [], []
sys.addaudithook(lambda event, given: seen.append(given[1][1]) if event == "socket.connect" else None)
def begins(*_):
    sys.setprofile(None)
    threads.append(threading.current_thread().name)
threading.setprofile(begins)
def tell():
    ours = [name for name in sys.modules if name.startswith(("aichat_cli.integrations", "langsmith", "posthog", "resend",
                                                             "pinecone"))]
    print(json.dumps([seen, ours, threads]), file=sys.stderr)
atexit.register(tell)
"""


def test_with_everything_off_nobody_is_told_anything(on: Cli, server: ScriptedServer, tmp_path: Path) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(AUDIT, "utf-8")
    for names, expected in (("", []), ("langsmith", ["aichat_cli.integrations"])):
        environ = {"PYTHONPATH": os.pathsep.join([str(hooks), str(ROOT)]), "AICHAT_INTEGRATIONS": names}
        done = on.run("hello", environ=environ, fresh=True)
        connected, modules, threads = json.loads(done.stderr.splitlines()[-1])
        assert modules[:1] == expected
        assert not {"langsmith", "posthog", "resend", "pinecone"} & set(modules)
        assert (set(connected) == {server.port}) is (names == "")
        assert ("deliver to langsmith" in threads) is (names != "")
        assert names or len(threads) <= 1, "the provider's connection is opened in one"
    assert waiting(on) == 0
