"""A model's answer, passed on as it comes: the first bytes are sent with the headers, and nothing is gathered on the way."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from starlette.requests import Request
from starlette.types import Send

from aichat_cli.billing.charges import usage_of_call
from aichat_cli.billing.estimates import Call
from aichat_cli.chat.observing import TurnContent
from aichat_cli.chat.payment import call_of
from aichat_cli.core.accounts import Caller
from aichat_cli.core.errors import AichatError
from aichat_cli.core.events import Finished
from aichat_cli.core.messages import Status
from aichat_cli.core.money import TokenUsage
from aichat_cli.core.struct import replace
from aichat_cli.core.usage import UsageRecord
from aichat_cli.gateway.calls import Nothing, Running
from aichat_cli.gateway.models import Served
from aichat_cli.gateway.paid import EVENTS, PaidAnswer
from aichat_cli.gateway.upstream import Job
from aichat_cli.gateway.wire.base import Asked, Totals, Wire
from aichat_cli.providers import tokens


class Relay(PaidAnswer):
    """The answer to a request to a model. Making it raises BadRequest where the model's protocol cannot say what is asked."""

    def __init__(self, request: Request, wire: Wire, asked: Asked, served: Served, caller: Caller) -> None:
        super().__init__(request, served, caller)
        self._wire = wire
        self._asked = asked
        self.is_streamed = asked.stream
        self.upstream.require_speakable(asked, served)

    def call(self) -> Call:
        """`PaidAnswer.call`."""
        asked = self._asked
        system = "\n".join(text for text in (asked.system, asked.other_input) if text)
        return call_of(self.served.model, asked.messages, system or None, asked.options, "chat")

    @property
    def prompt_size(self) -> int:
        """`PaidAnswer.prompt_size`."""
        asked = self._asked
        return (
            sum(len(message.content) for message in asked.messages) + len(asked.system or "") + len(asked.other_input)
        )

    async def ask(self, running: Running, send: Send) -> None:
        """`PaidAnswer.ask`."""
        job = Job(
            self._wire, self._asked, self.served, self.id, running.ticket.output_limit, running, self._caller.user_id
        )
        async with aclosing(self.upstream.answer(job)) as parts:
            async for part in parts:
                running.waits("client")
                if not self.has_begun:
                    await self.begin(running, EVENTS, send)
                await send({"type": "http.response.body", "body": part, "more_body": True})

    async def finish(self, running: Running, totals: Totals | None, send: Send) -> None:
        """`PaidAnswer.finish`."""
        reading = running.reading
        assert not isinstance(reading, Nothing)
        if not self._asked.stream:
            await self.whole(reading.whole_answer(totals), running, send)
            return
        if not self.has_begun:
            await self.begin(running, EVENTS, send)
        await self.last(reading.end(totals), send)

    async def usage(self, running: Running, status: Status) -> UsageRecord | None:
        """`PaidAnswer.usage`."""
        reading = running.reading
        if status == "failed" and not self.has_begun:
            return None  # nobody got anything of it
        counted, finished = reading.tokens, reading.finished
        if running.is_free:
            counted = replace(counted or TokenUsage(0, 0), is_free=True)
        if counted is not None and finished is not None:
            return self._usage(running, counted, finished, status)
        return await asyncio.to_thread(self._usage, running, counted, finished, status)

    def content(self, running: Running, error: AichatError | None) -> TurnContent:
        """`PaidAnswer.content`."""
        asked, said = self._asked, error.message if error else None
        return TurnContent(asked.system, asked.messages, running.reading.text, reasoning="", error=said)

    def error_event(self, error: AichatError) -> bytes:
        """`PaidAnswer.error_event`."""
        return self._wire.error_event(error, self.id)

    def _usage(
        self, running: Running, counted: TokenUsage | None, finished: Finished | None, status: Status
    ) -> UsageRecord | None:
        asked, model, reading = self._asked, self.served.model, running.reading
        return usage_of_call(
            self.id,
            model,
            counted,
            finished=finished,
            status=status,
            prompt_tokens=lambda: (
                tokens.count_messages(asked.messages, asked.system, model) + tokens.count(asked.other_input, model)
            ),
            answer_tokens=(lambda: tokens.count(reading.text, model)) if reading.output_tokens else None,
        )
