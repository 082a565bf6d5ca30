"""The real embedded models, each pulled once for all test runs of this machine.

`AICHAT_TEST_MODEL_DIR` names the folder they are kept in, which CI can cache; otherwise it is the user's cache folder.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aichat_cli.providers import pull


def shared_model_dir() -> Path:
    """The folder that holds the models between test runs."""
    if configured := os.environ.get("AICHAT_TEST_MODEL_DIR"):
        return Path(configured)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "aichat-tests" / "models"


@pytest.fixture(scope="session")
def model_dir() -> Path:
    """A models folder with `smollm2` in it."""
    return _with("smollm2", shared_model_dir())


@pytest.fixture(scope="session")
def sentence_model_dir() -> Path:
    """A models folder with `minilm` in it, and nothing else that is looked for."""
    return _with("minilm", shared_model_dir() / "sentences")


def _with(name: str, folder: Path) -> Path:
    """The folder with the model in it; the first of parallel test processes pulls, the others wait for it."""
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        pull.ensure(name, folder)
    return folder
