"""`aichat serve`: the gateway, from what is typed and set to a process that serves until it is told to end."""

from __future__ import annotations

import ipaddress
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aichat_cli.app import App
from aichat_cli.cli.common import DebugFlag, opened, single_command
from aichat_cli.cli.operator import DatabaseOption, store_of
from aichat_cli.config.settings import known, parse
from aichat_cli.core.accounts import User
from aichat_cli.core.errors import ConfigError, UsageError
from aichat_cli.core.struct import Struct
from aichat_cli.render.diagnostics import Diagnostics

if TYPE_CHECKING:
    from aichat_cli.accounts.protocol import AccountStore
    from aichat_cli.gateway.deps import GatewayDeps, ServerOptions
    from aichat_cli.gateway.server import Listening

app = single_command()

METRICS_KEY = "metrics"
"""What the token of /metrics is called among the keys."""


class Typed(Struct, frozen=True):
    """What was typed, None where it is as it is set."""

    host: str | None
    port: int | None
    public_url: str | None
    tls_cert: str | None
    tls_key: str | None
    behind_proxy: list[str]
    models: list[str]
    max_body_mb: int | None
    max_connections: int | None
    shutdown_seconds: int | None
    log_level: str | None


@app.command()
def serve(
    host: Annotated[str | None, typer.Option("--host", help="Address to listen at (127.0.0.1).")] = None,
    port: Annotated[
        int | None, typer.Option("--port", help="Port to listen at (8088); 0 takes a free one.", min=0, max=65_535)
    ] = None,
    database: DatabaseOption = None,
    public_url: Annotated[
        str | None, typer.Option("--public-url", help="Where clients and browsers reach it.", metavar="URL")
    ] = None,
    tls_cert: Annotated[
        str | None, typer.Option("--tls-cert", help="Certificate with its chain, as PEM.", metavar="FILE")
    ] = None,
    tls_key: Annotated[str | None, typer.Option("--tls-key", help="Its key, as PEM.", metavar="FILE")] = None,
    behind_proxy: Annotated[
        list[str] | None,
        typer.Option("--behind-proxy", help="Network of a proxy whose word on who calls is believed.", metavar="CIDR"),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--models", help="Model to serve, or a pattern such as 'gpt-4o*'.", metavar="PATTERN"),
    ] = None,
    max_body_mb: Annotated[
        int | None, typer.Option("--max-body-mb", help="Largest request to a model (20).", min=1, max=1000)
    ] = None,
    max_connections: Annotated[
        int | None, typer.Option("--max-connections", help="Most connections at a time (1000).", min=1, max=100_000)
    ] = None,
    shutdown_seconds: Annotated[
        int | None,
        typer.Option("--shutdown-seconds", help="How long calls under way may take to end (30).", min=0, max=3600),
    ] = None,
    log_level: Annotated[str | None, typer.Option("--log-level", help="debug, info, warning or error.")] = None,
    log_addresses: Annotated[bool, typer.Option("--log-addresses", help="Log where requests come from.")] = False,
    debug: DebugFlag = False,
) -> None:
    """Serve models over HTTP to people with keys, plans and credits, until Ctrl-C or SIGTERM.

    Clients of OpenAI and of Anthropic talk to it, and aichat itself. See aichat users and aichat api-keys.
    """
    typed = Typed(
        host, port, public_url, tls_cert, tls_key, behind_proxy or [], models or [], max_body_mb, max_connections,
        shutdown_seconds, log_level,
    )  # fmt: skip
    with opened(debug=debug) as (house, diagnostics):
        _require_extra()
        if house.helicone is not None:
            house.helicone.required_key()
        from aichat_cli.gateway import server

        listening = _listening(house, typed)
        server.tls_context(listening)
        store = store_of(house, database)
        store.prepare()
        with closing(store.users()) as accounts:
            people = accounts.users(limit=None)
        _require_keys(listening, people)
        with closing(server.bound(listening)) as listener:
            port = listener.getsockname()[1]
            deps = _deps(house, store, _options(house, typed, listening, port), typed, log_addresses=log_addresses)
            served = _count_models(deps)
            _warn(diagnostics, listening)
            _tell(diagnostics, _url(listening, port), served, people, store.name)
            server.serve(deps, listening, listener)


def _require_extra() -> None:
    try:
        import aichat_cli.gateway.server  # noqa: F401 (to see whether it can be)
    except ImportError as exc:
        raise ConfigError(
            f"aichat serve needs {(exc.name or 'a package').partition('.')[0]}, which is not installed.",
            hint="Run: pip install 'aichat-terminal[server]'",
        ) from exc


def _listening(house: App, typed: Typed) -> Listening:
    from aichat_cli.gateway.protocol import WireLimits
    from aichat_cli.gateway.server import Listening

    settings = house.settings
    proxies = tuple(typed.behind_proxy) or settings.names("server.behind_proxy")
    for proxy in proxies:
        try:
            ipaddress.ip_network(proxy, strict=False)
        except ValueError:
            raise UsageError(f'--behind-proxy cannot be "{proxy}": it takes a network such as 10.0.0.0/8.') from None
    most = typed.max_connections or int(settings.number("server.max_connections"))
    seconds = settings.number("server.shutdown_seconds") if typed.shutdown_seconds is None else typed.shutdown_seconds
    return Listening(
        host=typed.host or settings.text("server.host"),
        port=int(settings.number("server.port")) if typed.port is None else typed.port,
        tls_cert=_file(typed.tls_cert or settings.text("server.tls_cert")),
        tls_key=_file(typed.tls_key or settings.text("server.tls_key")),
        proxies=proxies,
        shutdown_seconds=seconds,
        limits=WireLimits(most_connections=most),
    )


def _options(house: App, typed: Typed, listening: Listening, port: int) -> ServerOptions:
    from aichat_cli.gateway.deps import ServerOptions

    url = house.settings.text("server.public_url") if typed.public_url is None else typed.public_url
    megabytes = typed.max_body_mb or int(house.settings.number("server.max_body_mb"))
    return ServerOptions(
        public_url=str(parse(known("server.public_url"), url)) or _url(listening, port),
        most_body_bytes=megabytes * 1_000_000,
        models=tuple(typed.models) or house.settings.names("server.models"),
    )


def _deps(house: App, store: AccountStore, options: ServerOptions, typed: Typed, *, log_addresses: bool) -> GatewayDeps:
    from aichat_cli.gateway.deps import GatewayDeps
    from aichat_cli.gateway.desk import Desk
    from aichat_cli.gateway.logs import GatewayLog
    from aichat_cli.gateway.watch import Watch

    level = house.settings.text("server.log_level") if typed.log_level is None else typed.log_level
    log = GatewayLog(
        level=str(parse(known("server.log_level"), level)), is_text=sys.stderr.isatty(), redact=house.keys.redact
    )
    token = house.keys.find(METRICS_KEY, by_flag=False, by_command=False)
    watch = Watch(log, metrics_token=token.reveal() if token else None, logs_addresses=log_addresses)
    return GatewayDeps(house, store, Desk(store), options, watch)


def _require_keys(listening: Listening, people: list[User]) -> None:
    """What others than this machine reach has a key to be opened with; raises ConfigError."""
    from aichat_cli.gateway.server import is_loopback

    if is_loopback(listening.host) or _keys_of(people):
        return
    name = people[0].name if people else "NAME"
    make = f"aichat api-keys create {name}"
    raise ConfigError(
        f"Nobody has a key, so the gateway does not listen at {listening.host}.",
        hint=f"Run: {make}" if people else f"Run: aichat users create {name}, then {make}",
    )


def _warn(diagnostics: Diagnostics, listening: Listening) -> None:
    from aichat_cli.gateway.server import is_loopback

    if listening.tls_cert is None and not listening.proxies and not is_loopback(listening.host):
        diagnostics.warning(
            f"Keys and chats pass {listening.host} unencrypted: give --tls-cert and --tls-key, or --behind-proxy."
        )


def _count_models(deps: GatewayDeps) -> int:
    """How many models are served; raises UsageError where the patterns name none."""
    import asyncio

    from aichat_cli.gateway.models import ServedModels

    count = len(asyncio.run(ServedModels(deps.house, deps.options.models).listing()))
    if not count and deps.options.models:
        raise UsageError(
            f"No model that can be asked is called {', '.join(deps.options.models)}.", hint="Run: aichat models list"
        )
    return count


def _tell(diagnostics: Diagnostics, url: str, models: int, people: list[User], place: str) -> None:
    keys = _keys_of(people)
    steps = []
    if not models:
        steps.append("aichat keys set openai, or another provider, and start again")
    if not people:
        steps.append("aichat users create NAME")
    if not keys:
        steps.append(f"aichat api-keys create {people[0].name if people else 'NAME'}")
    counted = ", ".join((_counted(models, "model"), _counted(len(people), "user"), _counted(keys, "key")))
    next_ = f" Next: {'; '.join(steps)}." if steps else ""
    diagnostics.notice(f"Serving at {url}: {counted}, in {place}.{next_}")


def _counted(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def _keys_of(people: list[User]) -> int:
    return sum(user.keys for user in people if user.suspended_at is None)


def _url(listening: Listening, port: int) -> str:
    host = f"[{listening.host}]" if ":" in listening.host else listening.host
    return f"{'http' if listening.tls_cert is None else 'https'}://{host}:{port}"


def _file(text: str) -> Path | None:
    return Path(text).expanduser() if text else None
