"""What is watched while the gateway runs: its log, its counters, and whether it is about to end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aichat_cli.core.accounts import Caller
from aichat_cli.core.struct import Struct
from aichat_cli.gateway.logs import GatewayLog
from aichat_cli.gateway.metrics import Metrics

if TYPE_CHECKING:
    from starlette.requests import Request


class SeenCall(Struct):
    """What is told of one call of a model in the log."""

    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_nano: int | None = None


class Watch:
    """One per process.

    Args:
        metrics_token: what whoever reads /metrics has to show; None for nothing from this machine.
        logs_addresses: whether the log says where requests come from.
    """

    def __init__(
        self, log: GatewayLog | None = None, *, metrics_token: str | None = None, logs_addresses: bool = False
    ) -> None:
        self.log = log or GatewayLog()
        self.metrics = Metrics()
        self.metrics_token = metrics_token
        self.logs_addresses = logs_addresses
        self.is_ending = False
        self._is_ready: tuple[float, bool] = (float("-inf"), False)

    def readiness(self, seconds: float) -> bool | None:
        """How the database answered within the last so many seconds; None where it was not asked."""
        at, is_ready = self._is_ready
        return is_ready if time.monotonic() - at < seconds else None

    def found(self, *, is_ready: bool) -> None:
        """Note how the database answered now."""
        self._is_ready = (time.monotonic(), is_ready)


class RequestNotes(Struct):
    """What is found out about a request while it is answered, for its line in the log."""

    request_id: str
    caller: Caller | None = None
    key_prefix: str | None = None
    call: SeenCall | None = None


def notes_of(request: Request) -> RequestNotes:
    """The notes on a request, which the middleware has made."""
    notes: RequestNotes = request.scope["state"]["notes"]
    return notes
