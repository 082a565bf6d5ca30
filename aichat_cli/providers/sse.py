"""Server-sent events, parsed as they arrive (WHATWG HTML, section 9.2.6), and text that is never half a character."""

from __future__ import annotations

import re
from typing import NamedTuple

from aichat_cli.core.errors import BadResponse

MAX_EVENT_BYTES = 16 * 1024 * 1024

_SURROGATE = re.compile("[\ud800-\udfff]")
_BOM = b"\xef\xbb\xbf"


class SseEvent(NamedTuple):
    """One event. `event` is `message` where the stream named none."""

    event: str
    data: str


class SseParser:
    """Feed it bytes cut anywhere; it returns the events that are complete.

    Raises:
        BadResponse: an event grows larger than `max_bytes`.
    """

    __slots__ = ("_at_start", "_buffer", "_data", "_data_bytes", "_event", "_max_bytes", "_skip_newline")

    def __init__(self, *, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self._buffer = bytearray()
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._event = b""
        self._at_start = True
        self._skip_newline = False
        self._max_bytes = max_bytes

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Take the next bytes and return the events they complete."""
        if self._is_between_events and chunk.startswith(b"data: ") and chunk.endswith(b"\n\n"):
            # Most chunks of a stream are one event, and this is the hot path of every answer.
            data = chunk[6:-2]
            if b"\n" not in data and b"\r" not in data and len(data) <= self._max_bytes:
                return [SseEvent("message", data.decode("utf-8", "replace"))]
        if self._at_start:
            chunk = bytes(self._buffer) + chunk
            self._buffer.clear()
            if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
                self._buffer += chunk
                return []
            self._at_start = False
            chunk = chunk.removeprefix(_BOM)
        if self._skip_newline and chunk:
            self._skip_newline = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" not in chunk and b"\n" not in chunk:
            self._hold(chunk)
            return []
        self._skip_newline = chunk.endswith(b"\r")
        lines = (bytes(self._buffer) + chunk).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._buffer.clear()
        self._hold(lines.pop())
        events: list[SseEvent] = []
        for line in lines:
            if line:
                self._take(line)
            elif self._data or self._event:
                self._dispatch(events)
        return events

    @property
    def _is_between_events(self) -> bool:
        return not (self._at_start or self._skip_newline or self._buffer or self._data or self._event)

    def _hold(self, rest: bytes) -> None:
        self._buffer += rest
        if len(self._buffer) + self._data_bytes > self._max_bytes:
            raise BadResponse(f"The response holds an event larger than {self._max_bytes} bytes.")

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._data_bytes += len(value) + 1
            self._hold(b"")
        elif name == b"event":
            self._event = value

    def _dispatch(self, events: list[SseEvent]) -> None:
        if self._data:
            name = self._event.decode("utf-8", "replace") or "message"
            events.append(SseEvent(name, b"\n".join(self._data).decode("utf-8", "replace")))
        self._data = []
        self._data_bytes = 0
        self._event = b""


class SurrogateJoiner:
    """Joins UTF-16 pairs that were cut in two by JSON escapes of two deltas. Halves without a partner become U+FFFD."""

    __slots__ = ("_high",)

    def __init__(self) -> None:
        self._high = ""

    def feed(self, text: str) -> str:
        """The text that is certain by now."""
        if not self._high and _SURROGATE.search(text) is None:
            return text
        text = self._high + text
        self._high = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._high = text[-1]
            text = text[:-1]
        return _joined(text)

    def flush(self) -> str:
        """What is left at the end."""
        rest, self._high = _joined(self._high), ""
        return rest


def _joined(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
