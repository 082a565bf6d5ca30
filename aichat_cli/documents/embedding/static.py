"""WordLlama's static vectors: the mean of a text's token vectors. No inference, no network, megabytes a second.

Only the vocabulary and the weights of the `wordllama` wheel are read: its own loader looks in the wrong folder, then
on the network, and its loop is ten times slower.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

from aichat_cli.core.errors import EmbeddingError
from aichat_cli.documents.embedding.base import Matrix

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
_WORDS_AT_ONCE = 128
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
        self._words: _WordTokens | None = None
        self._weights: Matrix | None = None

    def cost_nano(self, tokens: int) -> int:  # noqa: ARG002 (whatever they are, it is free)
        """Nothing."""
        return 0

    def embed(self, texts: Sequence[str], *, is_query: bool = False) -> Matrix:  # noqa: ARG002 (one space for both)
        """One row for each text; raises EmbeddingError where the files are not there or damaged."""
        import numpy as np

        words, weights = self._loaded()
        if len(texts) > _FEW:
            weights = self._weights = weights.astype(np.float32, copy=False)
        rows = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        for row, tokens in zip(rows, words.of(texts), strict=True):
            if tokens:
                ids = np.frombuffer(tokens, dtype=np.int32)
                weights[ids].astype(np.float32, copy=False).mean(axis=0, out=row)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        np.divide(rows, norms, out=rows, where=norms > 0)
        return rows

    def _loaded(self) -> tuple[_WordTokens, Matrix]:
        if self._weights is None or self._words is None:
            try:
                self._words = _WordTokens(self._folder / _VOCABULARY)
                self._weights = _weights(self._folder / _WEIGHTS)
            except Exception as exc:  # tokenizers raises bare Exceptions for a damaged file
                raise EmbeddingError(
                    f"The embedding model {NAME} cannot be read from {self._folder}: {exc}.", hint=_HINT
                ) from exc
        return self._words, self._weights


class _WordTokens:
    """The tokens of texts, each word looked up once: the tokenizer alone takes five times as long.

    That gives what it gives for a whole text, since no token goes on from a word into the blank after it.

    Args:
        path: of the vocabulary.
    """

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer
        from tokenizers.normalizers import Sequence as Normalizers

        self._vocabulary = Tokenizer.from_file(str(path))
        # What it would do to a text is done below.
        self._vocabulary.normalizer = Normalizers([])
        self._between: int = self._vocabulary.token_to_id(f"<0x{ord(_BETWEEN):02X}>")
        self._known: dict[str, bytes] = {}
        self._known_chars = 0

    def of(self, texts: Sequence[str]) -> list[bytes]:
        """The tokens of each text, int32 one after the other."""
        if self._known_chars > _MOST_KNOWN_CHARS:
            self._known, self._known_chars = {}, 0
        words = [_words(text) for text in texts]
        self._look_up(list(set(chain.from_iterable(words)).difference(self._known)))
        return [b"".join(map(self._known.__getitem__, of_text)) for of_text in words]

    def _look_up(self, words: Sequence[str]) -> None:
        """Many at once, in one text: it takes longer to begin one than to go through one."""
        groups = [words[start : start + _WORDS_AT_ONCE] for start in range(0, len(words), _WORDS_AT_ONCE)]
        texts = [_BETWEEN.join([_spelled(word) for word in group]) for group in groups]
        encodings = self._vocabulary.encode_batch_fast(texts, add_special_tokens=False)
        for group, encoding in zip(groups, encodings, strict=True):
            start, tokens = 0, array("i", [*encoding.ids, self._between])
            for word in group:
                end = tokens.index(self._between, start)
                self._known[word] = tokens[start:end].tobytes()
                start = end + 1
        self._known_chars += sum(map(len, words))


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
