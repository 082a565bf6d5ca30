"""What every test may use."""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

from tests import blank, memory, starting
from tests.runner import Cli

pytest_plugins = [
    "tests.compiling",
    "tests.sharing",
    "tests.tracing",
    "tests.servers.fixtures",
    "tests.providers.model_fixture",
]


# A runner in the background has these ignored, and every process it starts would inherit that.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number is signal.SIGINT else signal.SIG_DFL)


# Where `tmp_path` is. On a disk every commit waits for it, and no test is about that.
if (_memory := memory.folder()) is not None:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_memory))

# How long an example takes says more of the machine than of the program. Every run tries others; to try many more:
# scripts/test --hypothesis-profile=thorough
settings.register_profile("aichat", deadline=None, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile("aichat")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer to take no short way."""
    parser.addoption("--fresh-starts", action="store_true", help="start the program anew each time, never by a fork")


def pytest_configure(config: pytest.Config) -> None:
    """Start as asked for."""
    starting.always_fresh |= config.getoption("fresh_starts")


def pytest_collection_finish() -> None:
    """Let the collector pass over what stays until the end: the tests are most of what it would look at each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def cli(tmp_path: Path, request: pytest.FixtureRequest) -> Cli:
    """The program in a home in which it was started once, unless the test is marked `first_start`: then in a fresh one. It
    talks to `server` where the test asks for one.
    """
    home = tmp_path / "home"
    home.mkdir()
    has_server = "server" in request.fixturenames
    user = Cli(home, request.getfixturevalue("server") if has_server else None)
    if request.node.get_closest_marker("first_start") is None:
        blank.put(user.database)
    return user
