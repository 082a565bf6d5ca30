"""Vectors of the model that ranks again: made once, kept where that is possible, filled in the background."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from aichat_cli.core.documents import Chunk, Collection
from aichat_cli.documents.chunking.embedded_text import content_hash, embedding_text
from aichat_cli.documents.embedding import minilm
from aichat_cli.documents.embedding.base import Embedder, Matrix
from aichat_cli.documents.embedding.minilm import MiniLM
from aichat_cli.documents.embedding.static import StaticEmbedder
from aichat_cli.documents.local_corpus import LocalCorpus
from aichat_cli.documents.reranking import FILLED_TOGETHER, fill, rerank_similarities
from aichat_cli.documents.search import SearchDeps, search
from aichat_cli.storage import chunks, collections, documents
from aichat_cli.storage.database import Database
from tests.runner import ROOT, Cli

QUERY = "how tides move"


class RecordingModel(StaticEmbedder):
    """A fast model of the same kind, which remembers what it was asked."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._seconds = seconds

    def embed(self, texts: Sequence[str], *, is_query: bool = False) -> Matrix:
        self.texts += texts
        time.sleep(self._seconds)
        return super().embed(texts, is_query=is_query)


def stored(database: Database, contents: Sequence[str]) -> Collection:
    """A collection of one document with these chunks."""
    collection = collections.create(database, "default", embedding_model=None, dimensions=None)
    document = documents.NewDocument("tides.md", "/tides.md", None, "Tides", "text/markdown", 1, 1, None, b"x", "")
    new = [
        chunks.NewChunk(Chunk(0, len(text), "Moon", 1, None, 1), text, content_hash(text) if text else bytes(16))
        for text in contents
    ]
    with database.transaction():
        seq = documents.store(database, collection.seq, document, chunk_count=len(new))
        chunks.insert(database, [(seq, new)])
        chunks.rebuild_words(database, collection.seq)
    return collections.get(database, "default")


def texts_of(count: int) -> list[str]:
    return [f"The tide number {number} follows the moon." for number in range(count)]


def seqs(database: Database) -> list[int]:
    return [seq for (seq,) in database.rows("SELECT seq FROM document_chunks ORDER BY seq")]


def kept(database: Database) -> list[int]:
    return [seq for (seq,) in database.rows("SELECT chunk_seq FROM rerank_vectors ORDER BY chunk_seq")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "aichat.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    with Database.open(path, busy_timeout_s=30.0) as opened:
        yield opened


def similarities(database: Database, model: RecordingModel, *, most_new: int = 50) -> dict[int, float]:
    vector = StaticEmbedder().embed([QUERY], is_query=True)
    return rerank_similarities(database, seqs(database), vector, model, most_new=most_new)


def test_similarities_are_cosines_and_their_vectors_are_made_once(database: Database) -> None:
    stored(database, ["Tides move with the moon.", "A recipe for bread.", "🎉"])
    model = RecordingModel()
    first = similarities(database, model)

    expected = [
        embedding_text("Tides", "Moon", text) for text in ("Tides move with the moon.", "A recipe for bread.", "🎉")
    ]
    assert model.texts == expected
    cosines = StaticEmbedder().embed(expected) @ StaticEmbedder().embed([QUERY])[0]
    assert list(first) == seqs(database) == kept(database)
    assert list(first.values()) == pytest.approx(cosines.tolist(), abs=1e-3)
    assert similarities(database, model) == first
    assert model.texts == expected


def test_no_more_vectors_are_made_than_allowed_and_the_best_come_first(database: Database) -> None:
    stored(database, texts_of(6))
    model = RecordingModel()
    best_first = seqs(database)[::-1]
    vector = model.embed([QUERY])

    assert set(rerank_similarities(database, best_first, vector, model, most_new=2)) == set(best_first[:2])
    assert set(rerank_similarities(database, best_first, vector, model, most_new=0)) == set(best_first[:2])
    assert set(rerank_similarities(database, best_first, vector, model, most_new=3)) == set(best_first[:5])


def test_chunks_that_are_gone_are_left_out(database: Database) -> None:
    stored(database, texts_of(2))
    vector = StaticEmbedder().embed([QUERY])
    [first, second] = seqs(database)

    assert set(rerank_similarities(database, [999, second], vector, RecordingModel(), most_new=9)) == {second}
    database.execute("DELETE FROM document_chunks WHERE seq = ?", (second,))
    assert kept(database) == []
    assert set(rerank_similarities(database, [second, first], vector, RecordingModel(), most_new=9)) == {first}


def test_a_query_without_a_known_word_ranks_nothing(database: Database) -> None:
    stored(database, texts_of(2))
    model = RecordingModel()

    assert rerank_similarities(database, seqs(database), model.embed([""]), model, most_new=9) == {}
    assert model.texts == [""]


def test_a_database_that_cannot_be_written_is_searched_all_the_same(database: Database, path: Path) -> None:
    stored(database, texts_of(3))
    with Database.open(path, read_only=True) as reader:
        assert len(similarities(reader, RecordingModel())) == 3
    assert kept(database) == []


def test_a_database_that_another_process_writes_is_searched_without_waiting_for_it(
    database: Database, path: Path
) -> None:
    stored(database, texts_of(3))
    with Database.open(path) as writer, writer.transaction():
        began = time.monotonic()
        assert len(similarities(database, RecordingModel())) == 3
        assert time.monotonic() - began < 5
    assert kept(database) == []
    similarities(database, RecordingModel())
    assert kept(database) == seqs(database)


def test_filling_makes_what_is_missing_and_tells_how_far_it_is(database: Database) -> None:
    collection = stored(database, texts_of(2 * FILLED_TOGETHER + 3))
    model = RecordingModel()
    rerank_similarities(database, seqs(database)[5:7], model.embed([QUERY]), model, most_new=9)
    told: list[int] = []

    assert fill(database, collection.seq, model, stop=lambda: False, progress=told.append) == len(seqs(database)) - 2
    assert kept(database) == seqs(database)
    assert told == sorted(set(told))
    assert told[-1] == len(seqs(database)) - 2
    assert len(model.texts) == 1 + len(seqs(database))
    assert fill(database, collection.seq, model, stop=lambda: False) == 0


def test_filling_keeps_to_its_collection(database: Database) -> None:
    stored(database, texts_of(3))
    other = collections.create(database, "other", embedding_model=None, dimensions=None)

    assert fill(database, other.seq, RecordingModel(), stop=lambda: False) == 0
    assert kept(database) == []


def test_filling_stops_when_it_is_asked_to(database: Database) -> None:
    collection = stored(database, texts_of(3 * FILLED_TOGETHER))
    answers = iter([False, True])

    assert fill(database, collection.seq, RecordingModel(), stop=lambda: next(answers)) == FILLED_TOGETHER
    assert len(kept(database)) == FILLED_TOGETHER


FILLING = """
import sys
from pathlib import Path
from aichat_cli.documents.reranking import fill
from aichat_cli.storage.database import Database
from tests.documents.test_reranking import RecordingModel
with Database.open(Path(sys.argv[1])) as database:
    print(fill(database, int(sys.argv[2]), RecordingModel(0.03), stop=lambda: False))
"""


def filling(path: Path, collection: Collection) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", FILLING, str(path), str(collection.seq)], cwd=ROOT, stdout=subprocess.PIPE
    )


def test_processes_fill_together_and_one_that_is_killed_costs_nothing(database: Database, path: Path) -> None:
    collection = stored(database, texts_of(20 * FILLED_TOGETHER))
    processes = [filling(path, collection) for _ in range(3)]
    deadline = time.monotonic() + 60
    while not kept(database) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(processes[0].pid, signal.SIGKILL)
    made = [int(process.communicate(timeout=60)[0] or 0) for process in processes]

    assert [process.returncode for process in processes] == [-signal.SIGKILL, 0, 0]
    assert kept(database) == seqs(database)
    assert sum(made) < 1.6 * len(seqs(database))
    assert database.rows("PRAGMA integrity_check") == [("ok",)]


def test_a_search_ranks_again_with_the_pulled_model_and_not_where_that_is_off(
    cli: Cli, sentence_model_dir: Path, tmp_path: Path
) -> None:
    (cli.database.parent / "models").symlink_to(sentence_model_dir)
    (tmp_path / "notes").mkdir()
    for name, text in (("tides", "The moon pulls the ocean up twice a day."), ("bread", "Knead the dough, then wait.")):
        (tmp_path / "notes" / f"{name}.md").write_text(text, "utf-8")
    assert cli.run("ingest", str(tmp_path / "notes")).returncode == 0

    first = json.loads(
        cli.run("search", "why does the sea rise at noon", "--json", "--explain", "--threshold", "0").stdout
    )
    assert (first[0]["document"], first[0]["rerank_rank"]) == ("tides.md", 1)
    with Database.open(cli.database) as database:
        assert kept(database) == seqs(database)
    cli.environ["AICHAT_DOCUMENTS_RERANK"] = "false"
    again = json.loads(
        cli.run("search", "why does the sea rise at noon", "--json", "--explain", "--threshold", "0").stdout
    )
    assert [row["rerank_rank"] for row in again] == [None] * len(again)


def test_a_damaged_model_is_said_and_the_search_goes_on_without_it(database: Database, tmp_path: Path) -> None:
    collection = stored(database, ["Tides move with the moon."])
    (tmp_path / minilm.WEIGHTS).write_bytes(b"damaged")
    (tmp_path / minilm.VOCABULARY).write_text("{}", "utf-8")
    damaged = MiniLM(tmp_path, threads=1)
    found = search(LocalCorpus(database, collection), "tides", deps_with(damaged), limit=5)

    assert [hit.passage.text for hit in found.hits] == ["Tides move with the moon."]
    [notice] = found.notices
    assert "aichat models pull minilm" in notice
    assert found.models == ()


def test_a_collections_own_model_does_not_rank_again(database: Database) -> None:
    stored(database, texts_of(2))
    own = collections.create(database, "own", embedding_model="wordllama-256", dimensions=256)
    model = RecordingModel()

    assert search(LocalCorpus(database, own), "tides", deps_with(model), limit=5).models == ("wordllama-256",)
    assert model.texts == ["tides"]  # for its own ranking


def deps_with(reranker: Embedder) -> SearchDeps:
    return SearchDeps(embedder_for=lambda _: reranker, reranker=lambda: reranker)
