"""Why a call is refused, and what to do about it: one wording for each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from aichat_cli.billing.standing import Standing
from aichat_cli.core.credits import NANO_PER_CREDIT, charge_nano, credits_text
from aichat_cli.core.errors import AichatError, CapReached, OutOfCredits, PriceUnknown, RateLimited
from aichat_cli.core.money import usd_text

_LARGER = "or ask for a shorter answer: -o max_tokens 500"


@dataclass(frozen=True, slots=True)
class Room:
    """What one of the limits leaves for another call, in nano-dollars."""

    of: Literal["credits", "day", "month", "run"]
    nano: int


def rooms(standing: Standing) -> Iterator[Room]:
    """What each limit that is set leaves."""
    limits = standing.limits
    if standing.available_nano is not None:
        yield Room("credits", standing.available_nano)
    if limits.daily_nano is not None:
        yield Room("day", limits.daily_nano - standing.today_nano - standing.held_nano)
    if limits.monthly_nano is not None:
        yield Room("month", limits.monthly_nano - (standing.month_nano or 0) - standing.held_nano)
    if limits.budget is not None:
        yield Room("run", limits.budget.left_nano)


def too_expensive(room: Room, standing: Standing, model_name: str, most_nano: int) -> AichatError:
    """The call might cost more than a limit leaves."""
    if room.of == "credits":
        return _out_of_credits(standing, model_name, most_nano)
    cost = f"{model_name} may cost up to {usd_text(most_nano)} for this"
    if room.of == "run":
        limit = usd_text(standing.limits.budget.limit_nano) if standing.limits.budget else ""
        if room.nano <= 0:
            return CapReached(f"--max-cost {limit} is spent.", hint="Free models still answer: -m smollm2")
        return CapReached(
            f"{cost}, and {usd_text(room.nano)} is left of --max-cost {limit}.", hint=f"Raise --max-cost, {_LARGER}"
        )
    setting, cap, spent, period = (
        ("limits.daily_usd", standing.limits.daily_nano, standing.today_nano, "today")
        if room.of == "day"
        else ("limits.monthly_usd", standing.limits.monthly_nano, standing.month_nano, "this month")
    )
    held = f" and {usd_text(standing.held_nano)} held for calls under way" if standing.held_nano else ""
    raise_it = f"To raise it: aichat config set {setting} AMOUNT"
    if room.nano <= 0:
        return CapReached(
            f"Your cap of {usd_text(cap)} {period} is reached, with {usd_text(spent)} spent{held}.",
            hint=f"{raise_it}; free: aichat -m smollm2",
        )
    return CapReached(
        f"{cost}; your cap {period} is {usd_text(cap)}, with {usd_text(spent)} spent{held}.",
        hint=f"{raise_it}; {_LARGER}",
    )


def _out_of_credits(standing: Standing, model_name: str, most_nano: int) -> AichatError:
    available = standing.available_nano or 0
    held = (standing.balance_nano or 0) - available
    note = f" ({credits_text(held)} more are held for calls under way)" if held else ""
    left = f"{counted(available)} {'is' if available == NANO_PER_CREDIT else 'are'} left{note}"
    if not available:
        return OutOfCredits(
            f"There are no credits left for {model_name}{note}.",
            hint="For more: aichat credits buy small; without: aichat -m smollm2, which is free",
        )
    return OutOfCredits(
        f"{model_name} may cost up to {counted(charge_nano(most_nano))} for this, and {left}.",
        hint=f"For more: aichat credits buy small; {_LARGER}",
    )


def counted(nano: int) -> str:
    """Credits with their unit."""
    return f"{credits_text(nano)} {'credit' if nano == NANO_PER_CREDIT else 'credits'}"


def price_unknown(model_name: str) -> AichatError:
    """Nobody knows what the call costs, and a limit is set."""
    return PriceUnknown(
        f"Nobody knows what {model_name} costs, so it is not asked while spending is limited.",
        hint=f"Say so: aichat models price {model_name} --input USD --output USD, per million tokens; or --free",
    )


def window_full(plan: str, limit: int, retry_after: float) -> AichatError:
    """The sliding window holds as many calls as the plan allows."""
    return RateLimited(
        f"The {plan} plan allows {limit:,} calls an hour, and all are used. Try again in {_duration(retry_after)}.",
        retry_after=retry_after,
        hint="Free local models are not limited: aichat -m smollm2",
    )


def _duration(seconds: float) -> str:
    whole = max(1, -(-int(seconds * 1000) // 1000))
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
