"""`aichat whoami`: the account on the gateway, as it is now; without a network, as it was."""

from __future__ import annotations

import typer

from aichat_cli.cli.common import DebugFlag, JsonFlag, opened, single_command
from aichat_cli.core.errors import ProviderError
from aichat_cli.render import account_view, json_shapes
from aichat_cli.render.answer import print_text

app = single_command()


@app.command()
def whoami(as_json: JsonFlag = False, debug: DebugFlag = False) -> None:
    """Show your account on the gateway: who you are there, plan, credits, key and models.

    Where the gateway cannot be reached, what it last said is shown with its time, and the exit code is 6.
    """
    with opened(as_json=as_json, debug=debug) as (house, diagnostics):
        failure: ProviderError | None = None
        try:
            profile = house.account.refresh()
        except ProviderError as error:
            remembered = house.account.profile
            if remembered is None:
                raise
            profile, failure = remembered, error
        if as_json:
            print_text(json_shapes.dumps(account_view.as_json(profile, is_live=failure is None)))
        else:
            account_view.print_facts(profile, is_live=failure is None)
        if failure is not None:
            diagnostics.error(failure, consequence="This is what was last known. ")
            raise typer.Exit(failure.exit_code)
