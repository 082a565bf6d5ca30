"""What a caller has used, by day, week, month or model: sums over the calls that were made with their keys."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any, get_args

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from aichat_cli.core.accounts import UsageBy, UsageSums
from aichat_cli.core.money import usd_number
from aichat_cli.gateway.answers import answer
from aichat_cli.gateway.auth import caller_of
from aichat_cli.gateway.deps import deps_of
from aichat_cli.gateway.errors import BadRequest

USUAL_DAYS = 30
MOST_DAYS = 3660
_KINDS: tuple[UsageBy, ...] = get_args(UsageBy)


def routes() -> list[BaseRoute]:
    """Its path."""
    return [Route("/v1/usage", usage)]


async def usage(request: Request) -> Response:
    """Rows and their total; days are those of UTC, `since` and `until` among them."""
    caller = await caller_of(request, None)
    asked = request.query_params.get("by", "day")
    by = next((kind for kind in _KINDS if kind == asked), None)
    if by is None:
        raise BadRequest(f"by is one of {', '.join(_KINDS)}.", param="by")
    until = _day(request, "until") or datetime.now(UTC).date()
    since = _day(request, "since") or until - timedelta(USUAL_DAYS - 1)
    if not 0 <= (until - since).days < MOST_DAYS:
        raise BadRequest(f"since is after until, or more than {MOST_DAYS:,} days before it.", param="since")
    begin, end = f"{since}T00:00:00.000Z", f"{until + timedelta(1)}T00:00:00.000Z"
    rows = await deps_of(request).desk.ask(lambda books: books.usage(caller.user_id, begin, end, by))
    named = "model" if by == "model" else "period"
    return answer({"rows": [{named: row.label, **_sums([row])} for row in rows], "total": _sums(rows)})


def _sums(rows: Iterable[UsageSums]) -> dict[str, Any]:
    told = list(rows)
    return {
        "requests": sum(row.requests for row in told),
        "input_tokens": sum(row.input_tokens for row in told),
        "cached_tokens": sum(row.cached_tokens for row in told),
        "output_tokens": sum(row.output_tokens for row in told),
        "cost_usd": usd_number(sum(row.cost_nano for row in told)),
    }


def _day(request: Request, name: str) -> date | None:
    given = request.query_params.get(name)
    if given is None:
        return None
    try:
        day = datetime.strptime(given, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise BadRequest(f"{name} is a day such as 2026-11-01.", param=name) from None
    if not 2000 <= day.year < 9999:
        raise BadRequest(f"{name} is a day of another age.", param=name)
    return day
