"""Embedding models behind an API, with admission, retries and a row of usage for every call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aichat_cli.billing.admission import admit
from aichat_cli.billing.charges import embedding_price, embedding_usage
from aichat_cli.core.messages import Status
from aichat_cli.core.models import Model
from aichat_cli.core.money import TokenUsage
from aichat_cli.core.secret import Secret
from aichat_cli.core.usage import UsageRecord
from aichat_cli.documents.embedding.api import ApiEmbedder, ApiModel
from aichat_cli.documents.embedding.calls import CallResult
from aichat_cli.providers.base import Timeouts
from aichat_cli.providers.embeddings import EmbeddingClient, EmbeddingRequest, EmbeddingResponse, batch_limits
from aichat_cli.providers.retry import RetryPolicy, attempts
from aichat_cli.providers.tokens import tokenizer


@dataclass(frozen=True, slots=True)
class Access:
    """How a provider is called: with which key, how patiently, how often."""

    key: Secret | None
    timeouts: Timeouts
    retry: RetryPolicy


def api_embedder(model: Model, access: Access, record: Callable[[UsageRecord], None]) -> ApiEmbedder:
    """The embedder of a model that the registry resolved. Nothing is sent until it embeds."""
    limits = batch_limits(model)
    known = ApiModel(
        name=model.name,
        dimensions=model.dimensions,
        most_text_tokens=model.context_tokens,
        batch_texts=limits.texts,
        batch_tokens=limits.tokens,
    )
    return ApiEmbedder(
        known,
        lambda: _Call(model, access),
        tokenizer().count,
        record,
        lambda tokens: embedding_price(model, tokens),
    )


class _Call:
    """The calls of one thread."""

    def __init__(self, model: Model, access: Access) -> None:
        self._model = model
        self._access = access
        self._client = EmbeddingClient()

    def __call__(self, texts: Sequence[str], *, is_query: bool, stop: threading.Event) -> CallResult:
        access = self._access
        request = EmbeddingRequest(self._model, tuple(texts), access.key, access.timeouts, is_query)
        rows: list[UsageRecord] = []
        response: EmbeddingResponse | None = None
        error = None
        for attempt in attempts(lambda: self._client.attempt(request), access.retry, sleep=stop.wait):
            response, error = attempt.response, attempt.error
            if attempt.is_billed:
                rows.append(self._usage(texts, response, "complete" if response else "failed"))
        return CallResult(response.vectors if response else (), error, tuple(rows))

    def abandoned(self, texts: Sequence[str]) -> UsageRecord:
        return self._usage(texts, None, "stopped")

    def close(self) -> None:
        self._client.close()

    def _usage(self, texts: Sequence[str], response: EmbeddingResponse | None, status: Status) -> UsageRecord:
        """The provider's count, or ours where it gave none."""
        counted = response.tokens if response else None
        return embedding_usage(
            admit(self._model),
            self._model,
            counted or TokenUsage(sum(map(tokenizer().count, texts)), 0),
            is_estimate=counted is None,
            served_model=response.served_model if response else None,
            status=status,
        )
