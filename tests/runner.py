"""The program as a user runs it: a process of its own, in a home of its own, with loopback as its only network."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aichat_cli.storage.database import Database
from tests import starting
from tests.servers.scripted import ScriptedServer

ROOT = starting.ROOT
KEY = "sk-test-4f9a1c7e2b8d"
MODEL_DIR = "AICHAT_TEST_MODEL_DIR"
PROGRAM = starting.PROGRAM


@dataclass
class Cli:
    """One user's machine: a home folder and an environment.

    `server`, when given, stands for OpenAI and for Anthropic; keys for both are in the environment.
    """

    home: Path
    server: ScriptedServer | None = None
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What the program sees."""
        environment = starting.ENVIRONMENT | {
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_DATA_HOME": str(self.home / "data"),
            "XDG_STATE_HOME": str(self.home / "state"),
            "TERM": "xterm-256color",
            "TZ": "UTC",
        }
        if MODEL_DIR in os.environ:
            environment[MODEL_DIR] = os.environ[MODEL_DIR]
        if self.server is not None:
            environment |= {
                "OPENAI_API_KEY": KEY,
                "OPENAI_BASE_URL": self.server.openai_url,
                "ANTHROPIC_API_KEY": KEY,
                "ANTHROPIC_BASE_URL": self.server.anthropic_url,
            }
        return environment | self.environ

    @property
    def database(self) -> Path:
        """The database file."""
        return self.home / "data" / "aichat" / "aichat.db"

    @property
    def config_file(self) -> Path:
        """The settings file."""
        return self.home / "config" / "aichat" / "config.toml"

    def run(
        self,
        *arguments: str,
        stdin: bytes | str | None = None,
        environ: Mapping[str, str] | None = None,
        timeout: float = 60,
        fresh: bool = False,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run to the end; output as bytes. Without `stdin` there is none. `fresh`: not forked (see `tests.starting`)."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        given = subprocess.DEVNULL if data is None else subprocess.PIPE
        with self.start(*arguments, stdin=given, environ=environ or {}, fresh=fresh) as process:
            out, err = process.communicate(data, timeout)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def json(self, *arguments: str) -> Any:
        """Run with --json and read what it prints."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    @contextmanager
    def start(
        self, *arguments: str, prefix: Sequence[str] = (), environ: Mapping[str, str] | None = None, **options: Any
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Start it and leave it running; it is killed at the end of the block if need be. `prefix` runs it; options are
        those of `tests.starting.start`.
        """
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        process = starting.start([*prefix, *PROGRAM, *arguments], {**self.environment, **(environ or {})}, **options)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(10)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()

    def rows(self, sql: str, *values: str | int) -> list[tuple[Any, ...]]:
        """Read the database."""
        with Database.open(self.database) as database:
            return database.rows(sql, values)
