"""Who sends a request: the key it comes with, looked up anew each time, so that a revoked one is refused at once."""

from __future__ import annotations

from starlette.requests import Request

from aichat_cli.accounts import keys
from aichat_cli.core.accounts import Caller, Scope
from aichat_cli.core.errors import KeyRefused, ScopeMissing
from aichat_cli.gateway.deps import deps_of
from aichat_cli.gateway.watch import notes_of

LONGEST_KEY = 512


async def caller_of(request: Request, scope: Scope | None) -> Caller:
    """Whose key a request comes with.

    Args:
        scope: what the key has to be made for; None for what any key may do.

    Raises:
        KeyRefused: it comes with none, or with one that cannot be used.
        ScopeMissing: the key may not be used for this.
        AccountSuspended: its user is suspended.
    """
    presented = _presented(request)
    # A key of the wrong form is looked up like any other: how long an answer takes tells nothing.
    prefix, key_hash = keys.prefix_of(presented), keys.hash_of(presented)
    caller = await deps_of(request).desk.ask(lambda books: books.authenticate(prefix, key_hash))
    notes = notes_of(request)
    notes.caller, notes.key_prefix = caller, prefix
    if scope is not None and scope not in caller.scopes:
        raise ScopeMissing(f'This key may not be used for "{scope}".', hint="Ask the operator for one that may")
    return caller


def _presented(request: Request) -> str:
    header = request.headers.get("authorization", "")
    kind, _, value = header.partition(" ")
    presented = value.strip() if kind.lower() == "bearer" else request.headers.get("x-api-key", "").strip()
    if not presented or len(presented) > LONGEST_KEY:
        raise KeyRefused(
            "No API key was given." if not presented else "This is not an API key of this gateway.",
            hint="Send it as Authorization: Bearer KEY",
        )
    return presented
