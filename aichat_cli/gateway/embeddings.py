"""Vectors of texts, in OpenAI's protocol, from whichever provider."""

from __future__ import annotations

import asyncio
import sys
from array import array
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Send

from aichat_cli.billing.charges import embedding_usage
from aichat_cli.billing.estimates import Call
from aichat_cli.core.accounts import Caller
from aichat_cli.core.errors import AichatError, BadResponse
from aichat_cli.core.messages import Status
from aichat_cli.core.money import TokenUsage
from aichat_cli.core.struct import Struct
from aichat_cli.core.usage import UsageRecord
from aichat_cli.gateway.auth import caller_of
from aichat_cli.gateway.bodies import json_object
from aichat_cli.gateway.calls import Running
from aichat_cli.gateway.errors import BadRequest
from aichat_cli.gateway.models import Served, models_of
from aichat_cli.gateway.paid import PaidAnswer
from aichat_cli.gateway.wire.base import Totals
from aichat_cli.gateway.wire.fields import choice_at, known, list_at, name_at, refusal, whole_at, wrong_type
from aichat_cli.gateway.wire.shared import told
from aichat_cli.providers.base import EmbeddingRequest
from aichat_cli.providers.embeddings import EmbeddingResponse
from aichat_cli.providers.tokens import FOREIGN_VOCABULARY, count, estimate, most

_FIELDS = frozenset(("model", "input", "dimensions", "encoding_format", "user"))
_MOST_INPUTS = 2048
_MOST_DIMENSIONS = 100_000
_MOST_TOKEN = 1 << 31

_FORMATS = ("float", "base64")

Format = Literal["float", "base64"]


class AskedVectors(Struct, frozen=True):
    """A request, checked. `texts` are texts, or their tokens."""

    model_name: str
    texts: tuple[str, ...] | tuple[tuple[int, ...], ...]
    dimensions: int | None
    format: Format


def routes() -> list[BaseRoute]:
    """Its paths."""
    return [Route("/v1/embeddings", embeddings, methods=["POST"])]


async def embeddings(request: Request) -> Response:
    """OpenAI's embeddings."""
    caller = await caller_of(request, "embeddings")
    asked = read_request(await json_object(request))
    served = await models_of(request).find(asked.model_name, "embedding")
    return Vectors(request, asked, served, caller)


def read_request(body: Mapping[str, Any]) -> AskedVectors:
    """Read a request; raises BadRequest, which names the field."""
    fields = known(body, "", _FIELDS)
    dimensions = fields.get("dimensions")
    form = choice_at(fields.get("encoding_format", "float"), "encoding_format", _FORMATS)
    return AskedVectors(
        name_at(fields.get("model"), "model"),
        _texts(fields.get("input")),
        None if dimensions is None else whole_at(dimensions, "dimensions", least=1, most=_MOST_DIMENSIONS),
        "base64" if form == "base64" else "float",
    )


def _texts(value: Any) -> tuple[str, ...] | tuple[tuple[int, ...], ...]:
    """One text or several, or the tokens of one or of several."""
    if isinstance(value, str):
        value = [value]
    items = list_at(value, "input", least=1)
    if all(isinstance(item, int) for item in items):
        items = [items]
    if len(items) > _MOST_INPUTS:
        raise refusal(f"input must hold at most {_MOST_INPUTS} texts.", "input")
    if isinstance(items[0], str):
        return tuple(name_at(text, f"input[{number}]") for number, text in enumerate(items))
    if not isinstance(items[0], list):
        raise wrong_type("input", "a text, or a list of texts or of tokens")
    return tuple(_tokens(tokens, f"input[{number}]") for number, tokens in enumerate(items))


def _tokens(value: Any, param: str) -> tuple[int, ...]:
    return tuple(whole_at(token, param, least=0, most=_MOST_TOKEN) for token in list_at(value, param, least=1))


class Vectors(PaidAnswer):
    """The answer to a request for vectors."""

    def __init__(self, request: Request, asked: AskedVectors, served: Served, caller: Caller) -> None:
        super().__init__(request, served, caller)
        self._asked = asked
        self._texts = [text for text in asked.texts if isinstance(text, str)]
        self._response: EmbeddingResponse | None = None
        if not self._texts and served.model.wire != "openai":
            raise BadRequest(f"{served.model.name} takes texts, no tokens.", param="input", code="unsupported_field")

    def call(self) -> Call:
        """`PaidAnswer.call`."""
        given = sum(len(tokens) for tokens in self._asked.texts if not isinstance(tokens, str))
        model, texts = self.served.model, self._texts
        margin = 1.0 if model.provider == "openai" else FOREIGN_VOCABULARY
        return Call(
            model,
            given + sum(map(most, texts)),
            lambda: given + len(texts) + int(margin * sum(count(text, model) for text in texts)),
            given + sum(map(estimate, texts)),
            type="embedding",
        )

    @property
    def prompt_size(self) -> int:
        """`PaidAnswer.prompt_size`."""
        return sum(map(len, self._texts))

    async def ask(self, running: Running, send: Send) -> None:
        """`PaidAnswer.ask`."""
        del send
        asked = self._asked
        request = EmbeddingRequest(
            self.served.model,
            asked.texts,
            self.served.key,
            self.upstream.timeouts,
            dimensions=asked.dimensions,
            request_id=self.id,
            user_id=self._caller.user_id,
        )
        response = await self.upstream.vectors(request, running)
        if len(response.vectors) != len(asked.texts):
            raise _wrong_number(self.served, asked, response)
        self._response = response

    async def usage(self, running: Running, status: Status) -> UsageRecord | None:
        """`PaidAnswer.usage`."""
        response = self._response
        if response is None:
            return None
        counted = response.tokens
        if counted is None:
            counted = TokenUsage(await asyncio.to_thread(running.ticket.call.count_input), 0)
        return embedding_usage(
            self.id,
            self.served.model,
            counted,
            is_estimate=response.tokens is None,
            served_model=response.served_model,
            status=status,
        )

    async def finish(self, running: Running, totals: Totals | None, send: Send) -> None:
        """`PaidAnswer.finish`."""
        assert self._response is not None
        await self.whole(_answer(self.served, self._asked, self._response, totals), running, send)

    def error_event(self, error: AichatError) -> bytes:
        """Never: an answer is sent whole."""
        raise AssertionError(error)


def _wrong_number(served: Served, asked: AskedVectors, response: EmbeddingResponse) -> BadResponse:
    count_, given = len(asked.texts), len(response.vectors)
    return BadResponse(f"{served.model.provider} answered {count_} texts with {given} vectors.")


def _answer(
    served: Served, asked: AskedVectors, response: EmbeddingResponse, totals: Totals | None
) -> dict[str, object]:
    tokens = totals.tokens.input_tokens if totals else 0
    return {
        "object": "list",
        "model": served.model.name,
        "data": [
            {"object": "embedding", "index": index, "embedding": _told(vector, asked.format)}
            for index, vector in enumerate(response.vectors)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens, **told(totals)},
    }


def _told(vector: bytes, form: Format) -> str | list[float]:
    if form == "base64":
        return b64encode(vector).decode()
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()
