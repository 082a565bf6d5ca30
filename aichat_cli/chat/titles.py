"""Titles of conversations, made from what was asked."""

from __future__ import annotations

LONGEST_TITLE = 60


def title_from(prompt: str) -> str:
    """The first line that says something, cut at a word to at most 60 characters.

    Where something was piped in, the question stands last, after the data: then the last line speaks.
    """
    lines = [line.strip() for line in prompt.splitlines() if line.strip()]
    if not lines:
        return "Untitled"
    question = lines[-1] if len(lines) > 1 and len(prompt) > 4 * LONGEST_TITLE else lines[0]
    words = " ".join(question.split())
    if len(words) <= LONGEST_TITLE:
        return words
    cut = words[: LONGEST_TITLE - 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut else cut) + "…"
