"""Takes one measurement of one program, whole process, from outside."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import Contender
from tests.servers.scripted import ScriptedServer

WAIT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Run:
    """One process. `to_request` is None where no server was watched; times are in seconds."""

    code: int
    stdout: str
    wall: float
    cpu: float
    peak_bytes: int
    to_request: float | None = None


def run(contender: Contender, command: list[str], server: ScriptedServer | None = None) -> Run:
    """Run a command to its end; with a server, tell when its request was there."""
    before = len(server.requests) if server else 0
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        process = subprocess.run(
            [sys.executable, "-S", str(Path(__file__).with_name("launch.py")), str(result), *command],
            env=dict(contender.environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if not result.exists():
            raise SystemExit(process.stderr.decode())
        told = json.loads(result.read_text("utf-8"))
    if told["code"]:
        raise SystemExit(f"{contender.name} ended with {told['code']}: {process.stderr.decode()}")
    arrived = server.requests[before].received_at - told["started"] if server else None
    stdout = process.stdout.decode()
    return Run(told["code"], stdout, told["ended"] - told["started"], told["cpu"], told["peak_bytes"], arrived)


def seconds_to_prompt(contender: Contender) -> float:
    """Start the program on a terminal; the time until a typed key shows."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    started = time.monotonic()
    process = subprocess.Popen(
        contender.command,
        env=dict(contender.environment),
        cwd=contender.environment["HOME"],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    try:
        _shown(controller, b"\x1b[?2004h", started)  # the editor has taken over: keys are its own from here
        os.write(controller, b"~")
        _shown(controller, b"~", started)
        return time.monotonic() - started
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(controller)


def _shown(controller: int, wanted: bytes, started: float) -> None:
    seen = b""
    while wanted not in seen:
        if time.monotonic() - started > WAIT_SECONDS:
            raise SystemExit(f"The prompt did not come:\n{seen!r}")
        if select.select([controller], [], [], 0.1)[0]:
            piece = os.read(controller, 65536)
            if b"\x1b[6n" in piece:
                os.write(controller, b"\x1b[1;1R")
            seen += piece


def at_once(contender: Contender, count: int) -> tuple[list[subprocess.Popen[str]], list[str], float]:
    """Start so many one-shots together; the ended processes, what each printed, and the seconds it took."""
    started = time.monotonic()
    processes = [
        subprocess.Popen(
            contender.one_shot(f"question {number}"),
            env=dict(contender.environment),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number in range(count)
    ]
    printed = [process.communicate()[0] for process in processes]
    return processes, printed, time.monotonic() - started
