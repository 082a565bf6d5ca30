"""A secret value that does not show itself in a repr, a log or a traceback."""

from __future__ import annotations

_SHORTEST = 4
"""Anything shorter would be found in words that hold no secret."""


class Secret:
    """Holds a provider key. Only `reveal` gives it out, and only a wire calls that.

    `beside` is another secret that goes to the same place with it, such as the key for a proxy in between.
    """

    __slots__ = ("_value", "beside", "source")

    def __init__(self, value: str, source: str, beside: Secret | None = None) -> None:
        self._value = value
        self.source = source
        self.beside = beside

    def reveal(self) -> str:
        """The key itself, for a request header."""
        return self._value

    def hidden_in(self, text: str) -> str:
        """The text without it, and without what goes beside it."""
        if len(self._value) >= _SHORTEST:
            text = text.replace(self._value, "***")
        return text if self.beside is None else self.beside.hidden_in(text)

    def __repr__(self) -> str:
        return f"Secret(source={self.source!r})"
