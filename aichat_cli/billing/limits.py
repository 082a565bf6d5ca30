"""What may be spent: who pays, the user's own caps, and what one run may cost."""

from __future__ import annotations

import threading

from aichat_cli.config.settings import Settings
from aichat_cli.core.credits import BillingMode
from aichat_cli.core.ids import RequestId
from aichat_cli.core.models import GATEWAY
from aichat_cli.core.struct import Struct, replace


class Budget:
    """What one run of the program may cost in all (`--max-cost`), in nano-dollars; for any number of threads."""

    def __init__(self, limit_nano: int) -> None:
        self.limit_nano = limit_nano
        self._spent_nano = 0
        self._held: dict[RequestId, int] = {}
        self._lock = threading.Lock()

    @property
    def left_nano(self) -> int:
        """What is neither spent nor held."""
        with self._lock:
            return self.limit_nano - self._spent_nano - sum(self._held.values())

    def hold(self, request_id: RequestId, amount_nano: int) -> None:
        """Hold an amount for a call, in place of what was held for it before."""
        with self._lock:
            self._held[request_id] = amount_nano

    def settle(self, request_id: RequestId, cost_nano: int) -> None:
        """The call has ended, and cost this much."""
        with self._lock:
            self._held.pop(request_id, None)
            self._spent_nano += cost_nano


class Limits(Struct, frozen=True):
    """What calls are admitted by. Without any, nothing is refused and nothing is held.

    Attributes:
        mode: who pays.
        daily_nano, monthly_nano: caps on a day and a month of the user's own calendar, in nano-dollars.
        budget: what this run may cost.
        confirm_nano: ask before a prompt costs more than this to be read.
    """

    mode: BillingMode = "own-keys"
    daily_nano: int | None = None
    monthly_nano: int | None = None
    budget: Budget | None = None
    confirm_nano: int | None = None

    @property
    def are_set(self) -> bool:
        """Whether a paid call may be refused."""
        return self.mode == "credits" or (self.daily_nano, self.monthly_nano, self.budget) != (None, None, None)

    def of_provider(self, provider: str) -> Limits:
        """What holds for the models of a provider: a gateway asks for credits of its own, not for those of the profile."""
        return replace(self, mode="own-keys") if provider == GATEWAY else self


NO_LIMITS = Limits()


def configured(settings: Settings, budget: Budget | None) -> Limits:
    """What the settings say, and a run's own budget."""
    return Limits(
        mode="credits" if settings.text("billing.mode") == "credits" else "own-keys",
        daily_nano=settings.amount_nano("limits.daily_usd"),
        monthly_nano=settings.amount_nano("limits.monthly_usd"),
        budget=budget,
        confirm_nano=settings.amount_nano("limits.confirm_usd"),
    )
