"""The same scripts through a direct wire and through litellm: the same text, reasoning, usage, reason and error class.

`DIFFERENCES` lists where they differ, with the reason; each is asserted, so that one that goes away is noticed.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from aichat_cli.core.errors import ConnectFailed
from aichat_cli.core.messages import Attachment, ChatMessage
from aichat_cli.core.models import Wire
from aichat_cli.providers.anthropic_wire import AnthropicWire
from aichat_cli.providers.base import Provider, Timeouts
from aichat_cli.providers.litellm_bridge import LiteLLMBridge
from aichat_cli.providers.openai_wire import OpenAIWire
from tests.chat.files import PDF, PNG, WAV
from tests.providers.calls import Outcome, outcome, request_to
from tests.servers.scripted import ScriptedServer

pytestmark = pytest.mark.xdist_group("litellm")

USAGE = {"input": 100, "output": 20, "cached": 40}

SCRIPTS: dict[str, dict[str, Any]] = {
    "text": {"deltas": ["Hel", "lo", " there"], "usage": USAGE},
    "reasoning": {"deltas": [{"reasoning": "hm, "}, {"reasoning": "yes"}, "Hello"]},
    "cached tokens": {"text": "a", "usage": {"input": 1000, "output": 3, "cached": 900}},
    "wide characters": {"deltas": ["žluť", "👩‍🚀", "\n\t* 中文"]},
    "half a pair": {"deltas": ["ok \ud83d", "\ude00 end"]},
    "cut at every 7 bytes": {"text": "Hello there, how is it?", "split": 4, "chunk_size": 7},
    "length": {"text": "cut", "finish": "length"},
    "tool calls": {"text": "a", "finish": "tool_calls"},
    "ends with the connection": {"text": "a", "framing": "close"},
    "an empty answer": {"deltas": []},
    "a long answer": {"text": "abcd" * 500, "split": 4},
    "401": {"status": 401, "error": {"type": "authentication_error", "message": "no"}},
    "402": {"status": 402, "error": {"type": "billing_error", "message": "pay"}},
    "403": {"status": 403, "error": {"type": "permission_error", "message": "no"}},
    "404": {"status": 404, "error": {"type": "not_found_error", "message": "model: m-1"}},
    "400": {"status": 400, "error": {"type": "invalid_request_error", "message": "bad option"}},
    "422": {"status": 422, "error": {"type": "invalid_request_error", "message": "bad option"}},
    "context too long": {
        "status": 400,
        "error": {
            "type": "invalid_request_error",
            "code": "context_length_exceeded",
            "message": "prompt is too long: 210000 tokens > 200000 maximum",
        },
    },
    "408": {"status": 408},
    "429": {"status": 429, "headers": {"Retry-After": "7"}, "error": {"type": "rate_limit_error", "message": "slow"}},
    "out of money": {
        "status": 429,
        "error": {"code": "insufficient_quota", "message": "You exceeded your current quota"},
    },
    "500": {"status": 500},
    "503": {"status": 503, "headers": {"Retry-After": "3"}},
    "529": {"status": 529, "error": {"type": "overloaded_error", "message": "Overloaded"}},
    "no answer": {"cut_after_bytes": 0},
    "cut in the middle": {"deltas": ["a", "b", "c"], "finish": None, "done": False, "cut_in_body": 1200},
    "reset in the middle": {"deltas": ["a", {"sleep": 0.05}, "b"], "cut_in_body": 1050, "reset": True},
    "an error in the stream": {"deltas": ["a", {"error": {"type": "overloaded_error", "message": "busy"}}]},
    "an error before the stream": {"deltas": [{"error": {"type": "overloaded_error", "message": "busy"}}]},
    "no answer in time": {"stall_after": -1},
    "a stall": {"deltas": ["a", "b"], "stall_after": 1},
}
DIALECTS: tuple[Wire, ...] = ("openai", "anthropic")
ONLY_STREAMED = {
    "cut in the middle",
    "reset in the middle",
    "an error in the stream",
    "an error before the stream",
    "a stall",
}
CASES = [(name, stream) for name in SCRIPTS for stream in (True, False) if stream or name not in ONLY_STREAMED]


@pytest.fixture(scope="module")
def bridge() -> Iterator[LiteLLMBridge]:
    with closing(LiteLLMBridge()) as made:
        made.warm(None, Timeouts())  # type: ignore[arg-type]
        yield made


def _both(
    server: ScriptedServer, bridge: LiteLLMBridge, dialect: Wire, script: dict[str, Any], **changes: Any
) -> tuple[Outcome, Outcome]:
    direct_wire: Provider = AnthropicWire() if dialect == "anthropic" else OpenAIWire()
    if {"stall_after"} & set(script):
        changes["timeouts"] = Timeouts(first_byte=0.3, idle=0.3)
    request = request_to(server, dialect, **changes)
    name = f"{dialect}/{request.model.wire_name}"
    bridged = request_to(server, dialect, **{"wire": "litellm", "wire_name": name, **changes})
    outcomes = []
    with closing(direct_wire):
        for wire, asked in ((direct_wire, request), (bridge, bridged)):
            server.script = script
            outcomes.append(outcome(wire, asked))
    return outcomes[0], outcomes[1]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(("name", "stream"), CASES)
def test_the_direct_wire_and_litellm_give_the_same(
    name: str, dialect: Wire, stream: bool, server: ScriptedServer, bridge: LiteLLMBridge
) -> None:
    script = SCRIPTS[name]
    direct, bridged = _both(server, bridge, dialect, script, stream=stream)
    assert bridged.text == direct.text
    assert bridged.reasoning == direct.reasoning
    assert type(bridged.error) is type(direct.error)
    assert bridged.reason == direct.reason
    assert getattr(bridged.error, "retry_after", None) == getattr(direct.error, "retry_after", None)
    if direct.error is None:
        assert direct.counts is not None
        assert bridged.counts is not None
        assert (bridged.counts.input_tokens, bridged.counts.output_tokens) == (
            direct.counts.input_tokens,
            direct.counts.output_tokens,
        )
        assert bridged.counts.cached_tokens == direct.counts.cached_tokens
        assert bridged.counts.cache_write_tokens == direct.counts.cache_write_tokens


def test_tokens_written_to_the_cache_are_counted_the_same(server: ScriptedServer, bridge: LiteLLMBridge) -> None:
    usage = {"input": 1000, "output": 3, "cached": 100, "cache_write": 800}
    direct, bridged = _both(server, bridge, "anthropic", {"text": "a", "usage": usage})
    assert direct.counts == bridged.counts
    assert direct.counts is not None
    assert direct.counts.cache_write_tokens == 800


def test_reasoning_tokens_are_counted_the_same(server: ScriptedServer, bridge: LiteLLMBridge) -> None:
    usage = {"input": 10, "output": 30, "reasoning": 25}
    direct, bridged = _both(server, bridge, "openai", {"text": "a", "usage": usage})
    assert direct.counts == bridged.counts


def test_what_is_asked_is_the_same(server: ScriptedServer, bridge: LiteLLMBridge) -> None:
    _both(server, bridge, "openai", {"text": "a"}, system="be brief", options={"temperature": 0.5, "max_tokens": 9})
    direct, bridged = (request.body for request in server.requests)
    assert bridged == direct


IMAGE = Attachment("photo.png", "image/png", PNG)
QUESTION_WITH_FILES = (
    ChatMessage("user", "what is on it?", (IMAGE,)),
    ChatMessage("assistant", "a dot"),
    ChatMessage("user", "and in these?", (IMAGE, Attachment("report.pdf", "application/pdf", PDF))),
)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_files_are_sent_the_same(dialect: Wire, server: ScriptedServer, bridge: LiteLLMBridge) -> None:
    _both(server, bridge, dialect, {"text": "a"}, messages=QUESTION_WITH_FILES)
    direct, bridged = (request.body for request in server.requests)
    assert b64encode(PDF).decode() in str(direct)
    assert _in_blocks(bridged["messages"]) == _in_blocks(direct["messages"])


def test_sound_is_sent_the_same(server: ScriptedServer, bridge: LiteLLMBridge) -> None:
    sound = ChatMessage("user", "who speaks?", (Attachment("talk.wav", "audio/wav", WAV),))
    _both(server, bridge, "openai", {"text": "a"}, messages=(sound,))
    direct, bridged = (request.body for request in server.requests)
    assert bridged == direct
    assert direct["messages"][0]["content"][0]["input_audio"]["format"] == "wav"


def _in_blocks(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A plain text is one block of text to Anthropic; litellm always writes the block."""
    return [
        {**m, "content": [{"type": "text", "text": m["content"]}] if isinstance(m["content"], str) else m["content"]}
        for m in messages
    ]


DIFFERENCES: dict[str, tuple[Wire, dict[str, Any], str, Any, Any]] = {
    "litellm calls Anthropic's refusal content_filter, as OpenAI would": (
        "anthropic",
        {"text": "no", "finish": "refusal"},
        "reason",
        "refusal",
        "content_filter",
    ),
    "litellm drops delta.refusal while it streams": (
        "openai",
        {"deltas": [{"refusal": "no"}], "finish": "refusal"},
        "text",
        "no",
        "",
    ),
    "litellm does not read an answer that was asked for as a stream and came as one object": (
        "openai",
        {"text": "a", "json": True},
        "text",
        "a",
        "",
    ),
    "litellm estimates Anthropic's reasoning tokens from the text, which Anthropic does not report": (
        "anthropic",
        {"deltas": [{"reasoning": "hm, let me think"}, "a"]},
        "reasoning_tokens",
        0,
        None,
    ),
    "litellm makes up an id of its own for Anthropic's answers": (
        "anthropic",
        {"text": "a", "id": "msg_1"},
        "provider_id",
        "msg_1",
        None,
    ),
}


@pytest.mark.parametrize("difference", DIFFERENCES)
def test_known_differences_are_still_there(difference: str, server: ScriptedServer, bridge: LiteLLMBridge) -> None:
    dialect, script, field, of_direct, of_litellm = DIFFERENCES[difference]
    found = []
    for result in _both(server, bridge, dialect, script):
        sources = (result, result.counts, result.finished)
        found.append(next(getattr(source, field) for source in sources if hasattr(source, field)))
    assert found[0] == of_direct
    assert found[1] == of_litellm if of_litellm is not None else found[1] != of_direct


def test_litellm_cannot_tell_garbage_from_a_connection_that_closed(
    server: ScriptedServer, bridge: LiteLLMBridge
) -> None:
    _, bridged = _both(server, bridge, "openai", {"body": "<html>"})
    assert type(bridged.error) is ConnectFailed


@pytest.mark.parametrize("dialect", DIALECTS)
def test_leaving_closes_the_connection_through_both(
    dialect: Wire, server: ScriptedServer, bridge: LiteLLMBridge
) -> None:
    direct_wire: Provider = AnthropicWire() if dialect == "anthropic" else OpenAIWire()
    server.script = {"deltas": ["a", "b"], "stall_after": 1}
    with closing(direct_wire):
        for wire, name in ((direct_wire, "m-1"), (bridge, f"{dialect}/m-1")):
            events = wire.stream(request_to(server, dialect, wire_name=name))
            while not getattr(next(events), "text", ""):
                pass
            events.close()  # type: ignore[attr-defined]
            assert server.requests[-1].client_left.wait(5)
