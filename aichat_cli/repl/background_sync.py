"""Sync while a session is open: in a thread of its own, with connections of its own, and never in the way.

It begins a few seconds after the prompt is there, and runs after each turn and every few minutes. While a turn runs nothing
of it writes for long: what was received is applied afterwards. An error is one word in the status line; /sync tells more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aichat_cli.core.errors import AichatError, HostedUnavailable, SyncError
from aichat_cli.core.interrupts import leave_signals_to_the_main_thread
from aichat_cli.storage import sync_state
from aichat_cli.storage.database import Database

if TYPE_CHECKING:
    from pathlib import Path

    from aichat_cli.core.sync import SyncProgress, SyncReport
    from aichat_cli.sync_services import SyncServices

FIRST_AFTER_SECONDS = 3.0
AFTER_TURN_SECONDS = 1.5
REDRAW_SECONDS = 30.0
LONGEST_STOP_SECONDS = 1.0


class PutOff(Exception):
    """A turn wants to write, or the session ends: what was received is applied another time."""


class BackgroundSync:
    """The syncs of one session.

    Args:
        services: what a sync is made of.
        path: the file of the database.
        redraw: called where `status` may have changed, in the thread of this.
        done: called after a sync, in the thread that ran it.
    """

    def __init__(
        self,
        services: SyncServices,
        path: Path,
        *,
        redraw: Callable[[], None],
        done: Callable[[Database, SyncReport], None],
    ) -> None:
        self._services = services
        self._path = path
        self._redraw = redraw
        self._done = done
        self._one_at_a_time = threading.Lock()
        self._bell = threading.Condition()
        self._due: float | None = None
        self._is_held = False
        self._is_over = False
        self._is_running = False
        self._is_on = False
        self._synced_at: float | None = None
        self._word = ""
        self._thread: threading.Thread | None = None

    # ----- what the session calls, in the main thread

    def start(self) -> None:
        """Begin, where that is wished."""
        if not self._services.is_background:
            return
        self._due = time.monotonic() + FIRST_AFTER_SECONDS
        self._thread = threading.Thread(target=self._live, name="sync", daemon=True)
        self._thread.start()

    def hold(self) -> None:
        """A turn begins."""
        self._is_held = True

    def release(self) -> None:
        """The turn is over: what it wrote is sent soon."""
        with self._bell:
            self._is_held = False
            if self._due is not None:
                self._due = time.monotonic() + AFTER_TURN_SECONDS
            self._bell.notify()

    @property
    def is_held(self) -> bool:
        """Whether a turn runs."""
        return self._is_held

    def stop(self) -> None:
        """End. A sync that runs is cut off after a moment; the next one goes on from there."""
        with self._bell:
            self._is_over = True
            self._bell.notify()
        if self._thread is not None:
            self._thread.join(LONGEST_STOP_SECONDS)

    def run_now(self, database: Database) -> SyncReport:
        """Sync in the calling thread, after the one that may be running.

        Raises:
            AichatError: of the sync.
        """
        while not self._one_at_a_time.acquire(timeout=0.1):
            pass
        try:
            return self._run(database)
        finally:
            self._one_at_a_time.release()

    @property
    def status(self) -> str:
        """Its part of the status line: `synced 2m ago`, `syncing`, `offline`, `sync failed`; empty where sync is off."""
        if not self._is_on:
            return ""
        if self._is_running:
            return "syncing"
        if self._word:
            return self._word
        if self._synced_at is None:
            return ""
        from aichat_cli.render.sync_view import short_ago

        passed = short_ago(time.time() - self._synced_at)
        return "synced" if passed == "now" else f"synced {passed}"

    @property
    def has_trouble(self) -> bool:
        """Whether the last one failed."""
        return bool(self._word)

    # ----- the thread

    def _live(self) -> None:
        leave_signals_to_the_main_thread()
        self._look()
        while not self._is_over:
            self._wait()
            if self._is_over:
                return
            if self._due is not None and time.monotonic() >= self._due and not self._is_held:
                self._due = time.monotonic() + self._services.seconds_between
                self._attempt()
            self._redraw()

    def _wait(self) -> None:
        with self._bell:
            if self._is_over:
                return
            due = self._due if self._due is not None and not self._is_held else float("inf")
            self._bell.wait(min(max(due - time.monotonic(), 0.05), REDRAW_SECONDS))

    def _look(self) -> None:
        """How things stood before this session."""
        try:
            with Database.open(self._path) as database:
                self._know(database)
        except AichatError:
            return
        self._redraw()

    def _know(self, database: Database) -> bool:
        state = sync_state.find(database)
        self._is_on = state is not None
        if state is not None and state.synced_at is not None:
            self._synced_at = datetime.fromisoformat(state.synced_at).astimezone(UTC).timestamp()
        return self._is_on

    def _attempt(self) -> None:
        if not self._one_at_a_time.acquire(blocking=False):
            return
        try:
            with Database.open(self._path) as database:
                if self._know(database):
                    self._run(database)
        except PutOff:
            self._due = time.monotonic() + AFTER_TURN_SECONDS
        except AichatError:
            return  # it is in the status line
        except Exception:  # noqa: BLE001 (a thread's traceback would be written over the prompt)
            self._word = "sync failed"
        finally:
            self._one_at_a_time.release()

    def _run(self, database: Database) -> SyncReport:
        is_of_thread = threading.current_thread() is self._thread
        self._is_on, self._is_running = True, True
        self._redraw()
        try:
            report = self._services.run(database, self._watched if is_of_thread else lambda _: None)
            self._word = ""
            if is_of_thread:
                self._services.complete_free(database, report)
        except HostedUnavailable:
            self._word = "offline"
            raise
        except SyncError:
            raise  # another process does it
        except AichatError:
            self._word = "sync failed"
            raise
        finally:
            self._is_running = False
            self._is_on = self._know(database)
            self._redraw()
        self._done(database, report)
        return report

    def _watched(self, now: SyncProgress) -> None:
        """Give way to a turn within the transaction that applies, and to the end of the session anywhere."""
        if self._is_over or (self._is_held and now.phase == "applying" and now.done < now.total):
            raise PutOff
