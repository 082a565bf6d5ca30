"""Money in a session: what the status line says of it, and consent to what is expensive."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from aichat_cli.billing.limits import Limits
from aichat_cli.billing.standing import standing
from aichat_cli.core.credits import credits_text
from aichat_cli.core.errors import AichatError, NotConfirmed, StorageError
from aichat_cli.core.money import usd_text
from aichat_cli.render.diagnostics import expensive_prompt
from aichat_cli.storage.database import Database

if TYPE_CHECKING:
    from aichat_cli.app import App
    from aichat_cli.chat.payment import PromptEstimate


class Spending:
    """What a session knows of money.

    Attributes:
        status: `credits 98`, or `today $0.12` with the cap where there is one; empty where it is not known yet.
    """

    def __init__(self) -> None:
        self.status = ""
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

    def look_early(self, house: App) -> None:
        """See how things stand while the session begins, in a thread of its own."""
        with suppress(AichatError), Database.open(house.database_path) as books:
            self.look(books, house.limits)

    def look(self, books: Database, limits: Limits) -> None:
        """See how things stand, as far as the books can be read."""
        with suppress(StorageError), books.snapshot():
            now = standing(books, limits)
            if now.available_nano is not None:
                self.status = f"credits {credits_text(now.available_nano)}"
                return
            cap = f" of {usd_text(limits.daily_nano)}" if limits.daily_nano is not None else ""
            self.status = f"today {usd_text(now.today_nano)}{cap}"
