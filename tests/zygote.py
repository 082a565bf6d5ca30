"""A process that has loaded the program, and forks a child each time a test starts it: `python -m tests.zygote FD MODULE...`.

Starts arrive on the socket FD; it ends when the other end of that is closed, also by a SIGKILL. Each child makes itself what a
new process would be and then runs as `python -m` does, up to Python's own way out: it returns from `serve`, and nothing of the
loop is left below it. `tests/starting.py` is the other side, and says what this proves and what not.
"""

from __future__ import annotations

import fcntl
import gc
import io
import json
import os
import runpy
import select
import signal
import socket
import struct
import sys
import termios
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any

HEADER = struct.Struct("I")
"""The length of a start's JSON. In front of it come the descriptors for stdin, stdout, stderr and `REPLY`."""

REPLY = struct.Struct("i")
"""What is answered, twice: the child's number, and when it has ended, its exit code or the negative number of a signal."""


@dataclass(frozen=True)
class Start:
    """One process to be."""

    descriptors: tuple[int, ...]
    module: str
    arguments: list[str]
    environment: dict[str, str]
    folder: str
    on_terminal: bool


def main() -> None:
    """Load, fork, and in a child run what was asked for."""
    control = socket.socket(fileno=int(sys.argv[1]))
    # Held back in the child too, until it is a program; a Ctrl-C of who runs the tests is not for this process.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    for module in sys.argv[2:]:
        import_module(module)
    # What is loaded stays in pages that are shared: the children's collectors do not look at it.
    gc.collect()
    gc.freeze()
    start = serve(control)
    if start is not None:
        become(start)
        runpy.run_module(start.module, run_name="__main__", alter_sys=True)


def serve(control: socket.socket) -> Start | None:
    """Fork for each start that arrives, and tell how each child ended. Returns its start in a child, None at the end."""
    running: dict[int, tuple[int, int]] = {}  # a descriptor of the process to its number and where to tell of it
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor in running:
                poll.unregister(descriptor)
                _tell_of_end(descriptor, *running.pop(descriptor))
                continue
            start = received(control)
            if start is None:
                return None
            if len([*Path("/proc/self/task").iterdir()]) > 1:
                raise RuntimeError("what was loaded started a thread, which a child would not have")
            number = os.fork()
            if number == 0:
                control.close()
                return start
            *streams, reply = start.descriptors
            for stream in streams:
                os.close(stream)
            os.write(reply, REPLY.pack(number))
            process = os.pidfd_open(number)
            running[process] = (number, reply)
            poll.register(process, select.POLLIN)


def received(control: socket.socket) -> Start | None:
    """The next start; None when there will be no more."""
    header, descriptors, _, _ = socket.recv_fds(control, HEADER.size, 4)
    if not header:
        return None
    (length,) = HEADER.unpack(header)
    data = b""
    while len(data) < length:
        data += control.recv(length - len(data))
    return Start(tuple(descriptors), **json.loads(data))


def _tell_of_end(process: int, number: int, reply: int) -> None:
    _, status = os.waitpid(number, 0)
    with suppress(BrokenPipeError):  # whoever started it does not ask any more
        os.write(reply, REPLY.pack(os.waitstatus_to_exitcode(status)))
    os.close(reply)
    os.close(process)


def become(start: Start) -> None:
    """Make this process what `python -m` would have made of a new one with these descriptors and this environment."""
    for number, descriptor in enumerate(start.descriptors[:3]):
        os.dup2(descriptor, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    if start.on_terminal:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(start.folder)
    # In place: modules hold on to os.environ. LC_CTYPE is what Python itself set, and would set again (PEP 538).
    environment = {name: os.environ[name] for name in ("LC_CTYPE",) if name in os.environ} | start.environment
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = _standard_stream(number, name, getattr(sys, name))
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.path[0] = str(Path.cwd())
    sys.argv = ["-m", *start.arguments]
    sys.orig_argv = [sys.executable, "-m", start.module, *start.arguments]
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _standard_stream(number: int, name: str, like: Any) -> IO[str]:
    """As `create_stdio` of CPython's pylifecycle.c makes them."""
    binary: Any = open(number, "rb" if name == "stdin" else "wb", closefd=False)  # noqa: SIM115 (open as long as the process)
    binary.raw.name = f"<{name}>"
    line_buffering = name == "stderr" or binary.raw.isatty()
    stream = io.TextIOWrapper(binary, like.encoding, like.errors, "\n", line_buffering=line_buffering)
    stream.mode = "r" if name == "stdin" else "w"  # type: ignore[misc]
    return stream


if __name__ == "__main__":
    main()
