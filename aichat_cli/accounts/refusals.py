"""What an account refuses, in words for whoever calls a gateway: one wording for each."""

from __future__ import annotations

import re

from aichat_cli.core.errors import AccountSuspended, CallKnown, KeyRefused, NotFound, RateLimited, UsageError
from aichat_cli.core.ids import RequestId

LONGEST_NAME = 100
MOST_CREDITS = 1_000_000_000
_AN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def key_unknown() -> KeyRefused:
    """Whatever was presented opens nothing."""
    return KeyRefused("This is not an API key of this gateway.", hint="Ask its operator for one")


def key_revoked() -> KeyRefused:
    """The key was right once."""
    return KeyRefused("This API key was revoked.", hint="Ask the operator for a new one")


def key_expired() -> KeyRefused:
    """The key was right once."""
    return KeyRefused("This API key has expired.", hint="Ask the operator for a new one")


def suspended() -> AccountSuspended:
    """The user's keys are refused for now."""
    return AccountSuspended("This account is suspended.", hint="Ask the operator")


def call_known(request_id: RequestId) -> CallKnown:
    """The same call comes again."""
    return CallKnown(f"A call was made under the id {request_id} before; it is neither made nor charged again.")


def window_full(plan: str, limit: int, retry_after: float) -> RateLimited:
    """As many calls as the plan allows were admitted within the last hour."""
    seconds = max(1, -(-int(retry_after * 1000) // 1000))
    return RateLimited(
        f"The {plan} plan allows {limit:,} calls an hour, and all are used. Try again in {seconds} s.",
        retry_after=seconds,
        limit=limit,
    )


def name_taken(name: str) -> UsageError:
    """There is a user of this name."""
    return UsageError(f'There is a user "{name}" already.', hint="Run: aichat users list")


def no_user(name: str) -> NotFound:
    """Nobody has this name or id."""
    return NotFound(f'There is no user "{name}".', hint="Run: aichat users list")


def no_key(key_id: str) -> NotFound:
    """No key has this id."""
    return NotFound(f'There is no key "{key_id}".', hint="Run: aichat keys list")


def granted_otherwise(ref: str) -> UsageError:
    """Credits were granted under this name before, to somebody else or another number of them."""
    return UsageError(f'Other credits were granted as "{ref}" before.', hint="Choose another --ref")


def checked_name(name: str) -> str:
    """A name somebody can have.

    Raises:
        UsageError: it is empty, too long, or holds blanks or control characters; or it has the form of an id, by which
            users are found as well.
    """
    if not 1 <= len(name) <= LONGEST_NAME or any(char.isspace() or not char.isprintable() for char in name):
        raise UsageError(f"A user's name is one word of up to {LONGEST_NAME} characters.")
    if _AN_ID.fullmatch(name):
        raise UsageError(f"{name} has the form of an id: nobody can be named so.", hint="Choose another name")
    return name


def checked_credits(credits_: int) -> int:
    """A number of credits that can be granted.

    Raises:
        UsageError: it is none, or too many.
    """
    if not 1 <= credits_ <= MOST_CREDITS:
        raise UsageError(f"Between 1 and {MOST_CREDITS:,} credits are granted at once.")
    return credits_
