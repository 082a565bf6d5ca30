"""The composition root: settings, keys, models, database and wires, each opened on first use."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from aichat_cli.chat.turn import TurnDeps
from aichat_cli.config.paths import Paths, user_paths
from aichat_cli.config.secrets import KeyStore
from aichat_cli.config.settings import Settings
from aichat_cli.core.errors import ConfigError, KeyMissing, StorageError
from aichat_cli.core.models import Model, Wire
from aichat_cli.core.secret import Secret
from aichat_cli.providers.base import Provider, Timeouts
from aichat_cli.providers.custom import custom_models
from aichat_cli.providers.endpoints import key_environment_variables
from aichat_cli.providers.registry import Registry
from aichat_cli.providers.retry import RetryPolicy
from aichat_cli.storage import turns, usage
from aichat_cli.storage.database import Database

if TYPE_CHECKING:
    from aichat_cli.chat.inclusions import Readers
    from aichat_cli.config.roles import ChatRole
    from aichat_cli.core.documents import LoadedDocument, SearchResult
    from aichat_cli.core.usage import UsageRecord
    from aichat_cli.documents.embedding.api import ApiEmbedder
    from aichat_cli.documents.embedding.base import Embedder
    from aichat_cli.documents.embedding.minilm import MiniLM
    from aichat_cli.documents.fetching import Fetcher
    from aichat_cli.documents.ingest.prepare import Reading
    from aichat_cli.documents.library import Library
    from aichat_cli.documents.loading.loader import Loader
    from aichat_cli.documents.sources import FoundFile, SkippedFile


class App:
    """One run of the program.

    Args:
        key: the key of `--key`, for this run only.
    """

    def __init__(self, *, key: str | None = None) -> None:
        self._key = key
        self.key_errors: list[ConfigError] = []
        self._providers: dict[Wire, Provider] = {}
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
        for name in ("settings", "registry"):
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
            environ=os.environ,
            model_dir=self.paths.model_dir,
        )

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
        turns.recover(database)
        return database

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
        from aichat_cli.documents.library import Library, LibraryDeps
        from aichat_cli.documents.sqlite_vectors import SqliteVectors

        deps = LibraryDeps(
            embedder_for=self.embedder,
            store_for=SqliteVectors,
            reranker=self.reranker,
            reading=self._reading,
            walk=lambda folder: self._walk(folder, self._largest_document),
            default_model=self.settings.text("documents.embedding_model"),
        )
        return Library(database, deps)

    def _retrieve(self, collection: str, question: str) -> SearchResult:
        limit = int(self.settings.number("documents.limit"))
        return self.library_on(self.readable_database).search(collection, question, limit=limit)

    def _reading(self) -> Reading:
        from aichat_cli.documents.ingest.prepare import Reading
        from aichat_cli.providers.tokens import tokenizer

        max_bytes = self._largest_document
        fetcher = self._fetcher(max_bytes, "documents.max_mb")

        def interrupt() -> None:
            fetcher.interrupt()
            self._loader.interrupt()

        return Reading(
            load=self._load,
            fetch=fetcher.fetch,
            interrupt=interrupt,
            tokenizer=tokenizer(),
            chunk_tokens=int(self.settings.number("documents.chunk_tokens")),
            max_bytes=max_bytes,
        )

    def _fetcher(self, max_bytes: int, max_setting: str) -> Fetcher:
        from aichat_cli.documents.fetching import Fetcher
        from aichat_cli.providers.connect import connect_to, proxy_headers

        return Fetcher(
            connect_to,
            proxy_headers,
            max_bytes=max_bytes,
            max_setting=max_setting,
            allow_private=self.settings.flag("documents.private_addresses"),
        )

    @cached_property
    def _loader(self) -> Loader:
        from aichat_cli.documents.loading.loader import Loader

        return Loader()

    def _load(self, content: bytes, name: str, media_type: str | None) -> LoadedDocument:
        return self._loader.load(content, name, media_type=media_type)

    def reranker(self) -> MiniLM | None:
        """The model that ranks the best again, None where it is not wanted or not here."""
        from aichat_cli.documents.embedding.minilm import is_installed

        is_wanted = self.settings.flag("documents.rerank")
        return self._minilm if is_wanted and is_installed(self.paths.model_dir) else None

    @cached_property
    def _minilm(self) -> MiniLM:
        from aichat_cli.documents.embedding.minilm import MiniLM
        from aichat_cli.providers.cpu import default_threads

        return MiniLM(self.paths.model_dir, threads=int(self.settings.number("local.threads")) or default_threads())

    def _walk(self, folder: Path, max_bytes: int) -> Iterable[FoundFile | SkippedFile]:
        from aichat_cli.documents.sources import walk

        return walk(folder, ignore=self.settings.names("documents.ignore"), max_bytes=max_bytes)

    @property
    def _largest_document(self) -> int:
        return int(self.settings.number("documents.max_mb")) * 1_000_000

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
            variables = key_environment_variables(model.key_name)
            raise KeyMissing(
                f'No API key for "{model.key_name}", which {model.name} needs.',
                hint=f"Run: aichat keys set {model.key_name}, or set {variables[0]}",
            )
        return key

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

    def embedder(self, name: str, *, record: Callable[[UsageRecord], None] | None = None) -> Embedder:
        """The embedding model of that name: one of ours, or one behind an API, which is used only where it is named.

        Args:
            record: keeps what a call cost, in the thread that embeds; by default in this run's database.

        Raises:
            EmbeddingError: a model of ours is not here.
            UnknownModel, ConfigError: nothing answers to that name.
            KeyMissing: it needs a key and there is none.
        """
        from aichat_cli import embedders

        if name in embedders.STATIC_NAMES:
            from aichat_cli.documents.embedding.static import StaticEmbedder

            return StaticEmbedder()
        if name in embedders.MINILM_NAMES:
            return self._minilm
        model = self.registry.embedding_model(name)
        access = embedders.Access(self.key_for(model), self.timeouts, self._retry)
        embedder = embedders.api_embedder(model, access, record or self._record_usage)
        self._api_embedders.append(embedder)
        return embedder

    def _record_usage(self, record: UsageRecord) -> None:
        # Whoever embeds may be another thread than the one that uses the database.
        with self.database.reopen() as ledger, ledger.transaction(durable=True):
            usage.insert(ledger, record, conversation_id=None, message_id=None)

    @property
    def _retry(self) -> RetryPolicy:
        return RetryPolicy(attempts=int(self.settings.number("retry.attempts")))

    def readers(self) -> Readers:
        """What reads files, folders and pages for a prompt; each is opened when it is first used."""
        from aichat_cli.chat.inclusions import Readers

        max_bytes = int(self.settings.number("attachments.max_mb")) * 1_000_000
        fetcher = cache(lambda: self._fetcher(max_bytes, "attachments.max_mb"))
        return Readers(
            load=self._load,
            fetch=lambda url: fetcher().fetch(url),
            walk=lambda folder: self._walk(folder, max_bytes),
            max_bytes=max_bytes,
        )

    def fallbacks(self, typed: list[str]) -> tuple[Model, ...]:
        """The models to ask when the first fails: the flag's, else the setting's."""
        return tuple(self.registry.resolve(name) for name in typed or self.settings.names("fallback"))

    def provider_for(self, model: Model) -> Provider:
        """The wire that serves a model, made once."""
        with self._providers_lock:
            if model.wire not in self._providers:
                self._providers[model.wire] = self.new_provider(model.wire)
            return self._providers[model.wire]

    def turn_deps(self, *, log: bool, prepare: Callable[[Model], None]) -> TurnDeps:
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
        )

    def side_deps(self, ledger: Database) -> TurnDeps:
        """What a turn beside the conversation needs, in a thread of its own: nothing of it is kept but its usage.

        Args:
            ledger: the user's database, through a connection of that thread. Close the transcript afterwards.
        """
        return self._deps(transcript=Database.in_memory(), ledger=ledger, storage_error=None, prepare=lambda _: None)

    def _deps(
        self,
        *,
        transcript: Database,
        ledger: Database | None,
        storage_error: StorageError | None,
        prepare: Callable[[Model], None],
    ) -> TurnDeps:
        return TurnDeps(
            transcript=transcript,
            ledger=ledger,
            storage_error=storage_error,
            provider_for=self.provider_for,
            key_for=self.key_for,
            timeouts=self.timeouts,
            prepare=prepare,
            retry=self._retry,
            retrieve=self._retrieve,
        )

    @property
    def timeouts(self) -> Timeouts:
        """The network timeouts that are set."""
        return Timeouts(
            connect=self.settings.number("timeouts.connect"),
            first_byte=self.settings.number("timeouts.first_byte"),
            idle=self.settings.number("timeouts.idle"),
        )

    def close(self) -> None:
        """Close connections and databases."""
        for provider in self._providers.values():
            provider.close()
        if "_loader" in self.__dict__:
            self._loader.close()
        for embedder in self._api_embedders:
            embedder.close()
        for database in self._databases:
            database.close()

    @cached_property
    def _in_memory(self) -> Database:
        return self._keep(Database.in_memory())

    def _keep(self, database: Database) -> Database:
        self._databases.append(database)
        return database

    def new_provider(self, wire: Wire) -> Provider:
        """A wire of one's own, for a thread of one's own; close it."""
        if wire == "local":
            from aichat_cli.providers.local_model import LocalModel

            return LocalModel(self.paths.model_dir, threads=int(self.settings.number("local.threads")))
        if wire == "litellm":
            from aichat_cli.providers.litellm_bridge import LiteLLMBridge

            return LiteLLMBridge()
        if wire == "anthropic":
            from aichat_cli.providers.anthropic_wire import AnthropicWire

            return AnthropicWire()
        from aichat_cli.providers.openai_wire import OpenAIWire

        return OpenAIWire()
