"""Hybrid search: passages that hold the words and passages that mean the same, fused by their scores, the best
compared again by the local model where it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import log1p

from aichat_cli.core.documents import Hit, Passage, SearchResult
from aichat_cli.core.errors import EmbeddingError, UsageError
from aichat_cli.core.struct import Struct
from aichat_cli.documents import query as queries
from aichat_cli.documents.corpus import Corpus, Found
from aichat_cli.documents.embedding.base import Embedder, Matrix

CANDIDATES = 100
RERANKED = 50
MOST_NEW = 12
"""Vectors of the model that ranks again made during one search: about a second's work."""
WORDS_SHARE = 0.7
"""Of a score, what the words give; the vectors give the rest. From 0.65 to 0.8 hardly anything changes."""
RERANK_SHARE = 0.5
"""Of a score, what the model that ranks again gives. From 0.4 to 0.6 hardly anything changes."""
COVERAGE_WEIGHT = 0.2
"""What holding all words of a query adds to a cosine in the question whether anything is relevant."""
LOOKED_AT = 5
"""Of the best hits, when it is asked whether anything is relevant."""
WHOLE_QUERY = 0.95
WORDS_ALONE = 0.3
"""The coverage that is enough whatever the cosine, and where there is none."""


class SearchDeps(Struct, frozen=True):
    """What a search needs: the model of a collection, and the one that ranks again (None: there is none)."""

    embedder_for: Callable[[str], Embedder]
    reranker: Callable[[], Embedder | None]


class _Meaning(Struct, frozen=True):
    """The vector of a query, by which model, and how near the best has to be."""

    vector: Matrix
    model: str
    relevance: float


class _Reranking(Struct, frozen=True):
    """The model that ranks again, and its vector of the query."""

    model: Embedder
    query: Matrix


class _Evidence(Struct, frozen=True):
    """How near the best chunk is to the query, and how near it has to be."""

    similarity: float
    relevance: float


class _Ranking(Struct, frozen=True):
    """What chunks are ranked by, their ranks and cosines, and what tells whether the best is relevant."""

    scores: dict[int, float]
    text: dict[int, int]
    vector: dict[int, int]
    rerank: dict[int, int]
    similarities: dict[int, float]
    evidence: _Evidence | None


def search(
    corpus: Corpus,
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
    query = query.encode("utf-8", "replace").decode("utf-8")  # half characters (lone surrogates) no model takes
    notices: list[str] = []
    meaning, found = _found(corpus, query, deps, notices, shown=max(2 * limit, RERANKED if rerank else 0))
    reranking = _reranking(corpus, query, deps, notices) if rerank else None
    ranking = _ranked(corpus, found, meaning, reranking)
    weights = {word: log1p(found.chunk_count / max(found.frequencies.get(word.stem, 1), 1)) for word in found.words}
    hits = _hits(corpus, ranking, found.words, limit)
    evidence = ranking.evidence
    if threshold is not None:
        is_relevant = evidence is None or evidence.similarity >= threshold
    else:
        is_relevant = _is_relevant(query, hits[:LOOKED_AT], weights, evidence)
    return SearchResult(
        hits=tuple(hits) if is_relevant else (),
        considered=len(ranking.scores),
        best_similarity=evidence.similarity if evidence else None,
        threshold=threshold,
        models=tuple(model for model in (meaning and meaning.model, reranking and reranking.model.name) if model),
        notices=tuple(notices),
    )


def _found(
    corpus: Corpus, query: str, deps: SearchDeps, notices: list[str], *, shown: int
) -> tuple[_Meaning | None, Found]:
    """The candidates; asked again where the corpus turns out to have vectors of another model."""
    words = queries.words_of(query)
    while True:
        model, told = corpus.embedding_model, list(notices)
        meaning = _meaning(model, query, deps, told)
        found = corpus.find(words, meaning.vector if meaning else None, CANDIDATES, shown=shown)
        if corpus.embedding_model == model:
            notices[:] = [*told, found.notice] if found.notice else told
            return (None if found.notice else meaning), found


def _ranked(corpus: Corpus, found: Found, meaning: _Meaning | None, reranking: _Reranking | None) -> _Ranking:
    """Fuse the scores; the best of words and vectors are compared again where there is a model for it."""
    similarities = {each.chunk_seq: each.similarity for each in found.nearest}
    scores = _fused(found.by_words, similarities)
    evidence = _Evidence(max(similarities.values()), meaning.relevance) if meaning and similarities else None
    again: list[int] = []
    if reranking is not None and (compared := _compared(corpus, scores, reranking)):
        # What has no vector of that model yet keeps its order, behind what has.
        unseen = [chunk_seq for chunk_seq in _best(scores)[:RERANKED] if chunk_seq not in compared]
        again = [*_best(compared), *unseen]
        scores = _weighed(scores, 1 - RERANK_SHARE, _spread(compared), RERANK_SHARE)
        evidence = _Evidence(max(compared.values()), reranking.model.relevance)
    return _Ranking(scores, _ranks(found.by_words), _ranks(similarities), _ranks(again), similarities, evidence)


def _hits(corpus: Corpus, ranking: _Ranking, words: Sequence[queries.Word], limit: int) -> list[Hit]:
    best = _best(ranking.scores)
    shown: list[Passage] = []
    # A document may be replaced while it is searched: what is gone is left out, and the next takes its place.
    for start in range(0, len(best), 2 * limit):
        wanted = best[start : start + 2 * limit]
        passages = corpus.passages(wanted)
        shown += [passages[chunk_seq] for chunk_seq in wanted if chunk_seq in passages]
        if len(shown) >= limit:
            break
    shown = shown[:limit]
    return [
        Hit(
            passage=passage,
            score=ranking.scores[passage.chunk_seq],
            similarity=ranking.similarities.get(passage.chunk_seq),
            text_rank=ranking.text.get(passage.chunk_seq),
            vector_rank=ranking.vector.get(passage.chunk_seq),
            rerank_rank=ranking.rerank.get(passage.chunk_seq),
            terms=held,
        )
        for passage, held in zip(shown, _terms(corpus, shown, words), strict=True)
    ]


def _meaning(model: str | None, query: str, deps: SearchDeps, notices: list[str]) -> _Meaning | None:
    """None where meaning cannot be compared; why is said in a notice."""
    if model is None:
        return None
    try:
        embedder = deps.embedder_for(model)
        vector = embedder.embed([query], is_query=True)
    except EmbeddingError as error:
        notices.append(f"Searched by words alone: {error.message} {error.hint or ''}".rstrip())
        return None
    return _Meaning(vector, embedder.name, embedder.relevance) if vector.any() else None


def _fused(by_words: Mapping[int, float], by_meaning: Mapping[int, float]) -> dict[int, float]:
    """Scores of 0 to 1. Words count in parts of the best; cosines, which are never near 0, from the least to the best."""
    most = max(by_words.values(), default=0.0)
    words = {chunk_seq: score / most for chunk_seq, score in by_words.items()} if most > 0 else {}
    return _weighed(words, WORDS_SHARE, _spread(by_meaning), 1 - WORDS_SHARE)


def _spread(similarities: Mapping[int, float]) -> dict[int, float]:
    """Similarities from 0, the least of them, to 1, the best."""
    least, most = min(similarities.values(), default=0.0), max(similarities.values(), default=0.0)
    if most <= least:
        return dict.fromkeys(similarities, 1.0)
    return {chunk_seq: (similarity - least) / (most - least) for chunk_seq, similarity in similarities.items()}


def _weighed(
    first: Mapping[int, float], share: float, second: Mapping[int, float], second_share: float
) -> dict[int, float]:
    return {
        chunk_seq: share * first.get(chunk_seq, 0.0) + second_share * second.get(chunk_seq, 0.0)
        for chunk_seq in {**first, **second}
    }


def _reranking(corpus: Corpus, query: str, deps: SearchDeps, notices: list[str]) -> _Reranking | None:
    """None where there is nothing to rank again by, or only what ranked already; a broken model is told in a notice."""
    try:
        model = deps.reranker()
        if model is None or model.name == corpus.embedding_model:
            return None
        return _Reranking(model, model.embed([query], is_query=True))
    except EmbeddingError as error:
        notices.append(f"Not ranked again: {error.message} {error.hint or ''}".rstrip())
        return None


def _compared(corpus: Corpus, scores: Mapping[int, float], reranking: _Reranking) -> dict[int, float]:
    best = _best(scores)[:RERANKED]
    return corpus.compared(best, reranking.query, reranking.model, most_new=MOST_NEW)


def _best(scores: Mapping[int, float]) -> list[int]:
    """Highest first; of equals, the older."""
    return sorted(scores, key=lambda chunk_seq: (-scores[chunk_seq], chunk_seq))


def _ranks(ranked: Iterable[int]) -> dict[int, int]:
    return {chunk_seq: rank for rank, chunk_seq in enumerate(ranked, 1)}


def _terms(corpus: Corpus, passages: Sequence[Passage], words: Sequence[queries.Word]) -> list[tuple[str, ...]]:
    """The words of the query that each passage holds, compared by their stems."""
    beginnings = {queries.beginning(word.typed) for word in words}
    texts = [queries.all_words(" ".join((each.title or "", each.heading, each.text))) for each in passages]
    distinct = [word for word in {word for text in texts for word in text} if queries.beginning(word) in beginnings]
    stems = dict(zip(distinct, corpus.stems(distinct), strict=True))
    held = [{stems[word] for word in text if word in stems} for text in texts]
    return [tuple(word.typed for word in words if word.stem in each) for each in held]


def _coverage(hit: Hit, weights: Mapping[queries.Word, float]) -> float:
    """Which part of what the query's words tell the hit holds, from 0 to 1."""
    whole = sum(weights.values())
    return sum(weight for word, weight in weights.items() if word.typed in hit.terms) / whole if whole else 0.0


def _is_relevant(
    query: str, hits: Sequence[Hit], weights: Mapping[queries.Word, float], evidence: _Evidence | None
) -> bool:
    """Whether the best hits answer the query at all, by their meaning and their words together."""
    coverage = max((_coverage(hit, weights) for hit in hits), default=0.0)
    if coverage >= WHOLE_QUERY or _names(query, hits):
        return True
    if evidence is None:
        return coverage >= WORDS_ALONE
    return evidence.similarity + COVERAGE_WEIGHT * coverage >= evidence.relevance


def _names(query: str, hits: Sequence[Hit]) -> bool:
    """Whether a hit holds a name that the query holds: of an error, a function, a version."""
    names = queries.identifiers_of(query)
    return any(names.intersection(hit.terms) for hit in hits)
