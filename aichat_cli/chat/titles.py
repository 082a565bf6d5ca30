"""Titles of conversations, made from what was asked."""

from __future__ import annotations

LONGEST_TITLE = 60


def title_from(prompt: str) -> str:
    """The first line that says something, cut at a word to at most 60 characters."""
    words = next((" ".join(line.split()) for line in prompt.splitlines() if line.strip()), "Untitled")
    if len(words) <= LONGEST_TITLE:
        return words
    cut = words[: LONGEST_TITLE - 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut else cut) + "…"
