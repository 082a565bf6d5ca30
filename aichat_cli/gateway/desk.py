"""Where the event loop hands in its questions to the accounts: threads, each with a connection, that answer them.

With one worker (SQLite has one writer) whatever waits is done together and stored at once: a hundred calls that begin in the
same moment cost one write to the disk.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from aichat_cli.accounts.protocol import AccountStore, CallBooks
from aichat_cli.core.struct import Struct

T = TypeVar("T")

MOST_TOGETHER = 256


class _Asked(Struct):
    task: Callable[[CallBooks], Any]
    answer: asyncio.Future[Any]


class Desk:
    """Answers questions about calls, from any number of tasks of one event loop. Close it."""

    def __init__(self, store: AccountStore) -> None:
        self._store = store
        self._asked: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def open(self) -> None:
        """Connect, and begin to answer; raises what keeps the accounts from being opened."""
        opened = [self._store.calls() for _ in range(self._store.workers)]
        for number, books in enumerate(opened):
            thread = threading.Thread(target=self._work, args=(books,), name=f"desk-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    async def ask(self, task: Callable[[CallBooks], T]) -> T:
        """What a task on the books gives, durably stored; raises what it raises.

        Cancelling whoever waits does not undo the task.
        """
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._asked.put(_Asked(task, answer))
        return await answer

    @property
    def waiting(self) -> int:
        """How many questions nobody has taken yet."""
        return self._asked.qsize()

    def close(self) -> None:
        """Answer what was asked, and end the threads."""
        for _ in self._threads:
            self._asked.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _work(self, books: CallBooks) -> None:
        try:
            while (first := self._asked.get()) is not None:
                batch, is_last = [first], False
                while self._store.workers == 1 and len(batch) < MOST_TOGETHER and not self._asked.empty():
                    another = self._asked.get()
                    if another is None:
                        is_last = True
                        break
                    batch.append(another)
                _answer(books, batch)
                if is_last:
                    return
        finally:
            books.close()


def _answer(books: CallBooks, batch: list[_Asked]) -> None:
    try:
        results = books.together([lambda asked=asked: asked.task(books) for asked in batch])  # type: ignore[misc]
    except Exception as exc:  # noqa: BLE001 (whoever asked gets it)
        results = [exc] * len(batch)
    # One call for all of them: each wakes the event loop.
    with suppress(RuntimeError):  # it has ended
        batch[0].answer.get_loop().call_soon_threadsafe(_hand_over, batch, results)


def _hand_over(batch: list[_Asked], results: list[Any]) -> None:
    for asked, result in zip(batch, results, strict=True):
        if asked.answer.done():
            continue  # nobody waits for it any more
        if isinstance(result, Exception):
            asked.answer.set_exception(result)
        else:
            asked.answer.set_result(result)
