"""`aichat login`: an account on a gateway. Its key is asked for or read, never an argument."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from aichat_cli.account.services import URL_SETTING
from aichat_cli.app import App
from aichat_cli.cli.common import DebugFlag, confirmed, opened, single_command
from aichat_cli.cli.keys import described
from aichat_cli.config.settings import known
from aichat_cli.core.errors import UsageError
from aichat_cli.core.models import GATEWAY
from aichat_cli.providers.endpoints import key_environment_variables
from aichat_cli.render import account_view
from aichat_cli.render.diagnostics import Diagnostics

if TYPE_CHECKING:
    from aichat_cli.account.login import LoggedIn

app = single_command()


@app.command()
def login(
    url: Annotated[
        str, typer.Argument(help="Address of the gateway; without one, that of the last login.", metavar="[URL]")
    ] = "",
    source: Annotated[str, typer.Argument(help="- reads the key from stdin.", metavar="[-]")] = "",
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Send the key unencrypted, in a network that you trust.")
    ] = False,
    sync: Annotated[
        bool, typer.Option("--sync", help="Sync this device with the account, too, without asking.")
    ] = False,
    debug: DebugFlag = False,
) -> None:
    """Log in to a gateway, whose models and credits you can then use.

    The key is the one that its operator gave you: asked for without echo, read from a pipe, or taken from
    AICHAT_GATEWAY_KEY. It is kept in the system's keyring. Logging in again replaces the account.
    """
    from aichat_cli.account.login import checked_address, log_in

    with opened(debug=debug) as (house, diagnostics):
        if source not in {"", "-"}:
            house.keys.hide(source)
            raise UsageError("A key is never an argument, where other programs can read it.", hint="It is asked for")
        address = checked_address(url or house.account.url or _missing_address(), insecure=insecure)
        done = log_in(house.account, house.paths.config_file, address, _key_text(address, from_stdin=source == "-"))
        house.reload_settings()
        _tell(house, diagnostics, done)
        _begin_sync(house, diagnostics, done, is_wanted=sync)


def _missing_address() -> str:
    raise UsageError("Which gateway?", hint="As in: aichat login https://chat.example.org")


def _key_text(address: str, *, from_stdin: bool) -> str:
    in_environment = os.environ.get(key_environment_variables(GATEWAY)[0], "")
    if in_environment and not from_stdin:
        return in_environment
    is_typed = sys.stdin.isatty() and not from_stdin
    value: str = typer.prompt(f"Key for {address}", hide_input=True, err=True) if is_typed else sys.stdin.read()
    if not value.strip():
        raise UsageError("No key was given; nothing has changed.", hint=f"Run: aichat login {address}")
    return value


def _tell(house: App, diagnostics: Diagnostics, done: LoggedIn) -> None:
    for line in account_view.login_lines(done):
        diagnostics.notice(line)
    diagnostics.notice(f"The key is kept in {described(done.key.source)}.")
    account = done.profile.account
    default = house.model(None).name
    is_hosted = default.startswith(f"{GATEWAY}/")
    if is_hosted:
        diagnostics.notice(f"{default} answers from now on, and your credits there pay. Try: aichat hello")
    elif done.profile.listing.default:
        hosted = f"{GATEWAY}/{done.profile.listing.default}"
        diagnostics.notice(f"{default} still answers, as the setting model says. Try: aichat -m {hosted} hello")
    for variable, given in (
        (known(URL_SETTING).variable, account.url),
        (key_environment_variables(GATEWAY)[0], ""),
    ):
        if os.environ.get(variable) and os.environ[variable].rstrip("/") != given:
            diagnostics.warning(f"The environment holds {variable} too, which comes first.")


def _begin_sync(house: App, diagnostics: Diagnostics, done: LoggedIn, *, is_wanted: bool) -> None:
    """Sync with the account where that is wanted, asking whoever sits at a terminal; what fails is told as by `sync init`."""
    account = done.profile.account
    if is_wanted or (account.syncs and "sync" in account.scopes and not _syncs(house)):
        is_asked = not is_wanted and sys.stdin.isatty()
        if is_wanted or (is_asked and confirmed("Sync the chats of this device with it, too?", yes=False)):
            from aichat_cli.cli.sync_init_gateway import init_with_gateway

            init_with_gateway(house, diagnostics, no_documents=False, yes=True)
        else:
            diagnostics.notice("This gateway keeps your chats alike on several devices, too. Run: aichat sync init")


def _syncs(house: App) -> bool:
    """Whether sync is on; a database that cannot be read is told of when it is needed."""
    from aichat_cli.core.errors import StorageError
    from aichat_cli.storage import sync_state

    try:
        return sync_state.find(house.readable_database) is not None
    except StorageError:
        return True
