"""Answers of a provider that speaks Anthropic's protocol, read while they are passed on."""

from __future__ import annotations

import json
from typing import Any

from aichat_cli.core.errors import AichatError, BadResponse
from aichat_cli.core.events import Finished
from aichat_cli.core.models import Model
from aichat_cli.core.money import TokenUsage
from aichat_cli.core.struct import Struct, json_reader, replace
from aichat_cli.gateway.wire.anthropic_shapes import message_id, usage_shape
from aichat_cli.gateway.wire.base import Totals
from aichat_cli.gateway.wire.shared import (
    Frames,
    Peer,
    Written,
    data_of,
    event_bytes,
    joined,
    loosely,
    objects,
    text_or_none,
    with_usage,
)
from aichat_cli.providers.anthropic_wire import REASONS, token_usage
from aichat_cli.providers.wire import not_the_protocol, said_error

_HEAD = b"event: content_block_delta\ndata: "


class _Piece(Struct, frozen=True, gc=False):
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None


class _Event(Struct, frozen=True, gc=False):
    type: str = ""
    delta: _Piece | None = None


_event_in = json_reader(_Event)


class AnthropicTap:
    """See `base.Tap`."""

    unsent = b""

    def __init__(self, model: Model, request_id: str) -> None:
        self._peer = Peer(model)
        self._id = message_id(request_id)
        self._frames = Frames()
        self._written = Written()
        self._usage: dict[str, Any] = {}
        self._reason: str | None = None
        self._is_done = False
        self._has_last_count = False
        self._provider_id: str | None = None
        self._served_model: str | None = None
        self._last: dict[str, Any] = {}
        self._answer: dict[str, Any] = {}

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
        if not self._usage:
            return None
        tokens = token_usage(self._usage)
        if self._reason is None or self._has_last_count:
            return tokens
        # A provider that counts nothing at the end counted a token or none at the beginning.
        return replace(tokens, output_tokens=max(tokens.output_tokens, self.output_tokens))

    @property
    def finished(self) -> Finished | None:
        if self._reason is None:
            return None
        return Finished(REASONS.get(self._reason, self._reason), self._provider_id, self._served_model)

    def feed(self, chunk: bytes) -> bytes:
        if self._frames.is_whole(chunk, _HEAD):
            event = chunk[:-2]
            kept = self._passed(event, event[len(_HEAD) :])
            return chunk if kept is event else joined([kept] if kept else [])
        passed: list[bytes] = []
        try:
            for event in self._frames.feed(chunk):
                if kept := self._passed(event, data_of(event)):
                    passed.append(kept)
        except AichatError:
            self.unsent = joined(passed)
            raise
        return joined(passed)

    def _passed(self, event: bytes, data: bytes) -> bytes:
        """The event as it is passed on, empty where it is held back."""
        if self._is_done:
            return b""
        if not data:
            return event
        try:
            said = _event_in(data)
            kind, piece = said.type, said.delta
        except (ValueError, RecursionError):
            loose = loosely(self._peer, data)
            kind, piece = str(loose.get("type")), _piece_of(loose.get("delta"))
        if kind == "content_block_delta":
            self._add(piece)
            return event
        return self._rare(kind, event, data)

    def _add(self, piece: _Piece | None) -> None:
        if piece is not None and (text := piece.text or piece.thinking or piece.partial_json):
            self._written.add(text)

    def _rare(self, kind: str, event: bytes, data: bytes) -> bytes:
        """The events of which an answer has few."""
        match kind:
            case "content_block_start":
                self._block(loosely(self._peer, data).get("content_block"))
            case "message_start":
                return self._start(event, loosely(self._peer, data).get("message"))
            case "message_delta":
                self._stop(loosely(self._peer, data))
                return b""
            case "message_stop":
                self._is_done = True
                return b""
            case "error":
                raise said_error(self._peer, loosely(self._peer, data))
        return event

    def _start(self, event: bytes, message: Any) -> bytes:
        if not isinstance(message, dict):
            return event
        self._provider_id = text_or_none(message.get("id"))
        self._served_model = text_or_none(message.get("model"))
        self._count(message.get("usage"))
        if self._provider_id is None:
            return event
        return event_bytes({"type": "message_start", "message": {**message, "id": self._id}}, "message_start")[:-2]

    def _block(self, block: Any) -> None:
        if isinstance(block, dict):
            self._add(_piece_of(block))
            if block.get("type") == "tool_use":
                self._written.add(text_or_none(block.get("name")) or "")

    def _stop(self, event: dict[str, Any]) -> None:
        self._last = {**self._last, **event}
        delta = event.get("delta")
        reason = text_or_none(delta.get("stop_reason")) if isinstance(delta, dict) else None
        self._reason = reason or self._reason
        usage = event.get("usage")
        self._count(usage)
        self._has_last_count |= isinstance(usage, dict) and usage.get("output_tokens") is not None

    def _count(self, usage: Any) -> None:
        """Counts are cumulative, and each report may hold only some of them."""
        if isinstance(usage, dict):
            self._usage |= {name: value for name, value in usage.items() if value is not None}

    def end(self, totals: Totals | None) -> bytes:
        default = {"type": "message_delta", "delta": {"stop_reason": self._reason, "stop_sequence": None}}
        usage = self._last.get("usage")
        shape = usage_shape(totals.tokens if totals else self.tokens)
        last = {**default, **self._last, "usage": with_usage(usage, totals, shape)}
        last["usage"].setdefault("output_tokens", shape["output_tokens"])
        return event_bytes(last, "message_delta") + event_bytes({"type": "message_stop"}, "message_stop")

    def whole(self, body: bytes) -> None:
        try:
            answer = loosely(self._peer, body)
        except BadResponse:
            raise not_the_protocol(self._peer, body) from None
        if answer.get("error"):
            raise said_error(self._peer, answer)
        if answer.get("type") != "message":
            raise not_the_protocol(self._peer, body)
        for block in objects(answer.get("content")):
            self._block(block)
            if block.get("type") == "tool_use":
                self._written.add(json.dumps(block.get("input")))
        self._provider_id = text_or_none(answer.get("id"))
        self._served_model = text_or_none(answer.get("model"))
        self._reason = text_or_none(answer.get("stop_reason")) or "end_turn"
        self._count(answer.get("usage"))
        self._has_last_count = True
        self._answer = answer

    def whole_answer(self, totals: Totals | None) -> dict[str, Any]:
        shape = usage_shape(totals.tokens if totals else self.tokens)
        return {**self._answer, "id": self._id, "usage": with_usage(self._usage, totals, shape)}


def _piece_of(piece: Any) -> _Piece | None:
    if not isinstance(piece, dict):
        return None
    return _Piece(*(text_or_none(piece.get(name)) for name in ("text", "thinking", "partial_json")))
