"""The tokens of a few words by byte-pair merging, straight from a vocabulary's file: `tokenizers` takes three times as
long to read it, which a single question would wait for.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path


class Merges:
    """A byte-pair vocabulary that spells what it has no token for in bytes.

    Args:
        path: a `tokenizer.json` of that kind; ValueError or KeyError where it is another.
    """

    def __init__(self, path: Path) -> None:
        model = json.loads(path.read_bytes())["model"]
        if model["type"] != "BPE" or not model["byte_fallback"]:
            raise ValueError(f"{path.name} is another kind of vocabulary")
        self._ids: dict[str, int] = model["vocab"]
        # Older files join the pairs, newer ones have them as lists.
        pairs = (pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"])
        self._ranks: dict[str, int] = {pair: rank for rank, pair in enumerate(pairs)}

    def tokens(self, word: str) -> list[int]:
        """Of a word as the vocabulary spells it. Takes time that grows with the square of its length."""
        parts = list(word)
        while len(parts) > 1:
            ranks = [self._ranks.get(f"{left} {right}", len(self._ranks)) for left, right in pairwise(parts)]
            best = min(ranks)
            if best == len(self._ranks):
                break
            at = ranks.index(best)
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return [token for part in parts for token in self._of_part(part)]

    def _of_part(self, part: str) -> list[int]:
        if part in self._ids:
            return [self._ids[part]]
        return [self._ids[f"<0x{byte:02X}>"] for byte in part.encode("utf-8", "replace")]
