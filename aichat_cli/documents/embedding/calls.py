"""Calls to an embedding API at once: a few threads, results in order, every cost told, and no waiting after Ctrl-C."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Protocol

from aichat_cli.core.errors import AichatError
from aichat_cli.core.usage import UsageRecord


@dataclass(frozen=True, slots=True)
class CallResult:
    """What came of one call.

    Attributes:
        vectors: one for each text, little-endian 32-bit floats; empty where there is an error.
        usage: a row for each try that is, or may be, on the provider's bill.
    """

    vectors: tuple[bytes, ...]
    error: AichatError | None
    usage: tuple[UsageRecord, ...]


class EmbeddingCall(Protocol):
    """Makes one call after the other, each tried again where that helps; for one thread."""

    def __call__(self, texts: Sequence[str], *, is_query: bool, stop: threading.Event) -> CallResult:
        """Make the call. `stop` ends the waits between tries."""
        ...

    def abandoned(self, texts: Sequence[str]) -> UsageRecord:
        """The row of a call that nobody waits for any more: it was sent, and is paid for."""
        ...

    def close(self) -> None:
        """Close the connection, or, where a call is under way, let it close when that ends."""
        ...


class Round:
    """A number of calls made together, once.

    Args:
        calls: as many as may run at once.
        record: keeps a row of usage; called in the thread that calls `run`.
        check: raises where vectors are not those of the texts, in the same thread.
    """

    def __init__(
        self,
        calls: Sequence[EmbeddingCall],
        batches: Sequence[Sequence[str]],
        record: Callable[[UsageRecord], None],
        check: Callable[[Sequence[str], Sequence[bytes]], None],
        *,
        is_query: bool,
    ) -> None:
        self._calls = calls
        self._batches = batches
        self._record = record
        self._check = check
        self._is_query = is_query
        self._stop = threading.Event()
        self._waiting: SimpleQueue[int] = SimpleQueue()
        self._done: SimpleQueue[tuple[int, CallResult | BaseException] | None] = SimpleQueue()
        self._started: dict[int, EmbeddingCall] = {}
        self._ended: set[int] = set()

    def run(self) -> list[tuple[bytes, ...]]:
        """The vectors of each batch. After a failure nothing more is sent; what is under way is waited for.

        Raises:
            AichatError: of the first call that failed.
            KeyboardInterrupt: at once; calls under way are recorded by our own count.
        """
        for index in range(len(self._batches)):
            self._waiting.put(index)
        try:
            return self._collected(self._start())
        except BaseException:
            self._stop.set()
            self._record_what_was_sent()
            raise

    def _start(self) -> int:
        calls = self._calls[: len(self._batches)]
        for call in calls:
            threading.Thread(target=self._work, args=(call,), name="embedding", daemon=True).start()
        return len(calls)

    def _collected(self, workers: int) -> list[tuple[bytes, ...]]:
        results: dict[int, tuple[bytes, ...]] = {}
        error: BaseException | None = None
        while workers:
            item = self._done.get()
            if item is None:
                workers -= 1
                continue
            index, result = item
            failure = self._settled(index, result)
            if failure is not None:
                error = error or failure
                self._stop.set()
            elif isinstance(result, CallResult):
                results[index] = result.vectors
        if error is not None:
            raise error
        return [results[index] for index in range(len(self._batches))]

    def _settled(self, index: int, result: CallResult | BaseException) -> BaseException | None:
        """Record what a call cost; its error, if it has one or its vectors are wrong."""
        self._ended.add(index)
        if isinstance(result, BaseException):
            return result
        for usage in result.usage:
            self._record(usage)
        if result.error is not None:
            return result.error
        try:
            self._check(self._batches[index], result.vectors)
        except AichatError as exc:
            return exc
        return None

    def _record_what_was_sent(self) -> None:
        while True:
            try:
                item = self._done.get_nowait()
            except Empty:
                break
            if item is not None:
                self._settled(*item)
        for index, call in sorted(self._started.items(), key=lambda started: started[0]):
            if index not in self._ended:
                self._record(call.abandoned(self._batches[index]))

    def _work(self, call: EmbeddingCall) -> None:
        while not self._stop.is_set():
            try:
                index = self._waiting.get_nowait()
            except Empty:
                break
            self._started[index] = call
            try:
                self._done.put((index, call(self._batches[index], is_query=self._is_query, stop=self._stop)))
            except BaseException as exc:  # noqa: BLE001 - raised again in the thread that waits
                self._done.put((index, exc))
        self._done.put(None)
