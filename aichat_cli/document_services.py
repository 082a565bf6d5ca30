"""What documents are read, embedded, searched and ranked by, as it is set; each part is made when it is first used."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, cached_property
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from aichat_cli.config.secrets import KeyStore
from aichat_cli.config.settings import Settings
from aichat_cli.core.documents import Collection, LoadedDocument
from aichat_cli.core.errors import AichatError, KeyMissing, SyncError
from aichat_cli.documents.corpus import Corpus
from aichat_cli.documents.embedding.base import Embedder
from aichat_cli.documents.library import Library, LibraryDeps
from aichat_cli.documents.local_corpus import local_corpus
from aichat_cli.documents.sqlite_vectors import SqliteVectors
from aichat_cli.documents.vectors import VectorStore
from aichat_cli.storage import collections, namespaces
from aichat_cli.storage.database import Database

if TYPE_CHECKING:
    from aichat_cli.chat.inclusions import Readers
    from aichat_cli.documents.elsewhere.place import Place
    from aichat_cli.documents.embedding.minilm import MiniLM
    from aichat_cli.documents.embedding.static import StaticEmbedder
    from aichat_cli.documents.fetching import Fetcher
    from aichat_cli.documents.hosted_corpus import HostedCorpora
    from aichat_cli.documents.ingest.prepare import Reading
    from aichat_cli.documents.loading.loader import Loader
    from aichat_cli.documents.moving import Moved
    from aichat_cli.documents.pinecone.service import Access, PineconeService
    from aichat_cli.documents.sources import FoundFile, SkippedFile

STATIC_NAMES = frozenset({"wordllama", "wordllama-256"})
"""What our own model is called; it needs no key, no network and no money."""
MINILM_NAMES = frozenset({"minilm", "all-MiniLM-L6-v2"})
"""What the sentence model is called that ranks again, and that a collection can have as its own."""


class DocumentServices:
    """What one run of the program does with documents, in whatever database.

    Args:
        settings: as they are now.
        model_dir: where fetched models are.
        api_embedder: the embedding model of a name that is none of ours; raises AichatError.
        hosted: opens what is searched where `documents.search_in`, or a collection, says so: the collections of the
            hosted database.
        keys: where the key of Pinecone is.
        store_dir: where vector stores of other packages keep files.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        model_dir: Path,
        api_embedder: Callable[[str], Embedder],
        hosted: Callable[[], HostedCorpora],
        keys: KeyStore,
        store_dir: Path,
    ) -> None:
        self._settings = settings
        self._model_dir = model_dir
        self._api_embedder = api_embedder
        self._open_hosted = hosted
        self._keys = keys
        self._store_dir = store_dir

    def library(self, database: Database) -> Library:
        """The documents of a database, through a connection of the calling thread."""
        deps = LibraryDeps(
            embedder_for=self.embedder,
            store_for=self._store_for,
            corpus_for=self._corpus_for,
            reranker=self.reranker,
            reading=self._reading,
            walk=lambda folder: self._walk(folder, self._largest),
            default_model=lambda: self._settings().text("documents.embedding_model"),
        )
        return Library(database, deps)

    def _corpus_for(self, database: Database, name: str) -> Corpus:
        if self._settings().text("documents.search_in") == "hosted":
            return self._hosted(database, name)
        found = collections.find(database, name)
        if found is None or found.searched_in != "hosted":
            return local_corpus(database, name, self._store_for)
        try:
            return self._hosted(database, name)
        except SyncError as error:
            raise SyncError(
                f'"{name}" is searched on the hosted database. {error.message}',
                hint=f"Search it on this device again: aichat docs migrate --to local --collection {quote(name)}",
            ) from error

    def _store_for(self, database: Database, collection: Collection) -> VectorStore:
        # A collection may have been moved since it was looked up.
        if namespaces.find(database, collection.seq, "searched") is None:
            return SqliteVectors(database, collection)
        from aichat_cli.documents.elsewhere.vectors import VectorsElsewhere

        return VectorsElsewhere(database, collection, self.place)

    def place(self, name: str) -> Place:
        """A place elsewhere that keeps vectors: Pinecone, or the stores of another package."""
        if name == "pinecone":
            return self.pinecone
        from aichat_cli.documents.plugged_vectors import PluggedPlace, StoreSurroundings

        def surroundings(namespace: str, dimensions: int) -> StoreSurroundings:
            options = self._settings().plugin_options(name)
            find_key = lambda key_name: self._keys.find(key_name, by_flag=False)  # noqa: E731 (its type is the field's)
            return StoreSurroundings(namespace, dimensions, self._store_dir / name, find_key, options)

        return PluggedPlace(name, surroundings)

    def move(
        self,
        database: Database,
        collection: Collection,
        place: str,
        report: Callable[[int], None],
    ) -> Moved:
        """Search the vectors of a collection elsewhere; `documents.moving` tells the errors.

        Args:
            place: local, pinecone, or the name of another package's store.
            report: is told how many vectors are there.
        """
        from aichat_cli.documents import moving
        from aichat_cli.documents.elsewhere.filling import Sending

        if place == "local":
            return moving.to_local(database, collection, report)
        return moving.to_elsewhere(database, collection, Sending(self.place(place), report))

    def clear_away(self, database: Database) -> dict[str, AichatError]:
        """Delete elsewhere what is not searched any more; what keeps a place from it now, by its name."""
        if not namespaces.in_state(database, "leaving"):
            return {}
        from aichat_cli.documents.elsewhere.filling import clear_away

        return clear_away(database, self.place)

    def check_store(self, database: Database, name: str) -> str:
        """In one line what a store of another package holds of this database, and what waits to be done there.

        Raises:
            AichatError: it is not there, fails, or answers nonsense.
        """
        place = self.place(name)
        searched = [each for each in namespaces.in_state(database, "searched") if each.place == name]
        count = sum(place.count(each.host, each.name) for each in searched)
        return "; ".join([f"{name} with {count:,} vectors", *_waiting(database, name)])

    def check_pinecone(self, database: Database) -> str:
        """In one line what is reached at Pinecone, and what waits to be done there.

        Raises:
            AichatError: it is not reached, or does not take the key.
        """
        hosts = {
            each.host: each.index_name for each in namespaces.in_state(database, "searched") if each.place == "pinecone"
        }
        told = [f"{name} with {self.pinecone.total(host):,} vectors" for host, name in hosts.items()]
        if not hosts:
            count = len(self.pinecone.indexes())
            told = [f"the key is accepted, {count:,} {'index' if count == 1 else 'indexes'}"]
        return "; ".join([*told, *_waiting(database, "pinecone")])

    @cached_property
    def pinecone(self) -> PineconeService:
        """Pinecone; nothing of it is read, loaded or opened before something is asked."""
        from aichat_cli.documents.pinecone.service import PineconeService

        return PineconeService(self._pinecone_access)

    def _pinecone_access(self) -> Access:
        from aichat_cli.documents.pinecone.service import KEY_NAME, Access

        key = self._keys.find(KEY_NAME, by_flag=False)
        if key is None:
            raise KeyMissing("No key for Pinecone.", hint="Run: aichat keys set pinecone, or set PINECONE_API_KEY")
        text = self._settings().text
        return Access(
            key, text("pinecone.url"), text("pinecone.index"), text("pinecone.cloud"), text("pinecone.region")
        )

    @cached_property
    def _hosted(self) -> HostedCorpora:
        return self._open_hosted()

    def embedder(self, name: str) -> Embedder:
        """The embedding model of that name: one of ours, or one behind an API, which is used only where it is named.

        Raises:
            EmbeddingError: a model of ours is not here.
            AichatError: of the model behind an API.
        """
        if name in STATIC_NAMES:
            return self._wordllama
        return self._minilm if name in MINILM_NAMES else self._api_embedder(name)

    def reranker(self) -> MiniLM | None:
        """The model that ranks the best again, None where it is not wanted or not here."""
        from aichat_cli.documents.embedding.minilm import is_installed

        is_wanted = self._settings().flag("documents.rerank")
        return self._minilm if is_wanted and is_installed(self._model_dir) else None

    def readers(self) -> Readers:
        """What reads files, folders and pages for a prompt."""
        from aichat_cli.chat.inclusions import Readers

        max_bytes = int(self._settings().number("attachments.max_mb")) * 1_000_000
        fetcher = cache(lambda: self._fetcher(max_bytes, "attachments.max_mb"))
        return Readers(
            load=self._load,
            fetch=lambda url: fetcher().fetch(url),
            walk=lambda folder: self._walk(folder, max_bytes),
            max_bytes=max_bytes,
        )

    def close(self) -> None:
        """End what reads."""
        if "_loader" in self.__dict__:
            self._loader.close()
        if "_hosted" in self.__dict__:
            self._hosted.close()
        if "pinecone" in self.__dict__:
            self.pinecone.close()

    def _reading(self) -> Reading:
        from aichat_cli.documents.ingest.prepare import Reading
        from aichat_cli.providers.tokens import tokenizer

        max_bytes = self._largest
        fetcher = self._fetcher(max_bytes, "documents.max_mb")

        def interrupt() -> None:
            fetcher.interrupt()
            self._loader.interrupt()

        return Reading(
            load=self._load,
            fetch=fetcher.fetch,
            interrupt=interrupt,
            tokenizer=tokenizer(),
            chunk_tokens=int(self._settings().number("documents.chunk_tokens")),
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
            allow_private=self._settings().flag("documents.private_addresses"),
        )

    def _load(self, content: bytes, name: str, media_type: str | None) -> LoadedDocument:
        return self._loader.load(content, name, media_type=media_type)

    def _walk(self, folder: Path, max_bytes: int) -> Iterable[FoundFile | SkippedFile]:
        from aichat_cli.documents.sources import walk

        return walk(folder, ignore=self._settings().names("documents.ignore"), max_bytes=max_bytes)

    @property
    def _largest(self) -> int:
        return int(self._settings().number("documents.max_mb")) * 1_000_000

    @cached_property
    def _loader(self) -> Loader:
        from aichat_cli.documents.loading.loader import Loader

        return Loader()

    @cached_property
    def _wordllama(self) -> StaticEmbedder:
        from aichat_cli.documents.embedding.static import StaticEmbedder

        return StaticEmbedder()

    @cached_property
    def _minilm(self) -> MiniLM:
        from aichat_cli.documents.embedding.minilm import MiniLM
        from aichat_cli.providers.cpu import default_threads

        return MiniLM(self._model_dir, threads=int(self._settings().number("local.threads")) or default_threads())


def _waiting(database: Database, place: str) -> list[str]:
    """What is still to be done at a place."""
    told = []
    if waiting := namespaces.unsent_count(database, place):
        told.append(f"{waiting:,} changes are still to be sent: they are with the next ingest")
    if leaving := sum(each.place == place for each in namespaces.in_state(database, "leaving")):
        told.append(f"{leaving:,} namespaces are still to be deleted: they are with the next aichat docs migrate")
    return told
