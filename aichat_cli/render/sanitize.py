"""Keeps terminals safe: nothing that came from outside reaches one as a control sequence.

Tabs and newlines stay; escape sequences go whole (CSI, OSC, DCS, SOS, PM, APC, in their 7-bit and C1 forms, also when
split over deltas); other control characters and BiDi overrides go; a lone carriage return becomes a newline, so that
no text can be written over what came before.
"""

from __future__ import annotations

import re
from typing import Literal

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_STRING_OPENERS = frozenset("]PX^_")
_C1_STRING_OPENERS = frozenset("\x90\x98\x9d\x9e\x9f")
_STRING_ENDERS = frozenset("\x07\x9c\x18\x1a")

_State = Literal["text", "return", "escape", "csi", "string", "string escape"]


class Sanitizer:
    """A filter for one stream of text.

    `feed` takes any piece and returns what is safe of it; `flush` ends the stream.
    """

    def __init__(self) -> None:
        self._state: _State = "text"

    def feed(self, text: str) -> str:
        """The safe part of the next piece of text."""
        if self._state == "text" and not _UNSAFE.search(text):
            return text
        return "".join(map(self._character, text))

    def flush(self) -> str:
        """What was held back at the end: the newline of a last carriage return."""
        held = "\n" if self._state == "return" else ""
        self._state = "text"
        return held

    def _character(self, character: str) -> str:
        if self._state == "text":
            return self._in_text(character)
        if self._state == "return":
            self._state = "text"
            return "\n" if character == "\n" else "\n" + self._in_text(character)
        if self._state == "escape":
            return self._after_escape(character)
        if self._state == "csi":
            return self._in_csi(character)
        return self._in_string(character)

    def _in_text(self, character: str) -> str:
        if not _UNSAFE.match(character):
            return character
        if character == "\r":
            self._state = "return"
        elif character == "\x1b":
            self._state = "escape"
        elif character == "\x9b":
            self._state = "csi"
        elif character in _C1_STRING_OPENERS:
            self._state = "string"
        return ""

    def _after_escape(self, character: str) -> str:
        if character == "[":
            self._state = "csi"
        elif character in _STRING_OPENERS:
            self._state = "string"
        elif " " <= character <= "/":
            pass  # an intermediate byte: the sequence goes on
        elif "0" <= character <= "~":
            self._state = "text"
        else:
            return self._back_to_text(character)
        return ""

    def _in_csi(self, character: str) -> str:
        if " " <= character <= "?":
            return ""
        if "@" <= character <= "~":
            self._state = "text"
            return ""
        return self._back_to_text(character)

    def _in_string(self, character: str) -> str:
        if self._state == "string escape":
            self._state = "string"
            if character == "\\":
                self._state = "text"
                return ""
            self._state = "escape"
            return self._after_escape(character)
        if character in _STRING_ENDERS:
            self._state = "text"
        elif character == "\x1b":
            self._state = "string escape"
        elif character in "\n\r":
            # A string nobody closed must not swallow the rest of an answer.
            return self._back_to_text(character)
        return ""

    def _back_to_text(self, character: str) -> str:
        self._state = "text"
        return self._in_text(character)


def safe_text(text: str) -> str:
    """A whole text, made safe for a terminal."""
    sanitizer = Sanitizer()
    return sanitizer.feed(text) + sanitizer.flush()


def safe_line(text: str) -> str:
    """A whole text as one safe line: a title, a name, an error."""
    return " ".join(safe_text(text).split())
