"""Which passage supports a sentence, by the words they share: citations for models that are too small to cite.

Cautious rather than complete: numbers, names and whether something is denied must agree, not only the words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from aichat_cli.core.documents import Passage
from aichat_cli.core.struct import Struct
from aichat_cli.documents.query import STOPWORDS

LEAST_WORDS = 4
"""Telling words that a sentence needs; what says less is supported by anything."""
LEAST_SUPPORT = 0.8
"""Of a sentence's telling words, that two neighbouring sentences of a passage must hold."""

_WORD = re.compile(r"\w+(?:['\u2019]\w+)?")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n{2,}|\n(?=\s*(?:[-*+#|]|\d+[.)]))")
_DENIAL = re.compile(
    r"\b(?:no|not|never|none|neither|nor|cannot|without|nobody|nothing)\b|n['\u2019]t\b", re.IGNORECASE
)
_APOSTROPHE = re.compile(r"['\u2019].*")
_SUFFIX = re.compile(r"(?:ings?|edly|ed|ly|es|s)$")
_EXACT = re.compile(
    r"one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen"
    r"|(?:twen|thir|for|fif|six|seven|eigh|nine)ty|hundred|thousand|million|billion|dozen|half|third|quarter|twice|first"
    r"|second|(?:mon|tues|wednes|thurs|fri|satur|sun)day|january|february|march|april|june|july|august"
    r"|(?:septem|octo|novem|decem)ber|daily|weekly|monthly|yearly|annual(?:ly)?"
)
"""Words that are as good as numbers: another one in their place says something else."""


class _Statement(Struct, frozen=True):
    """A sentence by its words.

    Attributes:
        words: its telling words, by their stems.
        exact: those of them that nothing else can stand for: numbers and names.
        is_denial: whether it says that something is not so.
    """

    words: frozenset[str]
    exact: frozenset[str]
    is_denial: bool


class Attribution:
    """Finds the passage behind a sentence; the first passage is number 1."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._passages = [
            (_statement(passage.heading).words, [_statement(text) for text in _SENTENCE_END.split(passage.text)])
            for passage in passages
        ]

    def number_for(self, sentence: str) -> int | None:
        """The number of the passage that clearly supports a sentence, the first of equals; None where none does."""
        statement = _statement(sentence)
        if len(statement.words) < LEAST_WORDS:
            return None
        best, number = LEAST_SUPPORT, None
        for position, (heading, sentences) in enumerate(self._passages, 1):
            share = _support(statement, heading, sentences)
            if share > best or (share == best and number is None):
                best, number = share, position
        return number


def _support(statement: _Statement, heading: frozenset[str], sentences: Sequence[_Statement]) -> float:
    """The share of a statement's words that a pair of neighbouring sentences holds; 0 where they do not agree."""
    closest = max(sentences, key=lambda each: len(each.words & statement.words))
    if closest.is_denial != statement.is_denial:
        return 0
    best = 0.0
    for first, second in zip(sentences, [*sentences[1:], sentences[-1]], strict=True):
        held = heading | first.words | second.words
        if statement.exact <= held:
            best = max(best, len(statement.words & held) / len(statement.words))
    return best


def _statement(text: str) -> _Statement:
    words: set[str] = set()
    exact: set[str] = set()
    for position, typed in enumerate(_WORD.findall(text)):
        word = _APOSTROPHE.sub("", typed.lower())
        if word in STOPWORDS or typed.lower().endswith(("n't", "n\u2019t")):
            continue
        stem = _stem(word)
        words.add(stem)
        is_name = position > 0 and typed[0].isupper()
        if is_name or _EXACT.fullmatch(word) or any(character.isdigit() for character in word):
            exact.add(stem)
    return _Statement(frozenset(words), frozenset(exact), _DENIAL.search(text) is not None)


def _stem(word: str) -> str:
    """What `rotate`, `rotates`, `rotated` and `rotating` have in common, roughly; short words stay."""
    if len(word) <= 3 or not word.isalpha():
        return word
    stem = _SUFFIX.sub("", word)
    if len(stem) < 3:
        return word
    if len(stem) > 3 and stem[-1] == stem[-2]:
        stem = stem[:-1]
    return stem.removesuffix("e").removesuffix("i").removesuffix("y")
