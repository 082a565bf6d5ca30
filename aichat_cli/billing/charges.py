"""What a call cost: the provider's count, or ours where the provider gave none, at the model's price."""

from __future__ import annotations

from aichat_cli.core.events import Finished
from aichat_cli.core.ids import RequestId
from aichat_cli.core.messages import Status
from aichat_cli.core.models import Model
from aichat_cli.core.money import TokenUsage, cost_nano
from aichat_cli.core.usage import UsageRecord


def chat_usage(
    request_id: RequestId,
    model: Model,
    tokens: TokenUsage,
    *,
    is_estimate: bool,
    finished: Finished | None,
    status: Status,
) -> UsageRecord:
    """The usage row of one chat call. Its cost is None where the model has no known price."""
    return UsageRecord(
        request_id=request_id,
        type="chat",
        provider=model.provider,
        model=model.name,
        served_model=finished.served_model if finished else None,
        provider_id=finished.provider_id if finished else None,
        tokens=tokens,
        cost_nano=None if model.price is None else cost_nano(tokens, model.price),
        provenance="estimated" if is_estimate else "calculated",
        status=status,
    )


def embedding_usage(
    request_id: RequestId,
    model: Model,
    tokens: TokenUsage,
    *,
    is_estimate: bool,
    served_model: str | None,
    status: Status,
) -> UsageRecord:
    """The usage row of one call that made vectors, or that may be on the provider's bill although it failed."""
    return UsageRecord(
        request_id=request_id,
        type="embedding",
        provider=model.provider,
        model=model.name,
        served_model=served_model,
        provider_id=None,
        tokens=tokens,
        cost_nano=None if model.price is None else cost_nano(tokens, model.price),
        provenance="estimated" if is_estimate else "calculated",
        status=status,
    )


def embedding_price(model: Model, tokens: int) -> int | None:
    """What embedding this many tokens will cost, in nano-dollars; None where the model has no known price."""
    return None if model.price is None else cost_nano(TokenUsage(tokens, 0), model.price)
