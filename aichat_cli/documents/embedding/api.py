"""Embedding models behind an API: what goes into one call, and whether what came back are vectors of this model.

How a call is made, paid and tried again comes from outside; nothing here knows a provider.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from aichat_cli.core.errors import EmbeddingError
from aichat_cli.core.struct import Struct
from aichat_cli.core.usage import UsageRecord
from aichat_cli.documents.embedding.base import Matrix
from aichat_cli.documents.embedding.calls import EmbeddingCall, Round

CONCURRENT_CALLS = 4
UNKNOWN_RELEVANCE = 0.0
"""Of a model whose similarities were never measured: every best hit is shown."""
_RELEVANCE = {"text-embedding-3-small": 0.3, "text-embedding-3-large": 0.3, "text-embedding-ada-002": 0.76}
_BYTES_PER_NUMBER = 4
_MOST_TEXTS_AT_ONCE = 2048


class ApiModel(Struct, frozen=True):
    """What is known of the model.

    Attributes:
        name: what a collection records.
        dimensions: None where only a first call will tell.
        most_text_tokens: of one text, None where unknown.
        batch_texts, batch_tokens: the most of one call.
    """

    name: str
    dimensions: int | None
    most_text_tokens: int | None
    batch_texts: int
    batch_tokens: int


class ApiEmbedder:
    """An `Embedder` that calls an API.

    Args:
        connect: gives the calls of one more thread.
        count: tokens of a text, to fill batches by.
        record: keeps a row of usage; called in the thread that calls `embed`.
        price: nano-dollars for so many tokens, None where nobody knows.
    """

    def __init__(
        self,
        model: ApiModel,
        connect: Callable[[], EmbeddingCall],
        count: Callable[[str], int],
        record: Callable[[UsageRecord], None],
        price: Callable[[int], int | None] = lambda _: None,
    ) -> None:
        self.name = model.name
        self.relevance = _RELEVANCE.get(model.name, UNKNOWN_RELEVANCE)
        self.batch = min(model.batch_texts * CONCURRENT_CALLS, _MOST_TEXTS_AT_ONCE)
        self._model = model
        self._dimensions = model.dimensions
        self._connect = connect
        self._count = count
        self._record = record
        self._price = price
        self._calls: list[EmbeddingCall] = []

    @property
    def is_slow(self) -> bool:
        """It is slow, and paid for: a vector that is there already is not made again."""
        return True

    def cost_nano(self, tokens: int) -> int | None:
        """Nano-dollars for so many tokens, None where the price is unknown."""
        return self._price(tokens)

    @property
    def dimensions(self) -> int:
        """Of its vectors; where nobody knows them, one word is embedded to see."""
        if self._dimensions is None:
            self.embed(["dimensions"])
        assert self._dimensions is not None
        return self._dimensions

    def embed(self, texts: Sequence[str], *, is_query: bool = False) -> Matrix:
        """One row for each text; a blank text is not sent and has a row of zeros.

        Raises:
            EmbeddingError: a text is too long, or what came back are not this model's vectors.
            AichatError: of the provider; what was billed until then is recorded.
        """
        import numpy as np

        sent = [index for index, text in enumerate(texts) if text.strip()]
        batches = [[texts[index] for index in batch] for batch in self._batches(texts, sent)]
        answers = self._answers(batches, is_query=is_query)
        vectors = [vector for answer in answers for vector in answer]
        rows = np.zeros((len(texts), self._dimensions or self.dimensions), dtype=np.float32)
        if vectors:
            rows[sent] = np.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(vectors), -1)
        if not np.isfinite(rows).all():
            raise EmbeddingError(f"{self.name} answered with vectors that hold something else than numbers.")
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        np.divide(rows, norms, out=rows, where=norms > 0)
        return rows

    def close(self) -> None:
        """Close its connections."""
        calls, self._calls = self._calls, []
        for call in calls:
            call.close()

    def _answers(self, batches: list[list[str]], *, is_query: bool) -> list[tuple[bytes, ...]]:
        while len(self._calls) < min(len(batches), CONCURRENT_CALLS):
            self._calls.append(self._connect())
        try:
            return Round(self._calls, batches, self._record, self._check, is_query=is_query).run()
        except BaseException:
            self.close()  # a thread may still use one of them
            raise

    def _batches(self, texts: Sequence[str], sent: Sequence[int]) -> Iterator[list[int]]:
        batch: list[int] = []
        tokens = 0
        for index in sent:
            of_text = self._tokens(texts[index])
            if batch and (len(batch) >= self._model.batch_texts or tokens + of_text > self._model.batch_tokens):
                yield batch
                batch, tokens = [], 0
            batch.append(index)
            tokens += of_text
        if batch:
            yield batch

    def _tokens(self, text: str) -> int:
        tokens = self._count(text)
        most = self._model.most_text_tokens
        if most is not None and tokens > most:
            raise EmbeddingError(
                f"A text of {tokens} tokens is more than {self.name} takes, which is {most}.",
                hint=f"Use smaller chunks: aichat config set documents.chunk_tokens {max(32, most // 2)}",
            )
        return tokens

    def _check(self, batch: Sequence[str], vectors: Sequence[bytes]) -> None:
        """There are as many vectors as texts, and each has the model's dimensions."""
        if len(vectors) != len(batch):
            raise EmbeddingError(f"{self.name} answered {len(batch)} texts with {len(vectors)} vectors.")
        if self._dimensions is None and vectors and vectors[0]:
            self._dimensions = len(vectors[0]) // _BYTES_PER_NUMBER
        for vector in vectors:
            if len(vector) != (self._dimensions or 0) * _BYTES_PER_NUMBER or not vector:
                raise EmbeddingError(
                    f"{self.name} answered with vectors of {len(vector) // _BYTES_PER_NUMBER} dimensions,"
                    f" not {self._dimensions or 'any'}. Nothing was changed.",
                    hint="Check that its endpoint serves this model",
                )
