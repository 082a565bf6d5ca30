"""A document's text in chunks: contiguous, lossless, deterministic, none over the limit.

Paragraphs are counted one by one, each exactly, and packed; only what is over is split further, at lines, sentences,
words and at last characters. Where the counts do not simply add up, the chunk is counted again as a whole. So ordinary
text is encoded once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence

from aichat_cli.core.documents import Chunk, LoadedDocument
from aichat_cli.documents.chunking import boundaries
from aichat_cli.documents.chunking.boundaries import Strength
from aichat_cli.documents.chunking.outline import Outline
from aichat_cli.documents.chunking.packing import Atom, pack, regions
from aichat_cli.documents.chunking.tokenizer import Tokenizer

LEAST_TOKENS = 16
"""Less is no limit for a chunk: one character can be several tokens."""
_CHARS_PER_TOKEN = 4
"""A piece with more than that for each token allowed is hardly within the limit: it is cut without being counted."""

_Cuts = Callable[[str, int, int], list[int]]


def split(document: LoadedDocument, *, max_tokens: int, tokenizer: Tokenizer) -> list[Chunk]:
    """The chunks of a document, which joined are its text; none where there is only blank space.

    Args:
        max_tokens: of a chunk, counted by the tokenizer; at least `LEAST_TOKENS`.
    """
    if max_tokens < LEAST_TOKENS:
        raise ValueError(f"a chunk has at least {LEAST_TOKENS} tokens")
    if not document.text or document.text.isspace():
        return []
    outline = Outline(document)
    return [
        outline.chunk(start, end, tokens) for start, end, tokens in _Splitter(document, max_tokens, tokenizer).spans()
    ]


class _Splitter:
    """One document being split."""

    def __init__(self, document: LoadedDocument, max_tokens: int, tokenizer: Tokenizer) -> None:
        self._document = document
        self._text = document.text
        self._max = max_tokens
        self._tokenizer = tokenizer
        self._limit = max_tokens - 2 - max_tokens // 64
        """For sums of counts that are not exact."""
        self._grain = max(1, max_tokens // 16)
        """Tokens of an atom where a text can be cut at any word."""
        self._fences = boundaries.fences(document)
        self._levels = _levels(document, self._fences)
        self._titles = {heading.start: len(heading.text) for heading in document.headings}

    def spans(self) -> Iterator[tuple[int, int, int]]:
        """Start, end and tokens of each chunk."""
        for region in regions(list(self._blocks()), self._max):
            for atoms in self._packed(region):
                yield from self._verified(atoms)

    def _blocks(self) -> Iterator[Atom]:
        text = self._text
        cuts = boundaries.block_starts(self._document, self._fences, self._max // 2)
        start, strength = 0, Strength.HEADING
        for end in [*cuts, len(text)]:
            yield from self._atoms(start, end, strength, 0)
            start = end
            if end in self._titles:
                strength = Strength.HEADING
            elif end < len(text) and (text[end].isspace() or text[end] in ")]}"):
                strength = Strength.BLOCK
            else:
                strength = Strength.TOP_BLOCK

    def _packed(self, region: Sequence[Atom]) -> list[Sequence[Atom]]:
        """The region in chunks. Where one is dust beside a large atom, that is cut up to share with it."""
        chunks = list(pack(region, self._cap(region)))
        dust = [index for index, atoms in enumerate(chunks) if sum(atom.tokens for atom in atoms) < self._max // 8]
        if not dust or len(chunks) == 1:
            return chunks
        beside = {index + 1 if index + 1 < len(chunks) else index - 1 for index in dust}
        finer: list[Atom] = []
        for index, atoms in enumerate(chunks):
            for atom in atoms:
                if index in beside and atom.tokens > self._max // 3:
                    finer += self._cut_up(atom.start, atom.end, atom.strength, 0)
                else:
                    finer.append(atom)
        return list(pack(finer, self._cap(finer)))

    def _cap(self, atoms: Sequence[Atom]) -> int:
        return self._max if all(atom.is_exact for atom in atoms) else self._limit

    def _atoms(self, start: int, end: int, strength: Strength, level: int) -> Iterator[Atom]:
        """A piece as an atom if it is within the limit, else as what it can be cut into from this level on."""
        if end - start <= self._max * _CHARS_PER_TOKEN:
            tokens = self._tokenizer.count(self._text[self._seam(start) : self._seam(end)])
            if tokens <= self._max:
                title = self._titles.get(start)
                is_title = title is not None and end - start <= 2 * title + 16
                yield Atom(start, end, tokens, strength, is_title=is_title)
                return
        yield from self._cut_up(start, end, strength, level)

    def _cut_up(self, start: int, end: int, strength: Strength, level: int) -> Iterator[Atom]:
        for position in range(level, len(self._levels)):
            find_cuts, inner_strength = self._levels[position]
            if cuts := find_cuts(self._text, start, end):
                for inner_start, inner_end in self._pieces(start, cuts, end):
                    inner = strength if inner_start == start else inner_strength
                    yield from self._atoms(inner_start, inner_end, inner, position + 1)
                return
        yield from self._run(start, end, strength)

    def _pieces(self, start: int, cuts: Sequence[int], end: int) -> Iterator[tuple[int, int]]:
        """The spans between the cuts, short ones taken together."""
        # A character of some scripts is three tokens.
        least = self._max // (2 if self._text[start:end].isascii() else 8)
        before = start
        for cut in (*cuts, end):
            if cut - before >= least and before > start:
                yield start, before
                start = before
            if cut - start >= least:
                yield start, cut
                start = cut
            before = cut
        if start < end:
            yield start, end

    def _run(self, start: int, end: int, strength: Strength) -> Iterator[Atom]:
        """Atoms of a run that has neither lines nor sentences: words, or of a word too long pieces of it."""
        text = self._text
        ends = self._tokenizer.ends(text[start:end])
        done, offset = 0, start
        while offset < end:
            target = min(start + ends[min(done + self._grain, len(ends)) - 1], end)
            cut, next_strength = self._cut(offset, target, end)
            upto = bisect_right(ends, cut - start)
            yield Atom(offset, cut, max(1, upto - done), strength, is_exact=False)
            offset, done, strength = cut, upto, next_strength

    def _cut(self, offset: int, target: int, end: int) -> tuple[int, Strength]:
        if target >= end:
            return end, Strength.WORD
        if (cut := boundaries.word(self._text, offset, target, end)) is not None:
            return cut, Strength.WORD
        return boundaries.character(self._text, offset, max(target, offset + 1), end), Strength.CHARACTER

    def _seam(self, cut: int) -> int:
        """Where the counts on both sides of a cut add up: before a single blank, which a token takes with its word."""
        text = self._text
        if cut > 1 and text[cut - 1] == " " and not text[cut - 2].isspace():
            return cut - 1
        return cut

    def _verified(self, atoms: Sequence[Atom]) -> Iterator[tuple[int, int, int]]:
        """The chunk that the atoms make, or, where it is over after all, its halves."""
        start, end = atoms[0].start, atoms[-1].end
        tokens = self._tokens(atoms)
        if tokens <= self._max:
            yield start, end, tokens
        elif len(atoms) > 1:
            yield from self._verified(atoms[: len(atoms) // 2])
            yield from self._verified(atoms[len(atoms) // 2 :])
        else:
            yield from self._halves(start, end)

    def _tokens(self, atoms: Sequence[Atom]) -> int:
        """Of the text that the atoms make: the sum of theirs, but for blanks at its ends; else counted as a whole."""
        first, end = atoms[0], atoms[-1].end
        if not all(atom.is_exact for atom in atoms) or not all(self._adds_up(atom.start) for atom in atoms[1:]):
            return self._tokenizer.count(self._text[first.start : end])
        tokens = sum(atom.tokens for atom in atoms)
        if self._seam(first.start) < first.start:
            tokens += self._tokenizer.count(self._text[first.start : self._seam(first.end)]) - first.tokens
        if self._seam(end) < end:
            tokens += self._tokenizer.count(self._text[end - 1 : end])
        return tokens

    def _adds_up(self, cut: int) -> bool:
        """Whether the counts on both sides of a cut are those of the text they make."""
        before, after = self._text[cut - 1], self._text[cut]
        return (before == "\n" and after not in "/\r\n") or (self._seam(cut) < cut and not after.isspace())

    def _halves(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        tokens = self._tokenizer.count(self._text[start:end])
        if tokens <= self._max or end - start == 1:
            yield start, end, tokens
            return
        middle = boundaries.character(self._text, start, (start + end) // 2, end)
        yield from self._halves(start, middle)
        yield from self._halves(middle, end)


def _levels(document: LoadedDocument, fences: Sequence[range]) -> list[tuple[_Cuts, Strength]]:
    """What pieces that are too large are cut at, one after the other."""
    if document.kind == "code":
        return [
            (boundaries.top_lines, Strength.BLOCK),
            (boundaries.lines, Strength.ITEM),
            (boundaries.sentences, Strength.SENTENCE),
        ]
    if document.kind == "table":
        return [(boundaries.lines, Strength.ITEM), (boundaries.sentences, Strength.SENTENCE)]
    edges = sorted({edge for fence in fences for edge in (fence.start, fence.stop)})

    def fence_edges(_text: str, start: int, end: int) -> list[int]:
        return [edge for edge in edges[bisect_right(edges, start) :] if edge < end] if edges else []

    return [
        (fence_edges, Strength.BLOCK),
        (boundaries.blank_lines, Strength.BLOCK),
        (boundaries.items, Strength.ITEM),
        (boundaries.sentences, Strength.SENTENCE),
        (boundaries.lines, Strength.LINE),
    ]
