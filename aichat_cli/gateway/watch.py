"""What is watched while the gateway runs: its log, its counters, and whether it is about to end."""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import TYPE_CHECKING

from aichat_cli.core.accounts import Caller
from aichat_cli.core.credits import charge_nano
from aichat_cli.core.money import TokenUsage
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


class RequestNotes(Struct):
    """What is found out about a request while it is answered, for its line in the log."""

    request_id: str
    caller: Caller | None = None
    key_prefix: str | None = None
    call: SeenCall | None = None


_notes: ContextVar[RequestNotes | None] = ContextVar("notes", default=None)
"""Those of the request that the current task serves, or was begun by."""


class Observer:
    """A `gateway.calls.CallObserver` that counts, and notes for the log."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def began(self, model: str) -> None:
        """`CallObserver.began`."""
        self._metrics.calls_under_way += 1
        if (notes := _notes.get()) is not None:
            notes.call = SeenCall(model)

    def first_byte(self, model: str, seconds: float) -> None:  # noqa: ARG002 (counted for all models together)
        """`CallObserver.first_byte`."""
        self._metrics.first_bytes.add(seconds)

    def failed(self, provider: str, code: str) -> None:
        """`CallObserver.failed`."""
        self._metrics.upstream_errors[provider, code] += 1

    def ended(self, model: str, status: str, tokens: TokenUsage | None, cost_nano: int, seconds: float) -> None:  # noqa: ARG002
        """`CallObserver.ended`."""
        self._metrics.calls_under_way -= 1
        if tokens is not None:
            self._metrics.tokens[model, "input"] += tokens.input_tokens
            self._metrics.tokens[model, "output"] += tokens.output_tokens
        self._metrics.cost_nano[model] += cost_nano
        self._metrics.charged_nano[model] += charge_nano(cost_nano)
        if (notes := _notes.get()) is not None and notes.call is not None:
            call = notes.call
            call.cost_nano = cost_nano
            if tokens is not None:
                call.input_tokens, call.output_tokens = tokens.input_tokens, tokens.output_tokens


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
        self.observer = Observer(self.metrics)
        self._is_ready: tuple[float, bool] = (float("-inf"), False)

    def readiness(self, seconds: float) -> bool | None:
        """How the database answered within the last so many seconds; None where it was not asked."""
        at, is_ready = self._is_ready
        return is_ready if time.monotonic() - at < seconds else None

    def found(self, *, is_ready: bool) -> None:
        """Note how the database answered now."""
        self._is_ready = (time.monotonic(), is_ready)


def keep_notes(notes: RequestNotes) -> None:
    """Make them the notes of the current task, and of all that it begins."""
    _notes.set(notes)


def notes_of(request: Request) -> RequestNotes:
    """The notes on a request, which the middleware has made."""
    notes: RequestNotes = request.scope["state"]["notes"]
    return notes
