"""Compiles what the workers will load, before they start: without it each of them compiles all of it, at the same time.

For tests that is seven seconds of processor time: pytest rewrites their asserts. It is done by what pytest itself does it with,
which keeps the result beside the other compiled files; should that once be elsewhere, the workers compile as ever.
"""

from __future__ import annotations

import compileall
import multiprocessing
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from _pytest.assertion import rewrite

import aichat_cli

TESTS = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile in the process that is about to start workers."""
    config = session.config
    if config.getoption("dist", "no") == "no" or hasattr(config, "workerinput") or sys.dont_write_bytecode:
        return
    files = [*Path(*aichat_cli.__path__).rglob("*.py"), *TESTS.rglob("*.py")]
    # Forked, so that they have the configuration; nothing has started a thread yet.
    workers = [
        multiprocessing.get_context("fork").Process(target=_compile, args=(config, files[number :: os.cpu_count()]))
        for number in range(os.cpu_count() or 1)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def _compile(config: pytest.Config, files: Sequence[Path]) -> None:
    for path in files:
        if path.name.startswith("test_") or path.name == "conftest.py":
            _rewrite(config, path)
        else:
            compileall.compile_file(path, quiet=2)


def _rewrite(config: pytest.Config, path: Path) -> None:
    state = config.stash[rewrite.assertstate_key]
    compiled = rewrite.get_cache_dir(path) / f"{path.stem}{rewrite.PYC_TAIL}"
    if rewrite._read_pyc(path, compiled) is None:
        compiled.parent.mkdir(exist_ok=True)
        with suppress(SyntaxError, AttributeError, TypeError):  # whoever loads it tells of it, or rewrites it as ever
            status, code = rewrite._rewrite_test(path, config)
            rewrite._write_pyc(state, code, status, compiled)
