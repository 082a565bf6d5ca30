"""What integrations are on, how they fare, and the check of each: for `aichat integrations` and `aichat doctor`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from aichat_cli.app import App
from aichat_cli.core.clock import now_ms, utc_text
from aichat_cli.core.errors import ConfigError, StorageError
from aichat_cli.core.struct import Struct
from aichat_cli.integrations import known
from aichat_cli.integrations.checking import Checked, check_all, check_of
from aichat_cli.render.integrations_view import IntegrationState
from aichat_cli.storage import deliveries, namespaces
from aichat_cli.storage.deliveries import Fate


class Listed(Struct, frozen=True):
    """All integrations, what is on without being one, and what kept something from being read."""

    states: tuple[IntegrationState, ...]
    unknown: tuple[str, ...]
    problems: tuple[ConfigError | StorageError, ...]


def enabled_names(house: App) -> tuple[str, ...]:
    """What is on, whether or not there is such a thing."""
    on = [*house.integrations.enabled]
    if house.settings.names("helicone.providers"):
        on.append(known.HELICONE)
    with suppress(StorageError):
        if known.PINECONE in namespaces.places(house.readable_database):
            on.append(known.PINECONE)
    return tuple(dict.fromkeys(on))


def listed(house: App) -> Listed:
    """How all of them fare."""
    problems: list[ConfigError | StorageError] = []
    enabled = enabled_names(house)
    integrations = [known.find(name) for name in known.names()]
    sources: dict[str, str] = {}
    try:
        key_names = [each.key_name for each in integrations]
        sources = {each.name: each.source for each in house.keys.locations(key_names)}
    except ConfigError as error:
        problems.append(error)
    fates: dict[str, Fate] = {}
    try:
        database = house.readable_database
        fates = {each.name: deliveries.fate(database, each.name) for each in integrations if each.is_observer}
    except StorageError as error:
        problems.append(error)
    states = tuple(
        IntegrationState(
            name=each.name,
            purpose=each.purpose,
            is_on=each.name in enabled,
            key_source=sources.get(each.key_name),
            fate=fates.get(each.name),
            retry_at=_retry_at(fates.get(each.name)),
        )
        for each in integrations
    )
    unknown = tuple(name for name in enabled if name not in known.names())
    return Listed(states, unknown, tuple(problems))


def _retry_at(fate: Fate | None) -> str | None:
    return utc_text(fate.retry_at) if fate is not None and fate.retry_at > now_ms() else None


def check_for(house: App, name: str) -> Callable[[], str]:
    """What asks a service whether it takes us; raises AichatError."""
    if name == known.HELICONE:
        from aichat_cli.providers import helicone

        return lambda: helicone.check(house.settings, house.keys)
    if name == known.PINECONE:
        return _check_of_pinecone(house)
    return check_of(lambda: house.integrations.observer(name))


def _check_of_pinecone(house: App) -> Callable[[], str]:
    documents, books = house.documents, house.readable_database

    def check() -> str:
        with books.reopen() as database:
            return documents.check_pinecone(database)

    return check


def check_all_of(house: App, names: Sequence[str]) -> dict[str, Checked]:
    """Check these, side by side."""
    return check_all({name: check_for(house, name) for name in names})
