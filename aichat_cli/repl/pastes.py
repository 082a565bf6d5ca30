"""Large pastes: a short stand-in in the input line, the whole text when it is sent."""

from __future__ import annotations

import re

LARGE_CHARACTERS = 4_000
LARGE_LINES = 60
LONGEST_REMEMBERED = 64_000
"""What is typed is kept in the history of inputs, with its pastes up to this size."""

_STAND_IN = re.compile(r"\[pasted #(\d+): [\d,]+ (?:lines|characters)\]")


class Pastes:
    """The large pastes of one session. Editing a long text cell by cell would make every key slow."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._inline: list[str] = []

    def taken(self, text: str) -> str:
        """What to put into the input line for a paste: itself, or a stand-in such as `[pasted #1: 4,096 lines]`."""
        lines = text.count("\n") + 1
        if len(text) <= LARGE_CHARACTERS and lines <= LARGE_LINES:
            self._inline.append(text)
            return text
        self._texts.append(text)
        size = f"{lines:,} lines" if lines > 1 else f"{len(text):,} characters"
        return f"[pasted #{len(self._texts)}: {size}]"

    def expanded(self, text: str) -> str:
        """The text with the pastes in the place of their stand-ins. One that was typed, or changed, stays as it is."""
        return _STAND_IN.sub(lambda match: self._text_of(match) or match[0], text)

    def typed(self, text: str) -> str:
        """What the user typed of it with their own hands: only that may name files to read or commands to run."""
        for pasted in self._inline:
            text = text.replace(pasted, " ")
        return _STAND_IN.sub(lambda match: " " if self._text_of(match) else match[0], text)

    def remembered(self, text: str) -> str:
        """What the history of inputs keeps: everything, unless that is too large to be of use there."""
        whole = self.expanded(text)
        return whole if len(whole) <= LONGEST_REMEMBERED else text

    def _text_of(self, match: re.Match[str]) -> str | None:
        number = int(match[1])
        return self._texts[number - 1] if 0 < number <= len(self._texts) else None
