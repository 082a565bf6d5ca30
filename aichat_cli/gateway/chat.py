"""Requests to a model, in OpenAI's protocol and in Anthropic's."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from aichat_cli.gateway.auth import caller_of
from aichat_cli.gateway.bodies import json_object
from aichat_cli.gateway.errors import ANTHROPIC_PATH
from aichat_cli.gateway.models import models_of
from aichat_cli.gateway.relay import Relay
from aichat_cli.gateway.wire import anthropic, openai
from aichat_cli.gateway.wire.base import Wire


def routes() -> list[BaseRoute]:
    """Its paths."""
    return [
        Route("/v1/chat/completions", completions, methods=["POST"]),
        Route(ANTHROPIC_PATH, messages, methods=["POST"]),
    ]


async def completions(request: Request) -> Response:
    """OpenAI's chat completions."""
    return await _asked(request, openai.WIRE)


async def messages(request: Request) -> Response:
    """Anthropic's messages."""
    return await _asked(request, anthropic.WIRE)


async def _asked(request: Request, wire: Wire) -> Response:
    caller = await caller_of(request, "chat")
    asked = wire.asked(await json_object(request))
    served = await models_of(request).find(asked.model_name, "chat")
    return Relay(request, wire, asked, served, caller)
