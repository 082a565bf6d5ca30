"""Hybrid search: passages that hold the words and passages that mean the same, fused by their ranks, the best ranked
again by the local model where it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from aichat_cli.core.documents import Collection, Hit, SearchResult
from aichat_cli.core.errors import EmbeddingError, UsageError
from aichat_cli.documents import query as queries
from aichat_cli.documents.embedding.base import Embedder, Matrix
from aichat_cli.documents.vectors import Neighbour, VectorStore
from aichat_cli.storage import chunks
from aichat_cli.storage.database import Database

CANDIDATES = 100
RERANKED = 50
RANK_CONSTANT = 60
"""Of reciprocal rank fusion, as Cormack, Clarke and Buettcher gave it."""


@dataclass(frozen=True, slots=True)
class SearchDeps:
    """What a search needs: the model of a collection, the one that ranks again (None: there is none), and vectors."""

    embedder_for: Callable[[str], Embedder]
    reranker: Callable[[], Embedder | None]
    store_for: Callable[[Database, Collection], VectorStore]


@dataclass(frozen=True, slots=True)
class _Words:
    """What the words found: chunks, best first, and the words by their stems."""

    ranked: list[int]
    words: list[queries.Word]


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What the vectors found, and how near the best has to be."""

    ranked: list[Neighbour]
    relevance: float
    model: str


def search(
    database: Database,
    collection: Collection,
    query: str,
    deps: SearchDeps,
    *,
    limit: int,
    threshold: float | None = None,
    rerank: bool = True,
) -> SearchResult:
    """The passages of a collection that answer a query, best first.

    Args:
        threshold: the cosine that the best passage must reach; None is the model's own, 0 always finds something.

    Raises:
        UsageError: the query is empty.
        AichatError: of a provider that embeds the query, or of the database.
    """
    if not query.strip():
        raise UsageError("There is nothing to search for.", hint='As in: aichat search "retry policy"')
    notices: list[str] = []
    words = _by_words(database, collection, query)
    meaning = _by_meaning(database, collection, query, deps, notices)
    reranker = deps.reranker() if rerank else None
    rankings = [(list(words.ranked), 1.0 if reranker else 2.0)]
    if meaning is not None:
        rankings.append(([neighbour.chunk_seq for neighbour in meaning.ranked], 1.0))
    scores = _fused(rankings)
    again = _reranked(database, query, scores, reranker) if reranker is not None else []
    for position, chunk_seq in enumerate(again, 1):
        scores[chunk_seq] += 1.0 / (RANK_CONSTANT + position)
    best = sorted(scores, key=lambda chunk_seq: (-scores[chunk_seq], chunk_seq))
    similarities = {each.chunk_seq: each.similarity for each in meaning.ranked} if meaning else {}
    best_similarity = max(similarities.values(), default=None)
    needed = threshold if threshold is not None else meaning.relevance if meaning is not None else None
    passages = chunks.passages(database, best[: 2 * limit])
    hits = [
        Hit(
            passage=passages[chunk_seq],
            score=scores[chunk_seq],
            similarity=similarities.get(chunk_seq),
            text_rank=_rank(words.ranked, chunk_seq),
            vector_rank=_rank([each.chunk_seq for each in meaning.ranked], chunk_seq) if meaning else None,
            rerank_rank=_rank(again, chunk_seq),
            terms=_terms(database, passages[chunk_seq].text, words.words),
        )
        for chunk_seq in best[: 2 * limit]
        if chunk_seq in passages
    ][:limit]
    is_relevant = needed is None or best_similarity is None or best_similarity >= needed or _names(query, hits)
    return SearchResult(
        hits=tuple(hits) if is_relevant else (),
        considered=len(scores),
        best_similarity=best_similarity,
        threshold=needed,
        models=tuple(model for model in (meaning and meaning.model, reranker and reranker.name) if model),
        notices=tuple(notices),
    )


def _by_words(database: Database, collection: Collection, query: str) -> _Words:
    typed = queries.words_of(query)
    words = [queries.Word(word, stem) for word, stem in zip(typed, chunks.stems(database, typed), strict=True)]
    frequencies = chunks.document_frequencies(database, collection.seq, [word.stem for word in words])
    telling = queries.telling(words, frequencies, collection.chunk_count)
    if not telling:
        return _Words([], words)
    found = chunks.matching(database, collection.seq, queries.expression(telling), CANDIDATES)
    return _Words([chunk_seq for chunk_seq, _ in found], words)


def _by_meaning(
    database: Database, collection: Collection, query: str, deps: SearchDeps, notices: list[str]
) -> _Meaning | None:
    """None where meaning cannot be compared; why is said in a notice."""
    if collection.embedding_model is None:
        return None
    try:
        embedder = deps.embedder_for(collection.embedding_model)
        vector = embedder.embed([query], is_query=True)
    except EmbeddingError as error:
        notices.append(f"Searched by words alone: {error.message} {error.hint or ''}".rstrip())
        return None
    if not vector.any():
        return None
    ranked = deps.store_for(database, collection).nearest(vector, CANDIDATES)
    return _Meaning(ranked, embedder.relevance, embedder.name)


def _fused(rankings: Iterable[tuple[Sequence[int], float]]) -> dict[int, float]:
    scores: dict[int, float] = {}
    for ranked, weight in rankings:
        for position, chunk_seq in enumerate(ranked, 1):
            scores[chunk_seq] = scores.get(chunk_seq, 0.0) + weight / (RANK_CONSTANT + position)
    return scores


def _reranked(database: Database, query: str, scores: Mapping[int, float], reranker: Embedder) -> list[int]:
    from aichat_cli.documents.reranking import rerank_similarities

    best = sorted(scores, key=lambda chunk_seq: (-scores[chunk_seq], chunk_seq))[:RERANKED]
    vector: Matrix = reranker.embed([query], is_query=True)
    similarities = rerank_similarities(database, best, vector, reranker, most_new=RERANKED)
    return sorted(similarities, key=lambda chunk_seq: (-similarities[chunk_seq], chunk_seq))


def _rank(ranked: Sequence[int], chunk_seq: int) -> int | None:
    return ranked.index(chunk_seq) + 1 if chunk_seq in ranked else None


def _terms(database: Database, text: str, words: Sequence[queries.Word]) -> tuple[str, ...]:
    held = set(chunks.stems(database, queries.all_words(text)))
    return tuple(word.typed for word in words if word.stem in held)


def _names(query: str, hits: Sequence[Hit]) -> bool:
    """Whether a hit holds a name that the query holds: of an error, a function, a version."""
    names = queries.identifiers_of(query)
    return any(names.intersection(hit.terms) for hit in hits)
