"""Search in the local database beyond what every corpus keeps: scores, common words, documents that change meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.core.documents import Chunk, Collection, SearchResult
from aichat_cli.core.errors import EmbeddingError
from aichat_cli.documents import query as queries
from aichat_cli.documents.embedding.base import Embedder
from aichat_cli.documents.embedding.static import StaticEmbedder
from aichat_cli.documents.local_corpus import local_corpus
from aichat_cli.documents.search import SearchDeps, search
from aichat_cli.documents.sqlite_vectors import SqliteVectors
from aichat_cli.storage import chunks, collections, documents
from aichat_cli.storage.database import Database
from tests import blank

TEXTS = {
    "bread.md": "Knead the dough, let it rise and bake it in a hot oven.",
    "retry.md": "A request that fails is sent again after a pause that doubles each time.",
    "errors.md": "When the spool is full the daemon logs ERR_4031 and drops the job.",
    "whales.md": "Blue whales migrate to warm waters in winter to give birth to their calves.",
    "tax.md": "Income from shares is declared in annex C and taxed at a flat rate.",
    "accents.md": "Le café de Zoë ouvre à l'aube, le réseau aussi.",
    "chess.md": "The rook moves along ranks and files, the bishop along diagonals.",
}
EMBEDDER = StaticEmbedder()


def store(database: Database, collection: Collection, texts: Mapping[str, str]) -> None:
    """Store texts as documents of one chunk each, replacing those of the same name."""
    vectors = SqliteVectors(database, collection)
    with database.transaction():
        for name, text in texts.items():
            new = documents.NewDocument(name, f"/{name}", None, None, "text/plain", 1, 1, None, b"x" * 32, "s")
            chunk = chunks.NewChunk(Chunk(0, len(text), "", 1, None, 9), text, b"0" * 16)
            old = documents.of_paths(database, collection.seq, [new.path])
            gone = [seq for document in old.values() for seq in chunks.seqs_of(database, document.seq)]
            if collection.embedding_model is not None:
                vectors.remove(gone)
            chunks.delete(database, collection.seq, gone)
            seqs = chunks.insert(database, [(documents.store(database, collection.seq, new, chunk_count=1), [chunk])])
            chunks.index_words(database, collection.seq, seqs)
            if collection.embedding_model is not None:
                vectors.add(seqs, EMBEDDER.embed([text] * len(seqs)))


def made(database: Database, name: str, texts: Mapping[str, str], *, has_vectors: bool = True) -> Collection:
    """A collection of texts."""
    model, dimensions = (EMBEDDER.name, EMBEDDER.dimensions) if has_vectors else (None, None)
    store(database, collections.create(database, name, embedding_model=model, dimensions=dimensions), texts)
    return collections.get(database, name)


def deps(embedder_for: Callable[[str], Embedder] = lambda _: EMBEDDER) -> SearchDeps:
    """What a search needs, without a model that ranks again."""
    return SearchDeps(embedder_for, lambda: None)


@pytest.fixture(scope="module")
def library() -> Database:
    """Two collections and one without vectors."""
    database = Database.in_memory()
    made(database, "mixed", TEXTS)
    made(database, "other", {"stars.md": "A nebula is a cloud of gas where stars are born."})
    made(database, "words", TEXTS, has_vectors=False)
    return database


def searched(library: Database, query: str, name: str = "mixed", *, threshold: float | None = None) -> SearchResult:
    return search(local_corpus(library, name), query, deps(), limit=3, threshold=threshold)


def names(result: SearchResult) -> Sequence[str]:
    return [hit.passage.document for hit in result.hits]


def test_a_year_is_no_identifier_and_a_long_number_is() -> None:
    assert queries.identifiers_of("since 1974, 90210 and v2 of parse_args") == {"90210", "v2", "parse_args"}


def test_what_is_best_by_words_and_by_meaning_scores_one() -> None:
    database = Database.in_memory()
    made(database, "mixed", TEXTS)
    best = search(local_corpus(database, "mixed"), "bake dough in an oven", deps(), limit=7).hits
    assert best[0].score == pytest.approx(1.0)
    assert [hit.score for hit in best] == sorted((hit.score for hit in best), reverse=True)
    assert all(0 <= hit.score <= 1 for hit in best)


def test_a_model_that_is_not_here_leaves_the_words_and_says_so(library: Database) -> None:
    def missing(name: str) -> Embedder:
        raise EmbeddingError(f"{name} is not installed.", hint="Run: pip install it")

    result = search(local_corpus(library, "mixed"), "dough", deps(missing), limit=3)
    assert names(result) == ["bread.md"]
    assert result.notices == ("Searched by words alone: wordllama-256 is not installed. Run: pip install it",)


@given(st.text(st.characters(), min_size=1).filter(str.strip))
def test_no_text_is_an_error(library: Database, query: str) -> None:
    searched(library, query)


def test_common_words_are_left_out_only_where_they_cost() -> None:
    rare, common = queries.Word("dough", "dough"), queries.Word("bread", "bread")
    assert queries.telling([common, rare], {"dough": 1, "bread": 9}) == queries.Telling([common, rare], [])
    assert queries.telling([common, rare], {"dough": 1, "bread": queries.MOST_FOUND}) == queries.Telling(
        [rare], [common]
    )
    assert queries.telling([common, rare], {"dough": 1, "bread": queries.MOST_RANKED}) == queries.Telling([rare], [])
    assert queries.telling([common], {"bread": 2 * queries.MOST_RANKED}) == queries.Telling([common], [])


def test_a_common_word_ranks_what_a_rare_one_finds(tmp_path: Path) -> None:
    texts = {
        "both.md": "The dough of the bread.",
        "rare.md": "The dough of a cake.",
        "common.md": "The bread of a shop.",
    }
    database = Database.open(blank.put(tmp_path / "a.db"))
    collection = made(database, "bakery", texts, has_vectors=False)
    rare, common = queries.Word("dough", "dough"), queries.Word("bread", "bread")

    def found(telling: queries.Telling) -> list[str]:
        ranked = chunks.matching(database, collection.seq, queries.expression(telling), 9)
        passages = chunks.passages(database, [seq for seq, _ in ranked])
        return [passages[seq].document for seq, _ in ranked]

    assert found(queries.Telling([rare], [common])) == ["both.md", "rare.md"]
    assert found(queries.Telling([rare, common], []))[0] == "both.md"
    assert len(found(queries.Telling([rare, common], []))) == 3


def test_documents_that_are_replaced_meanwhile_are_no_error(tmp_path: Path) -> None:
    database = Database.open(blank.put(tmp_path / "a.db"))
    collection = made(database, "mixed", TEXTS)
    ended = threading.Event()

    def replace() -> None:
        with database.reopen() as mine:
            for _ in range(40):
                store(mine, collection, TEXTS)
        ended.set()

    thread = threading.Thread(target=replace)
    thread.start()
    while not ended.is_set():
        for hit in searched(database, "bake dough in an oven").hits:
            assert hit.passage.text == TEXTS[hit.passage.document]
    thread.join()
    assert names(searched(database, "bake dough in an oven"))[0] == "bread.md"
    database.close()


@pytest.mark.parametrize(
    "question", ["How often are API keys rotated?", "who rotates the API keys", "API keys rotated"]
)
def test_a_question_in_the_words_of_a_short_document_finds_it(question: str) -> None:
    database = Database.in_memory()
    made(database, "ops", {"ops.md": "# Operations\n\nAPI keys are rotated every ninety days by the team."})
    assert [hit.passage.document for hit in search(local_corpus(database, "ops"), question, deps(), limit=5).hits] == [
        "ops.md"
    ]
