from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.pty.terminal import terminal
from tests.runner import Cli


@pytest.fixture
def offline(cli: Cli, model_dir: Path) -> Cli:
    """A machine with the embedded model pulled, without a key and without a network."""
    (cli.database.parent / "models").symlink_to(model_dir)
    cli.environ = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    return cli


def without_limit_notice(errors: bytes) -> list[bytes]:
    """What stderr says besides that the short answer we asked for was cut short."""
    return [line for line in errors.splitlines() if b"output limit" not in line]


def test_without_a_key_and_a_network_the_embedded_model_answers_and_that_is_said_once(offline: Cli) -> None:
    done = offline.run("-o", "temperature", "0", "-o", "max_tokens", "12", "Say hello.")

    assert done.returncode == 0, done.stderr
    assert len(done.stdout.decode().split()) > 1
    told = without_limit_notice(done.stderr)
    assert len(told) == 1
    assert b"smollm2" in told[0]
    assert b"aichat keys set" in done.stderr
    [(provider, cost, provenance, tokens)] = offline.rows(
        "SELECT provider, cost_nano, provenance, output_tokens FROM usage"
    )
    assert (provider, cost, provenance) == ("local", 0, "calculated")
    assert 1 < tokens <= 12


def test_it_is_not_said_where_the_model_was_chosen(offline: Cli) -> None:
    done = offline.run("-m", "smollm2", "-o", "max_tokens", "4", "Say hello.")

    assert (done.returncode, without_limit_notice(done.stderr)) == (0, [])


def test_a_conversation_with_it_goes_on(offline: Cli) -> None:
    offline.run("-o", "max_tokens", "4", "Say hello.")
    done = offline.run("-c", "-o", "max_tokens", "4", "And again.")

    assert done.returncode == 0
    assert offline.rows("SELECT count(*), count(DISTINCT conversation_id) FROM messages") == [(4, 1)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_at_once_and_keeps_what_it_said(offline: Cli, number: signal.Signals) -> None:
    with offline.start("-m", "smollm2", "Tell a very long story about the sea.") as process:
        assert process.stdout is not None
        first = os.read(process.stdout.fileno(), 4096)
        started = time.monotonic()
        process.send_signal(number)
        rest, errors = process.communicate(timeout=20)

    assert process.returncode == 128 + number
    assert time.monotonic() - started < 5
    assert errors == b""
    [(content, status)] = offline.rows("SELECT content, status FROM messages WHERE role = 'assistant'")
    assert (content.encode(), status) == (first + rest, "stopped")


def test_kill_9_leaves_no_process_behind(offline: Cli) -> None:
    with offline.start("-m", "smollm2", "Tell a very long story about the sea.") as process:
        assert process.stdout is not None
        os.read(process.stdout.fileno(), 4096)
        process.kill()
        process.wait(10)
    marker = str(offline.home)
    deadline = time.monotonic() + 10
    while marker in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout:
        assert time.monotonic() < deadline, "its child lives on"
        time.sleep(0.1)


def test_a_session_without_a_key_works_at_once(offline: Cli) -> None:
    with terminal(offline, "-o", "max_tokens", "8") as screen:
        screen.wait_for("smollm2 |")
        screen.type("Say hello.\r")
        screen.wait_for("smollm2 | ctx")
        screen.type("/quit\r")
        assert screen.wait_for_exit() == 0

    assert offline.rows("SELECT count(*) FROM messages WHERE status = 'complete'") == [(2,)]


def test_any_gguf_file_works_by_its_path_and_a_broken_one_is_one_clear_line(offline: Cli, model_dir: Path) -> None:
    file = next(model_dir.glob("*.gguf"))
    broken = offline.home / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\x00" * 100)

    assert offline.run("-m", str(file), "-o", "max_tokens", "4", "Say hello.").returncode == 0
    for bad in (broken, offline.home / "absent.gguf"):
        done = offline.run("-m", str(bad), "hello")
        assert done.returncode == 6
        assert done.stderr.count(b"\n") == 1, done.stderr


def test_without_a_network_a_model_that_is_not_here_is_one_clear_line(cli: Cli) -> None:
    done = cli.run("hello", environ={"HTTPS_PROXY": "http://127.0.0.1:9", "PIP_INDEX_URL": "http://127.0.0.1:9/simple"})

    assert done.returncode == 6
    assert b"aichat models pull smollm2" in done.stderr.splitlines()[-1]
    assert b"Traceback" not in done.stderr
    assert cli.rows("SELECT content FROM messages WHERE role = 'user'") in ([], [("hello",)])


def test_damaged_weights_are_found_by_doctor_and_named_where_they_fail(offline: Cli, model_dir: Path) -> None:
    models = offline.home / "data" / "aichat" / "models"
    models.unlink()
    models.mkdir()
    whole = next(model_dir.glob("*.gguf"))
    damaged = models / whole.name
    damaged.write_bytes(b"GGUF" + bytes(whole.stat().st_size - 4))

    report = offline.run("doctor")
    done = offline.run("-m", "smollm2", "hello")

    assert report.returncode == 1
    assert b"aichat models pull smollm2" in report.stdout
    assert done.returncode == 6
    assert b"aichat models pull smollm2" in done.stderr
