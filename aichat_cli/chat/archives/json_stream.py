"""The items of a large JSON document, one at a time: the memory needed is that of the largest item."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import IO, Any

from aichat_cli.core.struct import Struct, field

LARGEST_ITEM = 256 * 1024 * 1024
"""Characters of one conversation; a larger one is passed over."""

_FIRST_READ = 1 << 18
_TOKEN_TAIL = 16
_DELIMITERS = frozenset(" \t\n\r,:]}")
_NOT_SPACE = re.compile(r"[^ \t\n\r]")
_STRUCTURE = re.compile(r'["\\{}\[\]]')


class NotJson(Exception):
    """The document is not JSON, or ends too early; the message says where."""


class BadItem(Struct, frozen=True):
    """An item that is no usable value, and was passed over."""

    reason: str


class JsonDocument(Struct):
    """A document that is a list of items, an object with a list under `key`, or one object that is the only item.

    Attributes:
        header: the other fields of an object, those before the list by the time the first item is there.
    """

    stream: IO[str]
    key: str = "conversations"
    header: dict[str, Any] = field(default_factory=dict)
    _buffer: str = ""
    _at: int = 0
    _dropped: int = 0
    _is_over: bool = False
    _decoder: json.JSONDecoder = field(default_factory=lambda: json.JSONDecoder(strict=False))

    def items(self) -> Iterator[Any]:
        """Each item, or a BadItem in its place.

        Raises:
            NotJson: from here on nothing can be read.
        """
        opener = self._next_character()
        if opener == "[":
            yield from self._list()
        elif opener == "{":
            yield from self._object()
        else:
            raise NotJson("it is neither a JSON list nor a JSON object")
        if self._next_character():
            raise NotJson(f"something follows the end of the JSON, at character {self._position}")

    @property
    def _position(self) -> int:
        return self._dropped + self._at

    def _list(self) -> Iterator[Any]:
        self._at += 1
        if self._next_character() == "]":
            self._at += 1
            return
        while True:
            yield self._value()
            if self._take(",", "]") == "]":
                return

    def _object(self) -> Iterator[Any]:
        self._at += 1
        has_list = False
        if self._next_character() == "}":
            self._at += 1
        else:
            while True:
                name = self._value()
                self._take(":", ":")
                if name == self.key and self._next_character() == "[":
                    has_list = True
                    yield from self._list()
                else:
                    self.header[str(name)] = self._value()
                if self._take(",", "}") == "}":
                    break
        if not has_list:
            yield self.header

    def _take(self, one: str, other: str) -> str:
        found = self._next_character()
        if found not in (one, other) or not found:
            self._fail(f'"{one}" or "{other}" is expected' if one != other else f'"{one}" is expected')
        self._at += 1
        return found

    def _next_character(self) -> str:
        """The next character that is no white space, not taken yet; empty at the end."""
        while True:
            found = _NOT_SPACE.search(self._buffer, self._at)
            if found:
                self._at = found.start()
                return found[0]
            self._at = len(self._buffer)
            if not self._read(_FIRST_READ):
                return ""

    def _read(self, size: int) -> bool:
        """Fetch more, and let go of what was taken."""
        if self._is_over:
            return False
        more = self.stream.read(size)
        self._is_over = not more
        self._dropped += self._at
        self._buffer = self._buffer[self._at :] + more
        self._at = 0
        return bool(more)

    def _value(self) -> Any:
        start = self._next_character()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._at)
            except json.JSONDecodeError as exc:
                if self._is_over or not _may_go_on(exc, len(self._buffer)):
                    self._at = exc.pos
                    self._fail(exc.msg.lower() if exc.pos < len(self._buffer) else "it ends too early", exc)
            except RecursionError:
                return self._passed_over("it is nested too deeply")
            except ValueError as exc:
                if start not in "{[":
                    self._fail("a number has too many digits", exc)
                return self._passed_over("it holds a number with too many digits")
            else:
                # A number may go on where the buffer ends.
                if start in '{["' or self._buffer[end : end + 1] in _DELIMITERS or not self._read(_FIRST_READ):
                    self._at = end
                    return value
                continue
            if len(self._buffer) - self._at >= LARGEST_ITEM:
                return self._passed_over("it is too large")
            self._read(max(_FIRST_READ, len(self._buffer) - self._at))

    def _passed_over(self, reason: str) -> BadItem:
        """Find the end of an object or a list by its brackets alone."""
        depth, in_string = 0, False
        while True:
            found = _STRUCTURE.search(self._buffer, self._at)
            if found is None:
                self._at = len(self._buffer)
                if not self._read(_FIRST_READ):
                    self._fail("it ends too early")
                continue
            self._at = found.end()
            if found[0] == "\\":
                if self._at == len(self._buffer):
                    self._read(_FIRST_READ)
                self._at += 1
            elif found[0] == '"':
                in_string = not in_string
            elif not in_string:
                depth += 1 if found[0] in "{[" else -1
            if depth <= 0 and not in_string:
                return BadItem(reason)

    def _fail(self, reason: str, cause: Exception | None = None) -> None:
        raise NotJson(f"{reason}, at character {self._position}") from cause


def _may_go_on(error: json.JSONDecodeError, size: int) -> bool:
    """Whether more text may make valid what stopped there: a string without an end, or the very end."""
    return error.msg.startswith("Unterminated string") or error.pos >= size - _TOKEN_TAIL
