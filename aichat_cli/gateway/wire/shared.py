"""What the two protocols share about answers: events cut from bytes, and the text that is written counted as it arrives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aichat_cli.core.errors import BadResponse
from aichat_cli.core.events import Finished
from aichat_cli.core.models import Model
from aichat_cli.core.money import TokenUsage
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import Struct, to_json
from aichat_cli.gateway.wire.base import Totals
from aichat_cli.providers.failures import snippet, who
from aichat_cli.providers.sse import MAX_EVENT_BYTES

_BOM = b"\xef\xbb\xbf"


class Peer(Struct, frozen=True):
    """Whom an answer comes from, as messages about it name it."""

    model: Model
    key: Secret | None = None


class Frames:
    """Feed it bytes cut anywhere; it returns the events that are complete, each without the empty line that ends it.

    Ends of lines become line feeds, whichever the provider uses; else an event is what it was.
    """

    __slots__ = ("_after_return", "_at_start", "_held")

    def __init__(self) -> None:
        self._held = bytearray()
        self._after_return = False
        self._at_start = True

    def is_whole(self, chunk: bytes, head: bytes) -> bool:
        """Whether the next bytes are exactly one event that is this head and one line of data: most chunks are, and this is
        the hot path of every answer.
        """
        return (
            chunk.startswith(head)
            and chunk.find(b"\n", len(head)) == len(chunk) - 2
            and chunk.endswith(b"\n\n")
            and b"\r" not in chunk
            and not (self._held or self._after_return or self._at_start)
        )

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes and return the events they complete; raises BadResponse where one grows too large."""
        if b"\r" in chunk or self._after_return:
            chunk = self._in_lines(chunk)
        held = self._held
        if held:
            may_end = b"\n" in chunk
            held += chunk
            if not may_end:
                self._check()
                return []
            chunk = bytes(held)
            held.clear()
        events = chunk.split(b"\n\n")
        if rest := events.pop():
            held += rest
            self._check()
        if self._at_start and events:
            self._at_start = False
            events[0] = events[0].removeprefix(_BOM)
        return events

    def _in_lines(self, chunk: bytes) -> bytes:
        if self._after_return and chunk:
            self._after_return = False
            chunk = chunk.removeprefix(b"\n")
        self._after_return = self._after_return or chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _check(self) -> None:
        if len(self._held) > MAX_EVENT_BYTES:
            raise BadResponse(f"The response holds an event larger than {MAX_EVENT_BYTES} bytes.")


def data_of(event: bytes) -> bytes:
    """The data of one event, empty where it has none, such as a comment."""
    head, _, data = event.rpartition(b"\n")
    if data.startswith(b"data: ") and (not head or (head.startswith(b"event: ") and b"\n" not in head)):
        return data[6:]
    values = []
    for line in event.split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            values.append(value.removeprefix(b" "))
    return b"\n".join(values)


def joined(events: list[bytes]) -> bytes:
    """The events as bytes again."""
    return b"\n\n".join([*events, b""]) if events else b""


def event_bytes(value: Any, name: str | None = None) -> bytes:
    """One event."""
    head = b"event: " + name.encode() + b"\n" if name else b""
    return head + b"data: " + to_json(value) + b"\n\n"


class Written:
    """Text as it arrives: kept, and counted as `providers.tokens.estimate` counts, without reading it twice."""

    __slots__ = ("_ascii", "_other_bytes", "_other_chars", "_parts")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._ascii = 0
        self._other_chars = 0
        self._other_bytes = 0

    def add(self, text: str) -> None:
        """The next piece."""
        self._parts.append(text)
        if text.isascii():
            self._ascii += len(text)
        else:
            ascii_chars = len(text.encode("ascii", "ignore"))
            self._ascii += ascii_chars
            self._other_chars += len(text) - ascii_chars
            self._other_bytes += len(text.encode("utf-8", "surrogatepass")) - ascii_chars

    @property
    def text(self) -> str:
        """All of it; halves of a character that arrived apart are one again."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        text = self._parts[0] if self._parts else ""
        if not self._other_chars:
            return text
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    @property
    def tokens(self) -> int:
        """About how many tokens it has, at least 1 where there is any."""
        return -(-self._ascii * 10 // 41) + -(-(37 * self._other_bytes - 39 * self._other_chars) // 100)


class Read:
    """What is known of an answer that comes as events: see `base.Reading`."""

    def __init__(self) -> None:
        self._answer = Written()
        self._reasoning = Written()
        self._tokens: TokenUsage | None = None
        self._finished: Finished | None = None

    @property
    def text(self) -> str:
        """The reasoning, then the answer."""
        return self._reasoning.text + self._answer.text

    @property
    def output_tokens(self) -> int:
        """An estimate of both."""
        return self._reasoning.tokens + self._answer.tokens

    @property
    def tokens(self) -> TokenUsage | None:
        """The provider's count so far."""
        return self._tokens

    @property
    def finished(self) -> Finished | None:
        """How it ended."""
        return self._finished


def loosely(peer: Peer, data: bytes) -> dict[str, Any]:
    """An event that has not the shape its protocol gives it, as far as it is an object at all.

    Raises:
        BadResponse: it is none.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        text = snippet(data[:2048].decode("utf-8", "replace"), peer.key)
        raise BadResponse(f"{who(peer)} sent an event that is no JSON object: {text}")
    return value


def told(totals: Totals | None) -> dict[str, Any]:
    """What a call came to, as a usage object tells it."""
    if totals is None:
        return {}
    return {
        "cost": totals.cost_usd,
        "credits_charged": totals.credits_charged,
        "credits_left": totals.credits_left,
    }


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list, none where it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text_or_none(value: Any) -> str | None:
    """A text that is one."""
    return value if isinstance(value, str) and value else None


def with_usage(value: Any, totals: Totals | None, default: Mapping[str, Any]) -> dict[str, Any]:
    """A usage object as the provider gave it, or one of ours, with what it came to."""
    return {**(value if isinstance(value, dict) and value else default), **told(totals)}
