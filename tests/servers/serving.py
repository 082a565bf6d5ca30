"""`aichat serve` in a process of its own, for tests of what only a process does."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from subprocess import Popen

from tests.runner import Cli

_SERVING = re.compile(r"^Serving at (https?)://(\S+):(\d+): .*$", re.MULTILINE)


class Serving:
    """The process, and all that it has said."""

    def __init__(self, process: Popen[bytes], *, is_read: bool) -> None:
        self.process = process
        self._said = b""
        self._is_read = is_read
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        self.told = self.wait_for(_SERVING)[0]
        kind, host, port = _SERVING.findall(self.told)[0]
        self.url = f"{kind}://{host if host != '0.0.0.0' else '127.0.0.1'}:{port}"

    @property
    def everything(self) -> str:
        """What is on stderr so far."""
        return self._said.decode()

    def wait_for(self, pattern: str | re.Pattern[str], timeout: float = 30) -> re.Match[str]:
        """Read until stderr holds it."""
        deadline = time.monotonic() + timeout
        wanted = re.compile(re.escape(pattern)) if isinstance(pattern, str) else pattern
        with self._changed:
            while (found := wanted.search(self.everything)) is None:
                is_waiting = self._thread.is_alive() and time.monotonic() < deadline
                assert is_waiting, f"{wanted.pattern}: {self.everything}"
                self._changed.wait(0.2)
        return found

    def end(self, signal_number: int) -> int:
        """Tell it to end; its exit code."""
        self.process.send_signal(signal_number)
        code = self.process.wait(30)
        if self._is_read:
            self._thread.join(10)
        return code

    def _read(self) -> None:
        assert self.process.stderr is not None
        with suppress(ValueError):  # the block has ended, and closed it
            for line in self.process.stderr:
                with self._changed:
                    self._said += line
                    self._changed.notify_all()
                if not self._is_read and _SERVING.search(line.decode()):
                    # Whoever waits finds the line, and nobody reads any more.
                    time.sleep(60)


@contextmanager
def serving(cli: Cli, *arguments: str, is_read: bool = True, fresh: bool = False) -> Iterator[Serving]:
    """The gateway at a free port; ended at the end of the block. Without `is_read` nobody reads its log; `fresh`: not forked
    (see `tests.starting`).
    """
    with cli.start("serve", "--port", "0", *arguments, fresh=fresh) as process:
        yield Serving(process, is_read=is_read)


def a_team(cli: Cli) -> str:
    """A user anna, and her key."""
    assert cli.run("users", "create", "anna", "--plan", "enterprise").returncode == 0
    made = cli.run("api-keys", "create", "anna")
    assert made.returncode == 0, made.stderr
    return made.stdout.decode().strip()
