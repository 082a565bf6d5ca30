"""Events said in Anthropic's protocol."""

from __future__ import annotations

from typing import Any

from aichat_cli.core.events import Finished, Notice, ProviderEvent, ReasoningDelta, TextDelta, Usage
from aichat_cli.core.struct import to_json
from aichat_cli.gateway.wire.anthropic_shapes import message_id, usage_shape
from aichat_cli.gateway.wire.base import Asked, Totals
from aichat_cli.gateway.wire.shared import Read, Written, event_bytes, told

_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
    "model_context_window_exceeded": "model_context_window_exceeded",
}
"""Any other word of a provider's is the end of a turn: the client knows no more."""


class AnthropicEncoder(Read):
    """See `base.Encoder`."""

    def __init__(self, asked: Asked, request_id: str) -> None:
        super().__init__()
        self._asked = asked
        self._id = message_id(request_id)
        self._blocks: list[tuple[str, Written]] = []
        self._open = ""
        self._head = b""
        self._has_begun = False

    def event(self, event: ProviderEvent) -> bytes:
        if isinstance(event, TextDelta):
            self._answer.add(event.text)
            return self._delta("text", event.text)
        if isinstance(event, ReasoningDelta):
            self._reasoning.add(event.text)
            return self._delta("thinking", event.text)
        if isinstance(event, Usage):
            self._tokens = event.tokens
        elif isinstance(event, Finished):
            self._finished = event
            return self._opened(b"", "") if self._asked.stream else b""
        else:
            _: Notice = event
        return b""

    def _delta(self, kind: str, text: str) -> bytes:
        if not self._asked.stream:
            if self._open != kind:
                self._open = kind
                self._blocks.append((kind, Written()))
            self._blocks[-1][1].add(text)
            return b""
        start = b"" if self._open == kind else self._opened(b"", kind)
        return start + self._head + to_json(text) + b"}}\n\n"

    def _opened(self, said: bytes, kind: str) -> bytes:
        """What comes between blocks: the end of one and the beginning of the next, none where there is no kind."""
        if not self._has_begun:
            self._has_begun = True
            said += event_bytes({"type": "message_start", "message": self._message([], None)}, "message_start")
        if self._open:
            stop = {"type": "content_block_stop", "index": len(self._blocks) - 1}
            said += event_bytes(stop, "content_block_stop")
        self._open = kind
        if not kind:
            return said
        index = len(self._blocks)
        self._blocks.append((kind, Written()))
        start = {"type": "content_block_start", "index": index, "content_block": _block(kind, "")}
        head = f'event: content_block_delta\ndata: {{"type":"content_block_delta","index":{index},"delta":'
        self._head = f'{head}{{"type":"{kind}_delta","{kind}":'.encode()
        return said + event_bytes(start, "content_block_start")

    def _message(self, content: list[dict[str, Any]], reason: str | None) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._asked.model_name,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": usage_shape(self._tokens),
        }

    @property
    def _reason(self) -> str:
        return _REASONS.get(self._finished.reason, "end_turn") if self._finished else "end_turn"

    def end(self, totals: Totals | None) -> bytes:
        last = {
            "type": "message_delta",
            "delta": {"stop_reason": self._reason, "stop_sequence": None},
            "usage": self._usage(totals),
        }
        stop = event_bytes({"type": "message_stop"}, "message_stop")
        return self._opened(b"", "") + event_bytes(last, "message_delta") + stop

    def _usage(self, totals: Totals | None) -> dict[str, Any]:
        return usage_shape(totals.tokens if totals else self._tokens) | told(totals)

    def whole_answer(self, totals: Totals | None) -> dict[str, Any]:
        content = [_block(kind, written.text) for kind, written in self._blocks]
        return self._message(content, self._reason) | {"usage": self._usage(totals)}


def _block(kind: str, text: str) -> dict[str, Any]:
    block = {"type": kind, kind: text}
    return block | {"signature": ""} if kind == "thinking" else block
