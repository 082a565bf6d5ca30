"""Documents that were read on another device: written here with their chunks, and made searchable.

Their vectors are taken over where they are of the model the collection has here. Where it has another, the text is
searched by its words, and the vectors are made anew (`Library.complete`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from aichat_cli.core.documents import Chunk, Collection, DocumentId
from aichat_cli.documents.embedding.base import Matrix
from aichat_cli.documents.vectors import VectorStore
from aichat_cli.storage import chunks as stored_chunks
from aichat_cli.storage import collections, documents
from aichat_cli.storage.chunks import NewChunk
from aichat_cli.storage.database import Database
from aichat_cli.storage.documents import NewDocument


def vector_text(vector: bytes) -> str:
    """A stored vector, float16, as text: `[0.1,-0.25]`. Five digits tell every float16 from the next."""
    import numpy as np

    return "[" + ",".join([f"{value:.5g}" for value in np.frombuffer(vector, dtype="<f2").tolist()]) + "]"


class SyncedDocuments:
    """Where synced documents go: the library of one database. Both calls are within the caller's transaction."""

    def __init__(self, database: Database, store_for: Callable[[Database, Collection], VectorStore]) -> None:
        self._database = database
        self._store_for = store_for

    def store(self, document: dict[str, Any], chunks: Sequence[dict[str, Any]]) -> str | None:
        """Write a document in the place of the version that is here.

        Returns the name of its collection where its chunks have no vectors of that collection's model.
        """
        database = self._database
        collection = collections.ensure(
            database,
            document["collection"],
            embedding_model=document["embedding_model"],
            dimensions=document["dimensions"],
        )
        self.remove(document["id"])
        seq = documents.store(
            database,
            collection.seq,
            _document(document),
            chunk_count=len(chunks),
            document_id=DocumentId(document["id"]),
        )
        seqs = stored_chunks.insert(database, [(seq, [_chunk(chunk) for chunk in chunks])])
        stored_chunks.index_words(database, collection.seq, seqs)
        collections.touch(database, collection.seq)
        if collection.embedding_model is None:
            return None
        is_same = (collection.embedding_model, collection.dimensions) == (
            document["embedding_model"],
            document["dimensions"],
        )
        vectors = _vectors(chunks, collection.dimensions or 0) if is_same else None
        if vectors is None:
            return collection.name if chunks else None
        self._store_for(database, collection).add(seqs, vectors)
        return None

    def remove(self, document_id: str) -> bool:
        """Remove a document with all that was made of it; whether it was here."""
        from aichat_cli.documents.ingest.run import remove_documents

        found = documents.find_id(self._database, document_id)
        if found is None:
            return False
        remove_documents(self._database, collections.get(self._database, found.collection), [found], self._store_for)
        return True


def _document(document: dict[str, Any]) -> NewDocument:
    return NewDocument(
        name=document["name"],
        path=document["path"],
        root=document["root"],
        title=document["title"],
        media_type=document["media_type"],
        size=document["size"],
        modified_ns=None,  # of a file on another device: whoever reads it here compares the content
        etag=document["etag"],
        sha256=bytes.fromhex(document["sha256"]),
        settings=document["settings"],
    )


def _chunk(chunk: dict[str, Any]) -> NewChunk:
    place = Chunk(
        start=chunk["start_char"],
        end=chunk["end_char"],
        line=chunk["line"],
        page=chunk["page"],
        heading=chunk["heading"],
        tokens=chunk["token_count"],
    )
    return NewChunk(place, chunk["content"], bytes.fromhex(chunk["hash"]))


def _vectors(chunks: Sequence[dict[str, Any]], dimensions: int) -> Matrix | None:
    """The vectors of chunks, of zeros where one has none; None where there are none at all, or of other dimensions."""
    import numpy as np

    vectors = np.zeros((len(chunks), dimensions), dtype=np.float32)
    for row, chunk in enumerate(chunks):
        if chunk["embedding"] is not None:
            vector = np.fromstring(chunk["embedding"].strip("[]"), dtype=np.float32, sep=",")
            if len(vector) != dimensions:
                return None
            vectors[row] = vector
    return vectors if vectors.any() else None
