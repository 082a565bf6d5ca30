"""A forked process is what a new one would be, and every command works in both."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests import starting
from tests.pty.terminal import terminal
from tests.runner import Cli

PROBE = (*starting.PYTHON, "tests.probe")
BOTH = pytest.mark.parametrize("fresh", [True, False], ids=["new", "forked"])

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every process is started anew")


def ran(cli: Cli, *arguments: str, fresh: bool, **options: Any) -> tuple[int, bytes, bytes]:
    """The exit code and the output of a probe."""
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    with starting.start([*PROBE, *arguments], cli.environment, fresh=fresh, **options) as process:
        out, err = process.communicate(timeout=60)
    assert isinstance(process, starting.Forked) is not fresh
    return process.returncode, out or b"", err or b""


def found(cli: Cli, *arguments: str, fresh: bool, **options: Any) -> dict[str, Any]:
    code, out, err = ran(cli, *arguments, fresh=fresh, **options)
    assert (code, err) == (0, b"")
    told: dict[str, Any] = json.loads(out)
    return told


def test_a_forked_process_finds_what_a_new_one_finds(cli: Cli) -> None:
    cli.environ |= {"TZ": "Asia/Tokyo", "ODD": "\udcff=\n", "EMPTY": ""}
    arguments = ("--json", "\udcff", "", "a b")
    new, forked = (found(cli, *arguments, fresh=fresh, cwd=cli.home) for fresh in (True, False))
    assert forked == new
    assert (new["folder"], new["time"][0]) == (str(cli.home), ["JST", "JST"])
    assert new["descriptors"] == [0, 1, 2, 3]  # and 3 is the folder that lists them


def test_it_finds_the_folder_and_the_streams_of_who_started_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(cli.home)
    (cli.home / "in").write_text("in")
    for given in (subprocess.PIPE, None):
        assert found(cli, fresh=False, stdin=given) == found(cli, fresh=True, stdin=given)
    outputs = []
    for fresh in (True, False):
        with (cli.home / "in").open("rb") as stdin, (cli.home / "out").open("wb") as stdout:
            assert ran(cli, fresh=fresh, stdin=stdin, stdout=stdout, stderr=subprocess.STDOUT) == (0, b"", b"")
        outputs.append(json.loads((cli.home / "out").read_bytes()))
    assert outputs[0] == outputs[1]


def test_it_finds_the_same_on_a_terminal(cli: Cli) -> None:
    told = []
    for always_fresh in (True, False):
        starting.always_fresh, before = always_fresh, starting.always_fresh
        try:
            with terminal(cli, columns=5000, program=PROBE) as screen:
                assert screen.wait_for_exit() == 0
                assert isinstance(screen.process, starting.Forked) is not always_fresh
        finally:
            starting.always_fresh = before
        told.append(json.loads(screen.text))
    assert told[0] == told[1]
    assert told[0]["session"] == [True, True]
    assert told[0]["in front"] is True


def test_no_two_draw_the_same(cli: Cli) -> None:
    assert len({ran(cli, "random", fresh=False) for _ in range(3)}) == 3


@pytest.mark.parametrize(
    ("way", "code"),
    [
        ("code", 7),
        ("words", 1),
        ("error", 1),
        ("killed", -signal.SIGKILL),
        ("terminated", -signal.SIGTERM),
        ("interrupted", -signal.SIGINT),
        ("thread", 0),
        ("leave", 3),
        ("by itself", 0),
    ],
)
def test_it_ends_as_a_new_one_ends(cli: Cli, way: str, code: int) -> None:
    (new_code, new_out, new_err), forked = (ran(cli, "end", way, fresh=fresh) for fresh in (True, False))
    assert forked[:2] == (new_code, new_out)
    assert forked[2].splitlines()[-1:] == new_err.splitlines()[-1:]  # a traceback shows who called the program
    assert new_code == code


def test_output_that_nobody_reads_is_told_as_by_a_new_one(cli: Cli) -> None:
    ended = []
    for fresh in (True, False):
        reading, writing = os.pipe()
        os.close(reading)
        ended.append(ran(cli, "end", "by itself", fresh=fresh, stdout=writing))
        os.close(writing)
    assert ended[0] == ended[1]
    assert ended[0][0] == 120


@BOTH
def test_one_that_takes_too_long_is_killed(cli: Cli, fresh: bool) -> None:
    with (
        starting.start([*PROBE, "end", "stop"], cli.environment, fresh=fresh) as process,
        pytest.raises(subprocess.TimeoutExpired),
    ):
        assert process.poll() is None
        try:
            process.communicate(timeout=0.2)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not Path(f"/proc/{process.pid}").exists()


def test_several_run_at_once_and_each_end_is_told_to_its_own(cli: Cli) -> None:
    ways = {"code": 7, "terminated": -signal.SIGTERM, "thread": 0, "leave": 3, "error": 1}
    with open(os.devnull, "wb") as nowhere:
        running = {
            way: starting.start([*PROBE, "end", way], cli.environment, stdout=nowhere, stderr=nowhere) for way in ways
        }
    assert {way: process.wait(30) for way, process in reversed(running.items())} == ways


def test_what_a_fork_cannot_be_is_started_anew(cli: Cli) -> None:
    for environ, options in (
        ({"PYTHONIOENCODING": "ascii"}, {}),
        ({"PYTHONPATH": f"/nowhere:{starting.ROOT}"}, {}),
        ({"LC_ALL": "C"}, {}),
        ({}, {"preexec_fn": lambda: None}),
        ({}, {"umask": 0o077}),
    ):
        with cli.start("--version", environ=environ, **options) as process:
            assert process.wait(30) == 0
        assert type(process) is subprocess.Popen
    with cli.start("--version", prefix=("env", "-u", "LANG")) as process:
        assert process.wait(30) == 0
    assert type(process) is subprocess.Popen


def test_what_forks_ends_with_the_process_of_the_tests_however_that_ends(cli: Cli) -> None:
    code = (
        "import sys, os\nfrom tests import starting\n"
        "process = starting.start([*starting.PYTHON, 'tests.probe', 'end', 'code'], dict(os.environ))\n"
        "process.wait()\n"
        "[zygote] = starting._zygotes.values()\n"
        "print(zygote.process.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    for end in ("leaves", "is killed"):
        with subprocess.Popen(
            [sys.executable, "-c", code], env=starting.ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            forking = Path(f"/proc/{int(process.stdout.readline())}")
            assert b"tests.zygote" in (forking / "cmdline").read_bytes()
            if end == "is killed":
                process.kill()
        deadline = time.monotonic() + 20
        while forking.exists() and b"tests.zygote" in (forking / "cmdline").read_bytes():
            assert time.monotonic() < deadline
            time.sleep(0.02)
