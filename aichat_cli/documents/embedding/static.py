"""WordLlama's static vectors: the mean of a text's token vectors. No inference, no network, megabytes a second.

Only the vocabulary and the weights of the `wordllama` wheel are read: its own loader looks in the wrong folder, then
on the network, and its loop is ten times slower.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

from aichat_cli.core.errors import EmbeddingError
from aichat_cli.documents.embedding.base import Matrix
from aichat_cli.documents.embedding.merging import Merges

NAME = "wordllama-256"
DIMENSIONS = 256
RELEVANCE = 0.58
"""Calibrated on questions that a collection answers and questions of another field."""
_VOCABULARY = Path("tokenizers") / "l2_supercat_tokenizer_config.json"
_WEIGHTS = Path("weights") / "l2_supercat_256.safetensors"
_FEW = 8
"""So many texts do not repay making all of the weights float32, which takes longer than a question does."""
_BLANK = "\N{LOWER ONE EIGHTH BLOCK}"
"""What stands for a blank in the vocabulary."""
_WORD = re.compile(r" +[^ \n]*|\n[^ \n]*")
_BETWEEN = "\0"
"""Parts the words that are looked up together; in a word it is left out."""
_WORDS_AT_ONCE = 128
_FEW_CHARS = 500
"""So many characters of words do not repay loading the tokenizer."""
_MOST_KNOWN_CHARS = 1_000_000
"""Of words whose tokens are remembered: about 30 MB."""
_HINT = "Run: pip install --force-reinstall wordllama"


class StaticEmbedder:
    """WordLlama, loaded on first use.

    Args:
        folder: where the package's files are; found by itself.
    """

    name = NAME
    dimensions = DIMENSIONS
    relevance = RELEVANCE
    batch = 512
    is_slow = False

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or _package_folder()
        self._words = _WordTokens(self._folder / _VOCABULARY)
        self._weights: Matrix | None = None

    def cost_nano(self, tokens: int) -> int:  # noqa: ARG002 (whatever they are, it is free)
        """Nothing."""
        return 0

    def embed(self, texts: Sequence[str], *, is_query: bool = False) -> Matrix:  # noqa: ARG002 (one space for both)
        """One row for each text; raises EmbeddingError where the files are not there or damaged."""
        import numpy as np

        tokens, weights = self._read(texts)
        rows = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        for row, of_text in zip(rows, tokens, strict=True):
            if of_text:
                ids = np.frombuffer(of_text, dtype=np.int32)
                weights[ids].astype(np.float32, copy=False).mean(axis=0, out=row)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        np.divide(rows, norms, out=rows, where=norms > 0)
        return rows

    def _read(self, texts: Sequence[str]) -> tuple[list[bytes], Matrix]:
        """The tokens of each text and the vectors of all tokens."""
        try:
            if self._weights is None:
                self._weights = _weights(self._folder / _WEIGHTS)
            if len(texts) > _FEW:
                self._weights = self._weights.astype("float32", copy=False)
            return self._words.of(texts), self._weights
        except Exception as exc:  # tokenizers raises bare Exceptions for a damaged file
            raise EmbeddingError(
                f"The embedding model {NAME} cannot be read from {self._folder}: {exc}.", hint=_HINT
            ) from exc


class _WordTokens:
    """The tokens of texts, each word looked up once: the tokenizer alone takes five times as long.

    That gives what it gives for a whole text, since no token goes on from a word into the blank after it.

    Args:
        path: of the vocabulary, which is read on first use.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._merges: Merges | None = None
        self._tokenizer: Any = None
        self._known: dict[str, bytes] = {}
        self._known_chars = 0

    def of(self, texts: Sequence[str]) -> list[bytes]:
        """The tokens of each text, int32 one after the other."""
        if self._known_chars > _MOST_KNOWN_CHARS:
            self._known, self._known_chars = {}, 0
        known = self._known
        words = [_words(text) for text in texts]
        unknown = list(set(chain.from_iterable(words)).difference(known))
        known.update(zip(unknown, self._looked_up(unknown), strict=True))
        self._known_chars += sum(map(len, unknown))
        return [b"".join(map(known.__getitem__, of_text)) for of_text in words]

    def _looked_up(self, words: Sequence[str]) -> Iterable[bytes]:
        spelled = [_spelled(word) for word in words]
        if self._tokenizer is None and sum(map(len, spelled)) <= _FEW_CHARS:
            merges = self._merges = self._merges or Merges(self._path)
            return [array("i", merges.tokens(word)).tobytes() for word in spelled]
        return self._by_tokenizer(spelled)

    def _by_tokenizer(self, spelled: Sequence[str]) -> Iterator[bytes]:
        """Many at once, as one text: it takes longer to begin one than to go through it."""
        if self._tokenizer is None:
            from tokenizers import Tokenizer

            # The model alone: what else is done to a text is done to the words, or not wanted.
            self._tokenizer = Tokenizer(Tokenizer.from_file(str(self._path)).model)
            self._merges = None
        between = self._tokenizer.token_to_id(f"<0x{ord(_BETWEEN):02X}>")
        groups = [spelled[start : start + _WORDS_AT_ONCE] for start in range(0, len(spelled), _WORDS_AT_ONCE)]
        texts = [_BETWEEN.join(group) for group in groups]
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        for group, encoding in zip(groups, encodings, strict=True):
            start, tokens = 0, array("i", [*encoding.ids, between])
            for _ in group:
                end = tokens.index(between, start)
                yield tokens[start:end].tobytes()
                start = end + 1


def _words(text: str) -> list[str]:
    """The words of a text, without the blank before each; at the beginning of a line with the line end."""
    if not text:
        return []
    # A blank comes before a text, and before each line end here, so that a word that begins with neither has one.
    spaced = " " + text.replace("\n", " \n")
    if "  " not in spaced:
        return spaced[1:].split(" ")
    return [word[1:] if word[0] == " " else word for word in _WORD.findall(f" {text}")]


def _spelled(word: str) -> str:
    spelled = word if word.startswith("\n") else f" {word}"
    return spelled.replace(" ", _BLANK).replace(_BETWEEN, "")


def is_installed() -> bool:
    """Whether its files are here, without reading them."""
    try:
        folder = _package_folder()
    except EmbeddingError:
        return False
    return (folder / _VOCABULARY).is_file() and (folder / _WEIGHTS).is_file()


def _package_folder() -> Path:
    spec = find_spec("wordllama")
    if spec is None or spec.origin is None:
        raise EmbeddingError(f"The embedding model {NAME} is not installed.", hint="Run: pip install wordllama")
    return Path(spec.origin).parent


def _weights(path: Path) -> Matrix:
    """The one matrix of a safetensors file: a length, a JSON header, the numbers."""
    import numpy as np

    content = path.read_bytes()
    header_bytes = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + header_bytes])
    [tensor] = [value for name, value in header.items() if name != "__metadata__"]
    begin, end = tensor["data_offsets"]
    rows, columns = tensor["shape"]
    if tensor["dtype"] != "F16" or columns != DIMENSIONS or end - begin != rows * columns * 2:
        raise ValueError(f"{path.name} holds something else")
    values = np.frombuffer(content, dtype="<f2", count=rows * columns, offset=8 + header_bytes + begin)
    return values.reshape(rows, columns)
