"""The composition root: settings, keys, models, database and wires, each opened on first use."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from aichat_cli.config.paths import Paths, user_paths
from aichat_cli.config.secrets import KeyStore
from aichat_cli.config.settings import Settings
from aichat_cli.core.errors import AichatError, ConfigError, StorageError
from aichat_cli.core.models import Model
from aichat_cli.core.secret import Secret
from aichat_cli.providers.base import Provider, Timeouts
from aichat_cli.providers.custom import custom_models
from aichat_cli.providers.endpoints import key_environment_variables, key_missing
from aichat_cli.providers.pricing import checked_prices
from aichat_cli.providers.registry import Registry
from aichat_cli.storage import accounts, turns
from aichat_cli.storage.database import Database

if TYPE_CHECKING:
    from aichat_cli.account.services import AccountServices
    from aichat_cli.billing.checkout import StripeCheckout
    from aichat_cli.billing.limits import Budget, Limits
    from aichat_cli.chat.inclusions import Readers
    from aichat_cli.chat.observing import Observe
    from aichat_cli.chat.payment import Confirm
    from aichat_cli.chat.request import TurnDeps
    from aichat_cli.config.roles import ChatRole
    from aichat_cli.core.documents import SearchResult
    from aichat_cli.document_services import DocumentServices
    from aichat_cli.documents.embedding.api import ApiEmbedder
    from aichat_cli.documents.embedding.base import Embedder
    from aichat_cli.documents.library import Library
    from aichat_cli.integrations.services import IntegrationServices
    from aichat_cli.providers.helicone import Helicone
    from aichat_cli.providers.retry import RetryPolicy
    from aichat_cli.sync_services import SyncServices


class App:
    """One run of the program.

    Args:
        key: the key of `--key`, for this run only.
        max_cost_nano: what this run may cost, in nano-dollars, None for any amount.
    """

    def __init__(self, *, key: str | None = None, max_cost_nano: int | None = None) -> None:
        self._key = key
        self._max_cost_nano = max_cost_nano
        self.key_errors: list[ConfigError] = []
        self._providers: dict[str, Provider] = {}
        self._providers_lock = threading.Lock()
        self._databases: list[Database] = []
        self._api_embedders: list[ApiEmbedder] = []

    @cached_property
    def paths(self) -> Paths:
        """Where things are kept."""
        return user_paths()

    @cached_property
    def settings(self) -> Settings:
        """What is set; raises ConfigError where the file cannot be read."""
        return Settings(self.paths.config_file)

    def reload_settings(self) -> None:
        """Read the settings file anew, after a change to it; what was made of the old values stays as it is."""
        for name in ("settings", "registry", "limits", "helicone"):
            self.__dict__.pop(name, None)

    @cached_property
    def keys(self) -> KeyStore:
        """Provider keys."""
        return KeyStore(
            self.paths.keys_file,
            key_environment_variables,
            command=lambda: self.settings.text("key_command"),
            flag=self._key,
        )

    @cached_property
    def registry(self) -> Registry:
        """The models that can be named."""
        return Registry(
            custom=custom_models(self.settings.custom_models()),
            aliases=self.settings.aliases(),
            prices=checked_prices(self.settings.prices()),
            environ=os.environ,
            model_dir=self.paths.model_dir,
            gateway=lambda: self.account.listing() if self.settings.text("gateway.url") else None,
        )

    @cached_property
    def account(self) -> AccountServices:
        """The user's account on a gateway."""
        from aichat_cli.account.services import AccountServices

        return AccountServices(self.keys, lambda: self.settings, self.paths.account_file)

    @property
    def database_path(self) -> Path:
        """The file of conversations and usage, by setting or convention."""
        configured = self.settings.text("database")
        return Path(configured).expanduser() if configured else self.paths.database

    @cached_property
    def database(self) -> Database:
        """The database, for reading and writing, with the turns of killed processes closed.

        Raises:
            StorageError: it is locked, corrupt, newer or cannot be written.
        """
        database = self._keep(Database.open(self.database_path))
        if not database.is_read_only and accounts.abandoned(database):
            self._settle_the_dead(database)
        turns.recover(database)
        return database

    def _settle_the_dead(self, database: Database) -> None:
        """Calls whose process was killed cost what had arrived."""
        from aichat_cli.billing import accrued
        from aichat_cli.providers import tokens

        accrued.recover(database, tokens.count_for)

    @cached_property
    def _budget(self) -> Budget | None:
        from aichat_cli.billing.limits import Budget

        return None if self._max_cost_nano is None else Budget(self._max_cost_nano)

    @cached_property
    def limits(self) -> Limits:
        """What may be spent in this run, by settings and `--max-cost`."""
        from aichat_cli.billing.limits import configured

        return configured(self.settings, self._budget)

    @cached_property
    def readable_database(self) -> Database:
        """The database for listings: also one that cannot be written."""
        if "database" in self.__dict__:
            return self.database
        try:
            return self.database
        except StorageError:
            return self._keep(Database.open(self.database_path, read_only=True))

    @cached_property
    def library(self) -> Library:
        """The user's documents, for reading and writing; raises StorageError as `database` does."""
        return self.library_on(self.database)

    def library_on(self, database: Database) -> Library:
        """The user's documents through a connection, which may be one of another thread."""
        return self.documents.library(database)

    @cached_property
    def documents(self) -> DocumentServices:
        """What reads documents, and what embeds and ranks their text."""
        from aichat_cli.document_services import DocumentServices

        hosted = lambda: self.sync.corpora(self.readable_database)  # noqa: E731 (opened on first use)
        models, stores = self.paths.model_dir, self.database_path.parent / "vectors"
        return DocumentServices(lambda: self.settings, models, self.api_embedder, hosted, self.keys, stores)

    @cached_property
    def sync(self) -> SyncServices:
        """What a sync is made of."""
        from aichat_cli.sync_services import SyncServices

        return SyncServices(self.keys, lambda: self.settings, self.library_on, lambda: self.account)

    @cached_property
    def integrations(self) -> IntegrationServices:
        """What observes finished turns."""
        from aichat_cli.integrations.services import IntegrationServices

        user = lambda: self.account.user_id  # noqa: E731 (asked for on first use)
        return IntegrationServices(self.keys, lambda: self.settings, lambda: self.database, user)

    @property
    def integration_problems(self) -> list[AichatError]:
        """Why something that is on was told nothing in this run, for reasons that only the user can mend."""
        return self.integrations.problems if "integrations" in self.__dict__ else []

    def readers(self) -> Readers:
        """What reads files, folders and pages for a prompt."""
        return self.documents.readers()

    def _retrieve(self, collection: str, question: str) -> SearchResult:
        library, limit = self.library_on(self.readable_database), int(self.settings.number("documents.limit"))
        return library.search(collection, question, limit=limit)

    def has_key(self, name: str) -> bool:
        """Whether a key of that name is set anywhere; what keeps one from being read is added to `key_errors`."""
        try:
            return self.keys.find(name) is not None
        except ConfigError as exc:
            self.key_errors.append(exc)
            return False

    def key_for(self, model: Model) -> Secret | None:
        """The key of a model's provider, None where it needs none.

        Raises:
            KeyMissing: it needs one and there is none.
        """
        if model.key_name is None:
            return None
        key = self.keys.find(model.key_name)
        if key is None and model.key_required:
            raise key_missing(f'No API key for "{model.key_name}", which {model.name} needs.', model.key_name)
        return key if self.helicone is None else self.helicone.keys_for(model, key)

    @cached_property
    def helicone(self) -> Helicone | None:
        """What stands between us and some providers, None where nothing does; `helicone.configured` tells the errors."""
        if not self.settings.names("helicone.providers"):
            return None
        from aichat_cli.providers.helicone import configured

        return configured(self.settings, self.keys)

    def checkout(self, *, answer_seconds: float = 30.0) -> StripeCheckout:
        """Stripe, with the key that is kept for it, and how long each of its answers is waited for; close it.

        Raises:
            KeyMissing, KeyRejected: there is none, or it is not a secret key.
            ConfigError: Stripe's library is not installed.
        """
        from aichat_cli.billing import checkout

        key = self.keys.find(checkout.KEY_NAME)
        if key is None:
            raise key_missing("No key for Stripe, through which credits are bought.", checkout.KEY_NAME)
        return checkout.StripeCheckout(key, api_base=checkout.api_base_of(os.environ), answer_seconds=answer_seconds)

    def model(self, typed: str | None) -> Model:
        """The model of that name, or the default one.

        Raises:
            UnknownModel: nothing answers to that name.
        """
        if typed:
            return self.registry.resolve(typed)
        return self.registry.default_model(self.settings.text("model") or None, self.has_key)

    def role(self, name: str) -> ChatRole:
        """The role of that name; `config.roles.load` tells the errors."""
        from aichat_cli.config import roles

        return roles.load(self.paths.role_dir, name)

    def api_embedder(self, name: str) -> Embedder:
        """The embedding model of that name behind an API; what a call cost is kept in this run's database.

        Raises:
            UnknownModel, ConfigError: nothing answers to that name.
            KeyMissing: it needs a key and there is none.
        """
        from aichat_cli import embedders

        model = self.registry.embedding_model(name)
        books = embedders.Books(lambda: self.database, lambda: self.limits)
        access = embedders.Access(
            self.key_for(model), self.timeouts, self.retry, books.admit, books.release, lambda: self.helicone
        )
        embedder = embedders.api_embedder(model, access, books.record)
        self._api_embedders.append(embedder)
        return embedder

    def require_room(self, model_name: str, cost_nano: int | None) -> None:
        """Refuse what costs more in all than may be spent; `billing.admission.require_room` tells the errors."""
        from aichat_cli.billing.admission import require_room

        require_room(model_name, cost_nano, self.limits, self.database)

    @property
    def retry(self) -> RetryPolicy:
        """How often a provider is asked again."""
        from aichat_cli.providers.retry import RetryPolicy

        return RetryPolicy(attempts=int(self.settings.number("retry.attempts")))

    def fallbacks(self, typed: list[str]) -> tuple[Model, ...]:
        """The models to ask when the first fails: the flag's, else the setting's."""
        return tuple(self.registry.resolve(name) for name in typed or self.settings.names("fallback"))

    def provider_for(self, model: Model) -> Provider:
        """The wire that serves a model, made once."""
        with self._providers_lock:
            if model.adapter not in self._providers:
                self._providers[model.adapter] = self.new_provider(model)
            return self._providers[model.adapter]

    def turn_deps(self, *, log: bool, prepare: Callable[[Model], None], confirm: Confirm | None = None) -> TurnDeps:
        """What a turn needs. Without a usable database, or without `log`, the transcript is kept in memory only."""
        error: StorageError | None = None
        database: Database | None = None
        try:
            database = self.database
        except StorageError as exc:
            error = exc
        keeps = log and database is not None
        return self._deps(
            transcript=database if keeps and database is not None else self._in_memory,
            ledger=None if keeps else database,
            storage_error=error,
            prepare=prepare,
            confirm=confirm,
            is_kept=log,
        )

    def side_deps(self, ledger: Database) -> TurnDeps:
        """What a turn beside the conversation needs, in a thread of its own: nothing of it is kept but its usage.

        Args:
            ledger: the user's database, through a connection of that thread. Close the transcript afterwards.
        """
        return self._deps(transcript=Database.in_memory(), ledger=ledger, prepare=lambda _: None, is_kept=False)

    def _deps(
        self,
        *,
        transcript: Database,
        ledger: Database | None,
        prepare: Callable[[Model], None],
        is_kept: bool,
        storage_error: StorageError | None = None,
        confirm: Confirm | None = None,
    ) -> TurnDeps:
        from aichat_cli.chat.request import TurnDeps

        return TurnDeps(
            transcript=transcript,
            ledger=ledger,
            storage_error=storage_error,
            provider_for=self.provider_for,
            key_for=self.key_for,
            timeouts=self.timeouts,
            prepare=prepare,
            retry=self.retry,
            retrieve=self._retrieve,
            limits=self.limits,
            confirm=confirm,
            is_kept=is_kept,
            observe=self._observe(),
        )

    def _observe(self) -> Observe | None:
        """What is told of finished turns, at work from here on; None where nothing is on."""
        if not self.settings.names("integrations"):
            return None
        self.integrations.begin()
        return self.integrations.observe

    @property
    def timeouts(self) -> Timeouts:
        """The network timeouts that are set."""
        names = ("timeouts.connect", "timeouts.first_byte", "timeouts.idle")
        return Timeouts(*map(self.settings.number, names))

    def close(self) -> None:
        """Close connections and databases, once what is told of finished turns had a moment to arrive."""
        try:
            if "integrations" in self.__dict__:
                self.integrations.close()
        finally:
            if "documents" in self.__dict__:
                self.documents.close()
            opened: list[Provider | ApiEmbedder | Database] = [*self._providers.values(), *self._api_embedders]
            for each in [*opened, *self._databases]:
                each.close()

    @cached_property
    def _in_memory(self) -> Database:
        return self._keep(Database.in_memory())

    def _keep(self, database: Database) -> Database:
        self._databases.append(database)
        return database

    def new_provider(self, model: Model) -> Provider:
        """A wire of one's own, for a thread of one's own; close it."""
        from aichat_cli.providers.wires import open_wire

        threads = int(self.settings.number("local.threads")) if model.wire == "local" else 0
        return open_wire(model, self.paths.model_dir, threads=threads, helicone=lambda: self.helicone)
