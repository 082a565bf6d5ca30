"""Events said in OpenAI's protocol."""

from __future__ import annotations

import time
from typing import Any

from aichat_cli.core.events import Finished, Notice, ProviderEvent, ReasoningDelta, TextDelta, Usage
from aichat_cli.core.struct import to_json
from aichat_cli.gateway.wire.base import Asked, Totals
from aichat_cli.gateway.wire.openai_shapes import DONE, completion_id, usage_chunk, usage_shape
from aichat_cli.gateway.wire.shared import Read, told

_REASONS = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "model_context_window_exceeded": "length",
}
"""Any other word of a provider's is a stop: the client knows no more."""


class OpenAIEncoder(Read):
    """See `base.Encoder`."""

    def __init__(self, asked: Asked, request_id: str) -> None:
        super().__init__()
        self._asked = asked
        self._model = asked.model_name
        self._id = completion_id(request_id)
        self._created = int(time.time())
        self._has_begun = False
        base = {"id": self._id, "object": "chat.completion.chunk", "created": self._created, "model": self._model}
        self._head = b"data: " + to_json(base)[:-1] + b',"choices":[{"index":0,"delta":{'

    def event(self, event: ProviderEvent) -> bytes:
        if isinstance(event, TextDelta):
            self._answer.add(event.text)
            return self._chunk(b'"content":' + to_json(event.text)) if self._asked.stream else b""
        if isinstance(event, ReasoningDelta):
            self._reasoning.add(event.text)
            return self._chunk(b'"reasoning_content":' + to_json(event.text)) if self._asked.stream else b""
        if isinstance(event, Usage):
            self._tokens = event.tokens
        elif isinstance(event, Finished):
            self._finished = event
            return self._chunk(b"", to_json(self._reason)) if self._asked.stream else b""
        else:
            _: Notice = event
        return b""

    @property
    def _reason(self) -> str:
        return _REASONS.get(self._finished.reason, "stop") if self._finished else "stop"

    def _chunk(self, delta: bytes, reason: bytes = b"null") -> bytes:
        chunk = self._head + delta + b'},"logprobs":null,"finish_reason":' + reason + b"}]}\n\n"
        if self._has_begun:
            return chunk
        self._has_begun = True
        return self._chunk(b'"role":"assistant","content":""') + chunk

    def end(self, totals: Totals | None) -> bytes:
        if not self._asked.include_usage:
            return DONE
        return usage_chunk(self._id, self._created, self._model, self._usage(totals)) + DONE

    def _usage(self, totals: Totals | None) -> dict[str, Any]:
        return usage_shape(totals.tokens if totals else self._tokens) | told(totals)

    def whole_answer(self, totals: Totals | None) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": self._answer.text, "refusal": None}
        if reasoning := self._reasoning.text:
            message["reasoning_content"] = reasoning
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._reason}
        return {
            "id": self._id,
            "object": "chat.completion",
            "created": self._created,
            "model": self._model,
            "choices": [choice],
            "usage": self._usage(totals),
        }
