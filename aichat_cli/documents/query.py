"""A question as a full-text query: its words without those that say nothing, safe for FTS5 whatever was typed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from unicodedata import normalize

MOST_WORDS = 48
MOST_MATCHES = 60_000
"""So many times, in all, the words of a question may be in chunks: each costs the same time, and common ones rank least."""

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


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the question: as it was typed, and as the index has it."""

    typed: str
    stem: str


def words_of(query: str) -> list[str]:
    """The words of a question, each once, without stopwords where others remain."""
    words = list(dict.fromkeys(word.lower() for word in _WORD.findall(query)))
    return [word for word in words if word not in STOPWORDS][:MOST_WORDS] or words[:MOST_WORDS]


def all_words(text: str) -> list[str]:
    """Every word of a text, each once, in lower case."""
    return list(dict.fromkeys(word.lower() for word in _WORD.findall(text)))


def beginning(word: str) -> str:
    """What words of one stem have in common: their first two letters, without accents."""
    return normalize("NFKD", word[:2])[:1] + normalize("NFKD", word[1:2])[:1]


def identifiers_of(query: str) -> frozenset[str]:
    """Words that name one thing, such as `ERR_4031`, `v2` or `parseArgs`, in lower case; a short number, as of a year or a
    quantity, names nothing.
    """
    return frozenset(word.lower() for word in _WORD.findall(query) if _IDENTIFIER.fullmatch(word))


def telling(words: Sequence[Word], frequencies: Mapping[str, int]) -> list[Word]:
    """The words that are in some chunks; where they are in too many, without the most common ones.

    In a small collection common words cost nothing, and rank better than none.
    """
    present = [word for word in words if frequencies.get(word.stem)]
    left = MOST_MATCHES
    kept: set[Word] = set()
    for word in sorted(present, key=lambda word: frequencies[word.stem]):
        left -= frequencies[word.stem]
        if kept and left < 0:
            break
        kept.add(word)
    return [word for word in present if word in kept]


def expression(words: Sequence[Word]) -> str:
    """An FTS5 expression that any of the words matches."""
    return " OR ".join(f'"{word.typed}"' for word in words)
