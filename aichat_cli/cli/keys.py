"""`aichat keys`: set, list and remove provider keys. A key is never printed."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Annotated

import typer

from aichat_cli.cli.common import DebugFlag, JsonFlag, command_group, opened
from aichat_cli.config.secrets import keyring_backend
from aichat_cli.core.errors import StorageError, UsageError
from aichat_cli.providers.endpoints import KEY_NAMES
from aichat_cli.render import json_shapes, tables
from aichat_cli.render.answer import print_text
from aichat_cli.storage import deliveries

app = command_group("Provider keys, kept in the system's keyring.")

Name = Annotated[str, typer.Argument(help="The provider, such as openai or anthropic.", metavar="NAME")]


@app.command("set")
def set_(name: Name, debug: DebugFlag = False) -> None:
    """Store a key: asked for without echo, or read from a pipe. It is never an argument."""
    with opened(debug=debug) as (house, diagnostics):
        is_typed = sys.stdin.isatty()
        value = typer.prompt(f"Key for {name}", hide_input=True, err=True) if is_typed else sys.stdin.read()
        if not value.strip():
            raise UsageError("No key was given; nothing was stored.")
        location = house.keys.store(name, value)
        diagnostics.notice(f"Stored the key for {name} in {described(location.source)}.")
        if house.keys.is_in_environment(name):
            diagnostics.warning(f"The environment holds a key for {name} too, and comes first.")
        if name in house.settings.names("integrations"):
            with suppress(StorageError):  # then it is tried again when that is due
                deliveries.found_well(house.database, name)


@app.command("list")
def list_(as_json: JsonFlag = False, debug: DebugFlag = False) -> None:
    """List which keys are set, and where; never the keys."""
    with opened(as_json=as_json, debug=debug) as (house, diagnostics):
        custom = [str(table["key_name"]) for table in house.settings.custom_models().values() if table.get("key_name")]
        locations = house.keys.locations([*KEY_NAMES, *custom])
        if as_json:
            rows = [{"name": location.name, "source": location.source} for location in locations]
            print_text(json_shapes.dumps(rows))
        elif locations:
            tables.keys(locations)
        elif not house.settings.text("key_command"):
            diagnostics.notice("No key is set. Run: aichat keys set openai")
        if house.settings.text("key_command"):
            diagnostics.notice("The setting key_command is asked for every other key.")


@app.command()
def rm(name: Name, debug: DebugFlag = False) -> None:
    """Remove a stored key."""
    with opened(debug=debug) as (house, diagnostics):
        for location in house.keys.remove(name):
            diagnostics.notice(f"Removed the key for {location.name} from {described(location.source)}.")


def described(source: str) -> str:
    """Where a key is kept, in words."""
    if source == "keyring":
        return f"the keyring ({keyring_backend()})"
    return f"{source}, a file only you can read: this machine has no keyring"
