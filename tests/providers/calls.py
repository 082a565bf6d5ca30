"""Calling a wire in tests: a request, and what came of it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from aichat_cli.core.errors import AichatError
from aichat_cli.core.events import Finished, Notice, ProviderEvent, ReasoningDelta, TextDelta, Usage
from aichat_cli.core.messages import ChatMessage
from aichat_cli.core.models import Model, Wire
from aichat_cli.core.money import TokenUsage
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import replace
from aichat_cli.providers.base import ChatRequest, Provider, Timeouts
from tests.servers.scripted import ScriptedServer

KEY = Secret("sk-test-0123456789", "$TEST_API_KEY")
QUICK = Timeouts(connect=5, first_byte=5, idle=5)


@dataclass(slots=True)
class Outcome:
    """What a call gave: its events, and the error that ended it."""

    events: list[ProviderEvent] = field(default_factory=list)
    error: AichatError | None = None

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    @property
    def reasoning(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, ReasoningDelta))

    @property
    def notices(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Notice)]

    @property
    def usage(self) -> TokenUsage | None:
        counts = [event.tokens for event in self.events if isinstance(event, Usage)]
        return counts[-1] if counts else None

    @property
    def counts(self) -> TokenUsage | None:
        """Usage without the provider's own words."""
        return self.usage and replace(self.usage, raw=None)

    @property
    def finished(self) -> Finished | None:
        last = self.events[-1] if self.events else None
        return last if isinstance(last, Finished) else None

    @property
    def reason(self) -> str | None:
        return self.finished.reason if self.finished else None


def request_to(server: ScriptedServer, dialect: Wire = "openai", **changes: Any) -> ChatRequest:
    """A request to a scripted server; `changes` are fields of the model or of the request."""
    url = server.anthropic_url if dialect == "anthropic" else server.openai_url
    of_model = {name: changes.pop(name) for name in list(changes) if name in Model.__struct_fields__}
    model = Model("friendly", "m-1", dialect, dialect, base_url=url, key_name=dialect, max_output_tokens=1000)
    asked = ChatRequest(replace(model, **of_model), (ChatMessage("user", "hello"),), key=KEY, timeouts=QUICK)
    return replace(asked, **changes)


def outcome(wire: Provider, request: ChatRequest) -> Outcome:
    """All events of a call, and its error."""
    result = Outcome()
    events = wire.stream(request)
    with closing(events):  # type: ignore[type-var]
        try:
            for event in events:
                result.events.append(event)
        except AichatError as error:
            result.error = error
    return result
