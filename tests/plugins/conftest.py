"""The example, installed once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugins.packages import installed_example
from tests.runner import ROOT, Cli


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the example is installed in."""
    return installed_example(tmp_path_factory.mktemp("example"))


@pytest.fixture
def with_example(cli: Cli, example: Path) -> Cli:
    """The program where the example is installed."""
    cli.environ["PYTHONPATH"] = f"{ROOT}:{example}"
    return cli
