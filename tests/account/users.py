"""A user of a gateway, on a machine of their own."""

from __future__ import annotations

from pathlib import Path

from tests.runner import Cli


def log_in(cli: Cli, url: str, key: str) -> None:
    """Log in as a user with a pipe does."""
    done = cli.run("login", url, stdin=key)
    assert done.returncode == 0, done.stderr.decode()


def account_file(cli: Cli) -> Path:
    """Where the program remembers the account."""
    return cli.home / "state" / "aichat" / "account.json"


OFFLINE = {"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}
"""The environment of a machine without a network."""
