"""The lines of the table, how a measurement becomes one, and whether it keeps its budget."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `verdict` is empty where there is no budget."""

    what: str
    ours: str
    against: str
    ratio: str
    budget: str
    verdict: str


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| what | aichat | against | ratio | budget | |", "| --- | --- | --- | --- | --- | --- |"]
    lines += [
        f"| {row.what} | {row.ours} | {row.against} | {row.ratio} | {row.budget} | {row.verdict} |" for row in rows
    ]
    return "\n".join(lines)


def verdict(is_kept: bool) -> str:  # noqa: FBT001 (one value, one word)
    """The last column."""
    return "kept" if is_kept else "MISSED"


def within(what: str, seconds: Sequence[float], budget: float) -> Row:
    """Seconds of which the median has a budget."""
    half = statistics.median(seconds)
    return Row(
        what,
        f"p50 {half * 1000:.1f} ms, max {max(seconds) * 1000:.1f} ms",
        "",
        "",
        f"p50 at most {budget * 1000:g} ms",
        verdict(half <= budget),
    )


def at_least(what: str, ours: str, value: float, budget: float, unit: str) -> Row:
    """A rate that has a budget."""
    return Row(what, ours, "", "", f"at least {budget:g} {unit}", verdict(value >= budget))


def times(what: str, ours: float, against: str, theirs: float, budget: float | None, *, digits: int = 0) -> Row:
    """Seconds of two programs; their ratio may have a budget. `digits` are those of the milliseconds."""
    ratio = ours / theirs
    return Row(
        what,
        f"{ours * 1000:.{digits}f} ms",
        f"{against}: {theirs * 1000:.{digits}f} ms",
        f"{ratio:.{2 if ratio >= 0.1 else 4}f}",
        "" if budget is None else f"at most {budget:g}",
        "" if budget is None else verdict(ratio <= budget),
    )


def seconds(what: str, ours: float, against: str, theirs: float, budget: float | None) -> Row:
    """Seconds of two programs; ours may have a budget."""
    kept = "" if budget is None else verdict(ours <= budget)
    limit = "" if budget is None else f"at most {budget:g} s"
    return Row(what, f"{ours:.2f} s", f"{against}: {theirs:.2f} s", f"{ours / theirs:.2f}", limit, kept)


def peak(what: str, ours: float, theirs: float, budget_megabytes: float) -> Row:
    """Bytes of two programs."""
    return Row(
        what,
        f"{ours / MEGABYTE:.1f} MB",
        f"llm: {theirs / MEGABYTE:.1f} MB",
        f"{ours / theirs:.2f}",
        f"at most {budget_megabytes:g} MB",
        verdict(ours <= budget_megabytes * MEGABYTE),
    )
