"""The ingest: read and split in one thread, embed in another, store in this one, a batch at a time and transaction.

Whatever ends it, what is stored is whole: a document is there with its chunks, words and vectors, or as it was before.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile

from aichat_cli.core.documents import Collection, Document
from aichat_cli.core.errors import DocumentError, EmbeddingError, NotFound
from aichat_cli.core.ingest import IngestOptions, IngestPreview, IngestProgress, IngestSource, IngestSummary
from aichat_cli.core.interrupts import leave_signals_to_the_main_thread, shielded
from aichat_cli.core.struct import Struct
from aichat_cli.documents.embedding.base import Embedder, Matrix
from aichat_cli.documents.ingest import plan as planning
from aichat_cli.documents.ingest.prepare import (
    Outcome,
    Passed,
    Prepared,
    Reading,
    Renamed,
    Same,
    Unreadable,
    batched,
    embedded,
    outcomes,
)
from aichat_cli.documents.sqlite_vectors import unpacked
from aichat_cli.documents.vectors import UNREACHABLE, VectorStore, unsettled_text
from aichat_cli.storage import chunks, collections, documents
from aichat_cli.storage.database import Database

BATCHES_AHEAD = 2
WAIT_SECONDS = 0.1
"""After that long a thread that waits looks whether it is still wanted."""


class IngestDeps(Struct, frozen=True):
    """What an ingest needs of the house.

    Attributes:
        embedder: of the collection's model, None where it has none.
        store_for: the vectors of a collection, through a connection.
        confirm: asked before a paid model embeds; False stores nothing.
    """

    database: Database
    embedder: Embedder | None
    store_for: Callable[[Database, Collection], VectorStore]
    reading: Reading
    walk: planning.Walk
    confirm: Callable[[IngestPreview], bool]


def ingest(
    collection: Collection,
    sources: Sequence[IngestSource],
    options: IngestOptions,
    deps: IngestDeps,
    summary: IngestSummary,
    progress: Callable[[IngestProgress], None],
) -> None:
    """Make sources searchable; `summary` is filled as it goes.

    Raises:
        NotFound: a source is not there; nothing was done.
        DocumentError: pruning would remove everything below a folder; nothing was removed.
        EmbeddingError: the embedding model is not here, or the collection's changed meanwhile.
        AichatError: of the database or of an embedding provider; what was stored so far stays.
    """
    began = time.monotonic()
    try:
        _Ingest(collection, options, deps, summary, progress).run(sources)
    finally:
        summary.seconds = time.monotonic() - began


class _Ingest:
    def __init__(
        self,
        collection: Collection,
        options: IngestOptions,
        deps: IngestDeps,
        summary: IngestSummary,
        progress: Callable[[IngestProgress], None],
    ) -> None:
        self._collection = collection
        self._options = options
        self._deps = deps
        self._summary = summary
        self._progress = progress
        self._done = 0
        self._total = 0
        self._bytes = 0
        self._is_unsettled = False
        self._taken: set[str] = set()

    def run(self, sources: Sequence[IngestSource]) -> None:
        """Plan, ask where it costs, read and store, remove."""
        known = documents.in_collection(self._deps.database, self._collection.seq)
        settings = self._deps.reading.settings
        plan = planning.planned(
            sources, known, self._deps.walk, self._summary, settings=settings, again=self._options.again
        )
        self._total = len(plan.tasks)
        if self._options.is_rehearsal:
            self._rehearse(plan)
            return
        if plan.tasks and not self._is_affordable(plan):
            raise EmbeddingError("Nothing was ingested: embedding was not agreed to.")
        if plan.tasks:
            self._store_all(plan)
        self._remove(plan, known)

    def _rehearse(self, plan: planning.Plan) -> None:
        for outcome in self._outcomes(plan):
            self._count(outcome)
        self._count_vanished(plan)

    def _is_affordable(self, plan: planning.Plan) -> bool:
        """Ask before a paid model embeds. What is handed over and unknown until it is read is read for that first."""
        embedder = self._deps.embedder
        if embedder is None or embedder.cost_nano(1_000_000) == 0:
            return True
        tokens = count = 0
        for outcome in self._outcomes(plan):
            if isinstance(outcome, Prepared):
                tokens, count = tokens + outcome.tokens, count + 1
        return not count or self._deps.confirm(IngestPreview(embedder.name, count, tokens, embedder.cost_nano(tokens)))

    def _outcomes(self, plan: planning.Plan) -> Iterator[Outcome]:
        found = outcomes(plan.tasks, self._deps.reading, plan.vanished, again=self._options.again)
        for number, outcome in enumerate(found, 1):
            self._progress(IngestProgress(number, self._total, 0, outcome.task.name))
            yield outcome

    def _store_all(self, plan: planning.Plan) -> None:
        is_stopped = threading.Event()
        reading = self._deps.reading
        tasks = takewhile(lambda _: not is_stopped.is_set(), plan.tasks)
        read = _InThread(
            lambda: batched(outcomes(tasks, reading, plan.vanished, again=self._options.again)), is_stopped
        )
        ready = _InThread(lambda: self._with_vectors(iter(read)), is_stopped)
        try:
            for batch in ready:
                self._store(batch)
        finally:
            read.stop(reading.interrupt)
            ready.stop()
        if self._deps.embedder is not None:
            self._deps.store_for(self._deps.database, self._collection).maintain()

    def _with_vectors(self, batches: Iterator[list[Outcome]]) -> Iterator[list[Outcome]]:
        """In the thread that embeds, which has a connection of its own."""
        embedder = self._deps.embedder
        if embedder is None:
            yield from batches
            return
        if not embedder.is_slow:
            yield from embedded(batches, embedder, lambda _: {})
            return
        with self._deps.database.reopen() as database:

            def known_vectors(hashes: Sequence[bytes]) -> dict[bytes, Matrix]:
                found = chunks.vectors_by_hash(database, embedder.name, hashes)
                return {key: unpacked(vector) for key, vector in found.items()}

            yield from embedded(batches, embedder, known_vectors)

    def _store(self, batch: list[Outcome]) -> None:
        """Store a batch in one transaction."""
        database = self._deps.database
        with shielded():
            with database.transaction():
                self._require_same_model()
                paths = [outcome.task.path for outcome in batch]
                present = documents.of_paths(database, self._collection.seq, paths)
                kept = [outcome for outcome in batch if self._keep(outcome, present.get(outcome.task.path))]
                self._index([outcome for outcome in kept if isinstance(outcome, Prepared)], present)
                if kept:
                    collections.touch(database, self._collection.seq)
            for outcome in batch:
                self._count(outcome)
        self._settle()
        self._progress(IngestProgress(self._done, self._total, self._bytes, batch[-1].task.name))

    def _settle(self) -> None:
        """Have the vectors searched where they are, if that is elsewhere; once that fails it is left to the next ingest."""
        if self._is_unsettled or self._collection.dimensions is None:
            return
        try:
            self._deps.store_for(self._deps.database, self._collection).settle()
        except UNREACHABLE as error:
            self._is_unsettled = True
            self._summary.note(unsettled_text(error))

    def _require_same_model(self) -> None:
        now = collections.find(self._deps.database, self._collection.name)
        if now is None or now.seq != self._collection.seq:
            raise NotFound(f'The collection "{self._collection.name}" was removed meanwhile.')
        if now.embedding_model != self._collection.embedding_model:
            raise EmbeddingError(
                f'The embedding model of "{now.name}" was changed to {now.embedding_model or "none"} meanwhile.',
                hint="Run the same ingest again",
            )

    def _keep(self, outcome: Outcome, current: Document | None) -> bool:
        """Whether there is something to index; what another process stored meanwhile is left as it is."""
        database = self._deps.database
        if isinstance(outcome, Same):
            documents.mark_unchanged(
                database,
                outcome.old,
                size=outcome.task.size or outcome.old.size,
                modified_ns=outcome.task.modified_ns,
                etag=outcome.etag,
            )
            return False
        if isinstance(outcome, Unreadable | Passed):
            return False
        if isinstance(outcome, Renamed):
            self._taken.add(outcome.old.path)
            if current is None:
                task = outcome.task
                documents.move(
                    database,
                    outcome.old,
                    path=task.path,
                    name=task.name,
                    root=task.root,
                    modified_ns=task.modified_ns,
                )
            return current is None
        new = outcome.document
        is_there = current is not None and (current.sha256, current.settings) == (new.sha256, new.settings)
        return self._options.again or not is_there

    def _index(self, prepared: list[Prepared], present: Mapping[str, Document]) -> None:
        """Store documents with their chunks, words and vectors, in the place of those that were there."""
        import numpy as np

        database, collection = self._deps.database, self._collection
        store = None if self._deps.embedder is None else self._deps.store_for(database, collection)
        replaced = [present[outcome.task.path].seq for outcome in prepared if outcome.task.path in present]
        _delete_chunks(database, collection, replaced, store)
        stored = [
            documents.store(database, collection.seq, outcome.document, chunk_count=len(outcome.chunks))
            for outcome in prepared
        ]
        seqs = chunks.insert(database, [(seq, outcome.chunks) for seq, outcome in zip(stored, prepared, strict=True)])
        chunks.index_words(database, collection.seq, seqs)
        vectors = [outcome.vectors for outcome in prepared if outcome.vectors is not None]
        if store is not None and vectors:
            store.add(seqs, np.concatenate(vectors))

    def _count(self, outcome: Outcome) -> None:
        summary = self._summary
        self._done += 1
        if isinstance(outcome, Same):
            summary.unchanged += 1
        elif isinstance(outcome, Renamed):
            summary.renamed += 1
        elif isinstance(outcome, Passed):
            summary.skipped[outcome.reason] += 1
        elif isinstance(outcome, Unreadable):
            summary.fail(outcome.task.name, outcome.reason)
        else:
            if outcome.task.old is None:
                summary.added += 1
            else:
                summary.updated += 1
            summary.chunks += len(outcome.chunks)
            summary.tokens += outcome.tokens
            summary.bytes += outcome.document.size
            self._bytes += outcome.document.size
            for note in outcome.notes:
                summary.note(f"{outcome.document.name}: {note}")

    def _count_vanished(self, plan: planning.Plan) -> None:
        if self._options.prune:
            self._summary.removed = len(plan.vanished)
        else:
            self._summary.gone = len(plan.vanished)

    def _remove(self, plan: planning.Plan, known: dict[str, Document]) -> None:
        """Remove what is gone, where that was asked for and the folder itself can be trusted to be there."""
        plan.vanished = [document for document in plan.vanished if document.path not in self._taken]
        if not self._options.prune or not plan.vanished:
            self._count_vanished(plan)
            return
        roots = {document.root for document in plan.vanished}
        gone = {document.path for document in plan.vanished}
        kept_roots = {document.root for document in known.values() if document.path not in gone}
        found_roots = {task.root for task in plan.tasks}
        for root in roots - kept_roots - found_roots:
            raise DocumentError(
                f"Not one of the files of {root} is there any more, as when a disk is not mounted; nothing was removed.",
                hint=f"If they are gone for good: aichat docs rm {root}",
            )
        database = self._deps.database
        with shielded(), database.transaction():
            remove_documents(database, self._collection, plan.vanished, self._deps.store_for)
        self._settle()
        self._count_vanished(plan)


def remove_documents(
    database: Database,
    collection: Collection,
    removed: Sequence[Document],
    store_for: Callable[[Database, Collection], VectorStore],
) -> None:
    """Remove documents of a collection with their chunks, words and vectors, inside the caller's transaction."""
    seqs = [document.seq for document in removed]
    _delete_chunks(
        database, collection, seqs, None if collection.dimensions is None else store_for(database, collection)
    )
    documents.remove(database, seqs)
    collections.touch(database, collection.seq)


def _delete_chunks(
    database: Database, collection: Collection, document_seqs: Sequence[int], store: VectorStore | None
) -> None:
    gone = [seq for document_seq in document_seqs for seq in chunks.seqs_of(database, document_seq)]
    if store is not None:
        store.remove(gone)
    chunks.delete(database, collection.seq, gone)


class _InThread:
    """An iterator that runs in a thread of its own, a few items ahead.

    Args:
        is_stopped: set when no more items are wanted, for the source to look at.
    """

    def __init__(self, source: Callable[[], Iterator[list[Outcome]]], is_stopped: threading.Event) -> None:
        self._items: queue.Queue[list[Outcome] | BaseException | None] = queue.Queue(BATCHES_AHEAD)
        self._is_stopped = is_stopped
        self._source = source
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[list[Outcome]]:
        while (item := self._next()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def stop(self, interrupt: Callable[[], None] = lambda: None) -> None:
        """End the thread; what it has prepared is dropped.

        Args:
            interrupt: ends what the source waits for, again and again until it has ended.
        """
        self._is_stopped.set()
        while self._thread.is_alive():
            self._thread.join(0.05)
            if self._thread.is_alive():
                interrupt()

    def _next(self) -> list[Outcome] | BaseException | None:
        while True:
            try:
                return self._items.get(timeout=WAIT_SECONDS)
            except queue.Empty:
                if self._is_stopped.is_set():
                    return None

    def _run(self) -> None:
        leave_signals_to_the_main_thread()
        try:
            for item in self._source():
                self._put(item)
                if self._is_stopped.is_set():
                    return
        except BaseException as exc:  # noqa: BLE001 (raised again by whoever reads)
            self._put(exc)
        self._put(None)

    def _put(self, item: list[Outcome] | BaseException | None) -> None:
        while not self._is_stopped.is_set():
            try:
                self._items.put(item, timeout=WAIT_SECONDS)
                return
            except queue.Full:
                continue
