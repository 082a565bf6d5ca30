# ruff: noqa: RUF001 (sentences end with the marks of any script)
"""Citations in an answer while it streams: a number that names no passage is never shown.

`[1]`, `[1, 3]`, `[1-3]`, `[^1]` and 【1】 become `[1]`, `[1][3]` and so on; in code, and as the text of a link, they stay what
they are. For models that are too small to cite, sentences that a passage clearly supports are given its number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from aichat_cli.core.documents import Passage
from aichat_cli.documents.query import STOPWORDS

MOST_HELD = 320
"""Characters of what may become a citation that are held back at most."""
LEAST_WORDS = 4
LEAST_SUPPORT = 0.7
"""Of a sentence's telling words, that a passage must hold to be cited for it."""

_PLAIN = re.compile(r"[^\[【`~\n .!?。！？]+")
_CITATION = re.compile(r"[\[【]\^?\s?(?P<numbers>\d{1,4}(?:\s?[,;\-–]\s?\^?\d{1,4}){0,30})\s?[\]】]")
_BEGINNING = re.compile(r"[\[【]\^?[\d,;\-–\^ ]*[\]】]?")
_RANGE = re.compile(r"\^?(\d+)(?:\s?[\-–]\s?\^?(\d+))?")
_WORD = re.compile(r"\w+")
_SUFFIX = re.compile(r"(?:ing|ed|es|s|ly)$")
_ENDS = ".!?。！？"
_AFTER_DROPPED = frozenset(" .,;:!?)\n。，")


class CitationFilter:
    """Makes the citations of one answer true.

    Args:
        passages: what the model was shown; the first is number 1.
        attributes: cite for the model: a sentence without a citation that a passage supports gets its number.

    Attributes:
        cited: numbers in the order they were first cited.
    """

    def __init__(self, passages: Sequence[Passage], *, attributes: bool = False) -> None:
        self._count = len(passages)
        self._words = (
            [_telling_words(f"{passage.heading} {passage.text}") for passage in passages] if attributes else []
        )
        self.cited: list[int] = []
        self._pending = ""
        self._fence = ""
        self._code_ticks = 0
        self._is_line_blank = True
        self._sentence: list[str] = []
        self._is_sentence_cited = False

    def feed(self, delta: str) -> str:
        """The next piece of the answer, as far as it can be told what it is."""
        self._pending += delta
        return self._taken(is_end=False)

    def finish(self) -> str:
        """What was held back, at the end of the answer."""
        rest = self._taken(is_end=True)
        return rest + self._support() if not self._is_in_code else rest

    @property
    def _is_in_code(self) -> bool:
        return bool(self._fence or self._code_ticks)

    def _taken(self, *, is_end: bool) -> str:
        shown: list[str] = []
        while self._pending:
            step = self._step(is_end=is_end)
            if step is None:
                break
            shown.append(step)
        return "".join(shown)

    def _step(self, *, is_end: bool) -> str | None:
        """The next piece to show; None where more has to arrive first."""
        pending = self._pending
        if match := _PLAIN.match(pending):
            return self._pass(match[0])
        character = pending[0]
        if character == "\n":
            return self._end_of_line(is_end=is_end)
        if character in "`~":
            return self._marks(is_end=is_end)
        if character in _ENDS:
            return self._end_of_sentence(is_end=is_end)
        return self._spaces_and_brackets(is_end=is_end)

    def _pass(self, text: str) -> str:
        self._pending = self._pending[len(text) :]
        if not text.isspace():
            self._is_line_blank = False
        if self._words and not self._is_in_code:
            self._sentence.append(text)
        return text

    def _end_of_line(self, *, is_end: bool) -> str:  # noqa: ARG002 (as the others)
        support = "" if self._is_in_code else self._support()
        self._pending = self._pending[1:]
        self._is_line_blank = True
        self._code_ticks = 0
        return f"{support}\n"

    def _marks(self, *, is_end: bool) -> str | None:
        mark = self._pending[0]
        run = self._pending[: len(self._pending) - len(self._pending.lstrip(mark))]
        if len(run) == len(self._pending) and not is_end:
            return None
        if len(run) >= 3 and self._is_line_blank and not self._code_ticks:
            if not self._fence:
                self._fence = run
            elif run.startswith(self._fence):
                self._fence = ""
        elif mark == "`" and not self._fence:
            self._code_ticks = 0 if len(run) == self._code_ticks else self._code_ticks or len(run)
        return self._pass(run)

    def _end_of_sentence(self, *, is_end: bool) -> str | None:
        run = self._pending[: len(self._pending) - len(self._pending.lstrip(_ENDS))]
        rest = self._pending[len(run) :]
        if self._is_in_code or not self._words:
            return self._pass(run)
        if not rest and not is_end:
            return None
        # A number in a list, such as "1.", ends no sentence.
        ends = not rest or rest[0].isspace() or run[0] in "。！？"
        support = self._support() if ends else ""
        shown = self._pass(run)
        if support:
            self._sentence.clear()
        return support + shown

    def _spaces_and_brackets(self, *, is_end: bool) -> str | None:
        stripped = self._pending.lstrip(" ")
        spaces = " " * (len(self._pending) - len(stripped))
        if not stripped and not is_end:
            return None
        if not stripped or stripped[0] not in "[【" or self._is_in_code:
            return self._pass(spaces or self._pending[0])
        match = _CITATION.match(stripped)
        after = stripped[match.end() :] if match else ""
        if not is_end and (match is None or not after):
            beginning = _BEGINNING.match(stripped)
            if beginning is not None and beginning.end() == len(stripped) and len(stripped) <= MOST_HELD:
                return None
        if match is None or after.startswith("("):
            return self._pass(spaces + stripped[0])
        self._pending = after
        return self._citation(spaces, match["numbers"], after)

    def _citation(self, spaces: str, listed: str, after: str) -> str:
        numbers = [number for number in _numbers(listed, self._count) if 1 <= number <= self._count]
        if not numbers:
            return "" if not after or after[0] in _AFTER_DROPPED or self._is_line_blank else spaces
        self._is_line_blank = False
        self._is_sentence_cited = True
        self._cite(numbers)
        return spaces + "".join(f"[{number}]" for number in numbers)

    def _cite(self, numbers: Sequence[int]) -> None:
        self.cited.extend(number for number in dict.fromkeys(numbers) if number not in self.cited)

    def _support(self) -> str:
        """The citation of the sentence that ends here, where a passage supports it and none was given."""
        sentence, self._sentence = "".join(self._sentence), []
        is_cited, self._is_sentence_cited = self._is_sentence_cited, False
        words = _telling_words(sentence)
        if is_cited or len(words) < LEAST_WORDS:
            return ""
        shares = [len(words & held) / len(words) for held in self._words]
        best = max(range(len(shares)), key=lambda index: (shares[index], -index), default=None)
        if best is None or shares[best] < LEAST_SUPPORT:
            return ""
        self._cite([best + 1])
        return f" [{best + 1}]"


def _numbers(listed: str, count: int) -> list[int]:
    """The numbers of `1, 3` or `1-3`, each once; a range is as long as there are passages at most."""
    numbers: list[int] = []
    for first, last in _RANGE.findall(listed):
        numbers += range(int(first), min(int(last), count) + 1) if last else [int(first)]
    return list(dict.fromkeys(numbers))


def _telling_words(text: str) -> frozenset[str]:
    words = (word.lower() for word in _WORD.findall(text))
    return frozenset(_SUFFIX.sub("", word) if len(word) > 4 else word for word in words if word not in STOPWORDS)
