"""Whether a call through a gateway may be sent, by the same estimate and at the same price as it is settled by."""

from __future__ import annotations

from aichat_cli.accounts.protocol import CallBooks, Uncovered
from aichat_cli.billing.admission import shortened
from aichat_cli.billing.estimates import Call, most_nano
from aichat_cli.billing.refusals import counted
from aichat_cli.core.accounts import Caller, CallWindow, NewCall
from aichat_cli.core.credits import charge_nano
from aichat_cli.core.errors import AichatError, CapReached, OutOfCredits, PriceUnknown
from aichat_cli.core.ids import RequestId
from aichat_cli.core.struct import Struct

_ATTEMPTS = 5
"""What is left changes while others call: so often an answer is cut to what is left of it."""


class Estimate(Struct, frozen=True):
    """A call, the tokens of its prompt at most, and what it costs at most, in nano-dollars."""

    call: Call
    input_tokens: int
    most_nano: int


class Ticket(Struct, frozen=True):
    """A call that may be sent.

    Attributes:
        output_limit: the longest answer that is paid for, in tokens, to be sent along; None for any.
        is_shortened: whether that is less than was asked for, because only so much is left to spend.
    """

    request_id: RequestId
    call: Call
    window: CallWindow
    output_limit: int | None
    is_shortened: bool


def estimate(call: Call) -> Estimate:
    """What a call may cost. Counting a long prompt takes a while.

    Raises:
        PriceUnknown: nobody knows.
    """
    price = call.model.price
    if price is None:
        raise PriceUnknown(f"{call.model.name} has no known price here, so it is not asked. Its operator can set one.")
    tokens = call.input_tokens()
    return Estimate(call, tokens, most_nano(price, tokens, call.longest_answer * call.answers))


def admit(
    books: CallBooks, caller: Caller, estimated: Estimate, request_id: RequestId, *, counts: bool = True
) -> Ticket:
    """Admit a call and hold the most it can cost: with a shorter answer where only that is paid for, and the caller did not
    say how long it may be.

    Raises:
        RateLimited, OutOfCredits, CapReached, CallKnown, KeyRefused, AccountSuspended: it is not admitted.
    """
    call, most, limit = estimated.call, estimated.most_nano, None
    if not call.is_limit_known:
        limit = call.longest_answer
    is_shortened = False
    uncovered: Uncovered | None = None
    for _ in range(_ATTEMPTS):
        note = call.as_json(output_tokens=0)
        new = NewCall(request_id, caller.user_id, caller.key_id, most, note, counts=counts)
        try:
            admitted = books.admit(new)
        except Uncovered as exc:
            uncovered = exc
        else:
            return Ticket(request_id, call, admitted.window, limit, is_shortened)
        shorter = shortened(call, estimated.input_tokens, uncovered.available_nano)
        if shorter is None:
            break
        most, limit, is_shortened = shorter.most_nano, shorter.output_limit, True
    assert uncovered is not None
    raise _refusal(uncovered, call, most)


def _refusal(uncovered: Uncovered, call: Call, most: int) -> AichatError:
    cost = f"{call.model.name} may cost up to {counted(charge_nano(most))} for this"
    left = uncovered.available_nano
    if uncovered.of == "cap":
        return CapReached(
            f"{cost}, and {counted(left)} are left of this key's cap this month.", hint="Ask the operator"
        )
    if left <= 0:
        return OutOfCredits(
            f"There are no credits left for {call.model.name}.", hint="For more: aichat credits buy small"
        )
    return OutOfCredits(
        f"{cost}, and {counted(left)} are left.",
        hint="For more: aichat credits buy small; or ask for a shorter answer with max_tokens",
    )
