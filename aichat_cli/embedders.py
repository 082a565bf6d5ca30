"""Embedding models behind an API, with admission, retries and a row of usage for every call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from aichat_cli.billing.admission import admit
from aichat_cli.billing.charges import embedding_price, embedding_usage
from aichat_cli.billing.estimates import Call
from aichat_cli.billing.limits import Limits
from aichat_cli.core.errors import AichatError
from aichat_cli.core.ids import RequestId, new_id
from aichat_cli.core.messages import Status
from aichat_cli.core.models import GATEWAY, Model
from aichat_cli.core.money import TokenUsage
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import Struct
from aichat_cli.core.usage import UsageRecord
from aichat_cli.documents.embedding.api import ApiEmbedder, ApiModel
from aichat_cli.documents.embedding.calls import CallResult
from aichat_cli.providers.base import EmbeddingRequest, Timeouts
from aichat_cli.providers.embeddings import EmbeddingClient, EmbeddingResponse, batch_limits
from aichat_cli.providers.retry import RetryPolicy, attempts
from aichat_cli.providers.tokens import FOREIGN_VOCABULARY, most, tokenizer
from aichat_cli.storage import accounts, usage
from aichat_cli.storage.database import Database

if TYPE_CHECKING:
    from aichat_cli.providers.helicone import Helicone


class Access(Struct, frozen=True):
    """How a provider is called: with which key, how patiently, how often, and who pays.

    `admit` admits a call and gives its request id; `release` is told of one that cost nothing. Both are called in any
    thread; so is `helicone`, which gives what stands between us and some providers.
    """

    key: Secret | None
    timeouts: Timeouts
    retry: RetryPolicy
    admit: Callable[[Call], RequestId]
    release: Callable[[RequestId], None]
    helicone: Callable[[], Helicone | None] = lambda: None


class Books:
    """Where calls are admitted and written down: whoever embeds may be another thread than the one that uses the database."""

    def __init__(self, database: Callable[[], Database], limits: Callable[[], Limits]) -> None:
        self._database = database
        self._limits = limits

    def admit(self, call: Call) -> RequestId:
        """Admit a call and hold the most it can cost; raises the refusal."""
        with self._database().reopen() as books:
            admission = admit(call, self._limits(), books)
            if admission.hold is not None:
                with books.transaction():
                    accounts.hold(books, admission.hold)
            return admission.request_id

    def release(self, request_id: RequestId) -> None:
        """A call that was admitted cost nothing."""
        with self._database().reopen() as books, books.transaction():
            accounts.close(books, request_id, None)
        self._settle(request_id, 0)

    def record(self, record: UsageRecord) -> None:
        """Write down what a call cost."""
        with self._database().reopen() as books, books.transaction(durable=True):
            usage.insert(books, record, conversation_id=None, message_id=None)
            accounts.close(books, record.request_id, record)
        self._settle(record.request_id, record.cost_nano or 0)

    def _settle(self, request_id: RequestId, cost_nano: int) -> None:
        budget = self._limits().budget
        if budget is not None:
            budget.settle(request_id, cost_nano)


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
        self._client = EmbeddingClient(access.helicone)
        self._request_id: RequestId | None = None

    def __call__(self, texts: Sequence[str], *, is_query: bool, stop: threading.Event) -> CallResult:
        access = self._access
        tokens = sum(map(tokenizer().count, texts))
        try:
            request_id = access.admit(self._priced(texts, tokens))
        except AichatError as refusal:
            return CallResult((), refusal, ())
        self._request_id = request_id
        request = EmbeddingRequest(
            self._model, tuple(texts), access.key, access.timeouts, is_query, request_id=request_id
        )
        is_hosted = self._model.provider == GATEWAY
        rows: list[UsageRecord] = []
        response: EmbeddingResponse | None = None
        error = None
        for attempt in attempts(lambda: self._client.attempt(request), access.retry, sleep=stop.wait):
            response, error = attempt.response, attempt.error
            if attempt.is_billed:
                # A try that may be billed although it failed has a row of its own, and is not charged to a balance. A
                # gateway charges all tries together once, under the id of the first.
                row_id = request_id if response or is_hosted else RequestId(new_id())
                row = self._usage(row_id, tokens, response, "complete" if response else "failed")
                rows = [row] if is_hosted else [*rows, row]
        if response is None:
            access.release(request_id)
        return CallResult(response.vectors if response else (), error, tuple(rows))

    def abandoned(self, texts: Sequence[str]) -> UsageRecord:
        request_id = self._request_id or RequestId(new_id())
        return self._usage(request_id, sum(map(tokenizer().count, texts)), None, "stopped")

    def close(self) -> None:
        self._client.close()

    def _priced(self, texts: Sequence[str], tokens: int) -> Call:
        bound = sum(map(most, texts))
        likely = int(tokens * FOREIGN_VOCABULARY) + len(texts)
        return Call(self._model, max(bound, 1), lambda: likely, tokens, type="embedding")

    def _usage(
        self, request_id: RequestId, tokens: int, response: EmbeddingResponse | None, status: Status
    ) -> UsageRecord:
        """The provider's count, or ours where it gave none."""
        counted = response.tokens if response else None
        return embedding_usage(
            request_id,
            self._model,
            counted or TokenUsage(tokens, 0),
            is_estimate=counted is None,
            served_model=response.served_model if response else None,
            status=status,
        )
