"""One call to a model as it is kept for the books: its tokens, its cost and where the count came from."""

from __future__ import annotations

from typing import Literal

from aichat_cli.core.ids import RequestId
from aichat_cli.core.messages import Status
from aichat_cli.core.money import TokenUsage
from aichat_cli.core.struct import Struct

UsageType = Literal["chat", "completion", "embedding"]
Provenance = Literal["provider", "calculated", "estimated"]
"""Where the cost came from: the provider named it, its token count at our price, or our own count."""


class UsageRecord(Struct, frozen=True):
    """One call. `request_id` makes it count once.

    Attributes:
        model: as the user knows it; `served_model` is what the provider says it used.
        provider_id: the provider's id of the response.
        cost_nano: nano-dollars, None where the model has no known price.
        status: how the call ended; never `streaming`.
    """

    request_id: RequestId
    type: UsageType
    provider: str
    model: str
    served_model: str | None
    provider_id: str | None
    tokens: TokenUsage
    cost_nano: int | None
    provenance: Provenance
    status: Status
