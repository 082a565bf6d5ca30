"""all-MiniLM-L6-v2, a small sentence model: it ranks the best hits again, and can be a collection's own model.

It runs in numpy, from the float32 weights as they were published; nothing is converted, nothing fetched here.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from aichat_cli.core.errors import EmbeddingError
from aichat_cli.core.interrupts import leave_signals_to_the_main_thread
from aichat_cli.core.struct import Struct
from aichat_cli.documents.embedding.base import Matrix
from aichat_cli.documents.embedding.bert import Bert

NAME = "all-MiniLM-L6-v2"
DIMENSIONS = 384
RELEVANCE = 0.52
"""Calibrated on questions that a collection answers and questions of another field."""
WEIGHTS = f"{NAME}.safetensors"
VOCABULARY = f"{NAME}.tokenizer.json"
_LAYERS = 6
_LONGEST = 256
"""Word pieces, the two around them included: what is beyond is not read, as the model was published."""
_HINT = "Run: aichat models pull minilm"


class _Loaded(Struct, frozen=True):
    vocabulary: Any
    encoder: Bert
    unknown: int | None


class MiniLM:
    """The model, loaded on first use. Threads may share it.

    Args:
        folder: the models folder, where its files are.
        threads: how many texts are embedded at the same time.

    Raises:
        EmbeddingError: its files are not there.
    """

    name = NAME
    dimensions = DIMENSIONS
    relevance = RELEVANCE
    batch = 32
    is_slow = True

    def __init__(self, folder: Path, *, threads: int) -> None:
        if not is_installed(folder):
            raise EmbeddingError(f"The embedding model {NAME} is not in {folder}.", hint=_HINT)
        self._folder = folder
        self._threads = threads
        self._loaded: _Loaded | None = None

    def cost_nano(self, tokens: int) -> int:  # noqa: ARG002 (whatever they are, it is free)
        """Nothing."""
        return 0

    def embed(self, texts: Sequence[str], *, is_query: bool = False) -> Matrix:  # noqa: ARG002 (one space for both)
        """One row for each text; raises EmbeddingError where the files are not there or damaged."""
        import numpy as np

        loaded = self._load()
        rows = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        encodings = loaded.vocabulary.encode_batch_fast([_encodable(text) for text in texts])
        ids = [encoding.ids for encoding in encodings]
        # The longest first: threads that share the texts end together.
        known = sorted((row for row in range(len(ids)) if _has_words(ids[row], loaded)), key=lambda row: -len(ids[row]))
        if known:
            vectors = self._vectors(loaded.encoder, [ids[row] for row in known])
            if not np.isfinite(vectors).all():
                raise _unreadable(self._folder, "its weights are damaged")
            rows[known] = vectors
        return rows

    def _vectors(self, encoder: Bert, texts: Sequence[Sequence[int]]) -> Matrix:
        import numpy as np

        if self._threads == 1 or len(texts) == 1:
            return np.stack([_vector(encoder, ids) for ids in texts])
        pool = ThreadPoolExecutor(min(self._threads, len(texts)), initializer=leave_signals_to_the_main_thread)
        try:
            return np.stack(list(pool.map(lambda ids: _vector(encoder, ids), texts)))
        finally:
            pool.shutdown(cancel_futures=True)

    def _load(self) -> _Loaded:
        if self._loaded is None:
            try:
                self._loaded = _loaded(self._folder)
            except Exception as exc:  # tokenizers raises bare Exceptions for a damaged file
                raise _unreadable(self._folder, str(exc)) from exc
        return self._loaded


def is_installed(folder: Path) -> bool:
    """Whether its files are in the models folder, without reading them."""
    return (folder / WEIGHTS).is_file() and (folder / VOCABULARY).is_file()


def _loaded(folder: Path) -> _Loaded:
    from tokenizers import Tokenizer

    from aichat_cli.documents.embedding.tensors import float32_tensors

    _multiply_in_one_thread()
    encoder = Bert(float32_tensors(folder / WEIGHTS), layers=_LAYERS, dimensions=DIMENSIONS)
    vocabulary = Tokenizer.from_str((folder / VOCABULARY).read_text(encoding="utf-8"))
    vocabulary.no_padding()
    vocabulary.enable_truncation(_LONGEST)
    return _Loaded(vocabulary, encoder, vocabulary.token_to_id("[UNK]"))


def _multiply_in_one_thread() -> None:
    """OpenBLAS would share each product among all cores and spin for its threads: on a busy machine, ten times slower.

    Texts are shared among threads instead. For the rest of the process: a count that is put back would meet another
    thread that embeds. Where numpy has another BLAS there is no such function.
    """
    import ctypes
    from importlib.util import find_spec

    extension = find_spec("numpy._core._multiarray_umath")
    if extension is None or extension.origin is None:
        return
    library = ctypes.CDLL(extension.origin)  # where functions of the BLAS are found that it was linked with
    for prefix, suffix in (("scipy_", "64_"), ("scipy_", ""), ("", "64_"), ("", "")):
        if set_threads := getattr(library, f"{prefix}openblas_set_num_threads{suffix}", None):
            set_threads(1)
            return


def _vector(encoder: Bert, ids: Sequence[int]) -> Matrix:
    """The mean of a text's tokens, of unit length."""
    import numpy as np

    mean: Matrix = encoder.states(ids).mean(axis=0)
    return mean / np.linalg.norm(mean)


def _has_words(ids: Sequence[int], loaded: _Loaded) -> bool:
    """Whether anything but the marks of beginning and end and unknown signs is there."""
    return any(word != loaded.unknown for word in ids[1:-1])


def _encodable(text: str) -> str:
    """Half characters (lone surrogates) cannot be handed to the tokenizer."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _unreadable(folder: Path, reason: str) -> EmbeddingError:
    return EmbeddingError(f"The embedding model {NAME} cannot be read from {folder}: {reason}.", hint=_HINT)
