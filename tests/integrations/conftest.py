"""Services on loopback, one of each for all tests: started once, as new for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.langsmith_double import LangSmithDouble
from tests.servers.posthog_double import PostHogDouble
from tests.servers.resend_double import ResendDouble


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


@pytest.fixture(scope="session")
def posthog_server() -> Iterator[PostHogDouble]:
    with PostHogDouble() as running:
        yield running


@pytest.fixture
def posthog(posthog_server: PostHogDouble) -> Iterator[PostHogDouble]:
    """PostHog, without an event."""
    posthog_server.clear()
    yield posthog_server
    posthog_server.clear()


@pytest.fixture(scope="session")
def resend_server() -> Iterator[ResendDouble]:
    with ResendDouble() as running:
        yield running


@pytest.fixture
def resend(resend_server: ResendDouble) -> Iterator[ResendDouble]:
    """Resend, which has sent nothing."""
    resend_server.clear()
    yield resend_server
    resend_server.clear()
