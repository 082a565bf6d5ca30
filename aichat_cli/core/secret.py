"""A secret value that does not show itself in a repr, a log or a traceback."""

from __future__ import annotations


class Secret:
    """Holds a provider key. Only `reveal` gives it out, and only a wire calls that."""

    __slots__ = ("_value", "source")

    def __init__(self, value: str, source: str) -> None:
        self._value = value
        self.source = source

    def reveal(self) -> str:
        """The key itself, for a request header."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret(source={self.source!r})"
