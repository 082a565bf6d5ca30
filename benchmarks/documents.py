"""Measures ingest, ingest of what did not change, the first question after it, and search in a large collection."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from aichat_cli.config.secrets import KeyStore
from aichat_cli.config.settings import Settings
from aichat_cli.core.errors import EmbeddingError, HostedUnavailable
from aichat_cli.document_services import DocumentServices
from aichat_cli.documents.embedding.base import Embedder
from aichat_cli.documents.embedding.static import StaticEmbedder
from aichat_cli.documents.hosted_corpus import HostedCorpora
from aichat_cli.documents.sqlite_vectors import SqliteVectors
from aichat_cli.storage import chunks
from aichat_cli.storage.database import Database
from benchmarks import measure, vector_data
from benchmarks.contenders import Contender
from benchmarks.table import Row, at_least, within

FILES_PER_SECOND, MEGABYTES_PER_SECOND, TIMES_FASTER = 500, 2.0, 100
FIRST_QUERY_SECONDS, SEARCH_SECONDS = 0.5, 0.05
LARGE_FILE_CHARS = 150_000
LARGE_COLLECTION = 374_000
SENTENCES, BATCH = 4, 8192


def rows(ours: Contender, cache: Path, folder: Path, texts: vector_data.Texts, runs: int) -> list[Row]:
    """Lines of the table."""
    small, large = folder / "small", folder / "large"
    written = [" ".join(sentences) + "\n" for sentences in texts.documents]
    _write(small, written)
    _write(large, _gathered(written))
    return [
        *_ingested(ours, small, len(written), runs),
        _ingested_large(ours, large, runs),
        _first_query(ours, texts.questions, runs),
        _searched(_built(cache, texts), folder, texts.questions),
    ]


def _write(folder: Path, texts: Sequence[str]) -> None:
    folder.mkdir(parents=True)
    for number, text in enumerate(texts):
        (folder / f"{number}.md").write_text(text, "utf-8")


def _gathered(texts: Sequence[str]) -> list[str]:
    """The same in files of some size, a paragraph each."""
    files: list[list[str]] = [[]]
    size = 0
    for text in texts:
        if size >= LARGE_FILE_CHARS:
            files.append([])
            size = 0
        files[-1].append(text)
        size += len(text)
    return ["\n".join(paragraphs) for paragraphs in files]


def _ingest(ours: Contender, folder: Path, collection: str) -> tuple[float, int]:
    """Seconds of an ingest as it tells them itself, and bytes."""
    command = [*ours.command, "ingest", "--json", "--collection", collection, str(folder)]
    told = json.loads(measure.run(ours, command).stdout)
    return told["seconds"], told["bytes"]


def _ingested(ours: Contender, folder: Path, count: int, runs: int) -> list[Row]:
    firsts, agains, size = [], [], 0
    for run in range(runs):
        first, size = _ingest(ours, folder, f"small{run}")
        firsts.append(first)
        agains.append(min(_ingest(ours, folder, f"small{run}")[0] for _ in range(2)))
    first, again = statistics.median(firsts), statistics.median(agains)
    rate = f"{count / first:,.0f} files/s, {size / first / 1e6:.1f} MB/s"
    return [
        at_least(f"ingest: {count:,} small files to searchable", rate, count / first, FILES_PER_SECOND, "files/s"),
        at_least(
            f"ingest: the same {count:,} files, unchanged",
            f"{again * 1000:.0f} ms, {first / again:.0f} x faster than the first",
            first / again,
            TIMES_FASTER,
            "x faster",
        ),
    ]


def _ingested_large(ours: Contender, folder: Path, runs: int) -> Row:
    rates = [size / taken / 1e6 for taken, size in (_ingest(ours, folder, f"large{run}") for run in range(runs))]
    rate = statistics.median(rates)
    what = f"ingest: the same text in files of {LARGE_FILE_CHARS // 1000} KB"
    return at_least(what, f"{rate:.1f} MB/s", rate, MEGABYTES_PER_SECOND, "MB/s")


def _first_query(ours: Contender, questions: Sequence[str], runs: int) -> Row:
    taken = [
        measure.run(ours, [*ours.command, "search", "--no-rerank", "--collection", "small0", "--", question]).wall
        for question in questions[:runs]
    ]
    return within("search: the first question, whole process", taken, FIRST_QUERY_SECONDS)


def _built(cache: Path, texts: vector_data.Texts) -> Path:
    """A database with a large collection of passages of real sentences, filled where it is not there yet."""

    def fill(database: Database) -> None:
        embedder = StaticEmbedder()
        chance = np.random.default_rng(1)
        collection = vector_data.new_collection(database)
        store = SqliteVectors(database, collection)
        for start in range(0, LARGE_COLLECTION, BATCH):
            passages = [_passage(texts, chance) for _ in range(min(BATCH, LARGE_COLLECTION - start))]
            with database.transaction():
                seqs = vector_data.stored(database, collection, f"document{start}", passages)
                chunks.index_words(database, collection.seq, seqs)
                store.add(seqs, embedder.embed(passages))
        store.maintain()

    return vector_data.made_once(cache, f"documents-{LARGE_COLLECTION}-{len(texts.documents)}", fill)


def _passage(texts: vector_data.Texts, chance: np.random.Generator) -> str:
    """Some sentences of one document, in any order."""
    sentences = texts.documents[int(chance.integers(len(texts.documents)))]
    picked = chance.permutation(len(sentences))[:SENTENCES]
    return " ".join(sentences[index] for index in picked)


def _searched(path: Path, home: Path, questions: Sequence[str]) -> Row:
    """A search in the process, by words and vectors, the question's embedding included."""
    settings = Settings(home / "config.toml")
    keys = KeyStore(home / "keys.toml", lambda _: ())
    services = DocumentServices(lambda: settings, home, _no_api, _no_hosted, keys, home / "vectors")
    with closing(services), Database.open(path, read_only=True) as database:
        library = services.library(database)
        taken = []
        for question in (questions[0], *questions):
            began = time.perf_counter()
            library.search(vector_data.NAME, question, limit=5, rerank=False)
            taken.append(time.perf_counter() - began)
    return within(f"search: by words and vectors in {LARGE_COLLECTION:,} chunks", taken[1:], SEARCH_SECONDS)


def _no_api(name: str) -> Embedder:
    raise EmbeddingError(f"{name} is not measured.")


def _no_hosted() -> HostedCorpora:
    raise HostedUnavailable("There is no hosted database here.")
