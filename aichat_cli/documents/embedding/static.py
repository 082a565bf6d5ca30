"""WordLlama's static vectors: the mean of a text's token vectors. No inference, no network, megabytes a second.

Only the vocabulary and the weights of the `wordllama` wheel are read: its own loader looks in the wrong folder, then
on the network, and its loop is ten times slower.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

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
        self._vocabulary: Any = None
        self._weights: Matrix | None = None

    def cost_nano(self, tokens: int) -> int:  # noqa: ARG002 (whatever they are, it is free)
        """Nothing."""
        return 0

    def embed(self, texts: Sequence[str], *, is_query: bool = False) -> Matrix:  # noqa: ARG002 (one space for both)
        """One row for each text; raises EmbeddingError where the files are not there or damaged."""
        import numpy as np

        vocabulary, weights = self._loaded()
        if len(texts) > _FEW:
            weights = self._weights = weights.astype(np.float32, copy=False)
        rows = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        for row, encoding in zip(
            rows, vocabulary.encode_batch_fast(list(texts), add_special_tokens=False), strict=True
        ):
            if ids := encoding.ids:
                weights[ids].astype(np.float32, copy=False).mean(axis=0, out=row)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        np.divide(rows, norms, out=rows, where=norms > 0)
        return rows

    def _loaded(self) -> tuple[Any, Matrix]:
        if self._weights is None:
            try:
                from tokenizers import Tokenizer

                self._vocabulary = Tokenizer.from_file(str(self._folder / _VOCABULARY))
                self._weights = _weights(self._folder / _WEIGHTS)
            except Exception as exc:  # tokenizers raises bare Exceptions for a damaged file
                raise EmbeddingError(
                    f"The embedding model {NAME} cannot be read from {self._folder}: {exc}.", hint=_HINT
                ) from exc
        return self._vocabulary, self._weights


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
