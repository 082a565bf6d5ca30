"""The user's documents as commands use them: collections, ingest, search, removal, and another embedding model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aichat_cli.core.documents import Collection, Document, SearchResult
from aichat_cli.core.errors import EmbeddingError, NotFound, UsageError
from aichat_cli.core.ingest import IngestOptions, IngestPreview, IngestProgress, IngestSource, IngestSummary
from aichat_cli.core.interrupts import shielded
from aichat_cli.core.struct import Struct
from aichat_cli.documents.corpus import CorpusFor
from aichat_cli.documents.embedding.base import Embedder
from aichat_cli.documents.vectors import UNREACHABLE, VectorStore, unsettled_text
from aichat_cli.storage import chunks, collections, documents
from aichat_cli.storage.database import Database

if TYPE_CHECKING:
    from aichat_cli.documents.ingest.plan import Walk
    from aichat_cli.documents.ingest.prepare import Reading

NO_MODEL = "none"
"""As an embedding model: words alone."""


class LibraryDeps(Struct, frozen=True):
    """What documents need of the house.

    Attributes:
        embedder_for: the embedding model of a name, also of one as a collection records it; raises EmbeddingError.
        store_for: the vectors of a collection.
        corpus_for: what is searched, by the name of a collection.
        reranker: the model that ranks the best again, None where there is none.
        default_model: the embedding model of new collections.
    """

    embedder_for: Callable[[str], Embedder]
    store_for: Callable[[Database, Collection], VectorStore]
    corpus_for: CorpusFor
    reranker: Callable[[], Embedder | None]
    reading: Callable[[], Reading]
    walk: Walk
    default_model: Callable[[], str]


class Sources(Struct, frozen=True):
    """Folders, files and URLs that documents came from; those that are not there now."""

    present: list[str]
    absent: list[str]


class Library:
    """The documents of one database, through a connection of the calling thread."""

    def __init__(self, database: Database, deps: LibraryDeps) -> None:
        self.database = database
        self._deps = deps

    def opened(self, name: str, embedding_model: str | None) -> Collection:
        """The collection of that name for ingest, made where there is none.

        Args:
            embedding_model: the model it must have; None takes its own, or the default for a new one.

        Raises:
            EmbeddingError: it has another model, or the model is not here. Nothing is changed.
        """
        existing = collections.find(self.database, name)
        if existing is None:
            embedder = self._embedder(embedding_model or self._deps.default_model())
            return collections.create(
                self.database,
                name,
                embedding_model=embedder.name if embedder else None,
                dimensions=embedder.dimensions if embedder else None,
            )
        if embedding_model is not None:
            wanted = self._embedder(embedding_model)
            if (wanted.name if wanted else None) != existing.embedding_model:
                raise _other_model(existing, embedding_model)
        return existing

    def ingest(
        self,
        collection: Collection,
        sources: Sequence[IngestSource],
        options: IngestOptions,
        summary: IngestSummary,
        *,
        progress: Callable[[IngestProgress], None],
        confirm: Callable[[IngestPreview], bool],
    ) -> None:
        """Make sources searchable; `documents.ingest.run.ingest` tells the errors."""
        from aichat_cli.documents.ingest.run import IngestDeps, ingest

        deps = IngestDeps(
            database=self.database,
            embedder=self.embedder_of(collection),
            store_for=self._deps.store_for,
            reading=self._deps.reading(),
            walk=self._deps.walk,
            confirm=confirm,
        )
        ingest(collection, sources, options, deps, summary, progress)

    def search(
        self, name: str, query: str, *, limit: int, threshold: float | None = None, rerank: bool = True
    ) -> SearchResult:
        """Search a collection; raises NotFound where there is none of that name."""
        from aichat_cli.documents.search import SearchDeps, search

        corpus = self._deps.corpus_for(self.database, name)
        deps = SearchDeps(embedder_for=self._deps.embedder_for, reranker=self._deps.reranker)
        return search(corpus, query, deps, limit=limit, threshold=threshold, rerank=rerank)

    def reindex(
        self,
        collection: Collection,
        embedding_model: str | None,
        *,
        embed_only: bool,
        progress: Callable[[IngestProgress], None],
        confirm: Callable[[IngestPreview], bool],
    ) -> int:
        """Make the indexes anew, or only the vectors that are missing; how many vectors were made.

        Args:
            embedding_model: the model to change to; None keeps the collection's own.

        Raises:
            UsageError: another model makes every vector anew, not those that are missing.
            EmbeddingError: the model is not here, or its cost was not agreed to.
        """
        from aichat_cli.documents.reindexing import ReindexDeps, complete, reindex

        if embedding_model is None and collection.embedding_model is not None:
            embedder: Embedder | None = self._deps.embedder_for(collection.embedding_model)
        else:
            embedder = self._embedder(embedding_model or NO_MODEL)
        deps = ReindexDeps(self._deps.store_for, self._deps.reading().tokenizer, confirm, progress)
        is_same = (embedder.name if embedder else None) == collection.embedding_model
        if embed_only:
            if not is_same:
                raise UsageError("--embed-only keeps the model; another one makes every vector anew.")
            return complete(self.database, collection, embedder, deps) if embedder else 0
        return reindex(self.database, collection, embedder, deps)

    def unranked(self, collection: Collection) -> int:
        """How many chunks the model that ranks again has no vectors of; 0 where there is no such model."""
        reranker = self._deps.reranker()
        if reranker is None or reranker.name == collection.embedding_model:
            return 0
        return chunks.count_without_rerank_vectors(self.database, collection.seq)

    def warm(self, collection: Collection, *, progress: Callable[[IngestProgress], None]) -> int:
        """Make the vectors that ranking again needs; how many were made."""
        from aichat_cli.documents.reranking import fill

        reranker = self._deps.reranker()
        missing = self.unranked(collection)
        if reranker is None or not missing:
            return 0
        return fill(
            self.database,
            collection.seq,
            reranker,
            stop=lambda: False,
            progress=lambda made: progress(IngestProgress(made, missing, 0, "")),
        )

    def sources(self, name: str, references: Sequence[str]) -> Sources:
        """Where documents came from, to be read again: of those that are named, or of all of a collection.

        Raises:
            NotFound: there are none of that name.
        """
        from aichat_cli.documents.ingest.plan import is_url

        known = [each for reference in references for each in self.of_reference(reference, name)]
        if not references:
            known = documents.listing(self.database, collection=name)
        origins = dict.fromkeys(each.root or each.path for each in known if not each.path.startswith("stdin:"))
        present = [origin for origin in origins if is_url(origin) or Path(origin).exists()]
        return Sources(present, [origin for origin in origins if origin not in present])

    def remove(self, removed: Sequence[Document]) -> None:
        """Remove documents with all that was made of them, in one transaction; `settled` tells where more is to be done."""
        from aichat_cli.documents.ingest.run import remove_documents

        with shielded(), self.database.transaction():
            for name in {document.collection for document in removed}:
                collection = collections.get(self.database, name)
                mine = [document for document in removed if document.collection == name]
                remove_documents(self.database, collection, mine, self._deps.store_for)

    def settled(self, names: Iterable[str]) -> str | None:
        """Have what changed in collections searched where their vectors are; what keeps it from being so, told once."""
        for name in names:
            collection = collections.find(self.database, name)
            if collection is not None and collection.searched_in not in {"local", "hosted"}:
                try:
                    self.store_for(self.database, collection).settle()
                except UNREACHABLE as error:
                    return unsettled_text(error)
        return None

    @property
    def store_for(self) -> Callable[[Database, Collection], VectorStore]:
        """The vectors of a collection, through a connection of the calling thread."""
        return self._deps.store_for

    def of_reference(self, reference: str, collection: str | None) -> list[Document]:
        """The documents a user means: one by its name, path or id, or those of a folder that was ingested.

        Raises:
            NotFound: there are none.
        """
        try:
            return documents.find(self.database, reference, collection=collection)
        except NotFound:
            folder = _resolved(reference)
            below = folder.rstrip("/") + "/"
            everything = documents.listing(self.database, collection=collection)
            if found := [document for document in everything if document.path.startswith(below)]:
                return found
            raise

    def embedder_of(self, collection: Collection) -> Embedder | None:
        """The embedding model of a collection, None where it has none.

        Raises:
            EmbeddingError: it is not here, or makes vectors of other dimensions than those that are stored.
        """
        if collection.embedding_model is None:
            return None
        embedder = self._deps.embedder_for(collection.embedding_model)
        if embedder.dimensions != collection.dimensions:
            raise EmbeddingError(
                f"{embedder.name} makes vectors of {embedder.dimensions} dimensions,"
                f' and those of "{collection.name}" have {collection.dimensions}.',
                hint=f"Run: aichat docs reindex --collection {collection.name}",
            )
        return embedder

    def _embedder(self, name: str) -> Embedder | None:
        return None if name == NO_MODEL else self._deps.embedder_for(name)


def _resolved(reference: str) -> str:
    try:
        return str(Path(reference).expanduser().absolute())
    except (RuntimeError, ValueError):
        return reference


def _other_model(collection: Collection, wanted: str) -> EmbeddingError:
    return EmbeddingError(
        f'The vectors of "{collection.name}" were made by {collection.embedding_model or "no model"}, not by {wanted}.',
        hint=f"Run: aichat docs reindex --collection {collection.name} --embedding-model {wanted}",
    )
