"""`aichat roles`: named system prompts, kept as files."""

from __future__ import annotations

from typing import Annotated

import typer

from aichat_cli.cli.common import DebugFlag, JsonFlag, command_group, confirmed, opened
from aichat_cli.config import roles
from aichat_cli.config.editor import edit_file
from aichat_cli.config.settings_file import write_private
from aichat_cli.core.errors import UsageError
from aichat_cli.render import json_shapes, tables
from aichat_cli.render.answer import print_text

app = command_group("Named system prompts, for --role.")

Name = Annotated[str, typer.Argument(help="The role; aichat roles list shows them.", metavar="NAME")]


@app.command("list")
def list_(as_json: JsonFlag = False, debug: DebugFlag = False) -> None:
    """List the roles."""
    with opened(as_json=as_json, debug=debug) as (house, diagnostics):
        listed = roles.listing(house.paths.role_dir)
        if as_json:
            print_text(json_shapes.dumps([json_shapes.role(role) for role in listed]))
        elif listed:
            tables.roles(listed)
        else:
            diagnostics.notice("There are no roles yet. Run: aichat roles edit NAME")


@app.command()
def show(name: Name, as_json: JsonFlag = False, debug: DebugFlag = False) -> None:
    """Print the system prompt of a role, and what else it sets."""
    with opened(as_json=as_json, debug=debug) as (house, diagnostics):
        role = roles.load(house.paths.role_dir, name)
        if as_json:
            print_text(json_shapes.dumps(json_shapes.role(role)))
            return
        print_text(f"{role.prompt}\n" if role.prompt else "")
        if role.model:
            diagnostics.notice(f"model: {role.model}")
        for option, value in role.options.items():
            diagnostics.notice(f"option: {option} {value}")


@app.command()
def edit(name: Name, debug: DebugFlag = False) -> None:
    """Open a role in VISUAL or EDITOR, a new one where there is none, and check it afterwards."""
    with opened(debug=debug) as (house, diagnostics):
        file = roles.file_of(house.paths.role_dir, name)
        is_new = not file.exists()
        if is_new:
            write_private(file, "")
        try:
            edit_file(file)
        finally:
            if is_new and file.exists() and not file.read_bytes().strip():
                file.unlink()
        if not file.exists():
            diagnostics.notice(f'Nothing was written: there is no role "{name}".')
            return
        role = roles.load(house.paths.role_dir, name)
        if role.model:
            house.registry.resolve(role.model)


@app.command()
def rm(
    name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False, debug: DebugFlag = False
) -> None:
    """Delete a role; conversations begun with it keep their system prompt."""
    with opened(debug=debug) as (house, diagnostics):
        roles.existing_file(house.paths.role_dir, name)
        if not confirmed(f'Delete the role "{name}"?', yes=yes):
            raise UsageError("Nothing was deleted.", hint="To delete without being asked: --yes")
        roles.remove(house.paths.role_dir, name)
        diagnostics.notice(f'Deleted the role "{name}".')
