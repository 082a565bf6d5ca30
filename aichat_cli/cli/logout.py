"""`aichat logout`: forget the account on a gateway."""

from __future__ import annotations

import os
from contextlib import suppress

from aichat_cli.account.services import URL_SETTING
from aichat_cli.app import App
from aichat_cli.cli.common import DebugFlag, opened, single_command
from aichat_cli.cli.keys import described
from aichat_cli.config.settings import known
from aichat_cli.core.errors import StorageError
from aichat_cli.core.models import GATEWAY
from aichat_cli.providers.endpoints import key_environment_variables

app = single_command()


@app.command()
def logout(debug: DebugFlag = False) -> None:
    """Forget the account on the gateway: its key, its address, its models. Your history stays."""
    from aichat_cli.account.login import log_out

    with opened(debug=debug) as (house, diagnostics):
        done = log_out(house.account, house.paths.config_file)
        if not done.url and not done.keys:
            diagnostics.notice("You were not logged in.")
            return
        for location in done.keys:
            diagnostics.notice(f"Removed the key from {described(location.source)}.")
        diagnostics.notice(
            f"Logged out of {done.url or 'the gateway'}. Your history stays, and nothing has changed there: to have the key"
            " revoked, ask the operator."
        )
        if _syncs_through_it(house):
            diagnostics.warning("This device syncs through it: that waits until you log in again, or: aichat sync off")
        house.reload_settings()
        chosen = house.settings.text("model")
        if chosen.startswith(f"{GATEWAY}/"):
            diagnostics.warning(f"The setting model is still {chosen}. For another: aichat models default MODEL")
        for variable in (known(URL_SETTING).variable, *key_environment_variables(GATEWAY)):
            if os.environ.get(variable):
                diagnostics.warning(f"The environment holds {variable}: unset that too.")


def _syncs_through_it(house: App) -> bool:
    from aichat_cli.storage import sync_state
    from aichat_cli.sync.overview import Account

    with suppress(StorageError):
        state = sync_state.find(house.readable_database)
        return state is not None and Account.of(state.account).is_gateway
    return False
