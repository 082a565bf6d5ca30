"""`aichat logout`: forget the account on a gateway."""

from __future__ import annotations

import os

from aichat_cli.account.login import log_out
from aichat_cli.account.services import URL_SETTING
from aichat_cli.cli.common import DebugFlag, opened, single_command
from aichat_cli.cli.keys import described
from aichat_cli.config.settings import known
from aichat_cli.core.models import GATEWAY
from aichat_cli.providers.endpoints import key_environment_variables

app = single_command()


@app.command()
def logout(debug: DebugFlag = False) -> None:
    """Forget the account on the gateway: its key, its address, its models. Your history stays."""
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
        house.reload_settings()
        chosen = house.settings.text("model")
        if chosen.startswith(f"{GATEWAY}/"):
            diagnostics.warning(f"The setting model is still {chosen}. For another: aichat models default MODEL")
        for variable in (known(URL_SETTING).variable, *key_environment_variables(GATEWAY)):
            if os.environ.get(variable):
                diagnostics.warning(f"The environment holds {variable}: unset that too.")
