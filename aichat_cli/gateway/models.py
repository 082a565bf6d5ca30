"""Which models are served, and what is told of them.

A model is served where its price is known, the operator can reach it, and the operator's patterns, if there are any, name it.
No name a caller can think of leads to a file, or to an address that the operator has not set up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from aichat_cli.app import App
from aichat_cli.core.errors import AichatError
from aichat_cli.core.models import GATEWAY, Model
from aichat_cli.core.money import Price, Rates, usd_number
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import Struct
from aichat_cli.gateway.answers import answer
from aichat_cli.gateway.auth import caller_of
from aichat_cli.gateway.errors import BadRequest
from aichat_cli.providers.pull import is_pulled
from aichat_cli.providers.pullable import CHAT_MODELS

Mode = Literal["chat", "embedding"]

LONGEST_NAME = 200
_KEY_SECONDS = 30.0
_LISTING_SECONDS = 60.0
_MOST_REMEMBERED = 4096
_EPOCH = "1970-01-01T00:00:00Z"
"""Nobody here knows when a model was made; Anthropic's clients expect this where that is so."""


class Served(Struct, frozen=True):
    """A model that is served, and the operator's key for it, None where none is needed."""

    model: Model
    key: Secret | None


class _Remembered(Struct, frozen=True):
    until: float
    served: Served | None


class ServedModels:
    """What names of models lead to; resolving a name takes its time, so it is remembered for a while."""

    def __init__(self, house: App, patterns: tuple[str, ...]) -> None:
        self._house = house
        self._patterns = patterns
        self._remembered: dict[tuple[Mode, str], _Remembered] = {}
        self._listing: tuple[float, tuple[tuple[Mode, Model], ...]] = (0.0, ())
        self._making = asyncio.Lock()

    async def find(self, name: str, mode: Mode) -> Served:
        """The model of that name.

        Raises:
            BadRequest: 404, it is not served; names near ones.
        """
        known = self._remembered.get((mode, name))
        if known is None or known.until < time.monotonic():
            served = await asyncio.to_thread(self._looked_up, name, mode)
            known = _Remembered(time.monotonic() + _KEY_SECONDS, served)
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[mode, name] = known
        if known.served is None:
            raise _not_found(name, mode, await self.listing())
        return known.served

    async def listing(self) -> tuple[tuple[Mode, Model], ...]:
        """All that are served and have a name of their own."""
        async with self._making:  # however many ask at once, it is made by one
            made_at, listing = self._listing
            if not listing or time.monotonic() - made_at > _LISTING_SECONDS:
                listing = await asyncio.to_thread(lambda: tuple(self._listed()))
                self._listing = (time.monotonic(), listing)
        return listing

    async def default(self) -> str | None:
        """What to ask where nothing is named: the operator's own choice where that is served, else the first that is."""
        chosen = await asyncio.to_thread(lambda: self._house.model(None))
        served = [model.name for mode, model in await self.listing() if mode == "chat"]
        return chosen.name if chosen.name in served else next(iter(served), None)

    def _looked_up(self, name: str, mode: Mode) -> Served | None:
        if len(name) > LONGEST_NAME:
            return None
        registry = self._house.registry
        try:
            model = registry.resolve(name) if mode == "chat" else registry.embedding_model(name)
            return Served(model, self._house.key_for(model)) if self._is_served(model, name) else None
        except AichatError:
            return None

    def _listed(self) -> Iterator[tuple[Mode, Model]]:
        registry = self._house.registry
        keys: dict[str, bool] = {}
        for model in registry.listing(all=True):
            if self._is_served(model, model.name, keys):
                yield "chat", model
        for model in registry.embedding_listing():
            if self._is_served(model, model.name, keys):
                yield "embedding", model

    def _is_served(self, model: Model, typed: str, keys: dict[str, bool] | None = None) -> bool:
        is_named = any(fnmatchcase(name, pattern) for name in (model.name, typed) for pattern in self._patterns)
        if model.provider == GATEWAY:
            return False  # the operator's own account elsewhere, or here
        if model.price is None or (self._patterns and not is_named):
            return False
        if model.wire == "local":
            return model.wire_name in CHAT_MODELS and is_pulled(model.wire_name, self._house.paths.model_dir)
        if self._house.registry.is_custom(model.name):
            return True
        if model.key_name is None:
            # A program on the operator's own machine, or a provider whose credentials only litellm finds.
            return is_named
        keys = {} if keys is None else keys
        if model.key_name not in keys:
            keys[model.key_name] = self._house.has_key(model.key_name)
        return keys[model.key_name] or not model.key_required


def _not_found(name: str, mode: Mode, listing: tuple[tuple[Mode, Model], ...]) -> BadRequest:
    import difflib

    shown = name[:LONGEST_NAME]
    near = difflib.get_close_matches(shown, [model.name for each, model in listing if each == mode], n=3, cutoff=0.6)
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    what = "model" if mode == "chat" else "embedding model"
    return BadRequest(
        f'This gateway has no {what} "{shown}".{meant}',
        status=404,
        param="model",
        code="model_not_found",
        hint="GET /v1/models lists those it has",
    )


def models_of(request: Request) -> ServedModels:
    """Those of the application."""
    models: ServedModels = request.app.state.traffic.models
    return models


def routes() -> list[BaseRoute]:
    """Its paths."""
    return [Route("/v1/models", every), Route("/v1/models/{name:path}", one)]


async def every(request: Request) -> Response:
    """All models that are served."""
    await caller_of(request, None)
    models = models_of(request)
    data = [described(model, mode) for mode, model in await models.listing()]
    return answer(
        {
            "object": "list",
            "data": data,
            "has_more": False,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
        }
    )


async def one(request: Request) -> Response:
    """One of them, by its name or an alias."""
    await caller_of(request, None)
    models = models_of(request)
    name = request.path_params["name"]
    try:
        served, mode = await models.find(name, "chat"), "chat"
    except BadRequest as exc:
        try:
            served, mode = await models.find(name, "embedding"), "embedding"
        except BadRequest:
            raise exc from None
    return answer(described(served.model, "chat" if mode == "chat" else "embedding"))


def described(model: Model, mode: Mode) -> dict[str, Any]:
    """A model as both clients' libraries read it. Prices are US dollars per million tokens."""
    rates = (model.price or Price(Rates(0, 0))).rates
    cached = rates.input if rates.cached_input is None else rates.cached_input
    return {
        "id": model.name,
        "object": "model",
        "type": "model",
        "created": 0,
        "created_at": _EPOCH,
        "display_name": model.name,
        "owned_by": model.provider,
        "mode": mode,
        "context_tokens": model.context_tokens,
        "max_output_tokens": model.max_output_tokens,
        "dimensions": model.dimensions,
        "input_usd_per_mtok": usd_number(rates.input),
        "output_usd_per_mtok": usd_number(rates.output),
        "cached_usd_per_mtok": usd_number(cached),
        "reads_images": model.reads_images,
        "reads_pdf": model.reads_pdf,
        "reads_audio": False,
    }
