"""Answers of a provider that speaks OpenAI's protocol, read while they are passed on."""

from __future__ import annotations

from typing import Any

from aichat_cli.core.errors import AichatError, BadResponse
from aichat_cli.core.events import Finished
from aichat_cli.core.models import Model
from aichat_cli.core.money import TokenUsage
from aichat_cli.core.struct import Struct, json_reader, to_json
from aichat_cli.gateway.wire.base import Asked, Totals
from aichat_cli.gateway.wire.openai_shapes import DONE, completion_id, usage_chunk, usage_shape
from aichat_cli.gateway.wire.shared import (
    Frames,
    Peer,
    Written,
    data_of,
    joined,
    loosely,
    objects,
    text_or_none,
    with_usage,
)
from aichat_cli.providers.openai_wire import token_usage
from aichat_cli.providers.wire import not_the_protocol, said_error


class _Function(Struct, frozen=True, gc=False):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(Struct, frozen=True, gc=False):
    function: _Function | None = None


class _Delta(Struct, frozen=True, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(Struct, frozen=True, gc=False):
    index: int | None = 0
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(Struct, frozen=True, gc=False):
    choices: list[_Choice] | None = None
    usage: dict[str, Any] | None = None
    error: Any = None


_chunk_in = json_reader(_Chunk)


class OpenAITap:
    """See `base.Tap`."""

    unsent = b""

    def __init__(self, asked: Asked, model: Model, request_id: str) -> None:
        self._asked = asked
        self._peer = Peer(model)
        self._id = completion_id(request_id)
        self._frames = Frames()
        self._written = Written()
        self._usage: dict[str, Any] | None = None
        self._reasons: dict[int, str] = {}
        self._has_refusal = False
        self._is_done = False
        self._is_named = False
        self._provider_id: str | None = None
        self._served_model: str | None = None
        self._created = 0
        self._answer: dict[str, Any] = {}
        self._their_head = self._our_head = b""

    @property
    def is_done(self) -> bool:
        return self._is_done

    @property
    def text(self) -> str:
        return self._written.text

    @property
    def output_tokens(self) -> int:
        return self._written.tokens

    @property
    def tokens(self) -> TokenUsage | None:
        return token_usage(self._usage) if self._usage else None

    @property
    def finished(self) -> Finished | None:
        choices = self._asked.options.get("n") or 1
        if not self._is_done and (not isinstance(choices, int) or len(self._reasons) < choices):
            return None
        reason = self._reasons.get(0) or next(iter(self._reasons.values()), None)
        if reason is None and not self._written.tokens:
            return None
        if self._has_refusal and reason in ("stop", None):
            reason = "refusal"
        reason = "tool_calls" if reason == "function_call" else reason or "stop"
        return Finished(reason, self._provider_id, self._served_model)

    def feed(self, chunk: bytes) -> bytes:
        if self._frames.is_whole(chunk, b"data: "):
            return self._renamed(chunk) if self._passes(chunk, chunk[6:-2]) else b""
        passed: list[bytes] = []
        try:
            for event in self._frames.feed(chunk):
                if self._passes(event, data_of(event)):
                    passed.append(self._renamed(event))
        except AichatError:
            self.unsent = joined(passed)
            raise
        return joined(passed)

    def _renamed(self, event: bytes) -> bytes:
        head = self._their_head
        return self._our_head + event[len(head) :] if head and event.startswith(head) else event

    def _passes(self, event: bytes, data: bytes) -> bool:
        if self._is_done or data == b"[DONE]":
            self._is_done = True
            return False
        if not data:
            return True
        try:
            chunk = _chunk_in(data)
        except (ValueError, RecursionError):
            chunk = _chunk_of(loosely(self._peer, data))
        if chunk.error:
            raise said_error(self._peer, loosely(self._peer, data))
        if not self._is_named:
            self._name(loosely(self._peer, data), event)
            self._is_named = self._provider_id is not None or bool(chunk.choices)
        self._read(chunk)
        return bool(chunk.choices) or not chunk.usage

    def _read(self, chunk: _Chunk) -> None:
        if chunk.usage:
            self._usage = chunk.usage
        for choice in chunk.choices or ():
            delta = choice.delta
            if delta is not None:
                if delta.content:
                    self._written.add(delta.content)
                self._read_rest(delta)
            if choice.finish_reason:
                self._reasons[choice.index or 0] = choice.finish_reason

    def _read_rest(self, delta: _Delta) -> None:
        if reasoning := delta.reasoning_content or delta.reasoning:
            self._written.add(reasoning)
        if delta.refusal:
            self._has_refusal = True
            self._written.add(delta.refusal)
        if delta.tool_calls:
            self._add_calls(delta.tool_calls)

    def _name(self, chunk: dict[str, Any], event: bytes) -> None:
        """Keep what the answer calls itself, and find how the gateway's own name for it takes that one's place."""
        self._provider_id = text_or_none(chunk.get("id"))
        self._served_model = text_or_none(chunk.get("model"))
        created = chunk.get("created")
        self._created = created if isinstance(created, int) else 0
        for space in (b"", b" "):
            start = b'data: {"id":' + space
            head = start + to_json(self._provider_id)
            if self._provider_id and event.startswith(head):
                self._their_head, self._our_head = head, start + to_json(self._id)

    def _add_calls(self, calls: list[_ToolCall]) -> None:
        for call in calls:
            if call.function is not None:
                self._written.add((call.function.name or "") + (call.function.arguments or ""))

    def end(self, totals: Totals | None) -> bytes:
        if not self._asked.include_usage:
            return DONE
        usage = with_usage(self._usage, totals, usage_shape(totals.tokens if totals else self.tokens))
        identifier = self._id if self._their_head else self._provider_id or self._id
        model = self._served_model or self._peer.model.name
        return usage_chunk(identifier, self._created, model, usage) + DONE

    def whole(self, body: bytes) -> None:
        try:
            answer = loosely(self._peer, body)
        except BadResponse:
            raise not_the_protocol(self._peer, body) from None
        if answer.get("error"):
            raise said_error(self._peer, answer)
        choices = objects(answer.get("choices"))
        if not choices:
            raise not_the_protocol(self._peer, body)
        as_chunk = {
            **answer,
            "choices": [
                {
                    "index": index,
                    "delta": choice.get("message"),
                    "finish_reason": choice.get("finish_reason") or "stop",
                }
                for index, choice in enumerate(choices)
            ],
        }
        self._name(answer, b"")
        self._read(_chunk_of(as_chunk))
        self._is_done = True
        self._answer = answer

    def whole_answer(self, totals: Totals | None) -> dict[str, Any]:
        usage = with_usage(self._usage, totals, usage_shape(totals.tokens if totals else self.tokens))
        return {**self._answer, "id": self._id, "usage": usage}


def _chunk_of(data: dict[str, Any]) -> _Chunk:
    """A chunk of a provider that bends the shape, such as content in parts."""
    usage = data.get("usage")
    return _Chunk(
        choices=[_choice_of(choice) for choice in objects(data.get("choices"))],
        usage=usage if isinstance(usage, dict) else None,
        error=data.get("error"),
    )


def _choice_of(choice: dict[str, Any]) -> _Choice:
    index, delta = choice.get("index"), choice.get("delta")
    return _Choice(
        index=index if isinstance(index, int) else 0,
        delta=_delta_of(delta) if isinstance(delta, dict) else None,
        finish_reason=text_or_none(choice.get("finish_reason")),
    )


def _delta_of(delta: dict[str, Any]) -> _Delta:
    functions = [call.get("function") for call in objects(delta.get("tool_calls"))]
    functions.append(delta.get("function_call"))
    content = delta.get("content")
    return _Delta(
        content=_parts_text(content) if isinstance(content, list) else text_or_none(content),
        reasoning_content=text_or_none(delta.get("reasoning_content")),
        reasoning=text_or_none(delta.get("reasoning")),
        refusal=text_or_none(delta.get("refusal")),
        tool_calls=[
            _ToolCall(_Function(text_or_none(each.get("name")), text_or_none(each.get("arguments"))))
            for each in functions
            if isinstance(each, dict)
        ],
    )


def _parts_text(parts: Any) -> str:
    """The text of content in parts, thoughts among it."""
    texts: list[str] = []
    for part in parts if isinstance(parts, list) else []:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict):
            texts += [text for name in ("text", "thinking", "refusal") if (text := text_or_none(part.get(name)))]
            texts += [thought["text"] for thought in objects(part.get("thinking")) if text_or_none(thought.get("text"))]
    return "".join(texts)
