"""From a planned document to what is stored of it: read, load, split, embed. Writes nothing.

Runs in a thread of its own, so that one batch is prepared while another is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from urllib.parse import urlsplit

from aichat_cli.core.documents import Document, LoadedDocument
from aichat_cli.core.errors import DocumentError, NotText
from aichat_cli.core.struct import Struct, replace
from aichat_cli.documents.chunking.embedded_text import content_hash, embedding_text
from aichat_cli.documents.chunking.splitter import split
from aichat_cli.documents.chunking.tokenizer import Tokenizer
from aichat_cli.documents.embedding.base import Embedder, Matrix
from aichat_cli.documents.fetching import FetchedPage, NotModified
from aichat_cli.documents.ingest.plan import Task
from aichat_cli.documents.sources import read_file
from aichat_cli.storage.chunks import NewChunk
from aichat_cli.storage.documents import NewDocument

FORMAT = 1
"""Raise it when documents are read or split in another way: what is stored is then read again."""

BATCH_DOCUMENTS = 64
BATCH_BYTES = 1_000_000
"""About what is stored in one transaction: others wait for it."""


class Reading(Struct, frozen=True):
    """How documents are read and split.

    Attributes:
        load: from bytes, a name and a media type to text; raises DocumentError.
        fetch: a page, or that it is as it was by its etag; raises DocumentError.
        interrupt: ends, from another thread, the `load` or `fetch` that is under way, which then raises DocumentError.
    """

    load: Callable[[bytes, str, str | None], LoadedDocument]
    fetch: Callable[[str, str | None], FetchedPage | NotModified]
    interrupt: Callable[[], None]
    tokenizer: Tokenizer
    chunk_tokens: int
    max_bytes: int

    @property
    def settings(self) -> str:
        """What `documents.settings` holds of documents read this way."""
        return f"format {FORMAT}, {self.chunk_tokens} tokens"


class Prepared(Struct):
    """A document that is ready to be stored; `vectors` has a row for each chunk, None where none are made."""

    task: Task
    document: NewDocument
    chunks: list[NewChunk]
    texts: list[str]
    notes: tuple[str, ...]
    vectors: Matrix | None = None

    @property
    def tokens(self) -> int:
        """Of all its chunks."""
        return sum(new.chunk.tokens for new in self.chunks)


class Same(Struct, frozen=True):
    """A document whose content is as it was, though its time or etag is not."""

    task: Task
    old: Document
    etag: str | None


class Renamed(Struct, frozen=True):
    """A document that is at another path than before."""

    task: Task
    old: Document


class Unreadable(Struct, frozen=True):
    """A document that cannot be taken in."""

    task: Task
    reason: str


class Passed(Struct, frozen=True):
    """A file of a folder that is no document, which only its content tells."""

    task: Task
    reason: str


Outcome = Prepared | Same | Renamed | Unreadable | Passed


def outcomes(
    tasks: Iterable[Task], reading: Reading, vanished: Sequence[Document], *, again: bool
) -> Iterator[Outcome]:
    """Read, load and split each document.

    Args:
        vanished: documents whose file is gone; one with the same content is what a new file was renamed from.
        again: also where the content is as it was.
    """
    candidates = {document.sha256: document for document in vanished if document.settings == reading.settings}
    sizes = {document.size for document in candidates.values()}
    for task in tasks:
        try:
            yield _outcome(task, reading, candidates, sizes, again=again)
        except NotText as error:
            yield Passed(task, "binary") if task.root is not None else Unreadable(task, error.message)
        except DocumentError as error:
            yield Unreadable(task, " ".join(filter(None, (error.message, error.hint and f"{error.hint}."))))


def embedded(
    batches: Iterable[list[Outcome]],
    embedder: Embedder,
    known_vectors: Callable[[Sequence[bytes]], dict[bytes, Matrix]],
) -> Iterator[list[Outcome]]:
    """Give each prepared document of a batch its vectors; those of equal texts are made once."""
    for batch in batches:
        prepared = [outcome for outcome in batch if isinstance(outcome, Prepared)]
        _embed(prepared, embedder, known_vectors)
        yield batch


def batched(found: Iterable[Outcome]) -> Iterator[list[Outcome]]:
    """Outcomes in batches that are stored together."""
    batch: list[Outcome] = []
    size = 0
    for outcome in found:
        batch.append(outcome)
        if isinstance(outcome, Prepared):
            size += outcome.document.size
        if len(batch) >= BATCH_DOCUMENTS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _outcome(
    task: Task, reading: Reading, candidates: dict[bytes, Document], sizes: set[int], *, again: bool
) -> Outcome:
    media_type: str | None = None
    etag: str | None = None
    content = task.text
    if task.is_page:
        old_etag = task.old.etag if task.old is not None and not again else None
        page = reading.fetch(task.path, old_etag)
        if isinstance(page, NotModified):
            assert task.old is not None
            return Same(task, task.old, task.old.etag)
        content, media_type, etag = page.content, page.media_type, page.etag
        task = replace(task, size=len(content))
    elif content is None:
        content = read_file(task.path, max_bytes=reading.max_bytes)
    digest = sha256(content).digest()
    old = task.old
    if old is not None and old.sha256 == digest and old.settings == reading.settings and not again:
        return Same(task, old, etag)
    if old is None and len(content) in sizes and digest in candidates:
        return Renamed(task, candidates.pop(digest))
    file_name = urlsplit(task.path).path if task.is_page else task.name
    loaded = reading.load(content, file_name, media_type)
    return _prepared(task, loaded, digest, etag, len(content), reading)


def _prepared(
    task: Task, loaded: LoadedDocument, digest: bytes, etag: str | None, size: int, reading: Reading
) -> Prepared:
    chunks = split(loaded, max_tokens=reading.chunk_tokens, tokenizer=reading.tokenizer)
    if not chunks:
        raise DocumentError(" ".join(["It holds no text.", *loaded.notes]))
    texts = [embedding_text(loaded.title, chunk.heading, loaded.text[chunk.start : chunk.end]) for chunk in chunks]
    new_chunks = [
        NewChunk(chunk, loaded.text[chunk.start : chunk.end], content_hash(text))
        for chunk, text in zip(chunks, texts, strict=True)
    ]
    document = NewDocument(
        name=task.name,
        path=task.path,
        root=task.root,
        title=loaded.title,
        media_type=loaded.media_type,
        size=size,
        modified_ns=task.modified_ns,
        etag=etag,
        sha256=digest,
        settings=reading.settings,
    )
    return Prepared(task, document, new_chunks, texts, loaded.notes)


def _embed(
    prepared: Sequence[Prepared], embedder: Embedder, known_vectors: Callable[[Sequence[bytes]], dict[bytes, Matrix]]
) -> None:
    import numpy as np

    texts: dict[bytes, str] = {}
    for document in prepared:
        for new, text in zip(document.chunks, document.texts, strict=True):
            texts.setdefault(new.hash, text)
    vectors = known_vectors(list(texts)) if embedder.is_slow and texts else {}
    missing = [key for key in texts if key not in vectors]
    for start in range(0, len(missing), embedder.batch):
        keys = missing[start : start + embedder.batch]
        vectors.update(zip(keys, embedder.embed([texts[key] for key in keys]), strict=True))
    for document in prepared:
        document.vectors = np.stack([vectors[new.hash] for new in document.chunks])
