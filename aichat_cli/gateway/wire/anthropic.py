"""Anthropic's messages, as clients of the gateway speak them."""

from __future__ import annotations

from typing import Any

from aichat_cli.core.errors import AichatError
from aichat_cli.core.models import Model
from aichat_cli.gateway.errors import ANTHROPIC_PATH, error_body, of_provider
from aichat_cli.gateway.wire.anthropic_encoder import AnthropicEncoder
from aichat_cli.gateway.wire.anthropic_request import native_body, read_request
from aichat_cli.gateway.wire.anthropic_tap import AnthropicTap
from aichat_cli.gateway.wire.base import Asked, Dialect, Wire
from aichat_cli.gateway.wire.shared import event_bytes


class Anthropic:
    """See `base.Wire`."""

    dialect: Dialect = "anthropic"

    def asked(self, body: dict[str, Any]) -> Asked:
        return read_request(body)

    def native_body(self, asked: Asked, model: Model, output_limit: int | None) -> dict[str, Any]:
        return native_body(asked, model, output_limit)

    def tap(self, asked: Asked, model: Model, request_id: str) -> AnthropicTap:
        del asked
        return AnthropicTap(model, request_id)

    def encoder(self, asked: Asked, model: Model, request_id: str) -> AnthropicEncoder:
        del model
        return AnthropicEncoder(asked, request_id)

    def error_event(self, error: AichatError, request_id: str) -> bytes:
        return event_bytes(error_body(ANTHROPIC_PATH, of_provider(error), request_id), "error")


WIRE: Wire = Anthropic()
