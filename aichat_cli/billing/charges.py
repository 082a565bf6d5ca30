"""What a call cost: the provider's count, or ours where the provider gave none, at the model's price."""

from __future__ import annotations

import json
from collections.abc import Callable

from aichat_cli.core.events import Finished
from aichat_cli.core.ids import RequestId
from aichat_cli.core.messages import Status
from aichat_cli.core.models import GATEWAY, Model
from aichat_cli.core.money import TokenUsage, cost_nano, nano_from_usd
from aichat_cli.core.struct import replace
from aichat_cli.core.usage import Provenance, UsageRecord, UsageType


def chat_usage(
    request_id: RequestId,
    model: Model,
    tokens: TokenUsage,
    usage_type: UsageType = "chat",
    *,
    is_estimate: bool,
    finished: Finished | None,
    status: Status,
) -> UsageRecord:
    """The usage row of one chat call. Its cost is None where the model has no known price.

    What the provider itself says it took, as OpenRouter and a gateway do, is the cost.
    """
    cost, provenance = _cost_of(model, tokens, is_estimate=is_estimate)
    return UsageRecord(
        request_id=request_id,
        type=usage_type,
        provider=model.provider,
        model=model.name,
        served_model=finished.served_model if finished else None,
        provider_id=finished.provider_id if finished else None,
        tokens=tokens,
        cost_nano=cost,
        provenance=provenance,
        status=status,
    )


def usage_of_call(
    request_id: RequestId,
    model: Model,
    counted: TokenUsage | None,
    usage_type: UsageType = "chat",
    *,
    finished: Finished | None,
    status: Status,
    prompt_tokens: Callable[[], int],
    answer_tokens: Callable[[], int] | None,
) -> UsageRecord | None:
    """The usage row of a call that ended in whatever way: the provider's count where the answer came to its end, ours for
    what is missing.

    Args:
        answer_tokens: counts what arrived, None where nothing did; with nothing counted either there is no row.
    """
    if counted is None and answer_tokens is None:
        return None
    is_estimate = finished is None or counted is None
    if is_estimate:
        arrived = answer_tokens() if answer_tokens else 0
        if counted is None:
            counted = TokenUsage(prompt_tokens(), arrived)
        else:
            counted = replace(counted, output_tokens=max(arrived, counted.output_tokens))
    assert counted is not None
    return chat_usage(request_id, model, counted, usage_type, is_estimate=is_estimate, finished=finished, status=status)


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
    cost, provenance = _cost_of(model, tokens, is_estimate=is_estimate)
    return UsageRecord(
        request_id=request_id,
        type="embedding",
        provider=model.provider,
        model=model.name,
        served_model=served_model,
        provider_id=None,
        tokens=tokens,
        cost_nano=cost,
        provenance=provenance,
        status=status,
    )


def embedding_price(model: Model, tokens: int) -> int | None:
    """What embedding this many tokens will cost, in nano-dollars; None where the model has no known price."""
    return None if model.price is None else cost_nano(TokenUsage(tokens, 0), model.price)


def _cost_of(model: Model, tokens: TokenUsage, *, is_estimate: bool) -> tuple[int | None, Provenance]:
    """What a call cost, None where that is not known, and who says so."""
    if tokens.is_free:
        return 0, "provider"
    if is_estimate:
        return None if model.price is None else cost_nano(tokens, model.price), "estimated"
    named = _named_cost(model, tokens)
    if named is not None:
        return named, "provider"
    return None if model.price is None else cost_nano(tokens, model.price), "calculated"


def _named_cost(model: Model, tokens: TokenUsage) -> int | None:
    """Nano-dollars that the provider says it took for the call, rounded up; None where it does not say."""
    if model.provider not in ("openrouter", GATEWAY) or not tokens.raw or '"cost"' not in tokens.raw:
        return None
    said = json.loads(tokens.raw)
    cost = said.get("cost")
    if said.get("is_byok") or isinstance(cost, bool) or not isinstance(cost, int | float) or cost < 0:
        return None  # with a key of one's own it names its fee alone
    return nano_from_usd(cost, rounds_up=True)
