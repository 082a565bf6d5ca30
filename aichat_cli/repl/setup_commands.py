"""Slash commands that change how the session answers and looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aichat_cli.config import settings_file
from aichat_cli.config.settings import as_text, known, parse
from aichat_cli.core.errors import UsageError
from aichat_cli.core.models import Model
from aichat_cli.core.struct import replace
from aichat_cli.storage import conversations

if TYPE_CHECKING:
    from aichat_cli.repl.session import Session


def model(session: Session, name: str) -> None:
    """Change who answers; alone, choose."""
    chosen = session.house.registry.resolve(name) if name else _picked_model(session)
    if chosen is not None:
        session.use_model(chosen)
        session.diagnostics.notice(f"{chosen.name} answers from now on.")


def _picked_model(session: Session) -> Model | None:
    from aichat_cli.repl.picker.models import pick_model

    with session.terminal.suspended():
        return pick_model(session.house, session.template.model)


def settings(session: Session, _: str) -> None:
    """Show every setting, and change some."""
    from aichat_cli.repl.picker.settings import pick_settings

    with session.terminal.suspended():
        changed = pick_settings(session.house).changed
    if changed:
        session.apply_settings()
        session.diagnostics.notice(f"Changed: {', '.join(changed)}.")


def system(session: Session, text: str) -> None:
    """Set, remove (with -) or show the system prompt."""
    if text:
        prompt = "" if text == "-" else text
        session.template = replace(session.template, system=prompt)
        if session.template.conversation_id is not None:
            conversations.set_system_prompt(session.transcript, session.template.conversation_id, prompt or None)
    session.say(session.system_prompt() or "There is no system prompt.")


def role(session: Session, name: str) -> None:
    """Answer in a role from now on; alone, list them."""
    from aichat_cli.config import roles

    if not name:
        names = roles.names(session.house.paths.role_dir)
        session.say("\n".join(names) if names else "There are no roles yet. aichat roles edit NAME makes one.")
        return
    chosen = session.house.role(name)
    if chosen.model:
        session.use_model(session.house.registry.resolve(chosen.model))
    session.template = replace(session.template, options={**session.template.options, **chosen.options})
    system(session, chosen.prompt or "-")


def theme(session: Session, name: str) -> None:
    """Show or change the colours."""
    set_(session, f"theme {name}".strip())


def set_(session: Session, argument: str) -> None:
    """Show or store one setting."""
    name, _, value = argument.partition(" ")
    if not name:
        raise UsageError(
            "/set needs the name of a setting.", hint="As in: /set theme light; /settings shows all of them"
        )
    setting = known(name)
    if value.strip():
        settings_file.set_value(session.house.paths.config_file, setting, parse(setting, value.strip()))
        session.house.reload_settings()
        session.apply_settings()
    effective = session.house.settings.effective(name)
    session.say(f"{name} = {as_text(effective.value)} ({effective.source})")
