"""What a search finds, wherever the chunks are. A test class of a corpus inherits it and stores the texts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import pytest

from aichat_cli.core.documents import Chunk, Collection, Hit, SearchResult
from aichat_cli.core.errors import NotFound, UsageError
from aichat_cli.documents.chunking.embedded_text import content_hash, embedding_text
from aichat_cli.documents.corpus import CorpusFor
from aichat_cli.documents.embedding.base import Embedder
from aichat_cli.documents.embedding.static import StaticEmbedder
from aichat_cli.documents.search import SearchDeps, search
from aichat_cli.documents.sqlite_vectors import SqliteVectors
from aichat_cli.storage import chunks, collections, documents
from aichat_cli.storage.database import Database

EMBEDDER = StaticEmbedder()
TEXTS = {
    "bread.md": "Knead the dough, let it rise and bake it in a hot oven.",
    "retry.md": "A request that fails is sent again after a pause that doubles each time.",
    "errors.md": "When the spool is full the daemon logs ERR_4031 and drops the job.",
    "whales.md": "Blue whales migrate to warm waters in winter to give birth to their calves.",
    "tax.md": "Income from shares is declared in annex C and taxed at a flat rate.",
    "accents.md": "Le café de Zoë ouvre à l'aube, le réseau aussi.",
    "chess.md": "The rook moves along ranks and files, the bishop along diagonals.",
    "search.md": "日本語の検索 \N{EM DASH} nothing but a URL: https://example.com/a_b/readme.html?x=1.",
}
QUESTIONS = [
    "bake dough in an oven",
    "whale migrations",
    "cetaceans swimming in the ocean",
    "what on earth does ERR_4031 want of me",
    "cafe zoe reseau",
    "symptoms of vitamin deficiency in newborn infants",
    "how is income from shares taxed",
    "bishop",
    "readme.html",
    "日本語の検索",
    "to be or not to be",
    "the",
    "zzz",
    "🦊 _ ²",
]
HOSTILE = ['"', "a AND", "NEAR(", "content:x", "*", "^a -b +c", "\x00a", "\ud800", "the of", "🦊", "_", "'", "\\", "x" * 100_000, "a' | !b & (c", "{1,2}", "[1,2]"]  # fmt: skip


def made(
    database: Database,
    name: str,
    texts: Mapping[str, str],
    *,
    embedder: Embedder | None = EMBEDDER,
    title: str | None = None,
) -> Collection:
    """A local collection of texts, a chunk each."""
    model, dimensions = (embedder.name, embedder.dimensions) if embedder else (None, None)
    collection = collections.create(database, name, embedding_model=model, dimensions=dimensions)
    with database.transaction():
        for document, text in texts.items():
            embedded = embedding_text(title, "", text)
            new = documents.NewDocument(document, f"/{document}", None, title, "text/plain", 1, 1, None, b"x" * 32, "s")
            chunk = chunks.NewChunk(Chunk(0, len(text), "", 1, None, len(text.split())), text, content_hash(embedded))
            seqs = chunks.insert(database, [(documents.store(database, collection.seq, new, chunk_count=1), [chunk])])
            chunks.index_words(database, collection.seq, seqs)
            if embedder is not None:
                SqliteVectors(database, collection).add(seqs, embedder.embed([embedded]))
    return collections.get(database, name)


def shelved() -> Database:
    """A local database with the collections of the contract."""
    database = Database.in_memory()
    made(database, "mixed", TEXTS)
    made(database, "other", {"stars.md": "A nebula is a cloud of gas where stars are born."})
    made(database, "words", TEXTS, embedder=None)
    return database


def deps(reranker: Embedder | None = None) -> SearchDeps:
    """What a search needs."""
    return SearchDeps(lambda _: EMBEDDER, lambda: reranker)


def names(result: SearchResult) -> Sequence[str]:
    """The documents that were found, best first."""
    return [hit.passage.document for hit in result.hits]


class CorpusContract:
    """The tests. The fixture `library` is what `shelved` makes."""

    @abstractmethod
    @pytest.fixture
    def corpus_for(self, library: Database) -> CorpusFor:
        """Where the collections of `library` are searched."""

    @pytest.fixture
    def searched(self, library: Database, corpus_for: CorpusFor) -> Searched:
        return Searched(library, corpus_for)

    def test_words_and_meaning_are_fused_and_both_ranks_are_told(self, searched: Searched) -> None:
        hit = searched("bake dough in an oven").hits[0]
        assert hit.passage.document == "bread.md"
        assert (hit.text_rank, hit.vector_rank, hit.rerank_rank) == (1, 1, None)
        assert hit.terms == ("bake", "dough", "oven")
        assert hit.score == pytest.approx(1.0)
        assert hit.similarity is not None
        assert hit.similarity > 0.5

    def test_a_passage_comes_with_its_place(self, searched: Searched) -> None:
        passage = searched("bishop").hits[0].passage
        assert (passage.document, passage.path, passage.title, passage.heading) == ("chess.md", "/chess.md", None, "")
        assert (passage.start, passage.end, passage.line, passage.page) == (0, len(TEXTS["chess.md"]), 1, None)
        assert (passage.text, passage.place) == (TEXTS["chess.md"], "chess.md:1")

    def test_words_are_compared_by_their_stems_and_without_accents(self, searched: Searched) -> None:
        assert searched("whale migrations", "words").hits[0].terms == ("whale", "migrations")
        assert searched("cafe reseau", "words").hits[0].terms == ("cafe", "reseau")

    def test_meaning_is_found_without_a_common_word(self, searched: Searched) -> None:
        result = searched("cetaceans swimming in the ocean", threshold=0)
        assert names(result)[0] == "whales.md"
        assert result.hits[0].text_rank is None

    def test_an_identifier_is_found_whatever_its_cosine(self, searched: Searched) -> None:
        assert names(searched("err_4031"))[0] == "errors.md"
        assert names(searched("what on earth does ERR_4031 want of me"))[0] == "errors.md"

    def test_a_word_of_several_parts_is_found_as_a_phrase(self, searched: Searched) -> None:
        assert names(searched("a_b", "words")) == ["search.md"]
        assert names(searched("b_a", "words")) == []

    def test_parts_of_addresses_and_other_scripts_are_words(self, searched: Searched) -> None:
        for query in ("readme", "html", "example", "日本語の検索"):
            assert names(searched(query, "words")) == ["search.md"], query

    def test_nothing_relevant_is_said_and_a_threshold_overrides_it(self, searched: Searched) -> None:
        question = "symptoms of vitamin deficiency in newborn infants"
        assert names(searched(question)) == []
        assert len(names(searched(question, threshold=0))) == 3
        assert names(searched("bake dough in an oven", threshold=0.999)) == []

    def test_a_query_of_nothing_but_stopwords_finds_by_them(self, searched: Searched) -> None:
        assert set(names(searched("when the", "words"))) >= {"errors.md"}

    def test_collections_do_not_see_each_other(self, searched: Searched) -> None:
        assert names(searched("nebula stars gas", threshold=-1)) != ["stars.md"]
        assert names(searched("nebula stars gas", "other")) == ["stars.md"]
        assert names(searched("dough", "other", threshold=-1)) == ["stars.md"]

    def test_without_vectors_words_alone_are_searched(self, searched: Searched) -> None:
        result = searched("dough", "words")
        assert names(result) == ["bread.md"]
        assert (result.best_similarity, result.models) == (None, ())

    def test_a_collection_that_is_not_there_is_told(self, searched: Searched) -> None:
        with pytest.raises(NotFound, match="nowhere"):
            searched("dough", "nowhere")

    @pytest.mark.parametrize("query", ["", "  \n"])
    def test_an_empty_query_is_refused(self, searched: Searched, query: str) -> None:
        with pytest.raises(UsageError, match="nothing to search for"):
            searched(query)

    @pytest.mark.parametrize("query", HOSTILE)
    def test_whatever_is_typed_is_no_error(self, searched: Searched, query: str) -> None:
        searched(query)

    def test_more_hits_than_come_along_are_shown(self, searched: Searched) -> None:
        hits = searched("the", threshold=-1, limit=100).hits
        assert {hit.passage.document for hit in hits} == set(TEXTS)
        assert all(hit.passage.text == TEXTS[hit.passage.document] for hit in hits)


class Searched:
    """Searches in the collections of a library."""

    def __init__(self, library: Database, corpus_for: CorpusFor) -> None:
        self.library = library
        self.corpus_for = corpus_for

    def __call__(
        self,
        query: str,
        name: str = "mixed",
        *,
        threshold: float | None = None,
        limit: int = 3,
        reranker: Embedder | None = None,
    ) -> SearchResult:
        corpus = self.corpus_for(self.library, name)
        return search(corpus, query, deps(reranker), limit=limit, threshold=threshold)


def require_equal(here: SearchResult, there: SearchResult) -> None:
    """What has to be the same of two corpora with the same documents: everything, cosines to three digits, scores to two,
    and of hits that score alike the order may differ.
    """
    assert (here.models, here.notices, here.considered) == (there.models, there.notices, there.considered)
    assert here.best_similarity == pytest.approx(there.best_similarity, abs=1e-3)
    assert sorted(map(_shown, here.hits)) == sorted(map(_shown, there.hits))
    by_place = {_shown(hit): hit for hit in there.hits}
    for rank, hit in enumerate(here.hits):
        other = by_place[_shown(hit)]
        assert hit.terms == other.terms
        assert hit.similarity == pytest.approx(other.similarity, abs=1e-3)
        assert hit.score == pytest.approx(other.score, abs=0.02)
        assert hit.score == pytest.approx(there.hits[rank].score, abs=0.02)
        assert (hit.text_rank is None, hit.vector_rank) == (other.text_rank is None, other.vector_rank)


def _shown(hit: Hit) -> tuple[str, int, str]:
    return hit.passage.path, hit.passage.start, hit.passage.text
