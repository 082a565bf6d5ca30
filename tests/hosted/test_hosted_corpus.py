"""Search on a hosted Postgres keeps the contract, and finds what the local database finds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import UUID

import numpy as np
import pytest

from aichat_cli.core.documents import SearchResult
from aichat_cli.core.ingest import IngestOptions, IngestSummary
from aichat_cli.documents.corpus import CorpusFor
from aichat_cli.documents.embedding.base import Matrix
from aichat_cli.documents.hosted_corpus import HostedCorpora
from aichat_cli.documents.local_corpus import local_corpus
from aichat_cli.documents.reranking import fill
from aichat_cli.storage.database import Database
from tests.documents.corpus_contract import (
    EMBEDDER,
    QUESTIONS,
    TEXTS,
    CorpusContract,
    Searched,
    made,
    names,
    require_equal,
    shelved,
)
from tests.documents.library import library_of
from tests.documents.vector_rows import unit
from tests.hosted.library import Counted, hosted, new_user, upload
from tests.runner import ROOT, Cli
from tests.servers.postgres import Cluster


@pytest.fixture(scope="module")
def library() -> Database:
    return shelved()


@pytest.fixture(scope="module")
def shelf(postgres: Cluster, library: Database) -> Iterator[tuple[Counted, UUID]]:
    """A hosted database with what the local one has, beside another user who has the same under the same names."""
    with hosted(postgres) as connection:
        user, other = new_user(connection), new_user(connection)
        for each in (user, other):
            upload(library, connection, each)
        yield Counted(connection), user


class TestHostedCorpus(CorpusContract):
    @pytest.fixture
    def corpus_for(self, shelf: tuple[Counted, UUID]) -> CorpusFor:
        return HostedCorpora(*shelf, lambda: EMBEDDER.name)

    @pytest.mark.parametrize("question", QUESTIONS)
    @pytest.mark.parametrize("name", ["mixed", "words"])
    def test_a_question_is_answered_as_by_the_local_database(
        self, searched: Searched, question: str, name: str
    ) -> None:
        local = Searched(searched.library, local_corpus)
        for threshold in (None, -1.0):
            require_equal(
                local(question, name, threshold=threshold, limit=5),
                searched(question, name, threshold=threshold, limit=5),
            )

    def test_a_search_is_one_round_trip(self, searched: Searched, shelf: tuple[Counted, UUID]) -> None:
        for query in ("bake dough in an oven", "zzz"):
            before = shelf[0].round_trips
            searched(query, threshold=0)
            assert shelf[0].round_trips == before + 1

    def test_the_model_of_a_collection_is_learned_with_its_first_answer(self, shelf: tuple[Counted, UUID]) -> None:
        corpora = HostedCorpora(*shelf, lambda: "another")
        elsewhere = Searched(Database.in_memory(), corpora)
        asked = []
        for _ in range(2):
            before = shelf[0].round_trips
            result = elsewhere("cetaceans swimming in the ocean", threshold=0)
            asked.append(shelf[0].round_trips - before)
            assert (names(result)[0], result.models) == ("whales.md", (EMBEDDER.name,))
        assert asked == [2, 1]
        assert elsewhere("dough", "words").models == ()

    def test_chunks_that_are_gone_meanwhile_are_passed_over(
        self, shelf: tuple[Counted, UUID], library: Database
    ) -> None:
        connection, user = shelf
        corpus = HostedCorpora(connection, user, lambda: EMBEDDER.name)(library, "mixed")
        [best] = corpus.find(["dough"], None, 5, shown=0).by_words
        assert corpus.passages([best, best + 1_000_000])[best].document == "bread.md"
        assert set(corpus.passages([best, best + 1_000_000])) == {best}

    def test_no_passage_of_another_user_is_given(self, shelf: tuple[Counted, UUID], library: Database) -> None:
        connection, user = shelf
        [(foreign,)] = connection.rows("SELECT min(id) FROM document_chunks WHERE user_id <> %s", (user,))
        assert HostedCorpora(connection, user, lambda: EMBEDDER.name)(library, "mixed").passages([foreign]) == {}


class Ranker:
    """A model that finds what is long the best, and counts what it is given."""

    name, dimensions, relevance, batch, is_slow = "ranker", 2, 0.0, 16, False

    def __init__(self) -> None:
        self.texts: list[str] = []

    def cost_nano(self, tokens: int) -> int | None:
        return 0

    def embed(self, texts: Sequence[str], *, is_query: bool = False) -> Matrix:
        if not is_query:
            self.texts += texts
        lengths = np.array([[1.0, 0.0] if is_query else [len(text) / 200, 1 - len(text) / 200] for text in texts])
        return unit(lengths)


def test_the_best_are_ranked_again_and_each_vector_is_made_once(postgres18: Cluster) -> None:
    local, model = Database.in_memory(), Ranker()
    made(local, "mixed", TEXTS, title="A title")
    with hosted(postgres18) as connection:
        user = new_user(connection)
        upload(local, connection, user)
        corpora = HostedCorpora(Counted(connection), user, lambda: EMBEDDER.name)
        elsewhere = Searched(Database.in_memory(), corpora)
        for _ in range(2):
            result = elsewhere("bake dough in an oven", threshold=-1, limit=8, reranker=model)
            by_rank = sorted(result.hits, key=lambda hit: hit.rerank_rank or 99)
            assert names(SearchResult(tuple(by_rank))) == sorted(TEXTS, key=lambda name: -len(TEXTS[name]))
            assert result.models == (EMBEDDER.name, model.name)
            assert sorted(model.texts) == sorted(f"A title\n{text}" for text in TEXTS.values())


def test_vectors_to_rank_again_by_are_borrowed_from_the_local_database(postgres18: Cluster) -> None:
    local, model = Database.in_memory(), Ranker()
    collection = made(local, "mixed", TEXTS)
    with hosted(postgres18) as connection:
        user = new_user(connection)
        upload(local, connection, user)
        fill(local, collection.seq, model, stop=lambda: False)
        model.texts.clear()
        result = Searched(local, HostedCorpora(Counted(connection), user, lambda: EMBEDDER.name))(
            "bake dough in an oven", threshold=-1, limit=8, reranker=model
        )
        assert [hit.rerank_rank for hit in result.hits].count(None) == 0
        assert model.texts == []


def test_real_documents_are_found_as_by_the_local_database(cli: Cli, postgres18: Cluster) -> None:
    questions = [
        "how do I set an API key",
        "which models cost nothing",
        "export a conversation",
        "where is the database",
        "what does a hold do",
        "limit on tokens of an answer",
        "search_user_documents",
        "migrating birds of the arctic",
        "documents.embedding_model",
        "keyboard shortcuts in the chat",
    ]
    with library_of(cli) as library:
        summary = IngestSummary()
        library.ingest(
            library.opened("default", None),
            [str(ROOT / "docs"), str(ROOT / "aichat_cli" / "documents")],
            IngestOptions(),
            summary,
            progress=lambda _: None,
            confirm=lambda _: True,
        )
        with hosted(postgres18) as connection:
            user = new_user(connection)
            upload(library.database, connection, user)
            there = Searched(library.database, HostedCorpora(Counted(connection), user, lambda: ""))
            here = Searched(library.database, local_corpus)
            for question in questions:
                found, expected = (each(question, "default", limit=5) for each in (there, here))
                assert bool(found.hits) == bool(expected.hits), question
                assert found.best_similarity == pytest.approx(expected.best_similarity, abs=1e-3)
                if expected.hits:
                    assert places(found)[0] == places(expected)[0], question
                    assert len(set(places(found)) & set(places(expected))) >= 4, question
                    by_place = dict(zip(places(expected), expected.hits, strict=True))
                    for hit, place in zip(found.hits, places(found), strict=True):
                        if place in by_place:
                            assert hit.terms == by_place[place].terms
                            assert hit.passage.heading == by_place[place].passage.heading


def places(result: SearchResult) -> Sequence[str]:
    return [f"{hit.passage.path} {hit.passage.place}" for hit in result.hits]
