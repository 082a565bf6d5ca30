"""Money in a session: what the status line says of it, and consent to what is expensive."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from aichat_cli.billing.limits import Limits
from aichat_cli.billing.standing import standing
from aichat_cli.core.credits import NANO_PER_CREDIT, credits_text
from aichat_cli.core.errors import AichatError, NotConfirmed, StorageError
from aichat_cli.core.models import GATEWAY, Model
from aichat_cli.core.money import usd_text
from aichat_cli.core.struct import from_json
from aichat_cli.render.diagnostics import expensive_prompt
from aichat_cli.storage.database import Database

if TYPE_CHECKING:
    from aichat_cli.app import App
    from aichat_cli.chat.payment import PromptEstimate
    from aichat_cli.core.events import Settled


class Spending:
    """What a session knows of money.

    Attributes:
        status: `credits 98` of the profile or of the gateway's account, or `today $0.12` with the cap where there is one; empty where it is not known yet.
    """

    def __init__(self) -> None:
        self.status = ""
        self._is_hosted = False
        self._hosted_nano: int | None = None
        self._entered: str | None = None
        self._asked_about: str | None = None

    def entered(self, text: str) -> None:
        """The user entered this."""
        self._entered = text

    def require_consent(self, estimate: PromptEstimate) -> None:
        """What is expensive is sent when it is entered a second time.

        Raises:
            NotConfirmed: it was entered for the first time.
        """
        if self._asked_about is None or self._asked_about != self._entered:
            self._asked_about = self._entered
            raise NotConfirmed(f"{expensive_prompt(estimate)} Enter it once more, and it is sent.")

    def sent(self) -> None:
        """What was entered is sent; the same again would be asked about again."""
        self._asked_about = None

    def look_early(self, house: App, model: Model) -> None:
        """See how things stand while the session begins, or the model is another, in a thread of its own."""
        with suppress(AichatError), Database.open(house.database_path) as books:
            self.look(books, house.limits, model)
        if model.provider == GATEWAY:
            self._look_there(house)

    def took(self, settled: Settled) -> bool:
        """A call has ended; whether what is left is known, where the credits of a gateway pay."""
        if not settled.model.startswith(f"{GATEWAY}/"):
            return True
        left = from_json(settled.tokens.raw).get("credits_left") if settled.tokens and settled.tokens.raw else None
        if isinstance(left, int | float):
            self._hosted_nano = round(left * NANO_PER_CREDIT)
        return left is not None

    def look(self, books: Database, limits: Limits, model: Model) -> None:
        """See how things stand, as far as the books can be read."""
        self._is_hosted = model.provider == GATEWAY
        if self._is_hosted:
            self.status = "" if self._hosted_nano is None else f"credits {credits_text(self._hosted_nano)}"
            return
        with suppress(StorageError), books.snapshot():
            now = standing(books, limits)
            if now.available_nano is not None:
                self.status = f"credits {credits_text(now.available_nano)}"
                return
            cap = f" of {usd_text(limits.daily_nano)}" if limits.daily_nano is not None else ""
            self.status = f"today {usd_text(now.today_nano)}{cap}"

    def _look_there(self, house: App) -> None:
        """What the gateway's account holds, as it is remembered, then as it is; models that are a day old are told anew."""
        from aichat_cli.account.client import BRIEF

        remembered = house.account.profile
        if self._hosted_nano is None and remembered is not None:
            self._hosted_nano = remembered.account.available_nano
        known = self._hosted_nano
        with suppress(AichatError):
            is_fresh = remembered is not None and remembered.is_fresh
            account = house.account.look(BRIEF) if is_fresh else house.account.refresh().account
            if self._hosted_nano == known:  # else an answer that came meanwhile knows better
                self._hosted_nano = account.available_nano
        if self._is_hosted and self._hosted_nano is not None:
            self.status = f"credits {credits_text(self._hosted_nano)}"
