"""The calls under way in this process: what each has come to so far, who watches over them, and how they end.

Whatever becomes of a client, a provider or the server, a call that was admitted is settled here, once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Literal, Protocol, TypeVar

from aichat_cli.accounts.admission import Ticket, admit, estimate
from aichat_cli.billing.estimates import Call
from aichat_cli.chat.observing import Trace
from aichat_cli.core.accounts import Caller, Charge, Progress
from aichat_cli.core.errors import AichatError
from aichat_cli.core.events import Finished
from aichat_cli.core.ids import RequestId
from aichat_cli.core.models import Model
from aichat_cli.core.money import TokenUsage, cost_nano
from aichat_cli.core.struct import Struct
from aichat_cli.core.usage import UsageRecord
from aichat_cli.gateway.desk import Desk
from aichat_cli.gateway.wire.base import Encoder, Tap

T = TypeVar("T")

Ending = Literal["left", "unread", "silent", "settled"]
"""Why a call is ended from outside: its client left, or reads nothing; its provider sends nothing; somebody settled it."""

logger = logging.getLogger(__name__)

_TICK_SECONDS = 1.0
_SIGN_SECONDS = 10.0
"""A call of which nothing new arrived gives a sign of life so often."""
_DEAD_SECONDS = 30.0
_LONG_PROMPT = 2_000
"""Bytes: more are counted by a vocabulary, which is not done where others wait."""


class CallObserver(Protocol):
    """Is told of calls as they happen; what it does must not take time."""

    def began(self) -> None:
        """A call was admitted."""
        ...

    def first_byte(self, seconds: float) -> None:
        """The first byte of an answer is sent, so long after the request."""
        ...

    def failed(self, provider: str, code: str) -> None:
        """A provider failed."""
        ...

    def ended(self, model: str, tokens: TokenUsage | None, cost_nano: int, charged_nano: int) -> None:
        """A call was settled."""
        ...


class Nothing:
    """What is known of an answer of which nothing came yet."""

    text = ""
    output_tokens = 0
    tokens: TokenUsage | None = None
    finished: Finished | None = None


class Running:
    """A call under way, which a task serves.

    Attributes:
        reading: what arrived so far.
        moved_at: when it last came forward, by the loop's clock; `waits_for` is whom it has waited for since then.
        ending: why it was ended from outside, None where it was not.
        trace: takes down its steps for observers, None where there are none.
        is_free: nobody charges for the answer: it was given before, and a proxy had kept it.
    """

    __slots__ = (
        "_loop",
        "_task",
        "ending",
        "is_free",
        "model",
        "moved_at",
        "noted_at",
        "noted_tokens",
        "reading",
        "ticket",
        "trace",
        "waits_for",
    )

    def __init__(self, ticket: Ticket, model: Model, task: asyncio.Task[Any], loop: asyncio.AbstractEventLoop) -> None:
        self.ticket = ticket
        self.model = model
        self.reading: Tap | Encoder | Nothing = Nothing()
        self.ending: Ending | None = None
        self.trace: Trace | None = None
        self.is_free = False
        self.waits_for: Literal["provider", "client", "nobody"] = "nobody"
        self.noted_tokens = 0
        self._task = task
        self._loop = loop
        self.moved_at = self.noted_at = loop.time()

    def waits(self, for_whom: Literal["provider", "client", "nobody"]) -> None:
        """It came forward, and waits again."""
        self.moved_at = self._loop.time()
        self.waits_for = for_whom

    def end(self, ending: Ending) -> None:
        """End it, where it is not ended yet."""
        if self.ending is None:
            self.ending = ending
            self._task.cancel()

    def progress(self) -> Progress:
        """What it has come to, for the books."""
        tokens, price = self.reading.output_tokens, self.model.price
        usage = TokenUsage(self.ticket.call.likely_input, tokens, is_free=self.is_free)
        return Progress(self.ticket.request_id, tokens, cost_nano(usage, price) if price and tokens else 0)


class _Unsettled(Struct, frozen=True):
    request_id: RequestId
    record: UsageRecord | None


class Calls:
    """The register. `idle_seconds` is how long a client or a provider may do nothing."""

    def __init__(self, desk: Desk, idle_seconds: float, observer: CallObserver) -> None:
        self.observer = observer
        self._desk = desk
        self.idle_seconds = idle_seconds
        self._running: dict[RequestId, Running] = {}
        self._kept: set[asyncio.Task[Any]] = set()
        self._unsettled: list[_Unsettled] = []

    def __len__(self) -> int:
        return len(self._running)

    async def admit(self, caller: Caller, call: Callable[[], Call], prompt_bytes: int, request_id: RequestId) -> Ticket:
        """Admit a call and hold the most it can cost; `accounts.admission.admit` tells the errors.

        Args:
            call: makes what billing sees of it, which takes a while where the prompt is long.
        """
        if prompt_bytes > _LONG_PROMPT:
            estimated = await asyncio.to_thread(lambda: estimate(call()))
        else:
            estimated = estimate(call())
        admitting = self.keep(self._desk.ask(lambda books: admit(books, caller, estimated, request_id)))
        try:
            return await asyncio.shield(admitting)
        except asyncio.CancelledError:
            self.keep(self._undo(admitting))
            raise

    async def _undo(self, admitting: asyncio.Task[Ticket]) -> None:
        """Whoever asked for a call is gone: what is held for it is released."""
        await asyncio.wait([admitting])
        if not admitting.cancelled() and admitting.exception() is None:
            await self.settle(admitting.result().request_id, None)

    def begin(self, ticket: Ticket, model: Model) -> Running:
        """Write down a call that was admitted; the current task serves it."""
        task = asyncio.current_task()
        assert task is not None
        running = Running(ticket, model, task, task.get_loop())
        self._running[ticket.request_id] = running
        self.observer.began()
        return running

    def is_over(self, running: Running) -> None:
        """Watch over it no longer: whoever serves it settles it."""
        self._running.pop(running.ticket.request_id, None)

    def keep(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Work that is done whatever becomes of whoever began it."""
        task = asyncio.get_running_loop().create_task(work)
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)
        return task

    async def settle(self, request_id: RequestId, record: UsageRecord | None) -> Charge | None:
        """Charge a call, or release what was held for it; None where the books fail, which are asked again later."""
        try:
            return await self._desk.ask(lambda books: books.settle(request_id, record))
        except AichatError as exc:
            logger.warning("A call is to be settled later: %s", exc.message)
        except Exception:
            logger.exception("A call is to be settled later")
        self._unsettled.append(_Unsettled(request_id, record))
        return None

    async def watch(self) -> None:
        """Every second: note what calls have come to, and end those nobody waits for any more."""
        loop = asyncio.get_running_loop()
        dead_at = loop.time()
        while True:
            try:
                if loop.time() >= dead_at:
                    dead_at = loop.time() + _DEAD_SECONDS
                    await self._desk.ask(lambda books: books.settle_the_dead())
                await self._tick(loop.time())
            except AichatError as exc:
                logger.warning("The accounts do not answer: %s", exc.message)
            except Exception:  # without signs of life every call would count as dead
                logger.exception("Calls could not be watched over")
            await asyncio.sleep(_TICK_SECONDS)

    async def close(self) -> None:
        """Wait for what is still being settled."""
        while self._kept:
            await asyncio.wait(list(self._kept))
        await self._settle_again()

    async def _tick(self, now: float) -> None:
        await self._settle_again()
        moved: list[Progress] = []
        for running in list(self._running.values()):
            if running.waits_for != "nobody" and now - running.moved_at > self.idle_seconds:
                running.end("unread" if running.waits_for == "client" else "silent")
                continue
            tokens = running.reading.output_tokens
            if tokens != running.noted_tokens or now - running.noted_at > _SIGN_SECONDS:
                running.noted_tokens, running.noted_at = tokens, now
                moved.append(running.progress())
        if not moved:
            return
        for request_id in await self._desk.ask(lambda books: books.note(moved)):
            if request_id in self._running:
                self._running[request_id].end("settled")

    async def _settle_again(self) -> None:
        for _ in range(len(self._unsettled)):
            each = self._unsettled.pop(0)
            await self.settle(each.request_id, each.record)
