"""A caller's own account: who they are, what they have, what is left of their window."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from aichat_cli.core.accounts import Balance
from aichat_cli.core.credits import NANO_PER_CREDIT
from aichat_cli.gateway.answers import answer
from aichat_cli.gateway.auth import caller_of
from aichat_cli.gateway.deps import deps_of
from aichat_cli.gateway.models import models_of


def routes() -> list[BaseRoute]:
    """Its paths."""
    return [Route("/v1/account", account), Route("/v1/credits", credits_of)]


async def account(request: Request) -> Response:
    """Who the key belongs to, and what it may do."""
    caller = await caller_of(request, None)
    deps = deps_of(request)
    balance = await deps.desk.ask(lambda books: books.balance(caller.user_id))
    return answer(
        {
            "user": {"id": caller.user_id, "name": caller.user_name},
            "plan": balance.plan,
            "key": {"id": caller.key_id, "name": caller.key_name, "scopes": caller.scopes, "plan": caller.plan},
            "credits": _credits(balance),
            "window": window(balance),
            "sync": deps.store.hosted is not None,
            "default_model": await models_of(request).default(),
        }
    )


async def credits_of(request: Request) -> Response:
    """The balance, as `aichat credits --json` has it."""
    caller = await caller_of(request, None)
    balance = await deps_of(request).desk.ask(lambda books: books.balance(caller.user_id))
    return answer({**_credits(balance), "plan": balance.plan, "mode": "credits", "window": window(balance)})


def window(balance: Balance) -> dict[str, Any]:
    """What is left of the sliding window."""
    return {
        "limit": balance.window.limit,
        "remaining": balance.window.remaining,
        "reset_at": balance.window.reset_at or None,
    }


def credits_number(nano: int) -> float | int:
    """Credits for JSON: a whole number where it is one."""
    whole, rest = divmod(nano, NANO_PER_CREDIT)
    return whole if not rest else nano / NANO_PER_CREDIT


def _credits(balance: Balance) -> dict[str, Any]:
    return {
        "balance": credits_number(balance.balance_nano),
        "held": credits_number(balance.held_nano),
        "available": credits_number(balance.balance_nano - balance.held_nano),
    }
