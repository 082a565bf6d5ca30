"""What splitting needs of a tokenizer. The one that is used comes from outside: nothing is imported here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Tokenizer(Protocol):
    """Counts tokens. Of texts joined where a line ends and no `/` begins the next, the counts add up.

    Attributes:
        name: of its vocabulary, such as `o200k_base`.
    """

    @property
    def name(self) -> str: ...

    def count(self, text: str) -> int:
        """Tokens of the text, exactly, or never far too few where it can only estimate."""
        ...

    def ends(self, text: str) -> Sequence[int]:
        """The character each token of the text ends before, rising; one inside a character is past it.

        In a text of any length in time that grows with it, so that the last may differ by a few from `count`.
        """
        ...
