"""Which integrations there are, which are on, and how each is made and asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module

from aichat_cli.chat.observing import FinishedTurn
from aichat_cli.config.secrets import KeyStore
from aichat_cli.config.settings import Settings
from aichat_cli.core.errors import AichatError, ApiKeyError, ConfigError, StorageError
from aichat_cli.integrations.hub import Hub
from aichat_cli.integrations.observer import Observer, Surroundings
from aichat_cli.storage import deliveries, sync_state
from aichat_cli.storage.database import Database

SETTING = "integrations"

OBSERVERS: Mapping[str, str] = {
    "langsmith": "aichat_cli.integrations.langsmith",
    "posthog": "aichat_cli.integrations.posthog",
    "resend": "aichat_cli.integrations.resend",
}
"""The observers that come with aichat, by their names; a module is loaded when its integration is on."""


class IntegrationServices:
    """The integrations of one run of the program.

    Args:
        settings: the settings as they are now.
        database: opens the user's database, or raises StorageError; without one nothing that does not arrive is kept.
        gateway_user: the user's id on the gateway that they are logged in to; empty where they are not.

    It begins with the first turn and is closed at the end.
    """

    def __init__(
        self,
        keys: KeyStore,
        settings: Callable[[], Settings],
        database: Callable[[], Database],
        gateway_user: Callable[[], str] = lambda: "",
    ) -> None:
        self._keys = keys
        self._settings = settings
        self._database = database
        self._gateway_user = gateway_user
        self._unmade: list[AichatError] = []
        self._hub: Hub | None = None
        self._lock = threading.Lock()

    @property
    def enabled(self) -> tuple[str, ...]:
        """The names of those that are on."""
        return tuple(dict.fromkeys(self._settings().names(SETTING)))

    @property
    def problems(self) -> list[AichatError]:
        """Why something that is on was told nothing, where only the user can mend that."""
        couriers = self._hub.couriers if self._hub else []
        return [*self._unmade, *(c.failure for c in couriers if isinstance(c.failure, ConfigError | ApiKeyError))]

    def begin(self) -> None:
        """Set the observers that are on to work; those that cannot be made are in `problems`."""
        with self._lock:
            if self._hub is not None:
                return
            made: dict[str, Observer] = {}
            for name in self.enabled:
                try:
                    made[name] = self.observer(name)
                except AichatError as error:
                    self._unmade.append(error)
            self._hub = Hub(made, self._books() if made else None)

    def _books(self) -> Database | None:
        try:
            return self._database()
        except StorageError:
            return None

    def observe(self, turn: FinishedTurn) -> None:
        """Tell the observers of a finished turn. Never raises."""
        if self._hub is not None:
            self._hub.observe(turn)

    def observer(self, name: str) -> Observer:
        """An observer, on or not; close it.

        Raises:
            ConfigError: it cannot be made as it is set. One of another package raises it when it is first used, also
                where there is none of that name.
        """
        settings = self._settings()
        options = {} if name in OBSERVERS else settings.plugin_options(name)
        find_key = lambda key_name: self._keys.find(key_name, by_flag=False)  # noqa: E731 (its type is that of the field)
        surroundings = Surroundings(name, settings, find_key, options, self._profile)
        module = OBSERVERS.get(name, "aichat_cli.integrations.plugged")
        make: Callable[[Surroundings], Observer] = import_module(module).observer
        return make(surroundings)

    def _profile(self) -> str:
        """Whose turns these are, by an id that all devices of one user have in common."""
        books = self._books()
        with suppress(StorageError):
            if books is not None and (state := sync_state.find(books)) is not None:
                from aichat_cli.sync.overview import Account

                if synced := Account.of(state.account).user_id:
                    return synced
            if found := self._gateway_user():
                return found
            if books is not None:
                return deliveries.install_id(books)
        return ""

    def close(self) -> None:
        """Wait a moment for what is being delivered, and end."""
        if self._hub is not None:
            self._hub.close()
