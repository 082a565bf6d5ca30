"""What carries calls: the models that are served, the register of calls, and the way to the providers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from aichat_cli.core.struct import Struct
from aichat_cli.gateway.alerts import Alerts
from aichat_cli.gateway.calls import Calls
from aichat_cli.gateway.deps import GatewayDeps
from aichat_cli.gateway.models import ServedModels
from aichat_cli.gateway.teller import Teller
from aichat_cli.gateway.upstream import Upstream

if TYPE_CHECKING:
    from starlette.requests import Request


class Traffic(Struct, frozen=True):
    """One per process."""

    models: ServedModels
    calls: Calls
    upstream: Upstream
    teller: Teller
    alerts: Alerts


@asynccontextmanager
async def opened(deps: GatewayDeps) -> AsyncIterator[Traffic]:
    """Traffic that is watched over; leaving waits until every call is settled, and told to whoever observes them. The desk
    is open meanwhile.
    """
    calls = Calls(deps.desk, deps.house.timeouts.idle, deps.watch.metrics)
    traffic = Traffic(
        ServedModels(deps.house, deps.options.models),
        calls,
        Upstream(deps.house),
        Teller(deps.house),
        Alerts(deps.house, deps.store),
    )
    traffic.teller.open()
    traffic.alerts.open()
    watching = asyncio.get_running_loop().create_task(calls.watch())
    try:
        yield traffic
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await calls.close()
        await traffic.upstream.close()
        await asyncio.gather(asyncio.to_thread(traffic.teller.close), asyncio.to_thread(traffic.alerts.close))


def traffic_of(request: Request) -> Traffic:
    """That of the application."""
    traffic: Traffic = request.app.state.traffic
    return traffic
