"""Mail to users of a gateway about their money: few credits or none, and the cap of a key. Each is sent once, from a thread
beside the event loop, by whichever gateway on the same accounts claims it first.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aichat_cli.accounts.protocol import AccountStore, AlertBooks
from aichat_cli.app import App
from aichat_cli.core.accounts import Allowance
from aichat_cli.core.errors import AichatError, RequestRejected
from aichat_cli.core.interrupts import leave_signals_to_the_main_thread

if TYPE_CHECKING:
    from aichat_cli.integrations.resend import Resend

logger = logging.getLogger(__name__)

NAME = "resend"
PAUSE_SECONDS = 0.5
"""Whose money has changed meanwhile is looked at together."""
CLOSE_SECONDS = 0.5
_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS = 15.0, 3600.0
_REFUSED_SECONDS = 86_400.0
"""A mail that Resend does not take is not tried again for a day."""
_KNOWN_SECONDS = 300.0
"""So long nobody asks again whether a mail was sent."""


class Alerts:
    """One per process; with `resend` not on it does nothing."""

    def __init__(self, house: App, store: AccountStore) -> None:
        self._is_on = NAME in house.settings.names("integrations")
        self._house = house
        self._store = store
        self._keys: set[str] = set()
        self._known: dict[str, float] = {}
        self._lock = threading.Lock()
        self._something, self._ending = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Set to work what sends."""
        if self._is_on:
            self._thread = threading.Thread(target=self._work, name="alerts", daemon=True)
            self._thread.start()

    def note(self, key_id: str) -> None:
        """Something was charged through a key, or refused to it for want of money; never waits."""
        if self._thread is not None:
            with self._lock:
                self._keys.add(key_id)
            self._something.set()

    def close(self) -> None:
        """Wait a moment for a mail that is on its way. What is due and not sent is due at the user's next call as well."""
        if self._thread is not None:
            self._ending.set()
            self._something.set()
            self._thread.join(CLOSE_SECONDS)
            self._thread = None

    def _work(self) -> None:
        from aichat_cli.integrations.resend import Resend

        leave_signals_to_the_main_thread()
        books: AlertBooks | None = None
        resend: Resend | None = None
        failures = 0
        while not self._ending.is_set():
            self._something.wait()
            self._something.clear()
            with self._lock:
                keys = sorted(self._keys)
            if not keys:
                continue
            try:
                if resend is None:
                    made = self._house.integrations.observer(NAME)
                    assert isinstance(made, Resend)
                    resend = made
                books = books or self._store.alerts()
                for allowance in books.allowances(keys):
                    self._tell(allowance, books, resend)
                with self._lock:
                    self._keys.difference_update(keys)
                failures = 0
            except Exception as exc:  # noqa: BLE001 (calls go on, whatever becomes of mail)
                said = exc.message if isinstance(exc, AichatError) else type(exc).__name__
                logger.warning("Users were sent no mail: %s", said)
                self._something.set()
                failures += 1
            pause = min(_FIRST_RETRY_SECONDS * 2 ** min(failures - 1, 16), _LAST_RETRY_SECONDS)
            self._ending.wait(pause if failures else PAUSE_SECONDS)
        if books is not None:
            books.close()
        if resend is not None:
            resend.close()

    def _tell(self, allowance: Allowance, books: AlertBooks, resend: Resend) -> None:
        from aichat_cli.integrations.alerts import due_of
        from aichat_cli.integrations.mails import mail_of_gateway

        for due in due_of(allowance, datetime.now(UTC).date()):
            if self._known.get(due.id, 0.0) > time.monotonic():
                continue
            if not books.claim(due.id, allowance.user_id):
                self._known[due.id] = time.monotonic() + _KNOWN_SECONDS
                continue
            try:
                resend.send(due.id, allowance.email, mail_of_gateway(due.news))
            except RequestRejected as exc:
                logger.warning("A user was sent no mail: %s", exc.message)
                books.release(due.id, _REFUSED_SECONDS)
            except BaseException:
                books.release(due.id, 0.0)
                raise
            else:
                books.sent(due.id)
