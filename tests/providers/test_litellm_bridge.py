from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from aichat_cli.core.errors import (
    BadResponse,
    ConnectFailed,
    KeyRejected,
    ProviderError,
    ProviderUnavailable,
    RequestRejected,
    StreamBroken,
    TimedOut,
    UsageError,
    is_transient,
)
from aichat_cli.core.secret import Secret
from aichat_cli.providers.base import ChatRequest
from aichat_cli.providers.litellm_bridge import LiteLLMBridge
from aichat_cli.providers.litellm_errors import provider_error
from tests.providers.calls import KEY, outcome, request_to
from tests.servers.scripted import ScriptedServer

pytestmark = pytest.mark.xdist_group("litellm")


@pytest.fixture(scope="module")
def bridge() -> Iterator[LiteLLMBridge]:
    with closing(LiteLLMBridge()) as made:
        yield made


def _request(server: ScriptedServer, **changes: Any) -> ChatRequest:
    return request_to(server, **{"wire": "litellm", "wire_name": "openai/m-1", **changes})


def test_usage_that_the_provider_did_not_report_is_not_made_up(server: ScriptedServer, bridge: LiteLLMBridge) -> None:
    server.script = {"text": "a", "usage": None}
    result = outcome(bridge, _request(server))
    assert (result.text, result.usage) == ("a", None)


def test_usage_keeps_its_details(server: ScriptedServer, bridge: LiteLLMBridge) -> None:
    server.script = {"text": "a", "usage": {"input": 10, "output": 5, "cached": 4, "reasoning": 3}}
    usage = outcome(bridge, _request(server)).usage
    assert usage is not None
    assert (usage.cached_tokens, usage.reasoning_tokens) == (4, 3)
    assert json.loads(usage.raw or "")["prompt_tokens"] == 10


def test_a_refusal_in_one_object_is_a_refusal(server: ScriptedServer, bridge: LiteLLMBridge) -> None:
    server.script = {"deltas": [{"refusal": "no"}]}
    result = outcome(bridge, _request(server, stream=False))
    assert (result.text, result.reason) == ("no", "refusal")


def test_a_stream_that_was_never_ended_is_broken(server: ScriptedServer, bridge: LiteLLMBridge) -> None:
    server.script = {"text": "half", "finish": None, "done": False, "framing": "close"}
    result = outcome(bridge, _request(server))
    assert (result.text, type(result.error)) == ("half", StreamBroken)


def test_sampling_is_left_out_for_models_that_refuse_it(server: ScriptedServer, bridge: LiteLLMBridge) -> None:
    result = outcome(bridge, _request(server, options={"temperature": 1}, takes_sampling=False))
    assert result.notices == ["friendly does not take temperature: not sent."]
    assert "temperature" not in server.requests[0].body


def test_options_that_are_ours_are_refused(server: ScriptedServer, bridge: LiteLLMBridge) -> None:
    assert isinstance(outcome(bridge, _request(server, options={"num_retries": 5})).error, UsageError)
    assert server.requests == []


def test_nothing_is_sent_twice(server: ScriptedServer, bridge: LiteLLMBridge) -> None:
    server.script = {"status": 500}
    assert isinstance(outcome(bridge, _request(server)).error, ProviderUnavailable)
    assert len(server.requests) == 1


def test_no_error_gives_the_key_back(server: ScriptedServer, bridge: LiteLLMBridge) -> None:
    for status in (400, 401, 500):
        server.script = {"status": status, "error": {"message": f"you sent {KEY.reveal()}"}}
        error = outcome(bridge, _request(server)).error
        assert error is not None
        assert "you sent ***" in error.message
    server.script = {"status": 400, "body": f"<p>{KEY.reveal()}</p>"}
    error = outcome(bridge, _request(server, wire_name="anthropic/m-1", base_url=server.url)).error
    assert error is not None
    assert KEY.reveal() not in error.message


def test_a_key_that_cannot_be_one_is_refused(server: ScriptedServer, bridge: LiteLLMBridge) -> None:
    result = outcome(bridge, _request(server, key=Secret("a\nb", "the keyring")))
    assert isinstance(result.error, KeyRejected)


def test_a_missing_key_is_said_to_be_missing(
    server: ScriptedServer, bridge: LiteLLMBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    error = outcome(bridge, _request(server, key=None)).error
    assert isinstance(error, KeyRejected)
    assert "none was sent" in error.message


def test_a_provider_that_litellm_does_not_know_is_a_rejection(server: ScriptedServer, bridge: LiteLLMBridge) -> None:
    error = outcome(bridge, _request(server, wire_name="nobody/m-1", base_url=None)).error
    assert isinstance(error, RequestRejected)
    assert not is_transient(error)
    assert error.message.isprintable()


def test_nobody_listening_is_a_failed_connection(server: ScriptedServer, bridge: LiteLLMBridge) -> None:
    error = outcome(bridge, _request(server, base_url="http://127.0.0.1:1/v1")).error
    assert isinstance(error, ConnectFailed)


def _wrapped(outer: Exception, inner: BaseException) -> Exception:
    outer.__cause__ = inner
    return outer


class APIConnectionError(Exception):
    """Named as litellm's."""


class ContextWindowExceededError(Exception):
    """Named as litellm's."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (APIConnectionError("litellm.APIConnectionError: could not parse"), BadResponse),
        (ValueError("what is this"), BadResponse),
        (_wrapped(RuntimeError("x"), ConnectionResetError("reset")), ConnectFailed),
        (_wrapped(APIConnectionError("x"), ModuleNotFoundError("No module named 'boto3'")), ProviderError),
        (type("Sub", (type("TimeoutException", (Exception,), {}),), {})("x"), TimedOut),
    ],
)
def test_exceptions_without_a_status_are_told_by_their_causes(
    error: Exception, expected: type[Exception], server: ScriptedServer
) -> None:
    assert type(provider_error(_request(server), error)) is expected


def test_a_window_exceeded_is_a_context_too_long_whatever_its_words(server: ScriptedServer) -> None:
    error = provider_error(
        _request(server), ContextWindowExceededError('litellm.X: XException - b\'{"message": "big"}\'')
    )
    assert error.code == "context_too_long"
    assert "big" in error.message
    assert "XException" not in error.message


def test_a_chain_of_causes_that_goes_round_ends(server: ScriptedServer) -> None:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert isinstance(provider_error(_request(server), one), BadResponse)


PROGRAM = """
import sys
from contextlib import closing
from aichat_cli.providers.litellm_bridge import LiteLLMBridge
from tests.providers.calls import outcome, request_to
from tests.servers.scripted import ScriptedServer
assert "litellm" not in sys.modules
with ScriptedServer() as server, closing(LiteLLMBridge()) as bridge:
    bridge.close()
    for script in ({"text": "fine"}, {"status": 401}, {"status": 500}, {"body": "<html>"}, {"text": "a", "cut_in_body": 300}):
        for name, url in (("openai/m", server.openai_url), ("anthropic/m", server.anthropic_url), ("nobody/m", None)):
            server.script = script
            outcome(bridge, request_to(server, wire="litellm", wire_name=name, base_url=url))
    assert len(server.requests) == 10
"""


def test_litellm_says_nothing_of_its_own_and_calls_nobody_else() -> None:
    environment = {**os.environ, "HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": "127.0.0.1", "LITELLM_LOG": "INFO"}
    environment.pop("LITELLM_LOCAL_MODEL_COST_MAP", None)
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)], capture_output=True, text=True, env=environment, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_without_litellm_the_bridge_says_what_to_install() -> None:
    program = """
    import sys
    sys.modules["litellm"] = None
    from aichat_cli.providers.litellm_bridge import LiteLLMBridge
    from tests.providers.calls import outcome, request_to
    from tests.servers.scripted import ScriptedServer
    with ScriptedServer() as server:
        bridge = LiteLLMBridge()
        request = request_to(server, wire="litellm", wire_name="openai/m")
        bridge.warm(request.model, request.timeouts)
        error = outcome(bridge, request).error
        bridge.close()
        print(type(error).__name__, error.hint)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert run.stdout == "ProviderError Run: pip install litellm\n"
