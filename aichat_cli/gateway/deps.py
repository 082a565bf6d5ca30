"""What the gateway's endpoints are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aichat_cli.accounts.protocol import AccountStore
from aichat_cli.app import App
from aichat_cli.core.struct import Struct, field
from aichat_cli.gateway.desk import Desk
from aichat_cli.gateway.watch import Watch

if TYPE_CHECKING:
    from starlette.requests import Request


class ServerOptions(Struct, frozen=True):
    """How requests are taken.

    Attributes:
        public_url: where browsers and clients reach the gateway, without a trailing slash.
        most_body_bytes: of a request to a model; sync has limits of its own.
        body_seconds: how long a body may take to arrive.
        models: the names or patterns (`gpt-4o*`) of the models that are served; empty for all that the operator has a key and
            a price for.
    """

    public_url: str = "http://127.0.0.1:8088"
    most_body_bytes: int = 20_000_000
    body_seconds: float = 30.0
    models: tuple[str, ...] = ()


class GatewayDeps(Struct, frozen=True):
    """One per process: `house` has the models, the providers' keys and the wires; `desk` asks the accounts in `store`."""

    house: App
    store: AccountStore
    desk: Desk
    options: ServerOptions = ServerOptions()
    watch: Watch = field(default_factory=Watch)


def deps_of(request: Request) -> GatewayDeps:
    """What the application was made with."""
    deps: GatewayDeps = request.app.state.deps
    return deps
