"""A question as a full-text query: its words without those that say nothing, safe for FTS5 whatever was typed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from unicodedata import normalize

from aichat_cli.core.struct import Struct

MOST_WORDS = 48
MOST_FOUND, MOST_RANKED = 10_000, 60_000
"""So many chunks, in all, the words of a question may find, the rarest first: to rank a chunk takes time. Words that are
in so many more rank what the rare ones find, and those beyond are left out.
"""

_WORD = re.compile(r"\w+")
_IDENTIFIER = re.compile(r"(?!\d{1,4}$)[A-Za-z]*(?:[0-9_]|[a-z][A-Z])\w*")

STOPWORDS = frozenset(
    [
        "a",
        "about",
        "above",
        "after",
        "again",
        "against",
        "all",
        "also",
        "am",
        "an",
        "and",
        "any",
        "are",
        "as",
        "at",
        "be",
        "because",
        "been",
        "before",
        "being",
        "below",
        "between",
        "both",
        "but",
        "by",
        "can",
        "cannot",
        "could",
        "describe",
        "did",
        "do",
        "does",
        "doing",
        "down",
        "during",
        "each",
        "explain",
        "few",
        "find",
        "for",
        "from",
        "further",
        "give",
        "had",
        "has",
        "have",
        "having",
        "he",
        "her",
        "here",
        "hers",
        "herself",
        "him",
        "himself",
        "his",
        "how",
        "i",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "itself",
        "just",
        "long",
        "many",
        "mean",
        "means",
        "me",
        "more",
        "most",
        "much",
        "my",
        "myself",
        "no",
        "nor",
        "not",
        "now",
        "of",
        "off",
        "often",
        "on",
        "once",
        "only",
        "or",
        "other",
        "our",
        "ours",
        "ourselves",
        "out",
        "over",
        "own",
        "per",
        "please",
        "same",
        "she",
        "should",
        "show",
        "so",
        "some",
        "soon",
        "such",
        "tell",
        "than",
        "that",
        "the",
        "their",
        "theirs",
        "them",
        "themselves",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "through",
        "to",
        "too",
        "under",
        "until",
        "up",
        "us",
        "very",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "while",
        "who",
        "whom",
        "why",
        "will",
        "with",
        "would",
        "you",
        "your",
        "yours",
        "yourself",
        "yourselves",
    ]
)


class Word(Struct, frozen=True):
    """A word of the question: as it was typed, and as the index has it."""

    typed: str
    stem: str


class Telling(Struct, frozen=True):
    """The words of a question that find chunks, and those that only rank what is found."""

    finding: list[Word]
    ranking: list[Word]


def words_of(query: str) -> list[str]:
    """The words of a question, each once, without stopwords where others remain."""
    words = list(dict.fromkeys(word.lower() for word in _WORD.findall(query)))
    return [word for word in words if word not in STOPWORDS][:MOST_WORDS] or words[:MOST_WORDS]


def all_words(text: str) -> list[str]:
    """Every word of a text, each once, in lower case."""
    return list(dict.fromkeys(word.lower() for word in _WORD.findall(text)))


def beginning(word: str) -> str:
    """What words of one stem have in common: their first two letters, without accents."""
    if word.isascii():
        return word[:2]
    return normalize("NFKD", word[:2])[:1] + normalize("NFKD", word[1:2])[:1]


def identifiers_of(query: str) -> frozenset[str]:
    """Words that name one thing, such as `ERR_4031`, `v2` or `parseArgs`, in lower case; a short number, as of a year or a
    quantity, names nothing.
    """
    return frozenset(word.lower() for word in _WORD.findall(query) if _IDENTIFIER.fullmatch(word))


def telling(words: Sequence[Word], frequencies: Mapping[str, int]) -> Telling:
    """The words that are in some chunks, by what they are used for. In a small collection every word finds."""
    present = [word for word in words if frequencies.get(word.stem)]
    matches = 0
    finding: set[Word] = set()
    ranking: set[Word] = set()
    for word in sorted(present, key=lambda word: frequencies[word.stem]):
        matches += frequencies[word.stem]
        if not finding or matches <= MOST_FOUND:
            finding.add(word)
        elif matches <= MOST_RANKED:
            ranking.add(word)
    return Telling([word for word in present if word in finding], [word for word in present if word in ranking])


def expression(telling: Telling) -> str:
    """An FTS5 expression that any of the finding words matches, and that is ranked by all of them."""
    finding = _any(telling.finding)
    return f"({finding}) AND ({finding} OR {_any(telling.ranking)})" if telling.ranking else finding


def _any(words: Sequence[Word]) -> str:
    return " OR ".join(f'"{word.typed}"' for word in words)
