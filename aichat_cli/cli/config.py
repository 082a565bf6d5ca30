"""`aichat config`: settings, and where each value comes from."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from aichat_cli.cli.common import DebugFlag, JsonFlag, command_group, opened
from aichat_cli.config import settings_file
from aichat_cli.config.editor import edit_file
from aichat_cli.config.paths import user_paths
from aichat_cli.config.settings import Settings, as_text, known, parse
from aichat_cli.render import json_shapes, tables
from aichat_cli.render.answer import print_text

app = command_group("Settings.")

Name = Annotated[str, typer.Argument(help="The setting; aichat config list shows them.", metavar="NAME")]


@app.command()
def get(name: Name, debug: DebugFlag = False) -> None:
    """Print one value."""
    with opened(debug=debug) as (house, _):
        print_text(as_text(house.settings.effective(name).value) + "\n")


@app.command("set")
def set_(
    name: Name,
    value: Annotated[list[str], typer.Argument(help="The value.", metavar="VALUE")],
    debug: DebugFlag = False,
) -> None:
    """Store a value in the settings file."""
    with opened(debug=debug) as (house, diagnostics):
        setting = known(name)
        settings_file.set_value(house.paths.config_file, setting, parse(setting, " ".join(value)))
        if setting.variable in os.environ:
            diagnostics.warning(f"{setting.variable} is set in the environment and comes first.")


@app.command()
def unset(name: Name, debug: DebugFlag = False) -> None:
    """Remove a value from the settings file, so that the default holds."""
    with opened(debug=debug) as (house, diagnostics):
        if not settings_file.unset_value(house.paths.config_file, known(name)):
            diagnostics.notice(f"{name} was not set.")


@app.command("list")
def list_(as_json: JsonFlag = False, debug: DebugFlag = False) -> None:
    """Show every setting, its value and where that comes from."""
    with opened(as_json=as_json, debug=debug) as (house, diagnostics):
        listed = house.settings.listing()
        if as_json:
            rows = [{"name": item.setting.name, "value": item.value, "source": item.source} for item in listed]
            print_text(json_shapes.dumps(rows))
            return
        tables.settings(listed)
        for name in house.settings.unknown_names():
            diagnostics.warning(f'"{name}" in {house.settings.path} is not a setting.')


@app.command()
def path() -> None:
    """Print where the settings file is."""
    print_text(f"{user_paths().config_file}\n")


@app.command()
def edit(debug: DebugFlag = False) -> None:
    """Open the settings file in VISUAL or EDITOR, and check it afterwards."""
    with opened(debug=debug) as (house, diagnostics):
        file = house.paths.config_file
        if not file.exists():
            settings_file.write_private(file, "# Settings of aichat; `aichat config list` shows what there is.\n")
        edit_file(file)
        edited = Settings(file)
        edited.listing()
        for name in edited.unknown_names():
            diagnostics.warning(f'"{name}" in {file} is not a setting.')
