# ruff: noqa: RUF001 (sentences end, and brackets open, with the marks of any script)
"""Citations in an answer while it streams: a number that names no passage is never shown.

`[1]`, `[1, 3]`, `[1-3]`, `[^1]`, `[passage 1]` and 【1】 become `[1]`, `[1][3]` and so on; in code, and as the text of a
link, they stay what they are. For models that are too small to cite, sentences that a passage clearly supports are given
its number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from aichat_cli.chat.attribution import Attribution
from aichat_cli.core.documents import Passage

MOST_HELD = 400
"""Characters of what may become a citation that are held back at most; more than the longest citation has."""

_OPENERS = "[【［"
_ENDS = ".!?。！？"
_PLAIN = re.compile(r"[^\[【［(`~ \t\n.!?。！？]+")
_LEAD = re.compile(r" *\(?")
_LABELS = ("passages", "passage", "sources", "source")
_CITATION = re.compile(
    r"[\[【［]\^? ?(?:(?:passages?|sources?) ?)?(?P<numbers>\d{1,4}(?:(?: ?[,;&\-–—] ?| and )(?:and )?\^?\d{1,4}){0,30})"
    r"(?:†[^\[\]【】\n]{0,40})? ?[\]】］]",
    re.IGNORECASE,
)
_LABELLED = re.compile(r"[\[【［]\^? ?(?P<label>[A-Za-z]*)(?P<rest>.*)", re.DOTALL)
_LIST_BEGINNING = re.compile(r"[\d,;&\-–—^ and]*(?:†[^\[\]【】\n]{0,40})? ?[\]】］]?")
_RANGE = re.compile(r"\^?(\d+)(?: ?[\-–—] ?\^?(\d+))?")
_BEFORE_A_FENCE = re.compile(r"[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*")
_BEFORE_THE_END_OF_A_FENCE = re.compile(r"[ \t>]*")
_NOT_PROSE = re.compile(r" {4}| *\t| {0,3}[#|]")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:\w|e\.g|i\.e|etc|vs|cf|no|nos|fig|approx|dr|mr|mrs|ms|st|al|p|pp)$", re.IGNORECASE
)
_AFTER_DROPPED = frozenset(" .,;:!?)\n。，")
_LINE_KEPT = 80
"""Of a line, to tell what kind of line it is."""


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
        self._attribution = Attribution(passages) if attributes and passages else None
        self.cited: list[int] = []
        self._pending = ""
        self._line = ""
        self._fence = ""
        self._closed_fence = ""
        self._is_info_line = False
        self._code_ticks = 0
        self._code_text = ""
        self._sentence: list[str] = []
        self._is_sentence_cited = False

    def feed(self, delta: str) -> str:
        """The next piece of the answer, as far as it can be told what it is."""
        self._pending += delta
        return self._taken(is_end=False)

    def finish(self) -> str:
        """What was held back, at the end of the answer."""
        return self._taken(is_end=True) + self._support()

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
        character = self._pending[0]
        if self._closed_fence and character not in " \t\n":
            # Only blanks may follow what ends a fence: the code goes on.
            self._fence, self._closed_fence = self._closed_fence, ""
        if match := _PLAIN.match(self._pending):
            return self._pass(match[0])
        if character == "\n":
            return self._end_of_line()
        if character in "`~":
            return self._marks(is_end=is_end)
        if character in _ENDS:
            return self._end_of_sentence(is_end=is_end)
        return self._blanks_and_brackets(is_end=is_end)

    def _pass(self, text: str) -> str:
        self._pending = self._pending[len(text) :]
        self._line = (self._line + text)[:_LINE_KEPT]
        if self._code_ticks:
            self._code_text += text
        if self._attribution is not None and not self._is_in_code:
            self._sentence.append(text)
        return text

    def _end_of_line(self) -> str:
        support = self._support()
        self._pending = self._pending[1:]
        self._line = self._closed_fence = ""
        self._is_info_line = False
        self._code_ticks = 0
        return f"{support}\n"

    def _marks(self, *, is_end: bool) -> str | None:
        """Backticks and tildes: what begins and ends code."""
        mark = self._pending[0]
        run = self._pending[: len(self._pending) - len(self._pending.lstrip(mark))]
        if len(run) == len(self._pending) and not is_end:
            return None
        if mark == "`" and self._is_info_line and self._fence.startswith(mark):
            # A line with more backticks opens no fence: it was code within the line.
            self._code_ticks, self._fence, self._is_info_line = len(self._fence), "", False
        if self._fence:
            if run.startswith(self._fence) and _BEFORE_THE_END_OF_A_FENCE.fullmatch(self._line):
                self._closed_fence, self._fence = self._fence, ""
        elif len(run) >= 3 and not self._code_ticks and _BEFORE_A_FENCE.fullmatch(self._line):
            self._fence, self._is_info_line = run, True
        elif mark == "`":
            opens = not self._code_ticks
            self._code_ticks = 0 if len(run) == self._code_ticks else self._code_ticks or len(run)
            shown = self._pass(run)
            self._code_text = "" if opens else self._code_text
            return shown
        return self._pass(run)

    def _end_of_sentence(self, *, is_end: bool) -> str | None:
        run = self._pending[: len(self._pending) - len(self._pending.lstrip(_ENDS))]
        if self._is_in_code or self._attribution is None:
            return self._pass(run)
        rest = self._pending[len(run) :]
        following = rest.lstrip(" ")
        if not following and not is_end:
            return None
        # A model that cites does so here too, after the point.
        ends = (not rest or rest[0].isspace() or run[0] in "。！？") and not following.startswith(tuple(_OPENERS))
        if not ends or (run == "." and _ABBREVIATION.search("".join(self._sentence))):
            return self._pass(run)
        support = "" if "?" in run else self._support()
        shown = self._pass(run)
        self._sentence.clear()
        self._is_sentence_cited = False
        return support + shown

    def _blanks_and_brackets(self, *, is_end: bool) -> str | None:
        lead = _LEAD.match(self._pending)[0]  # type: ignore[index]  # it matches nothing too
        rest = self._pending[len(lead) :]
        if not rest and not is_end:
            return None
        if not rest or rest[0] == "\n":
            support = "" if lead.endswith("(") else self._support()
            return support + self._pass(lead)
        if rest[0] not in _OPENERS or self._fence:
            return self._pass(lead or rest[0])
        return self._bracket(lead, rest, is_end=is_end)

    def _bracket(self, lead: str, rest: str, *, is_end: bool) -> str | None:
        match = _CITATION.match(rest)
        after = rest[match.end() :] if match else ""
        if not after and not is_end and (match or _may_become_citation(rest)):
            return None
        if match is None or after.startswith("("):
            return self._pass(lead + rest[0])
        numbers = [number for number in _numbers(match["numbers"], self._count) if 1 <= number <= self._count]
        if self._code_ticks:
            return self._within_ticks(lead + match[0], after, is_true=bool(numbers), is_end=is_end)
        if numbers:
            return self._citation(lead, numbers, after)
        return None if after == ")" and not is_end else self._without(lead, after)

    def _within_ticks(self, citation: str, after: str, *, is_true: bool, is_end: bool) -> str | None:
        """Code within a line, if the line has the ticks that end it; a number that is not true waits for them."""
        ticks = re.compile(rf"(?<!`)`{{{self._code_ticks}}}(?!`)|\n").search(after, 0, MOST_HELD)
        is_undecided = ticks is None or (ticks[0] != "\n" and ticks.end() == len(after))
        if not is_true and is_undecided and len(after) < MOST_HELD and not is_end:
            return None
        if is_true or (ticks is not None and ticks[0] != "\n"):
            return self._pass(citation)
        self._leave_code()
        return ""

    def _leave_code(self) -> None:
        """What began as code and never ends is text, and the ticks within it may begin code of their own."""
        text, self._code_text, self._code_ticks = self._code_text, "", 0
        for run in re.finditer("`+", text):
            if not self._code_ticks:
                self._code_ticks, self._code_text = len(run[0]), text[run.end() :]
            elif len(run[0]) == self._code_ticks:
                self._code_ticks, self._code_text = 0, ""

    def _citation(self, lead: str, numbers: Sequence[int], after: str) -> str:
        shown = self._pass(lead) + "".join(f"[{number}]" for number in numbers)
        self._pending = after
        self._line = (self._line + shown[len(lead) :])[:_LINE_KEPT]
        self._is_sentence_cited = True
        self._cite(numbers)
        return shown

    def _without(self, lead: str, after: str) -> str:
        """Leave a citation out, with the blanks or brackets that would be left over."""
        if lead.endswith("(") and after.startswith(")"):
            lead, after = lead[:-1], after[1:]
        if lead.endswith("(") or not (self._line + lead).strip():
            after = after.removeprefix(" ")
        elif not after or after[0] in _AFTER_DROPPED:
            lead = ""
        elif not lead and after.startswith("`"):
            lead = " "  # ticks that came together would be other code
        self._pending = lead + after
        return ""

    def _cite(self, numbers: Sequence[int]) -> None:
        self.cited.extend(number for number in numbers if number not in self.cited)

    def _support(self) -> str:
        """The citation of the sentence that ends here, where a passage supports it and none was given."""
        if self._attribution is None or self._is_in_code:
            return ""
        sentence, self._sentence = "".join(self._sentence).strip(), []
        is_cited, self._is_sentence_cited = self._is_sentence_cited, False
        if is_cited or sentence.endswith((":", "?")) or _NOT_PROSE.match(self._line):
            return ""
        number = self._attribution.number_for(sentence)
        if number is None:
            return ""
        self._cite([number])
        return f" [{number}]"


def _may_become_citation(text: str) -> bool:
    """Whether more could make a citation of a text that begins with a bracket."""
    match = _LABELLED.fullmatch(text)
    if match is None or len(text) > MOST_HELD:
        return False
    label, rest = match["label"].lower(), match["rest"]
    if rest:
        return (not label or label in _LABELS) and _LIST_BEGINNING.fullmatch(rest) is not None
    return any(name.startswith(label) for name in _LABELS)


def _numbers(listed: str, count: int) -> list[int]:
    """The numbers of `1, 3` or `1-3`, each once; a range is as long as there are passages at most."""
    numbers: list[int] = []
    for first, last in _RANGE.findall(listed):
        numbers += range(int(first), min(int(last), count) + 1) if last else [int(first)]
    return list(dict.fromkeys(numbers))
