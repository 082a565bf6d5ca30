"""A user's books in a file, and calls to put in them."""

from __future__ import annotations

from aichat_cli.billing.estimates import Call
from aichat_cli.core.credits import NANO_PER_CREDIT
from aichat_cli.core.ids import RequestId
from aichat_cli.core.models import Model
from aichat_cli.core.money import Price, Rates, TokenUsage
from aichat_cli.core.usage import UsageRecord
from aichat_cli.storage import accounts, usage
from aichat_cli.storage.database import Database

CENT_A_TOKEN = Price(Rates(0, 10_000_000 * 1_000_000))
"""A token of the answer costs one cent, the prompt nothing."""


def paid_model(price: Price | None = CENT_A_TOKEN, **fields: object) -> Model:
    """A model that costs something."""
    return Model("paid", "paid", "openai", "openai", price=price, **fields)  # type: ignore[arg-type]


def call_for(output_limit: int, *, price: Price | None = CENT_A_TOKEN, input_tokens: int = 10) -> Call:
    """A call whose answer has at most so many tokens."""
    model = paid_model(price, max_output_tokens=16_000)
    return Call(model, input_tokens, lambda: input_tokens, input_tokens, output_limit, is_limit_given=True)


def record_of(request_id: RequestId, cost_nano: int) -> UsageRecord:
    """The usage of a call that cost this much."""
    return UsageRecord(
        request_id, "chat", "openai", "paid", None, None, TokenUsage(1, 1), cost_nano, "calculated", "complete"
    )


def settle(db: Database, request_id: RequestId, cost_nano: int) -> None:
    """End a call as a turn does, in one transaction."""
    with db.transaction(durable=True):
        usage.insert(db, record_of(request_id, cost_nano), conversation_id=None, message_id=None)
        accounts.close(db, request_id, record_of(request_id, cost_nano))


def leave_credits(db: Database, number: int) -> None:
    """Take what is too much from a fresh profile's 100 credits."""
    with db.transaction():
        balance = accounts.account(db).balance_nano
        accounts.add_entry(db, "charge", "what others took", number * NANO_PER_CREDIT - balance)
