"""`aichat integrations`: services that are told of turns: which there are, on, off, and whether they work."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Annotated

import typer

from aichat_cli.app import App
from aichat_cli.cli import integration_checks
from aichat_cli.cli.common import DebugFlag, JsonFlag, command_group, opened
from aichat_cli.config import settings_file
from aichat_cli.config.settings import Settings
from aichat_cli.config.settings import known as setting_of
from aichat_cli.core.errors import StorageError, UsageError
from aichat_cli.core.struct import Struct
from aichat_cli.integrations import known
from aichat_cli.integrations.checking import check_all, deliver_waiting
from aichat_cli.integrations.known import Integration
from aichat_cli.integrations.services import SETTING
from aichat_cli.render import integrations_view, json_shapes
from aichat_cli.render.answer import print_text
from aichat_cli.render.diagnostics import Diagnostics, one_line
from aichat_cli.render.sanitize import safe_line
from aichat_cli.storage import deliveries

TEST_SECONDS = 15.0

app = command_group("Services that are told of turns; all are off until you turn them on.")


def _offered(incomplete: str) -> list[str]:
    return [name for name in known.names() if name.startswith(incomplete)]


Name = Annotated[
    str,
    typer.Argument(help="The integration, such as langsmith.", metavar="NAME", autocompletion=_offered),
]


@app.command("list")
def list_(as_json: JsonFlag = False, debug: DebugFlag = False) -> None:
    """List what there is, what is on, and how it fares."""
    with opened(as_json=as_json, debug=debug) as (house, diagnostics):
        found = integration_checks.listed(house)
        if as_json:
            print_text(json_shapes.dumps(integrations_view.shape(found.states)))
        else:
            integrations_view.show(found.states)
        for problem in found.problems:
            diagnostics.warning(one_line(problem))
        for name in found.unknown:
            diagnostics.warning(f'The setting {SETTING} names "{name}", which is none of them.')


@app.command()
def enable(name: Name, debug: DebugFlag = False) -> None:
    """Turn one on: from then on it is told of each turn."""
    with opened(debug=debug) as (house, diagnostics):
        integration = _observer(name)
        # It is to be read before anything is sent.
        diagnostics.notice(f"{integration.title} will be sent {integration.sends}")
        stored = _stored(house)
        if name in stored:
            diagnostics.notice(f"{integration.title} was on already.")
        else:
            _store(house, diagnostics, (*stored, name))
        diagnostics.notice(f"Next: {_next_step(house, integration)}")


@app.command()
def disable(name: Name, debug: DebugFlag = False) -> None:
    """Turn one off: nothing is sent to it any more, and what waits is deleted."""
    with opened(debug=debug) as (house, diagnostics):
        stored = _stored(house)
        if name in stored:
            _store(house, diagnostics, tuple(each for each in stored if each != name))
            diagnostics.notice(f"{name} is off.{_forgotten(house, diagnostics, name)}")
            return
        integration = _observer(name, off=True)
        diagnostics.notice(f"{integration.title} was off already.")


class Tested(Struct, frozen=True):
    """What a test found."""

    name: str
    found: str
    milliseconds: int
    delivered: int | None


@app.command("test")
def probe(
    name: Name,
    send: Annotated[
        bool, typer.Option("--send", help="Send a mail as well that says it is a test, where there are mails.")
    ] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Ask the service whether it takes your key, and deliver what waits for it."""
    with opened(as_json=as_json, debug=debug) as (house, diagnostics):
        integration = known.find(name)
        tested = _tested(house, diagnostics, integration, send=send)
        if as_json:
            fields = {"name": name, "found": tested.found, "milliseconds": tested.milliseconds}
            print_text(json_shapes.dumps({**fields, "delivered": tested.delivered}))
            return
        waited = f"; {tested.delivered:,} that waited delivered" if tested.delivered else ""
        print_text(safe_line(f"{name}: {tested.found} ({tested.milliseconds:,} ms){waited}") + "\n")
        if name not in integration_checks.enabled_names(house):
            diagnostics.notice(
                f"It is off. To turn it on: {integration.turned_on_by or f'aichat integrations enable {name}'}"
            )


def _tested(house: App, diagnostics: Diagnostics, integration: Integration, *, send: bool) -> Tested:
    name = integration.name
    if send and not integration.is_observer:
        raise UsageError(f"{integration.title} can be sent no test.", hint=f"Run: aichat integrations test {name}")
    checked = check_all({name: integration_checks.check_for(house, name)}, TEST_SECONDS)[name]
    if checked.error is not None:
        raise checked.error
    delivered = None
    if integration.is_observer:
        delivered = _delivered(house, diagnostics, integration, send=send)
    found = f"{checked.found}; a test was sent" if send else checked.found
    return Tested(name, found, round(checked.seconds * 1000), delivered)


def _delivered(house: App, diagnostics: Diagnostics, integration: Integration, *, send: bool) -> int | None:
    """Deliver a test, where that is wanted, and what waits; how much of that arrived, None where nobody can say."""
    observer = house.integrations.observer(integration.name)
    try:
        if send:
            sample = observer.sample()
            if not sample:
                raise UsageError(f"{integration.title} can be sent no test: it is told of turns alone.")
            observer.deliver(sample)
        try:
            if house.database.is_read_only:
                diagnostics.warning("The database cannot be written: nothing that waits is delivered.")
                return None
            return deliver_waiting(integration.name, observer, house.database)
        except StorageError as error:
            diagnostics.warning(f"What waits was not delivered. {one_line(error)}")
            return None
    finally:
        with suppress(Exception):
            observer.close()


def _observer(name: str, *, off: bool = False) -> Integration:
    """What the setting can name; what stands between us and a provider, or keeps vectors, is turned on for some of them."""
    integration = known.find(name)
    if not integration.is_observer:
        raise UsageError(
            f"{integration.title} is turned {'off' if off else 'on'} by a command of its own.",
            hint=f"Run: {integration.turned_off_by if off else integration.turned_on_by}",
        )
    return integration


def _stored(house: App) -> tuple[str, ...]:
    """What the settings file says, without the environment, which is not written."""
    return Settings(house.paths.config_file, {}).names(SETTING)


def _store(house: App, diagnostics: Diagnostics, names: tuple[str, ...]) -> None:
    setting = setting_of(SETTING)
    settings_file.set_value(house.paths.config_file, setting, names)
    house.reload_settings()
    if setting.variable in os.environ:
        diagnostics.warning(f"{setting.variable} is set in the environment and comes first.")


def _forgotten(house: App, diagnostics: Diagnostics, name: str) -> str:
    """Delete what waits, and say how much that was."""
    try:
        count = deliveries.forget(house.database, name)
    except StorageError as error:
        diagnostics.warning(f"What waits for {name} is still in the database, unsent. {one_line(error)}")
        return ""
    return f" {count:,} that waited deleted." if count else ""


def _next_step(house: App, integration: Integration) -> str:
    if integration.name in known.OURS and house.keys.find(integration.key_name, by_flag=False) is None:
        return f"aichat keys set {integration.key_name}"
    for needed in integration.needs:
        if not house.settings.text(needed):
            return f"aichat config set {needed} you@example.org"
    return f"aichat integrations test {integration.name}"
