"""The application: its paths, what wraps every request, and what opens and closes with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from aichat_cli.core.errors import AichatError
from aichat_cli.gateway import account, chat, embeddings, models, openapi, operations, purchases, sync, traffic, usage
from aichat_cli.gateway.deps import GatewayDeps
from aichat_cli.gateway.errors import error_response, of_http
from aichat_cli.gateway.middleware import Watched
from aichat_cli.gateway.sync_desk import SyncDesk


def create_app(deps: GatewayDeps) -> Starlette:
    """The gateway as an ASGI application."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        deps.desk.open()
        app.state.sync = SyncDesk(deps.store.hosted)
        try:
            async with traffic.opened(deps) as app.state.traffic:
                yield
        finally:
            app.state.sync.close()
            deps.desk.close()

    app = Starlette(
        routes=routes(),
        lifespan=lifespan,
        middleware=[Middleware(Watched, deps.watch)],
        exception_handlers={AichatError: _failed, HTTPException: _refused},  # type: ignore[dict-item]
    )
    app.state.deps = deps
    return app


def routes() -> list[BaseRoute]:
    """All paths."""
    return [
        *account.routes(),
        *usage.routes(),
        *models.routes(),
        *chat.routes(),
        *embeddings.routes(),
        *purchases.routes(),
        *sync.routes(),
        *operations.routes(),
        *openapi.routes(),
    ]


async def _failed(request: Request, error: AichatError) -> Response:
    return error_response(request, error)


async def _refused(request: Request, error: HTTPException) -> Response:
    return error_response(request, of_http(error))
