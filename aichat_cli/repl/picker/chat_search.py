"""Conversations that match what is typed, found in a thread of its own so that typing never waits.

Only the newest question is answered: a query still running for an older one is interrupted, its result dropped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from aichat_cli.core.errors import AichatError
from aichat_cli.core.ids import ConversationId
from aichat_cli.core.interrupts import leave_signals_to_the_main_thread
from aichat_cli.core.struct import Struct
from aichat_cli.repl.picker.cells import MARK_CLOSE, MARK_OPEN
from aichat_cli.storage import search, sidebar
from aichat_cli.storage.database import Database
from aichat_cli.storage.search import SearchHit
from aichat_cli.storage.sidebar import Summary

MOST_TITLES = 100
MOST_HITS = 60
"""More than anybody reads; another word in the filter brings up what is below."""


class Found(Struct, frozen=True):
    """Conversations for a filter: by title, and by text with the best place in each. `error` tells what kept us.

    `number` is the question's; a later part of an answer replaces an earlier one, the last `is_final`.
    """

    number: int
    text: str
    by_title: tuple[Summary, ...] = ()
    by_text: tuple[tuple[Summary, SearchHit], ...] = ()
    is_final: bool = False
    error: AichatError | None = None


class ChatSearch:
    """Answers questions, and reads all ids first.

    Args:
        open_database: makes a connection for this thread.
        deliver: takes each part of an answer, in this thread.
        deliver_ids: takes the ids of all conversations, newest first.
    """

    def __init__(
        self,
        open_database: Callable[[], Database],
        deliver: Callable[[Found], None],
        deliver_ids: Callable[[list[ConversationId]], None],
    ) -> None:
        self._open_database = open_database
        self._deliver = deliver
        self._deliver_ids = deliver_ids
        self._lock = threading.Lock()
        self._asked = threading.Event()
        self._number = 0
        self._text: str | None = None
        self._is_closed = False
        self._earlier: tuple[str, list[Summary]] | None = None
        self._running: Database | None = None
        self._thread = threading.Thread(target=self._answer_all, name="chat search", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def ask(self, text: str | None, *, is_changed: bool = False) -> int:
        """Ask something else, None for nothing; the number of the question.

        `is_changed` tells that conversations are no longer what they were at the last one.
        """
        with self._lock:
            self._number += 1
            self._text = text
            self._interrupt()
            if is_changed:
                self._earlier = None
        self._asked.set()
        return self._number

    def close(self) -> None:
        """End the thread."""
        with self._lock:
            self._is_closed = True
            self._interrupt()
        self._asked.set()
        self._thread.join()

    def _interrupt(self) -> None:
        if self._running is not None:
            self._running.interrupt()

    def _answer_all(self) -> None:
        leave_signals_to_the_main_thread()
        try:
            with self._open_database() as database:
                self._deliver_ids(sidebar.newest_ids(database, limit=None))
                while self._next_question():
                    self._answer(database)
        except AichatError as error:
            self._deliver(Found(self._number, self._text or "", is_final=True, error=error))

    def _next_question(self) -> bool:
        self._asked.wait()
        self._asked.clear()
        return not self._is_closed

    def _answer(self, database: Database) -> None:
        with self._lock:
            number, text = self._number, self._text
            if text is None or self._is_closed:
                return
            self._running = database
        try:
            self._search(database, number, text)
        except AichatError as error:
            if self._is_asked(number):
                self._deliver(Found(number, text, is_final=True, error=error))
        finally:
            with self._lock:
                self._running = None

    def _search(self, database: Database, number: int, text: str) -> None:
        by_title = self._titled(database, text)
        if not self._is_asked(number):
            return
        self._deliver(Found(number, text, tuple(by_title)))
        hits = search.search(database, text, limit=MOST_HITS, mark_open=MARK_OPEN, mark_close=MARK_CLOSE, titles=False)
        best = {hit.conversation_id: hit for hit in reversed(hits)}
        for summary in by_title:
            best.pop(summary.id, None)
        lines = sorted(
            sidebar.summaries(database, best).values(), key=lambda line: (line.updated_at, line.id), reverse=True
        )
        by_text = tuple((line, best[line.id]) for line in lines)
        if self._is_asked(number):
            self._deliver(Found(number, text, tuple(by_title), by_text, is_final=True))

    def _titled(self, database: Database, text: str) -> list[Summary]:
        """Where all titles for a shorter text are known, those for a longer one are among them."""
        if self._earlier is not None and text.startswith(self._earlier[0]):
            words = text.lower().split()
            found = [line for line in self._earlier[1] if all(word in line.title.lower() for word in words)]
        else:
            found = sidebar.titled(database, text, limit=MOST_TITLES)
        self._earlier = (text, found) if len(found) < MOST_TITLES else None
        return found

    def _is_asked(self, number: int) -> bool:
        return self._number == number and not self._is_closed
