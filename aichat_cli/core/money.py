"""Money: integer nano-dollars, and the exact cost of a call.

One input token of gpt-4o-mini is 150 nano-dollars. Some tokens cost less than one, so prices are kept
per million tokens (`*_per_mtok`, nano-dollars) and the cost of a call is rounded up once, at its end.
"""

from __future__ import annotations

from decimal import Decimal

from aichat_cli.core.struct import Struct

NANO_PER_DOLLAR = 1_000_000_000
NANO_PER_CENT = 10_000_000
TOKENS_PER_MTOK = 1_000_000


class Rates(Struct, frozen=True):
    """Nano-dollars per million tokens. A rate that is None is charged as `input` or `output`."""

    input: int
    output: int
    cached_input: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None


class Price(Struct, frozen=True):
    """What a model charges. `tiers` holds (threshold, rates): they replace `rates` for a whole call
    whose input is larger than the threshold, in tokens, ascending.
    """

    rates: Rates
    tiers: tuple[tuple[int, Rates], ...] = ()

    def rates_for(self, input_tokens: int) -> Rates:
        """The rates for a call with this much input."""
        applicable = self.rates
        for threshold, rates in self.tiers:
            if input_tokens > threshold:
                applicable = rates
        return applicable

    @property
    def is_free(self) -> bool:
        """Whether every token costs nothing, as with the embedded model."""
        return self.rates.input == 0 and self.rates.output == 0 and not self.tiers


FREE = Price(Rates(0, 0))


class TokenUsage(Struct, frozen=True):
    """Tokens of one call.

    `input_tokens` counts the whole prompt; `cached_tokens` (read from the provider's cache) and
    `cache_write_tokens` are parts of it. `output_tokens` counts everything generated; `reasoning_tokens`
    is a part of it. `raw` is the provider's own usage object, as JSON text, or None when we counted. `is_free` tells that
    nobody charges for them: the answer was given before, and a proxy had kept it.
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    raw: str | None = None
    is_free: bool = False


def nano_per_mtok(dollars_per_token: float | str | Decimal) -> int:
    """Convert a price in dollars per token, such as litellm's 1.5e-07, to nano-dollars per million tokens."""
    exact = Decimal(str(dollars_per_token)) * NANO_PER_DOLLAR * TOKENS_PER_MTOK
    return int(exact.to_integral_value(rounding="ROUND_CEILING"))


def nano_from_usd(dollars: float | str | Decimal, *, rounds_up: bool = False) -> int:
    """An amount of dollars in nano-dollars: what may be spent is rounded down, what was spent up.

    Raises:
        ArithmeticError, ValueError: it is no number.
    """
    rounding = "ROUND_CEILING" if rounds_up else "ROUND_FLOOR"
    return int((Decimal(str(dollars)) * NANO_PER_DOLLAR).to_integral_value(rounding=rounding))


def cost_nano(usage: TokenUsage, price: Price) -> int:
    """The cost of a call in nano-dollars, rounded up to a whole one."""
    if usage.is_free:
        return 0
    rates = price.rates_for(usage.input_tokens)
    plain_input = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
    plain_output = usage.output_tokens - usage.reasoning_tokens
    cached_rate = rates.input if rates.cached_input is None else rates.cached_input
    write_rate = rates.input if rates.cache_write is None else rates.cache_write
    reasoning_rate = rates.output if rates.reasoning is None else rates.reasoning
    total = (
        max(plain_input, 0) * rates.input
        + usage.cached_tokens * cached_rate
        + usage.cache_write_tokens * write_rate
        + max(plain_output, 0) * rates.output
        + usage.reasoning_tokens * reasoning_rate
    )
    return -(-total // TOKENS_PER_MTOK)


def cents_from_nano(nano: int) -> int:
    """Whole cents, rounded up."""
    return -(-nano // NANO_PER_CENT)


def usd_text(nano: int | None) -> str:
    """For people: `$0.0031`; more digits the smaller it is, `?` when the cost is unknown."""
    if nano is None:
        return "?"
    if nano == 0:
        return "$0"
    digits = 2 if nano >= NANO_PER_DOLLAR else 4 if nano >= NANO_PER_DOLLAR // 1000 else 6
    return f"${nano / NANO_PER_DOLLAR:.{digits}f}"


def usd_number(nano: int | None) -> float | None:
    """For JSON: dollars as a number, exact to the nano-dollar for any sum a float can hold."""
    return None if nano is None else round(nano / NANO_PER_DOLLAR, 9)
