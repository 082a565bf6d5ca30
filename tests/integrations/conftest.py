"""Services on loopback, one of each for all tests: started once, as new for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.langsmith_double import LangSmithDouble


@pytest.fixture(scope="session")
def langsmith_server() -> Iterator[LangSmithDouble]:
    with LangSmithDouble() as running:
        yield running


@pytest.fixture
def langsmith(langsmith_server: LangSmithDouble) -> Iterator[LangSmithDouble]:
    """LangSmith, without a trace."""
    langsmith_server.clear()
    yield langsmith_server
    langsmith_server.clear()
