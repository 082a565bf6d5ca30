"""Titles of conversations, made from what was asked, or from the answer where nothing was but a text handed in."""

from __future__ import annotations

import re

LONGEST_TITLE = 60

_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(.+?)[ \t]*#*$", re.MULTILINE)
_MARKS = re.compile(r"[*_`]{1,3}(?=\S)|(?<=\S)[*_`]{1,3}|^ {0,3}(?:[-*+>]|\d+[.)])[ \t]+", re.MULTILINE)
_SENTENCE = re.compile(r".+?(?:[.!?](?=\s)|[。！？]|$)")  # noqa: RUF001 (how Chinese and Japanese end a sentence)


def title_from(prompt: str) -> str:
    """The first line that says something, cut at a word to at most 60 characters."""
    words = next((" ".join(line.split()) for line in prompt.splitlines() if line.strip()), "Untitled")
    if len(words) <= LONGEST_TITLE:
        return words
    cut = words[: LONGEST_TITLE - 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut else cut) + "…"


def title_from_answer(answer: str) -> str:
    """The first heading of a Markdown text, else its first sentence, without marks, as `title_from` cuts it."""
    heading = _HEADING.search(answer)
    plain = _MARKS.sub("", heading[1] if heading else answer)
    sentence = _SENTENCE.search(next((line for line in plain.splitlines() if line.strip(" `~")), ""))
    return title_from(sentence[0].rstrip(".。") if sentence else "")
