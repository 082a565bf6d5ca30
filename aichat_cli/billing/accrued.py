"""What a call had cost when its process died: noted before it is sent, read at the next start.

The text that arrived is in the database to within a second; its tokens are counted here, those of the prompt were guessed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from aichat_cli.core.ids import RequestId
from aichat_cli.core.models import Model
from aichat_cli.core.money import Price, Rates, TokenUsage, cost_nano
from aichat_cli.core.usage import UsageRecord, UsageType
from aichat_cli.storage import accounts, turns, usage
from aichat_cli.storage.accounts import Hold
from aichat_cli.storage.database import Database
from aichat_cli.storage.turns import Arrived

CountTokens = Callable[[str, str], int]
"""Tokens of a text to a model, by the name it has on the wire."""


def as_json(model: Model, usage_type: UsageType, input_tokens: int, *, output_tokens: int | None = None) -> str:
    """The note of a call. `output_tokens` are what of its answer has arrived, where that is noted here and not read from the
    message it writes.
    """
    price = model.price
    noted = {
        "type": usage_type,
        "provider": model.provider,
        "model": model.name,
        "wire_name": model.wire_name,
        "input_tokens": input_tokens,
        "rates": None if price is None else _numbers(price.rates),
        "tiers": [] if price is None else [[threshold, _numbers(rates)] for threshold, rates in price.tiers],
    }
    return json.dumps(noted if output_tokens is None else noted | {"output_tokens": output_tokens})


def recover(db: Database, count: CountTokens, *, step: Callable[[], AbstractContextManager[None]] | None = None) -> int:
    """Settle the calls whose process has died, each with what had arrived; returns how many.

    Args:
        step: what each is settled in, where a transaction is under way; None for a transaction of its own.

    Raises:
        StorageError: the books cannot be written.
    """
    if db.is_read_only:
        return 0
    dead = accounts.abandoned(db)
    for held in dead:
        answer = None if held.message_seq is None else turns.arrived(db, held.message_seq)
        record = _record(held, answer, count)
        with db.transaction(durable=True) if step is None else step():
            # Another process may have come first.
            if accounts.open_hold(db, held.request_id) is not None:
                _settle(db, held, record, answer)
    return len(dead)


def _settle(db: Database, held: Hold, record: UsageRecord | None, answer: Arrived | None) -> None:
    if record is not None:
        usage.insert(
            db,
            record,
            conversation_id=answer.conversation_id if answer else None,
            message_id=answer.message_id if answer else None,
            user_id=held.user_id,
        )
    accounts.close(db, held.request_id, record)


def _record(held: Hold, answer: Arrived | None, count: CountTokens) -> UsageRecord | None:
    """The usage of a call that was cut off; None where nothing had arrived.

    Of a call that wrote no message, and of whose answer nothing is noted, only the prompt is known, which was sent.
    """
    noted = json.loads(held.call)
    if held.message_seq is None:
        return record_of(held.request_id, noted)
    text = answer.text if answer else ""
    return record_of(held.request_id, noted | {"output_tokens": count(text, noted["wire_name"])}) if text else None


def record_of(request_id: RequestId, noted: Mapping[str, Any]) -> UsageRecord | None:
    """The usage of a call that was cut off, by its note; None where it says that nothing had arrived."""
    if noted.get("output_tokens") == 0:
        return None
    price = None
    if noted["rates"] is not None:
        tiers = tuple((threshold, Rates(*numbers)) for threshold, numbers in noted["tiers"])
        price = Price(Rates(*noted["rates"]), tiers)
    tokens = TokenUsage(noted["input_tokens"], noted.get("output_tokens", 0))
    return UsageRecord(
        request_id=request_id,
        type=noted["type"],
        provider=noted["provider"],
        model=noted["model"],
        served_model=None,
        provider_id=None,
        tokens=tokens,
        cost_nano=None if price is None else cost_nano(tokens, price),
        provenance="estimated",
        status="stopped",
    )


def _numbers(rates: Rates) -> list[int | None]:
    return [rates.input, rates.output, rates.cached_input, rates.cache_write, rates.reasoning]
