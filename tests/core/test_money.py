from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.core.money import (
    FREE,
    NANO_PER_DOLLAR,
    Price,
    Rates,
    TokenUsage,
    cents_from_nano,
    cost_nano,
    nano_per_mtok,
    usd_number,
    usd_text,
)

GPT_4O_MINI = Price(Rates(nano_per_mtok(1.5e-07), nano_per_mtok(6e-07), cached_input=nano_per_mtok("7.5e-08")))
TOKENS = st.integers(0, 10_000_000)


def test_one_input_token_of_gpt_4o_mini_costs_150_nano_dollars() -> None:
    assert cost_nano(TokenUsage(1, 0), GPT_4O_MINI) == 150


def test_the_reference_chat_costs_three_quarters_of_a_cent() -> None:
    gpt_4o = Price(Rates(nano_per_mtok(2.5e-06), nano_per_mtok(1e-05)))

    cost = cost_nano(TokenUsage(1000, 500), gpt_4o)

    assert cost == 7_500_000
    assert cents_from_nano(cost) == 1


def test_cached_written_and_reasoning_tokens_have_their_own_rates() -> None:
    price = Price(Rates(1_000_000, 2_000_000, cached_input=100_000, cache_write=1_250_000, reasoning=3_000_000))
    usage = TokenUsage(1000, 100, cached_tokens=600, cache_write_tokens=300, reasoning_tokens=40)

    assert cost_nano(usage, price) == 100 * 1 + 600 * 0.1 + 300 * 1.25 + 60 * 2 + 40 * 3


def test_a_rate_that_is_not_given_is_the_plain_one() -> None:
    usage = TokenUsage(1000, 100, cached_tokens=600, cache_write_tokens=300, reasoning_tokens=40)

    assert cost_nano(usage, Price(Rates(1_000_000, 2_000_000))) == 1200


def test_a_tier_holds_for_the_whole_call_above_its_threshold() -> None:
    price = Price(Rates(1_000_000, 1_000_000), tiers=((200, Rates(2_000_000, 3_000_000)), (500, Rates(9_000_000, 1))))

    assert cost_nano(TokenUsage(200, 10), price) == 210
    assert cost_nano(TokenUsage(201, 10), price) == 201 * 2 + 10 * 3
    assert cost_nano(TokenUsage(501, 0), price) == 501 * 9


def test_a_fraction_of_a_nano_dollar_is_rounded_up_once() -> None:
    price = Price(Rates(nano_per_mtok("1.25e-11"), 0))

    assert price.rates.input == 12_500
    assert cost_nano(TokenUsage(1, 0), price) == 1
    assert cost_nano(TokenUsage(160, 0), price) == 2


@given(TOKENS, TOKENS, st.integers(0, 10**12), st.integers(0, 10**12))
def test_cost_is_exact_and_never_less_than_the_price_says(tokens_in: int, tokens_out: int, rate: int, out: int) -> None:
    exact = (Decimal(tokens_in) * rate + Decimal(tokens_out) * out) / 1_000_000

    cost = cost_nano(TokenUsage(tokens_in, tokens_out), Price(Rates(rate, out)))

    assert exact <= cost < exact + 1


def test_only_a_price_without_any_rate_is_free() -> None:
    assert FREE.is_free
    assert not Price(Rates(0, 1)).is_free
    assert not Price(Rates(0, 0), tiers=((1, Rates(1, 1)),)).is_free


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (None, "?"),
        (0, "$0"),
        (367_000, "$0.000367"),
        (3_100_000, "$0.0031"),
        (2_345_000_000, "$2.35"),
        (1, "$0.000000"),
    ],
)
def test_money_for_people(nano: int | None, text: str) -> None:
    assert usd_text(nano) == text


@given(st.integers(0, 10**15))
def test_money_in_json_is_exact_to_the_nano_dollar(nano: int) -> None:
    number = usd_number(nano)

    assert number is not None
    assert round(number * NANO_PER_DOLLAR) == nano
    assert usd_number(None) is None


@pytest.mark.parametrize(("nano", "cents"), [(0, 0), (1, 1), (10_000_000, 1), (10_000_001, 2)])
def test_cents_are_rounded_up(nano: int, cents: int) -> None:
    assert cents_from_nano(nano) == cents
