"""What a scripted server answers, as data, and how each dialect says it in bytes.

A script is a mapping (JSON, or keyword arguments of `Script`); every field may be left out:

    deltas            the answer, piece by piece; a piece is
                          "some text"               text
                          {"text": "..."}           text
                          {"reasoning": "..."}      delta.reasoning_content, or a thinking_delta
                          {"refusal": "..."}        delta.refusal; left out in the Anthropic dialect
                          {"error": {...}}          an error object in the middle of the stream
                          {"data": {...}}           one event with this object, whatever it is
                          {"raw": "..."}            these characters, not framed as an event
                          {"sleep": 0.5}            a pause
    text, split       instead of deltas: one text, cut in pieces of `split` characters (default: one piece)
    usage             {"input": 10, "output": 5, "cached": 0, "cache_write": 0, "reasoning": 0}, or null for none.
                      `input` is the whole prompt. In the OpenAI dialect it is sent when the request asked for it.
    finish            "stop", "length", "content_filter", "refusal", "tool_calls" or any word, said as each dialect says it; null: none
    done              false leaves out `[DONE]` or `message_stop`
    id, model         what the response calls itself and its model (default: the requested one)
    delay             seconds before each piece;  first_byte_delay: seconds before the status line
    stall_after       sends this many pieces, then nothing until the client leaves or `server.release()`; 0 sends what opens
                      a stream and no piece, -1 not even the status line
    status, headers   of the response (default 200); `error` {"message", "type", "code"} fills the body of a status of 400 and above
    body              a text or an object sent as it is instead of a stream, at any path; `content_type` goes with it
    embeddings        {"dimensions": 8, "count": n, "format": "float"}: what an answer at `/embeddings` holds; by default as many
                      vectors as texts, of 8 dimensions, packed if the request asks for base64; each depends on its text
                      alone. `usage.input` is what it counts; without a script it counts words
    json              true answers with one JSON object even when a stream was asked for
    framing           "chunked" (default), "length" or "close"; each keeps the connection alive but "close"
    keep_alive        false adds `Connection: close` and closes after the response
    hang_up           true closes the connection after a response that promised to keep it alive
    chunk_size        cuts the body at every n bytes, wherever that falls
    cut_after_bytes   closes the connection after n bytes of the response, head included; `cut_in_body` counts from the body's start
    reset             true cuts with a TCP reset instead of an orderly end

A list of scripts is used one per request; the last repeats. Without a script the answer is `You said: ` and the last
user message, in words, with `usage` counting words.
"""

from __future__ import annotations

import json
import math
import struct
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import shake_128
from typing import Any, Literal

Piece = str | Mapping[str, Any]
Part = bytes | float
"""Bytes to send, or seconds to wait; infinity waits for `server.release()`."""

Dialect = Literal["openai", "anthropic"]

_ANTHROPIC_STOP = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


@dataclass(frozen=True, slots=True)
class Script:
    """One response; the module's docstring tells the fields."""

    deltas: Sequence[Piece] | None = None
    text: str | None = None
    split: int = 0
    usage: Mapping[str, int] | None = field(default_factory=lambda: {"input": 10, "output": 5})
    finish: str | None = "stop"
    done: bool = True
    id: str = "scripted-1"
    model: str | None = None
    delay: float = 0.0
    first_byte_delay: float = 0.0
    stall_after: int | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None
    body: str | Mapping[str, Any] | None = None
    content_type: str | None = None
    embeddings: Mapping[str, Any] = field(default_factory=dict)
    json: bool = False
    framing: Literal["chunked", "length", "close"] = "chunked"
    keep_alive: bool = True
    hang_up: bool = False
    chunk_size: int = 0
    cut_after_bytes: int | None = None
    cut_in_body: int | None = None
    reset: bool = False

    def pauses(self, number: int, count: int) -> Iterator[Part]:
        """The waits before piece `number` of `count`; the number after the last piece is the end of the stream."""
        if number == self.stall_after or (number == count and (self.stall_after or -1) > count):
            yield math.inf
        elif number < count and self.delay:
            yield self.delay

    @property
    def pieces(self) -> list[Piece]:
        """The deltas, also where they were given as one text."""
        if self.deltas is not None:
            return list(self.deltas)
        text = self.text or ""
        step = self.split or max(len(text), 1)
        return [text[start : start + step] for start in range(0, len(text), step)]

    def said(self, kind: str) -> str:
        """All text of one kind (`text`, `reasoning`, `refusal`) that the script says."""
        pieces = [{"text": piece} if isinstance(piece, str) else piece for piece in self.pieces]
        return "".join(str(piece[kind]) for piece in pieces if kind in piece)


def echo_script(request: Mapping[str, Any]) -> Script:
    """The answer to a request that no script was given for."""
    if "input" in request:
        return Script(usage={"input": sum(len(text.split()) for text in request["input"])})
    messages = request.get("messages") or []
    content = messages[-1].get("content", "") if messages else ""
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content)
    words = f"You said: {content}".split(" ")
    asked = sum(len(str(message.get("content", "")).split()) for message in messages)
    deltas = [word if index == 0 else f" {word}" for index, word in enumerate(words)]
    return Script(deltas=deltas, usage={"input": asked, "output": len(words)})


def _event(data: object, name: str | None = None) -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()


def openai_usage(usage: Mapping[str, int]) -> dict[str, Any]:
    """Usage as OpenAI reports it."""
    return {
        "prompt_tokens": usage["input"],
        "completion_tokens": usage["output"],
        "total_tokens": usage["input"] + usage["output"],
        "prompt_tokens_details": {"cached_tokens": usage.get("cached", 0)},
        "completion_tokens_details": {"reasoning_tokens": usage.get("reasoning", 0)},
    }


def anthropic_usage(usage: Mapping[str, int], output: int) -> dict[str, Any]:
    """Usage as Anthropic reports it: what came from or went to the cache is not part of input_tokens."""
    cached, written = usage.get("cached", 0), usage.get("cache_write", 0)
    return {
        "input_tokens": usage["input"] - cached - written,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": written,
        "output_tokens": output,
    }


def error_body(dialect: Dialect, script: Script) -> dict[str, Any]:
    """The body of a status of 400 and above."""
    error = dict(script.error or {"message": f"scripted error {script.status}", "type": "scripted_error"})
    if dialect == "anthropic":
        return {"type": "error", "error": error}
    return {"error": {"param": None, "code": None, **error}}


def whole_answer(dialect: Dialect, script: Script, request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer as one object, for `stream: false`."""
    model = script.model or request.get("model")
    if dialect == "anthropic":
        content = [{"type": "text", "text": script.said("text")}]
        if reasoning := script.said("reasoning"):
            content.insert(0, {"type": "thinking", "thinking": reasoning, "signature": "c2ln"})
        answer = {"id": script.id, "type": "message", "role": "assistant", "model": model, "content": content}
        answer["stop_reason"] = _ANTHROPIC_STOP.get(script.finish or "", script.finish)
        if script.usage is not None:
            answer["usage"] = anthropic_usage(script.usage, script.usage["output"])
        return answer
    message = {"role": "assistant", "content": script.said("text")}
    message |= {"reasoning_content": script.said("reasoning")} if script.said("reasoning") else {}
    message |= {"refusal": script.said("refusal")} if script.said("refusal") else {}
    choice = {"index": 0, "message": message, "finish_reason": "stop" if script.finish == "refusal" else script.finish}
    answer = {"id": script.id, "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
    if script.usage is not None:
        answer["usage"] = openai_usage(script.usage)
    return answer


def embedding_of(text: str, dimensions: int = 8) -> list[float]:
    """The vector that a scripted server has for a text: exact as 32-bit floats, not normalised."""
    digest = shake_128(text.encode()).digest(dimensions)
    return [(byte - 128) / 16 or 1.0 for byte in digest]


def embedding_answer(script: Script, request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer at `/embeddings`, the last text's vector first: `index` alone tells which is whose."""
    texts = request["input"]
    wanted = script.embeddings
    count = wanted.get("count", len(texts))
    vectors = [embedding_of(text, wanted.get("dimensions", 8)) for text in [*texts, *texts][:count]]
    is_packed = request.get("encoding_format") == "base64" and wanted.get("format") != "float"
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() if is_packed else vector,
        }
        for index, vector in enumerate(vectors)
    ]
    answer = {"object": "list", "model": script.model or request.get("model"), "data": data[::-1]}
    if script.usage is not None:
        answer["usage"] = {"prompt_tokens": script.usage["input"], "total_tokens": script.usage["input"]}
    return answer


def openai_stream(script: Script, request: Mapping[str, Any]) -> Iterator[Part]:
    """The stream as OpenAI frames it: bytes to send and pauses in seconds."""
    base = {
        "id": script.id,
        "object": "chat.completion.chunk",
        "created": 1,
        "model": script.model or request.get("model"),
    }

    def chunk(delta: Mapping[str, Any], finish: str | None = None) -> bytes:
        return _event({**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    yield chunk({"role": "assistant", "content": ""})
    pieces = script.pieces
    for number, piece in enumerate(pieces):
        yield from script.pauses(number, len(pieces))
        match piece:
            case str():
                yield chunk({"content": piece})
            case {"text": text}:
                yield chunk({"content": text})
            case {"reasoning": text}:
                yield chunk({"reasoning_content": text})
            case {"refusal": text}:
                yield chunk({"refusal": text})
            case {"error": error}:
                yield _event({"error": error})
            case _:
                yield _plain(piece)
    yield from script.pauses(len(pieces), len(pieces))
    if script.finish is not None:
        yield chunk({}, "stop" if script.finish == "refusal" else script.finish)
    wants_usage = (request.get("stream_options") or {}).get("include_usage")
    if script.usage is not None and wants_usage:
        yield _event({**base, "choices": [], "usage": openai_usage(script.usage)})
    if script.done:
        yield b"data: [DONE]\n\n"


def anthropic_stream(script: Script, request: Mapping[str, Any]) -> Iterator[Part]:
    """The stream as Anthropic frames it: bytes to send and pauses in seconds."""
    message: dict[str, Any] = {"id": script.id, "type": "message", "role": "assistant", "content": []}
    message |= {"model": script.model or request.get("model"), "stop_reason": None, "stop_sequence": None}
    message["usage"] = anthropic_usage(script.usage or {"input": 0, "output": 0}, 1)
    yield _event({"type": "message_start", "message": message}, "message_start")
    yield _event({"type": "ping"}, "ping")
    index, open_block = -1, ""
    pieces = script.pieces
    for number, piece in enumerate(pieces):
        yield from script.pauses(number, len(pieces))
        kind = "text" if isinstance(piece, str) else next(iter(piece))
        if not isinstance(piece, str) and kind not in ("text", "reasoning"):
            yield _event({"type": "error", "error": piece["error"]}, "error") if kind == "error" else _plain(piece)
            continue
        if kind != open_block:
            if open_block:
                yield _event({"type": "content_block_stop", "index": index}, "content_block_stop")
            index, open_block = index + 1, kind
            block = {"type": "text", "text": ""} if kind == "text" else {"type": "thinking", "thinking": ""}
            start = {"type": "content_block_start", "index": index, "content_block": block}
            yield _event(start, "content_block_start")
        text = piece if isinstance(piece, str) else piece[kind]
        delta = {"type": "text_delta", "text": text} if kind == "text" else {"type": "thinking_delta", "thinking": text}
        yield _event({"type": "content_block_delta", "index": index, "delta": delta}, "content_block_delta")
    yield from script.pauses(len(pieces), len(pieces))
    if open_block:
        yield _event({"type": "content_block_stop", "index": index}, "content_block_stop")
    if script.finish is not None:
        stop = {"stop_reason": _ANTHROPIC_STOP.get(script.finish, script.finish), "stop_sequence": None}
        end: dict[str, Any] = {"type": "message_delta", "delta": stop}
        if script.usage is not None:
            end["usage"] = {"output_tokens": script.usage["output"]}
        yield _event(end, "message_delta")
    if script.done:
        yield _event({"type": "message_stop"}, "message_stop")


def _plain(piece: Mapping[str, Any]) -> Part:
    match piece:
        case {"data": data}:
            return _event(data, data.get("type") if isinstance(data, dict) else None)
        case {"raw": str(text)}:
            return text.encode()
        case {"sleep": seconds}:
            return float(seconds)
        case {"refusal": _}:
            return 0.0
        case _:
            message = f"not a piece of a script: {piece}"
            raise ValueError(message)
