"""The most a call can cost before it is sent, at the very price it is settled by."""

from __future__ import annotations

from collections.abc import Callable

from aichat_cli.billing import accrued
from aichat_cli.core.models import Model
from aichat_cli.core.money import TOKENS_PER_MTOK, Price
from aichat_cli.core.struct import Struct
from aichat_cli.core.usage import UsageType

_FEW_TOKENS = 2_000
"""So few are not worth reading a vocabulary for: the bound is held instead."""


class Call(Struct, frozen=True):
    """A call that is about to be sent.

    Attributes:
        most_input: tokens there can be in the prompt at most; a token is at least one byte.
        count_input: counts them better, which takes longer; never less than the provider will.
        likely_input: a quick guess, which a call is charged by should the process die before the provider counts.
        longest_answer: tokens of the answer at most.
        is_limit_given: whether the user said so; `is_limit_known`: whether the model keeps to that without being told.
        answers: how many answers are asked for at once.
    """

    model: Model
    most_input: int
    count_input: Callable[[], int]
    likely_input: int
    longest_answer: int = 0
    is_limit_given: bool = False
    is_limit_known: bool = True
    answers: int = 1
    type: UsageType = "chat"

    def input_tokens(self) -> int:
        """Tokens of the prompt, never too few: exactly where they are many."""
        if self.most_input <= _FEW_TOKENS:
            return self.most_input
        return min(self.most_input, self.count_input())

    def as_json(self, *, output_tokens: int | None = None) -> str:
        """What it is charged by should its process die: `accrued.recover` reads it."""
        return accrued.as_json(self.model, self.type, self.likely_input, output_tokens=output_tokens)


def most_nano(price: Price, input_tokens: int, output_tokens: int) -> int:
    """What so many tokens cost at most, in nano-dollars, whichever kind of token they turn out to be."""
    input_rate, output_rate = _highest_rates(price, input_tokens)
    return -(-(input_tokens * input_rate + output_tokens * output_rate) // TOKENS_PER_MTOK)


def affordable_output(price: Price, input_tokens: int, nano: int) -> int:
    """How long an answer so much money certainly pays for after a prompt, in tokens; below 0 where the prompt alone
    costs more.
    """
    input_rate, output_rate = _highest_rates(price, input_tokens)
    left = nano * TOKENS_PER_MTOK - input_tokens * input_rate
    return left // output_rate if output_rate else (0 if left >= 0 else -1)


def _highest_rates(price: Price, input_tokens: int) -> tuple[int, int]:
    # The provider may count a little more input than we do, and a tier begins where it says so.
    rates = [price.rates, *(rates for threshold, rates in price.tiers if threshold <= input_tokens * 5 // 4)]
    return (
        max(max(each.input, each.cache_write or 0, each.cached_input or 0) for each in rates),
        max(max(each.output, each.reasoning or 0) for each in rates),
    )
