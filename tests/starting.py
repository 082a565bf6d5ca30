"""How tests start the program: a new process, or, where that is not what they are about, a child of one that has loaded it.

Loading takes three quarters of a short command's time, and is the same each time. A forked child is a process of its own: it has
the environment, folder, arguments, descriptors, session and signals it was given and nothing else, which
`tests/test_starting.py` compares with what a new one has, and it ends as Python ends. What it does not prove is that a command
imports what it uses: `LOADED`, what any one-shot or chat loads, is there already; of the program, all else it imports itself. So
`tests/cli/test_every_command.py` starts each command anew as well, and `pytest --fresh-starts` starts everything anew.

Starting anew is right where a test is about starting: what is imported, signals before there is a handler, the command line in
/proc, limits that are set before. It is what happens where Python itself would start otherwise (`AT_START`), where
`subprocess` is asked for more than can be done here, and on anything but Linux.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import select
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.zygote import HEADER, REPLY

ROOT = Path(__file__).parent.parent

PYTHON = (sys.executable, "-m")
PROGRAM = (*PYTHON, "aichat_cli")

LOADED = (
    "aichat_cli.cli.main",
    "aichat_cli.cli.chat",
    "aichat_cli.providers.openai_wire",
    "encodings.idna",
    "hashlib",
    "platformdirs.unix",
    "tempfile",
)
"""What a one-shot loads."""

_SECRETS = (
    "Crypto.Cipher.AES",
    "Crypto.Protocol.KDF",
    "Crypto.Random",
    "keyring",
    "platformdirs",
    "tests.keyring_backend",
)
_SERVER = (
    "aiohttp",
    "starlette.applications",
    "starlette.middleware",
    "starlette.routing",
    "uvicorn.main",
    "uvicorn.lifespan.on",
    "uvicorn.protocols.http.httptools_impl",
    "uvloop",
)
_NUMBERS = (
    "concurrent.futures.thread",
    "numpy.typing",
    "pathspec",
    "rich.console",
    "rich.progress",
    "secrets",
    "sqlite_vec",
)
_READING = ("csv", "email.message", "html", "logging", "tiktoken_ext.openai_public", "zipfile")

LIBRARIES = {
    "sync": (*_SECRETS, "psycopg.types.json"),
    "keys": (*_SECRETS, "psycopg.types.json"),
    "ingest": (*_NUMBERS, *_READING),
    "--docs": _NUMBERS,
    "docs": _NUMBERS,
    "search": _NUMBERS,
    "credits": ("stripe",),
    "users": _SECRETS,
    "api-keys": _SECRETS,
    "doctor": _SECRETS,
    "login": _SECRETS,
    "serve": (*_SECRETS, *_SERVER),
}
"""What others made and a command loads, by its first word: it takes most of the time of these. It is not there for all, as what a
process has loaded it takes down when it ends.
"""

LOADED_FOR_CHATS = (*LOADED, "aichat_cli.repl.front", "aichat_cli.repl.session")
"""What a program on a terminal loads."""

ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ} | {
    "PYTHONPATH": str(ROOT),
    "PYTHON_KEYRING_BACKEND": "tests.keyring_backend.UnlockedKeyring",
    "PYTHONWARNINGS": "ignore",
}
"""What every process sees."""

AT_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "OPENSSL_")
"""What the names of variables begin with that are read before a program begins, or by its libraries as they are loaded."""

OPTIONS = frozenset({"cwd", "stdin", "stdout", "stderr"})
"""What of `subprocess.Popen` a fork can do."""

always_fresh = sys.platform != "linux"
_starting = threading.Lock()
_zygotes: dict[tuple[str, ...], Zygote] = {}


class Zygote:
    """A process that has loaded some modules, for as long as this one runs."""

    def __init__(self, modules: tuple[str, ...]) -> None:
        self.lock = threading.Lock()
        self.control, theirs = socket.socketpair()
        # With one thread numpy starts none, which a child would not have.
        environment = _at_start(ENVIRONMENT) | {"OPENBLAS_NUM_THREADS": "1"}
        with theirs:
            command = [sys.executable, "-m", "tests.zygote", str(theirs.fileno()), *modules]
            # Without a home: what looked at more than this while it is loaded would find nothing.
            self.process = subprocess.Popen(
                command, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
            )
        atexit.register(self.close)

    def close(self) -> None:
        """Let it end; its children go on."""
        self.control.close()
        self.process.wait(10)


class Forked(subprocess.Popen[bytes]):
    """A child of a zygote, used like any other process.

    It replaces the three methods of Popen that start and wait: another process is the parent, which tells of the end on a
    pipe.
    """

    def __init__(
        self, zygote: Zygote, command: Sequence[str], asked: Mapping[str, Any], streams: Mapping[str, Any]
    ) -> None:
        self._zygote = zygote
        self._asked = {"module": command[2], "arguments": list(command[3:]), **asked}
        self._waiting = threading.Lock()
        super().__init__(command, **streams)

    def _execute_child(self, *given: Any) -> None:
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite = given[10:16]
        streams = [number if end == -1 else end for number, end in enumerate((p2cread, c2pwrite, errwrite))]
        self._reply, reply = os.pipe()
        data = json.dumps(self._asked).encode()
        try:
            with self._zygote.lock:
                socket.send_fds(self._zygote.control, [HEADER.pack(len(data))], [*streams, reply])
                self._zygote.control.sendall(data)
        finally:
            os.close(reply)
            self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]
        self.pid = self._told()
        self._child_created = True

    def _told(self) -> int:
        data = os.read(self._reply, REPLY.size)
        if not data:
            raise RuntimeError("the process that forks the program has ended")
        number: int = REPLY.unpack(data)[0]
        return number

    def _internal_poll(self, _deadstate: int | None = None) -> int | None:
        try:
            return self._wait(0)
        except subprocess.TimeoutExpired:
            return None

    def _wait(self, timeout: float | None) -> int:
        if not self._waiting.acquire(timeout=-1 if timeout is None else timeout):
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        try:
            if self.returncode is None:
                if not select.select([self._reply], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(self.args, timeout or 0)
                self.returncode = self._told()
                os.close(self._reply)
        finally:
            self._waiting.release()
        return self.returncode


def start(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    fresh: bool = False,
    on_terminal: bool = False,
    **options: Any,
) -> subprocess.Popen[bytes]:
    """Start a command; `options` are those of `subprocess.Popen`. It is forked where it is `python -m` and nothing speaks
    against that.

    Args:
        fresh: in a new process, whatever it costs.
        on_terminal: stdin is a terminal, which controls it and nothing else.
    """
    is_usual = options.keys() <= OPTIONS and _at_start(environment) == _at_start(ENVIRONMENT)
    if tuple(command[:2]) == PYTHON and is_usual and not fresh and not always_fresh:
        folder = Path(options.pop("cwd", None) or "").absolute()
        asked = {"environment": dict(environment), "folder": str(folder), "on_terminal": on_terminal}
        word = "" if len(command) == len(PROGRAM) else command[len(PROGRAM)]
        modules = LOADED_FOR_CHATS if on_terminal else (*LOADED, *LIBRARIES.get(word, ()))
        return Forked(_zygote(modules), command, asked, options)
    if on_terminal:
        options |= {"start_new_session": True, "preexec_fn": lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)}
    return subprocess.Popen(command, env=environment, **options)


def _zygote(modules: tuple[str, ...]) -> Zygote:
    with _starting:
        if modules not in _zygotes:
            _zygotes[modules] = Zygote(modules)
        return _zygotes[modules]


def _at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(AT_START)}
