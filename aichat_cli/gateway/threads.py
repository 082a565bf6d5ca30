"""Providers that can only be waited for: their events, from a thread of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any, TypeVar

from aichat_cli.core.events import ProviderEvent
from aichat_cli.providers.base import ChatRequest, Provider

_MOST_AHEAD = 64
"""Events that wait to be sent on: then the provider waits."""
_INTERRUPT_SECONDS = 0.5

T = TypeVar("T")
_Handed = ProviderEvent | Exception | None


async def events_in_thread(
    provider: Provider, request: ChatRequest, room: asyncio.Semaphore, interrupt: Callable[[], None] | None
) -> AsyncGenerator[ProviderEvent, None]:
    """The events of a call, read in a thread; leaving the iterator early closes the provider's there.

    Args:
        room: how many threads may run; one that was left counts until it has ended.
        interrupt: what wakes the thread where its provider does not answer meanwhile, None where nothing does.
    """
    await room.acquire()
    reader = _Reader(provider, request, room.release)
    reader.thread.start()
    try:
        while True:
            handed = await reader.handed.get()
            reader.room.release()
            if handed is None:
                return
            if isinstance(handed, Exception):
                raise handed
            yield handed
    finally:
        reader.leave()
        if interrupt is not None and reader.thread.is_alive():
            asyncio.get_running_loop().call_later(_INTERRUPT_SECONDS, _interrupted, reader.thread, interrupt)


async def in_thread(work: Callable[[], T], room: asyncio.Semaphore) -> T:
    """What work gives that only a thread can wait for; whoever leaves early leaves the thread to itself.

    Args:
        room: how many threads may run; one that was left counts until it has ended.
    """
    await room.acquire()
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            given = work()
        except Exception as exc:  # noqa: BLE001 (raised where it is awaited)
            tell(result.set_exception, exc)
        else:
            tell(result.set_result, given)

    def tell(how: Callable[[Any], None], what: object) -> None:
        def hand_over() -> None:
            room.release()
            if not result.done():
                how(what)

        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(hand_over)

    threading.Thread(target=run, name="provider", daemon=True).start()
    return await result


def _interrupted(thread: threading.Thread, interrupt: Callable[[], None]) -> None:
    if thread.is_alive():
        threading.Thread(target=interrupt, name="interrupt", daemon=True).start()


class _Reader:
    def __init__(self, provider: Provider, request: ChatRequest, ended: Callable[[], None]) -> None:
        self.handed: asyncio.Queue[_Handed] = asyncio.Queue()
        self.room = threading.Semaphore(_MOST_AHEAD)
        self.thread = threading.Thread(target=self._read, name="provider", daemon=True)
        self._loop = asyncio.get_running_loop()
        self._provider = provider
        self._request = request
        self._is_left = False
        self._ended = ended

    def leave(self) -> None:
        """Nobody wants more of it."""
        self._is_left = True
        self.room.release()

    def _read(self) -> None:
        events = self._provider.stream(self._request)
        try:
            for event in events:
                self.room.acquire()
                if self._is_left:
                    break
                self._hand(event)
        except Exception as exc:  # noqa: BLE001 (raised where the events are read)
            self._hand(exc)
        finally:
            with suppress(Exception):
                getattr(events, "close", lambda: None)()
            self._hand(None)
            self._call(self._ended)

    def _hand(self, handed: _Handed) -> None:
        self._call(lambda: self.handed.put_nowait(handed))

    def _call(self, what: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(what)
