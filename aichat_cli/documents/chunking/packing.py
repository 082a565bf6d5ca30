"""Which cuts are made: atoms, the smallest pieces, are packed into chunks that are full but not over, and cut where the
document itself has its joints. Knows tokens and the strength of cuts, no text.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

from aichat_cli.core.struct import Struct
from aichat_cli.documents.chunking.boundaries import Strength


class Atom(Struct, frozen=True):
    """A piece that is not cut further, `text[start:end]`.

    Attributes:
        tokens: of it; by itself where `is_exact`, else within the text around it.
        strength: of the cut before it.
        is_title: whether it is a heading and nothing more, which should not end a chunk.
    """

    start: int
    end: int
    tokens: int
    strength: Strength
    is_exact: bool = True
    is_title: bool = False


def regions(atoms: Sequence[Atom], max_tokens: int) -> Iterator[Sequence[Atom]]:
    """Runs of atoms that are packed by themselves: a heading begins one where the run before is a third of a chunk.

    What is left at the end, if it is little, joins the run before.
    """
    least = max_tokens // 3
    starts = [0]
    tokens = 0
    for index, atom in enumerate(atoms):
        if atom.strength is Strength.HEADING and tokens >= least:
            starts.append(index)
            tokens = 0
        tokens += atom.tokens
    if len(starts) > 1 and tokens < max_tokens // 5:
        starts.pop()
    for start, end in zip(starts, [*starts[1:], len(atoms)], strict=True):
        yield atoms[start:end]


def pack(atoms: Sequence[Atom], max_tokens: int) -> Iterator[Sequence[Atom]]:
    """The atoms in chunks of at most `max_tokens`, as far as each atom is."""
    totals = [0, *accumulate(atom.tokens for atom in atoms)]
    strengths = _strengths(atoms)
    start = 0
    while start < len(atoms):
        rest = totals[-1] - totals[start]
        if rest <= max_tokens:
            yield atoms[start:]
            return
        most = bisect_right(totals, totals[start] + max_tokens, start) - 1
        most = min(max(most, start + 1), len(atoms) - 1) if start + 1 < len(atoms) else len(atoms)
        if rest < 2 * max_tokens:
            cut = _even_cut(totals, strengths, start, most)
        else:
            cut = _full_cut(totals, strengths, start, most, max_tokens)
        yield atoms[start:cut]
        start = cut


def _strengths(atoms: Sequence[Atom]) -> list[Strength]:
    """The strength of the cut before each atom; a heading is not parted from what it is above."""
    strengths = [atom.strength for atom in atoms]
    for index, atom in enumerate(atoms[:-1]):
        if atom.is_title:
            strengths[index + 1] = min(strengths[index + 1], Strength.WORD)
    return strengths


def _full_cut(totals: list[int], strengths: list[Strength], start: int, most: int, max_tokens: int) -> int:
    """The latest of the best cuts in the upper half of a chunk."""
    least = bisect_right(totals, totals[start] + max_tokens // 2, start)
    return max(range(min(least, most), most + 1), key=lambda index: (_strength(strengths, index), index))


def _even_cut(totals: list[int], strengths: list[Strength], start: int, most: int) -> int:
    """The best cut that leaves a third to two thirds of the rest, if there is one; the most even among equals."""
    rest = totals[-1] - totals[start]
    half = totals[start] + rest // 2
    least = bisect_right(totals, totals[-1] - rest * 13 // 20, start)
    upmost = bisect_right(totals, totals[start] + rest * 13 // 20, start) - 1
    candidates = range(max(least, start + 1), min(upmost, most) + 1) or range(start + 1, most + 1)
    return max(candidates, key=lambda index: (_strength(strengths, index), -abs(totals[index] - half)))


def _strength(strengths: list[Strength], index: int) -> Strength:
    return strengths[index] if index < len(strengths) else Strength.HEADING
