"""What a call cost, and who says so."""

from __future__ import annotations

import pytest

from aichat_cli.billing.charges import chat_usage
from aichat_cli.core.events import Finished
from aichat_cli.core.ids import RequestId
from aichat_cli.core.models import Model
from aichat_cli.core.money import Price, Rates, TokenUsage

PRICE = Price(Rates(1_000_000_000, 1_000_000_000))


@pytest.mark.parametrize(
    ("provider", "raw", "cost", "provenance"),
    [
        ("openrouter", '{"cost": 0.0001234567891}', 123_457, "provider"),
        ("openrouter", '{"cost": 0}', 0, "provider"),
        ("openrouter", '{"cost": 1e-9}', 1, "provider"),
        ("openrouter", '{"cost": 0.5, "is_byok": true}', 15_000, "calculated"),
        ("openrouter", '{"cost": -1}', 15_000, "calculated"),
        ("openrouter", '{"cost": null}', 15_000, "calculated"),
        ("openrouter", '{"cost": true}', 15_000, "calculated"),
        ("openrouter", "{}", 15_000, "calculated"),
        ("openrouter", None, 15_000, "calculated"),
        ("openai", '{"cost": 0.5}', 15_000, "calculated"),
    ],
)
def test_a_cost_that_openrouter_names_is_the_cost(provider: str, raw: str | None, cost: int, provenance: str) -> None:
    model = Model("m", "m", provider, "openai", price=PRICE)
    tokens = TokenUsage(10, 5, raw=raw)
    record = chat_usage(RequestId("r"), model, tokens, is_estimate=False, finished=Finished("stop"), status="complete")
    assert (record.cost_nano, record.provenance) == (cost, provenance)


def test_what_was_cut_off_is_estimated_whatever_was_named() -> None:
    model = Model("m", "m", "openrouter", "openai", price=PRICE)
    tokens = TokenUsage(10, 5, raw='{"cost": 0.5}')
    record = chat_usage(RequestId("r"), model, tokens, is_estimate=True, finished=None, status="stopped")
    assert (record.cost_nano, record.provenance) == (15_000, "estimated")
