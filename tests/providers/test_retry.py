from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from aichat_cli.core.errors import (
    AichatError,
    ConnectFailed,
    KeyRejected,
    ProviderUnavailable,
    RateLimited,
    StreamBroken,
)
from aichat_cli.core.events import Finished, Notice, ReasoningDelta, Retrying, TextDelta
from aichat_cli.core.models import Model
from aichat_cli.providers.base import ChatRequest, Timeouts
from aichat_cli.providers.openai_wire import OpenAIWire
from aichat_cli.providers.retry import RetryPolicy, stream_with_retries
from tests.providers.calls import request_to
from tests.servers.scripted import ScriptedServer


@pytest.fixture
def wire() -> Iterator[OpenAIWire]:
    with closing(OpenAIWire()) as made:
        yield made


class Run:
    """One call with retries; time stands still and chance always says `chance`."""

    def __init__(
        self, wire: OpenAIWire, request: ChatRequest, policy: RetryPolicy = RetryPolicy(), chance: float = 1.0
    ) -> None:
        self.slept: list[float] = []
        self.events: list[Any] = []
        self.error: AichatError | None = None
        try:
            for event in stream_with_retries(wire, request, policy, self.slept.append, lambda: chance):
                self.events.append(event)
        except AichatError as error:
            self.error = error

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    @property
    def retries(self) -> list[Retrying]:
        return [event for event in self.events if isinstance(event, Retrying)]


def test_a_500_then_fine_is_fine(server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = [{"status": 500}, {"text": "fine"}]
    run = Run(wire, request_to(server))
    assert (run.text, run.error, run.slept) == ("fine", None, [0.5])
    assert [(type(event.error), event.attempt, event.delay) for event in run.retries] == [(ProviderUnavailable, 1, 0.5)]
    assert isinstance(run.events[-1], Finished)


def test_the_wait_doubles_up_to_its_bound_and_the_last_error_is_raised(
    server: ScriptedServer, wire: OpenAIWire
) -> None:
    server.script = {"status": 503}
    run = Run(wire, request_to(server), RetryPolicy(attempts=7))
    assert run.slept == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]
    assert isinstance(run.error, ProviderUnavailable)
    assert len(server.requests) == 7


def test_the_wait_is_a_random_part_of_its_bound(server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = {"status": 503}
    assert Run(wire, request_to(server), chance=0.25).slept == [0.125, 0.25]


def test_by_default_chance_decides(server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = {"status": 503}
    slept: list[float] = []
    with pytest.raises(ProviderUnavailable):
        list(stream_with_retries(wire, request_to(server), RetryPolicy(), slept.append))
    assert 0 <= slept[0] < 0.5
    assert 0 <= slept[1] < 1


def test_three_attempts_are_made_by_default(server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = {"cut_after_bytes": 0}
    run = Run(wire, request_to(server))
    assert isinstance(run.error, ConnectFailed)
    assert len(server.requests) == 3


def test_one_attempt_means_no_retry(server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = {"status": 500}
    run = Run(wire, request_to(server), RetryPolicy(attempts=1))
    assert (run.slept, len(server.requests)) == ([], 1)


@pytest.mark.parametrize(("wait", "expected"), [("7", 7.0), ("30", 30.0), ("0", 0.0)])
def test_the_providers_wait_is_kept(wait: str, expected: float, server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = [{"status": 429, "headers": {"Retry-After": wait}}, {"text": "fine"}]
    run = Run(wire, request_to(server))
    assert (run.slept, run.text) == ([expected], "fine")


@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_that_is_too_long_fails_at_once_and_says_how_long(
    status: int, server: ScriptedServer, wire: OpenAIWire
) -> None:
    server.script = {"status": status, "headers": {"Retry-After": "3600"}}
    run = Run(wire, request_to(server))
    assert isinstance(run.error, RateLimited | ProviderUnavailable)
    assert run.error.retry_after == 3600
    assert (run.slept, run.events, len(server.requests)) == ([], [], 1)


@pytest.mark.parametrize("script", [{"status": 401}, {"status": 400}, {"status": 404}, {"body": "<html>"}])
def test_what_would_fail_again_is_not_tried_again(
    script: dict[str, Any], server: ScriptedServer, wire: OpenAIWire
) -> None:
    server.script = script
    run = Run(wire, request_to(server))
    assert run.error is not None
    assert (run.slept, len(server.requests)) == ([], 1)


@pytest.mark.parametrize("piece", ["text", {"reasoning": "hm"}])
def test_nothing_is_tried_again_once_content_came(piece: Any, server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = {"deltas": [piece], "finish": None, "done": False}
    run = Run(wire, request_to(server))
    assert isinstance(run.error, StreamBroken)
    assert isinstance(run.events[0], TextDelta | ReasoningDelta)
    assert (run.slept, len(server.requests)) == ([], 1)


def test_an_error_in_the_stream_before_any_content_is_tried_again(server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = [{"deltas": [{"error": {"type": "overloaded_error", "message": "m"}}]}, {"text": "fine"}]
    assert Run(wire, request_to(server)).text == "fine"


def test_a_notice_is_passed_on_once(server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = [{"status": 500}, {"status": 500}, {"text": "fine"}]
    run = Run(wire, request_to(server, options={"temperature": 1}, takes_sampling=False))
    assert len([event for event in run.events if isinstance(event, Notice)]) == 1
    assert run.text == "fine"


def test_leaving_closes_the_connection(server: ScriptedServer, wire: OpenAIWire) -> None:
    server.script = {"deltas": ["a"], "stall_after": 1}
    events = stream_with_retries(wire, request_to(server), RetryPolicy())
    assert next(events) == TextDelta("a")
    events.close()
    assert server.requests[0].client_left.wait(5)


def test_an_interrupt_while_waiting_passes_through(server: ScriptedServer, wire: OpenAIWire) -> None:
    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    server.script = {"status": 500}
    with pytest.raises(KeyboardInterrupt):
        list(stream_with_retries(wire, request_to(server), RetryPolicy(), interrupted))
    assert len(server.requests) == 1


class _Refusing:
    """A wire that is no generator and always refuses."""

    def stream(self, request: ChatRequest) -> Iterator[Any]:
        raise KeyRejected(f"not for {request.model.name}")

    def warm(self, request_model: Model, timeouts: Timeouts) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def test_a_wire_that_refuses_before_it_streams_is_heard(server: ScriptedServer) -> None:
    with pytest.raises(KeyRejected, match="not for friendly"):
        list(stream_with_retries(_Refusing(), request_to(server), RetryPolicy()))
