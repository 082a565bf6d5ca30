"""Collections on a hosted Postgres as a search sees them: a search is one round trip, and the text that is shown comes along."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

from aichat_cli.core.documents import Passage
from aichat_cli.core.errors import NotFound
from aichat_cli.documents.chunking.embedded_text import embedding_text
from aichat_cli.documents.corpus import Found
from aichat_cli.documents.embedding.base import Embedder, Matrix
from aichat_cli.documents.quantising import packed, unpacked
from aichat_cli.documents.query import Word
from aichat_cli.documents.vectors import Neighbour
from aichat_cli.hosted import search as hosted
from aichat_cli.hosted.search import Asked, HostedPassage, Query
from aichat_cli.storage import chunks, collections
from aichat_cli.storage.database import Database


class HostedCorpora:
    """The collections that a user has on a hosted database; what is learned of them is kept for the next search.

    Args:
        connection: for the thread that searches.
        default_model: what is taken for the model of a collection that is not in the local database as well; None where
            there is none.
    """

    def __init__(self, connection: Asked, user: UUID, default_model: Callable[[], str | None]) -> None:
        self._connection = connection
        self._user = user
        self._default_model = default_model
        self._models: dict[str, str | None] = {}
        self._vectors: dict[str, bytes] = {}

    def __call__(self, database: Database, name: str) -> HostedCorpus:
        """A `CorpusFor`; whether there is a collection of that name is told by its first answer."""
        if name not in self._models:
            local = collections.find(database, name)
            self._models[name] = self._default_model() if local is None else local.embedding_model
        return HostedCorpus(database, self._connection, self._user, name, self._models, self._vectors)

    def fingerprints(self, name: str) -> dict[str, list[str]]:
        """What tells the chunks of each document of a collection there; raises as a search does."""
        return hosted.fingerprints(self._connection, self._user, name)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


class HostedCorpus:
    """A `Corpus` on a hosted database.

    Args:
        database: the local one, a connection of the calling thread: words are stemmed there, and it may have the vectors
            of chunks that the model made which ranks again.
        models: the embedding model of each collection by name; corrected by the first answer.
        vectors: those of the model that ranks again, by the hash of their chunk, where the local database has none.
    """

    def __init__(
        self,
        database: Database,
        connection: Asked,
        user: UUID,
        name: str,
        models: dict[str, str | None],
        vectors: dict[str, bytes],
    ) -> None:
        self._database = database
        self._connection = connection
        self._user = user
        self._name = name
        self._models = models
        self._vectors = vectors
        self._is_known = False
        self._passages: dict[int, HostedPassage] = {}

    @property
    def embedding_model(self) -> str | None:
        """The model of its vectors, a guess until there was an answer."""
        return self._models[self._name]

    def find(self, words: Sequence[str], vector: Matrix | None, limit: int, *, shown: int) -> Found:
        """The candidates; see `Corpus.find`.

        Raises:
            NotFound: there is no such collection.
            AichatError: of the database.
        """
        sought = None if vector is None else vector[0].tolist()
        answer = hosted.search(
            self._connection, self._user, self._name, Query(words, sought, self.embedding_model, limit, shown)
        )
        if not answer.chunk_count:
            raise NotFound(
                f'There is no collection "{self._name}" on the hosted database.',
                hint="Send documents there: aichat sync now",
            )
        if not self._is_known and self.embedding_model not in answer.embedding_models:
            self._models[self._name] = answer.embedding_models[0] if answer.embedding_models else None
        self._is_known = True
        self._passages |= answer.passages
        asked = [Word(word, stem) for word, stem in zip(words, self.stems(words), strict=True)]
        return Found(
            words=asked,
            frequencies={word.stem: count for word, count in zip(asked, answer.frequencies, strict=True)},
            chunk_count=answer.chunk_count,
            by_words=answer.by_words,
            nearest=[Neighbour(chunk_id, cosine) for chunk_id, cosine in answer.nearest.items()],
        )

    def passages(self, chunk_seqs: Sequence[int]) -> dict[int, Passage]:
        """Chunks with their places; those that did not come along with an answer are fetched."""
        known = self._with_passages(chunk_seqs)
        return {chunk_seq: known[chunk_seq].passage for chunk_seq in chunk_seqs if chunk_seq in known}

    def stems(self, words: Sequence[str]) -> list[str]:
        """Words as the local FTS5 has them, which the hosted database follows."""
        return chunks.stems(self._database, words)

    def compared(self, chunk_seqs: Sequence[int], query: Matrix, model: Embedder, *, most_new: int) -> dict[int, float]:
        """The cosines by another model; see `Corpus.compared`. Chunks with the same text in the local database lend theirs."""
        if not query.any():
            return {}
        known = self._with_passages(chunk_seqs)
        hashes = {chunk_seq: known[chunk_seq].hash for chunk_seq in chunk_seqs if chunk_seq in known}
        stored = self._vectors | chunks.rerank_vectors_by_hash(self._database, list(hashes.values()))
        missing = [chunk_seq for chunk_seq, digest in hashes.items() if digest not in stored][:most_new]
        if missing:
            shown = [known[chunk_seq].passage for chunk_seq in missing]
            made = model.embed([embedding_text(each.title, each.heading, each.text) for each in shown])
            new = {hashes[chunk_seq]: packed(vector) for chunk_seq, vector in zip(missing, made, strict=True)}
            self._vectors |= new
            stored |= new
        return {
            chunk_seq: float(unpacked(stored[digest]) @ query[0])
            for chunk_seq, digest in hashes.items()
            if digest in stored
        }

    def _with_passages(self, chunk_seqs: Sequence[int]) -> dict[int, HostedPassage]:
        if missing := [chunk_seq for chunk_seq in chunk_seqs if chunk_seq not in self._passages]:
            self._passages |= hosted.passages(self._connection, self._user, missing)
        return self._passages
