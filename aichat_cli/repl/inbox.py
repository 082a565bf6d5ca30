"""What was submitted and waits for the session: filled in the prompt's thread, emptied in the session's."""

from __future__ import annotations

import threading
import time
from collections import deque

from aichat_cli.core.struct import Struct


class Sent(Struct, frozen=True):
    """A message or command, None to leave. What a key stands for is not shown as if it was typed."""

    text: str | None
    by_key: bool = False


class Inbox:
    """A queue whose reader is at work from one message to the next.

    Attributes:
        is_busy: whether the session is at work; what is put in now waits.
        busy_since: since when, by the monotonic clock.
    """

    def __init__(self) -> None:
        self._waiting: deque[Sent] = deque()
        self._has_news = threading.Condition()
        self._failure: BaseException | None = None
        self.is_busy = True
        self.busy_since = time.monotonic()

    @property
    def queue(self) -> tuple[str, ...]:
        """What waits while the session is at work."""
        waiting = tuple(self._waiting)
        return tuple(each.text for each in waiting if each.text is not None) if self.is_busy else ()

    def put(self, sent: Sent) -> None:
        """Hand something to the session. Who sends a message does not want to leave any more."""
        with self._has_news:
            if sent.text is not None:
                self._waiting = deque(each for each in self._waiting if each.text is not None)
            self._waiting.append(sent)
            self._has_news.notify()

    def fail(self, failure: BaseException) -> None:
        """Let the session end with what ended the prompt."""
        with self._has_news:
            self._failure = failure
            self._has_news.notify()

    def take(self) -> Sent:
        """Wait for the next; from now on the session is at work. Raises what `fail` was given."""
        with self._has_news:
            while not self._waiting and self._failure is None:
                self._has_news.wait()
            self.is_busy, self.busy_since = True, time.monotonic()
            if self._failure is not None:
                raise self._failure
            return self._waiting.popleft()

    def take_back_last(self) -> str | None:
        """The last message that waits, which is not sent then."""
        with self._has_news:
            if self.is_busy and self._waiting and self._waiting[-1].text is not None:
                return self._waiting.pop().text
        return None

    def take_back_all(self) -> list[str]:
        """Every message that waits; what keys stand for is dropped, the wish to leave stays."""
        with self._has_news:
            messages = [each.text for each in self._waiting if each.text is not None and not each.by_key]
            self._waiting = deque(each for each in self._waiting if each.text is None)
        return messages
