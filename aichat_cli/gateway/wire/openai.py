"""OpenAI's chat completions, as clients of the gateway speak them."""

from __future__ import annotations

from typing import Any

from aichat_cli.core.errors import AichatError
from aichat_cli.core.models import Model
from aichat_cli.gateway.errors import error_body, of_provider
from aichat_cli.gateway.wire.base import Asked, Dialect, Wire
from aichat_cli.gateway.wire.openai_encoder import OpenAIEncoder
from aichat_cli.gateway.wire.openai_request import native_body, read_request
from aichat_cli.gateway.wire.openai_tap import OpenAITap
from aichat_cli.gateway.wire.shared import event_bytes

_PATH = "/v1/chat/completions"


class OpenAI:
    """See `base.Wire`."""

    dialect: Dialect = "openai"

    def asked(self, body: dict[str, Any]) -> Asked:
        return read_request(body)

    def native_body(self, asked: Asked, model: Model, output_limit: int | None) -> dict[str, Any]:
        return native_body(asked, model, output_limit)

    def tap(self, asked: Asked, model: Model, request_id: str) -> OpenAITap:
        return OpenAITap(asked, model, request_id)

    def encoder(self, asked: Asked, model: Model, request_id: str) -> OpenAIEncoder:
        del model
        return OpenAIEncoder(asked, request_id)

    def error_event(self, error: AichatError, request_id: str) -> bytes:
        return event_bytes(error_body(_PATH, of_provider(error), request_id))


WIRE: Wire = OpenAI()
