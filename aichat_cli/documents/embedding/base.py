"""What every embedding model offers, and what is known of its similarities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix: TypeAlias = NDArray[np.float32]
    """Rows of L2-normalised vectors, shape (n, dimensions)."""
else:
    Matrix = None  # importing numpy is for those who compute


class Embedder(Protocol):
    """An embedding model. One for one thread at a time.

    Attributes:
        name: what a collection records, such as `wordllama-256`; another name is another space.
        dimensions: of its vectors.
        relevance: what the best hit of an answerable question reaches by its cosine and, for a smaller part, by the share
            of the query's words that it holds; below it nothing is relevant. 0 where that is not known.
        batch: how many texts are best handed over together.
        is_slow: whether it pays to look for a vector that an equal text has already.
    """

    @property
    def name(self) -> str: ...

    @property
    def dimensions(self) -> int: ...

    @property
    def relevance(self) -> float: ...

    @property
    def batch(self) -> int: ...

    @property
    def is_slow(self) -> bool: ...

    def cost_nano(self, tokens: int) -> int | None:
        """What embedding so many tokens costs, in nano-dollars: 0 for a local model, None where the price is unknown."""
        ...

    def embed(self, texts: Sequence[str], *, is_query: bool = False) -> Matrix:
        """One row for each text. A text without a word it knows has a row of zeros, never NaN.

        Raises:
            EmbeddingError: the model is not here or does not run.
            AichatError: of a provider, for a model behind an API.
        """
        ...
