"""The passages an answer drew on, below it: each number with its place, which `aichat docs show` opens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aichat_cli.render.sanitize import safe_line

if TYPE_CHECKING:
    from aichat_cli.core.documents import Passage, Source

MOST_UNCITED = 3


def cited_lines(passages: Sequence[Passage], cited: Sequence[int]) -> list[str]:
    """One line for each passage that the answer cites, by its number; what it was shown where it cites none."""
    if not passages:
        return []
    if not cited:
        shown = ", ".join(safe_line(passage.place) for passage in passages[:MOST_UNCITED])
        more = f" and {len(passages) - MOST_UNCITED} more" if len(passages) > MOST_UNCITED else ""
        return [f"The answer cites no passage. It was shown {shown}{more}."]
    numbers = sorted(cited)
    lines = [_line(number, passages[number - 1].place, passages[number - 1].heading) for number in numbers]
    return [*lines, f'To open one: aichat docs show "{safe_line(passages[numbers[0] - 1].place)}"']


def stored_lines(sources: Sequence[Source]) -> list[str]:
    """The sources of a stored answer: those it cites, or all it was shown where it cites none."""
    cited = [source for source in sources if source.is_cited]
    return [_line(source.number, source.place, source.heading) for source in cited or sources]


def source_rows(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """As JSON: in `history show --json`."""
    return [_row(source.number, source, is_cited=source.is_cited) for source in sources]


def passage_rows(passages: Sequence[Passage], cited: Sequence[int]) -> list[dict[str, Any]]:
    """As JSON: in `aichat --json`."""
    return [_row(number, passage, is_cited=number in cited) for number, passage in enumerate(passages, 1)]


def _row(number: int, place: Source | Passage, *, is_cited: bool) -> dict[str, Any]:
    return {
        "number": number,
        "document": place.document,
        "path": place.path,
        "heading": place.heading,
        "page": place.page,
        "line": place.line,
        "start": place.start,
        "end": place.end,
        "cited": is_cited,
    }


def _line(number: int, place: str, heading: str) -> str:
    return f"[{number}] {safe_line(place)}" + (f"  {safe_line(heading)}" if heading else "")
