"""A provider that says what it is told: `aichat -m echo/plain hello`."""

from __future__ import annotations

from collections.abc import Iterator

from aichat_cli.plugins import (
    ChatRequest,
    Finished,
    Model,
    OfferedModel,
    ProviderEvent,
    ProviderPlugin,
    TextDelta,
    Timeouts,
    TokenUsage,
    Usage,
)


class Echo:
    """Says the last message once more, word by word; `echo/loud` in capitals."""

    def stream(self, request: ChatRequest) -> Iterator[ProviderEvent]:
        """Whatever is raised here is told in one line; errors of `aichat_cli.plugins` in their own words."""
        said = request.messages[-1].content
        answer = said.upper() if request.model.wire_name == "loud" else said
        for place, word in enumerate(answer.split(" ")):
            yield TextDelta(f" {word}" if place else word)
        yield Usage(TokenUsage(input_tokens=len(said.split()), output_tokens=len(answer.split())))
        yield Finished("stop")

    def warm(self, request_model: Model, timeouts: Timeouts) -> None:
        """There is nothing to connect to."""

    def close(self) -> None:
        """There is nothing to close."""


provider = ProviderPlugin(
    open=Echo,
    models=(
        OfferedModel("plain", context_tokens=8192, free=True),
        OfferedModel("loud", context_tokens=8192, input_usd_per_mtok=1, output_usd_per_mtok="2.50"),
    ),
)
