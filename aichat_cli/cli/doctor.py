"""`aichat doctor`: what is set up, from where, and what to do about what is not."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from shlex import quote
from typing import Literal

import typer

from aichat_cli import __version__
from aichat_cli.app import App
from aichat_cli.cli.common import DebugFlag, JsonFlag, opened
from aichat_cli.config import plugins
from aichat_cli.config.secrets import keyring_backend
from aichat_cli.core.errors import AichatError
from aichat_cli.core.exits import EXIT_ERROR
from aichat_cli.core.models import GATEWAY
from aichat_cli.core.struct import Struct, asdict
from aichat_cli.documents.index_building import is_complete
from aichat_cli.providers import catalog, pull
from aichat_cli.providers.endpoints import KEY_NAMES
from aichat_cli.render import json_shapes, tables
from aichat_cli.render.answer import print_text
from aichat_cli.render.diagnostics import one_line
from aichat_cli.storage import collections, conversations, namespaces, sync_state
from aichat_cli.sync_services import KEY_NAME

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)

State = Literal["ok", "missing", "broken"]


class Finding(Struct, frozen=True):
    """One line of the report. `missing` is a choice, `broken` is not."""

    subject: str
    state: State
    detail: str


@app.command()
def doctor(as_json: JsonFlag = False, debug: DebugFlag = False) -> None:
    """Check settings, keys, database and the embedded model; ends with 1 when something is broken."""
    with opened(as_json=as_json, debug=debug) as (house, _):
        findings = list(_findings(house))
        if as_json:
            print_text(json_shapes.dumps([asdict(finding) for finding in findings]))
        else:
            marks = {"ok": "ok     ", "missing": "missing", "broken": "BROKEN "}
            tables.pairs([(f"{marks[finding.state]} {finding.subject}", finding.detail) for finding in findings])
        if any(finding.state == "broken" for finding in findings):
            raise typer.Exit(EXIT_ERROR)


def _findings(house: App) -> Iterator[Finding]:
    yield Finding("aichat", "ok", f"{__version__}, Python {platform.python_version()}, {platform.system()}")
    checks: list[tuple[str, Callable[[App], Finding | Iterator[Finding]]]] = [
        ("settings", _settings),
        ("database", _database),
        ("documents", _documents),
        ("keyring", _keyring),
        ("keys", _keys),
        ("gateway", _gateway),
        ("integrations", _integrations),
        ("sync", _sync),
        ("prices", _prices),
        ("embedded model", _embedded),
        ("search model", _search_model),
        ("default model", _default_model),
        ("plugins", _plugins),
        ("vector stores", _vector_stores),
    ]
    for subject, check in checks:
        try:
            found = check(house)
            yield from [found] if isinstance(found, Finding) else found
        except AichatError as error:
            yield Finding(subject, "broken", one_line(error))


def _settings(house: App) -> Finding:
    house.settings.listing()
    path = house.paths.config_file
    if unknown := house.settings.unknown_names():
        return Finding("settings", "broken", f"{path} holds {', '.join(unknown)}, which is no setting")
    return Finding("settings", "ok", str(path) if path.exists() else f"defaults; {path} does not exist yet")


def _database(house: App) -> Finding:
    count = conversations.count(house.database)
    if house.database.is_read_only:
        return Finding("database", "broken", f"{house.database_path} cannot be written: nothing new is kept")
    size = house.database_path.stat().st_size / 1e6
    return Finding("database", "ok", f"{house.database_path}, {count:,} conversations, {size:.1f} MB")


def _documents(house: App) -> Finding:
    listed = collections.listing(house.readable_database)
    damaged = [collection for collection in listed if not is_complete(house.readable_database, collection)]
    if damaged:
        commands = ", ".join(f"aichat docs reindex --collection {quote(each.name)}" for each in damaged)
        return Finding("documents", "broken", f"the index of the vectors is damaged. Run: {commands}")
    if not listed:
        return Finding("documents", "missing", "Run: aichat ingest FOLDER")
    count = sum(collection.document_count for collection in listed)
    return Finding("documents", "ok", f"{count:,}; collections: {', '.join(each.name for each in listed)}")


def _keyring(_: App) -> Finding:
    backend = keyring_backend()
    if backend is None:
        return Finding("keyring", "missing", "none here: aichat keys set writes a file only you can read")
    return Finding("keyring", "ok", backend)


def _keys(house: App) -> Finding:
    found = [f"{location.name} ({location.source})" for location in house.keys.locations(KEY_NAMES)]
    if house.settings.text("key_command"):
        found.append("others by key_command")
    if not found:
        return Finding("keys", "missing", "Run: aichat keys set openai")
    return Finding("keys", "ok", ", ".join(found))


def _gateway(house: App) -> Finding:
    if not house.settings.text("gateway.url"):
        return Finding("gateway", "missing", "not logged in. Run: aichat login URL, if somebody gave you an account")
    from aichat_cli.account.client import BRIEF
    from aichat_cli.render.account_view import balance_text

    profile = house.account.refresh(BRIEF)
    if house.account.problem is not None:
        return Finding("gateway", "broken", one_line(house.account.problem))
    account, models = profile.account, f"{len(profile.models)} models"
    return Finding("gateway", "ok", f"{account.url}: {account.user_name}, {balance_text(account)}, {models}")


def _integrations(house: App) -> Iterator[Finding]:
    """One for each that is on, asked side by side; with none on nobody is."""
    from aichat_cli.cli import integration_checks

    enabled = integration_checks.enabled_names(house)
    if not enabled:
        yield Finding("integrations", "missing", "none on. Run: aichat integrations list")
        return
    from aichat_cli.render.integrations_view import last_delivery

    fates = {state.name: state.fate for state in integration_checks.listed(house).states}
    for name, checked in integration_checks.check_all_of(house, enabled).items():
        if checked.error is not None:
            yield Finding(name, "broken", one_line(checked.error))
            continue
        yield Finding(name, "ok", "; ".join(filter(None, (checked.found, last_delivery(fates.get(name))))))


def _sync(house: App) -> Finding:
    from aichat_cli.sync.overview import Account

    state = sync_state.find(house.readable_database)
    if state is None:
        return Finding("sync", "missing", "off. Run: aichat sync init, and your devices are kept alike")
    account = Account.of(state.account)
    place = account.place
    if account.is_gateway and (not house.account.url or house.keys.find(GATEWAY, by_flag=False) is None):
        return Finding("sync", "broken", f"you are not logged in to {place} any more. Run: aichat login {place}")
    if not account.is_gateway and house.keys.find(KEY_NAME, by_flag=False) is None:
        return Finding("sync", "broken", f"the address of {place} is not in the keyring. Run: aichat sync init")
    return Finding("sync", "ok", f"with {place}; {f'last problem: {state.problem}' if state.problem else 'no problem'}")


def _prices(_: App) -> Finding:
    count = len(catalog.installed().entries())
    if not count:
        return Finding("prices", "broken", "litellm's price map is missing. Run: pip install --force-reinstall litellm")
    return Finding("prices", "ok", f"{count:,} models")


def _embedded(house: App) -> Finding:
    if find_spec("xllamacpp") is None:
        return Finding("embedded model", "missing", "Run: pip install 'aichat-terminal[local]'")
    if not pull.is_pulled("smollm2", house.paths.model_dir):
        return Finding("embedded model", "missing", "Run: aichat models pull smollm2")
    if not pull.is_intact("smollm2", house.paths.model_dir):
        return Finding("embedded model", "broken", "its file is damaged. Run: aichat models pull smollm2")
    return Finding("embedded model", "ok", f"smollm2 in {house.paths.model_dir}")


def _search_model(house: App) -> Finding:
    if not pull.is_pulled("minilm", house.paths.model_dir):
        return Finding("search model", "missing", "Run: aichat models pull minilm, and searches rank better")
    if not pull.is_intact("minilm", house.paths.model_dir):
        return Finding("search model", "broken", "its files are damaged. Run: aichat models pull minilm")
    return Finding("search model", "ok", f"minilm in {house.paths.model_dir}")


def _default_model(house: App) -> Finding:
    return Finding("default model", "ok", house.model(None).name)


def _plugins(_: App) -> Finding:
    installed = plugins.installed()
    if not installed:
        return Finding("plugins", "missing", "no package adds anything")
    for plugin in installed:
        plugins.find(plugin.group, plugin.name)
    added = [f"{plugins.GROUPS[each.group]} {each.name} ({each.package} {each.version})" for each in installed]
    return Finding("plugins", "ok", ", ".join(added))


def _vector_stores(house: App) -> Iterator[Finding]:
    """The stores of other packages that have vectors of this database, or that some are still to be deleted from."""
    database = house.readable_database
    for name in namespaces.places(database):
        if name != "pinecone":
            try:
                yield Finding("vector store", "ok", house.documents.check_store(database, name))
            except AichatError as error:
                is_used = any(each.place == name for each in namespaces.in_state(database, "searched"))
                state: State = "broken" if is_used else "missing"
                yield Finding("vector store", state, f"{name}: {one_line(error)}")
