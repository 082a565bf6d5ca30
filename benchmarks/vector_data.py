"""Vectors to search: embeddings of passages made of real sentences, and the stores that hold them."""

from __future__ import annotations

import ast
import json
import re
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aichat_cli.core.documents import Chunk, Collection
from aichat_cli.documents.chunking.embedded_text import content_hash
from aichat_cli.documents.embedding.base import Matrix
from aichat_cli.documents.embedding.static import StaticEmbedder
from aichat_cli.documents.sqlite_vectors import SqliteVectors
from aichat_cli.storage import chunks, collections, documents
from aichat_cli.storage.database import Database

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH = 20_000
QUERIES = 50
NAME = "default"


@dataclass(frozen=True, slots=True)
class Texts:
    """Sentences of documents, and what is asked: real questions, or sentences held back."""

    documents: Sequence[Sequence[str]]
    questions: Sequence[str]


@dataclass(frozen=True, slots=True)
class Mixed:
    """Vectors of passages, and the numbers of the three sentences each was made of."""

    vectors: Matrix
    sentences: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Built:
    """A store on disk; the seconds are of the run that made it, 0 where it was there already."""

    path: Path
    adding_seconds: float
    maintaining_seconds: float


def texts(folders: Sequence[Path]) -> Texts:
    """Of folders in BEIR form; without one, of the documentation strings of Python's own library."""
    if not folders:
        found = [sentences for sentences in map(_sentences, _docstrings()) if len(sentences) > 1]
        return Texts(found, [found.pop(number * 7)[0] for number in range(QUERIES)])
    read = [
        _sentences(json.loads(line)["text"])
        for folder in folders
        for line in (folder / "corpus.jsonl").read_text("utf-8").splitlines()
    ]
    lines = [line for folder in folders for line in (folder / "queries.jsonl").read_text("utf-8").splitlines()]
    asked = [json.loads(line)["text"] for line in lines[:: max(1, len(lines) // QUERIES)]]
    return Texts([sentences for sentences in read if sentences], asked[:QUERIES])


def embedded_questions(source: Texts) -> Matrix:
    """One row for each question."""
    return StaticEmbedder().embed(source.questions, is_query=True)


def held_out(source: Texts) -> Matrix:
    """Vectors of passages of the same kind as those in a store, which are not in it."""
    return next(passages(source, QUERIES, seed=2))


def passages(source: Texts, count: int, *, seed: int = 1) -> Iterator[Matrix]:
    """Vectors of so many passages, in batches."""
    return (mixed.vectors for mixed in mixtures(source, count, seed=seed))


def mixtures(source: Texts, count: int, *, seed: int = 1) -> Iterator[Mixed]:
    """So many passages, in batches: each the weighted mean of three sentences of one document.

    Passages of a document are near each other and no two are the same, as in a library of overlapping passages.
    """
    sentences = StaticEmbedder().embed([sentence for each in source.documents for sentence in each])
    ends = np.cumsum([len(each) for each in source.documents])
    document_of = np.repeat(np.arange(len(ends)), [len(each) for each in source.documents])
    starts = np.concatenate(([0], ends[:-1]))
    chance = np.random.default_rng(seed)
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        first = chance.integers(len(sentences), size=size)
        low, high = starts[document_of[first]], ends[document_of[first]]
        weights = chance.uniform(0, 1, (2, size, 1)).astype(np.float32)
        others = chance.integers(low, high), chance.integers(low, high)
        mixed = sentences[first] + weights[0] * sentences[others[0]] + weights[1] * sentences[others[1]]
        vectors = mixed / np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-6)
        yield Mixed(vectors.astype(np.float32), np.stack((first, *others), axis=1))


def built(cache: Path, name: str, batches: Iterable[Matrix]) -> Built:
    """The store of that name, filled where it is not there yet."""
    adding = maintaining = 0.0

    def fill(database: Database) -> None:
        nonlocal adding, maintaining
        collection = new_collection(database)
        store = SqliteVectors(database, collection)
        for number, matrix in enumerate(batches):
            with database.transaction():
                seqs = stored(database, collection, f"document{number}", ["x"] * len(matrix))
                began = time.perf_counter()
                store.add(seqs, matrix)
                adding += time.perf_counter() - began
        began = time.perf_counter()
        store.maintain()
        maintaining = time.perf_counter() - began

    return Built(made_once(cache, name, fill), adding, maintaining)


def made_once(cache: Path, name: str, fill: Callable[[Database], None]) -> Path:
    """The database of that name, filled where it is not there yet; one that is half filled is begun again."""
    cache.mkdir(parents=True, exist_ok=True)
    path, partial = cache / f"{name}.db", cache / f"{name}-partial.db"
    if path.exists():
        return path
    for stale in cache.glob(f"{partial.name}*"):
        stale.unlink()
    with Database.open(partial) as database:
        fill(database)
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    partial.rename(path)
    for left in cache.glob(f"{partial.name}*"):
        left.unlink()
    return path


def new_collection(database: Database) -> Collection:
    """The collection of a database that is being filled."""
    model = StaticEmbedder
    return collections.create(database, NAME, embedding_model=model.name, dimensions=model.dimensions)


def collection_of(database: Database) -> Collection:
    """The collection that a built store has."""
    return collections.get(database, NAME)


def exact_nearest(database: Database, queries: Matrix, limit: int) -> list[set[int]]:
    """What comparing each query with every stored vector finds."""
    best_seqs: list[NDArray[np.int64]] = [np.empty(0, np.int64) for _ in queries]
    best_scores: list[NDArray[np.float32]] = [np.empty(0, np.float32) for _ in queries]
    every_chunk = chunks.in_collection(database, collection_of(database).seq)
    for start in range(0, len(every_chunk), BATCH):
        stored = chunks.vectors_of(database, every_chunk[start : start + BATCH])
        seqs = np.fromiter(stored, np.int64, len(stored))
        matrix = np.frombuffer(b"".join(stored.values()), "<f2").reshape(len(stored), -1).astype(np.float32)
        for row, scores in enumerate(queries @ matrix.T):
            every_seq = np.concatenate((best_seqs[row], seqs))
            every_score = np.concatenate((best_scores[row], scores))
            top = np.argsort(-every_score, kind="stable")[:limit]
            best_seqs[row], best_scores[row] = every_seq[top], every_score[top]
    return [set(found.tolist()) for found in best_seqs]


def stored(database: Database, collection: Collection, name: str, passages: Sequence[str]) -> list[int]:
    """Store a document with a chunk for each passage, without words and vectors; the seqs of its chunks."""
    ends = list(accumulate(map(len, passages)))
    new = documents.NewDocument(name, f"/{name}", None, None, "text/plain", ends[-1], 1, None, b"0" * 32, "")
    rows = [
        chunks.NewChunk(Chunk(end - len(text), end, "", 1, None, 1 + len(text) // 4), text, content_hash(text))
        for text, end in zip(passages, ends, strict=True)
    ]
    document = documents.store(database, collection.seq, new, chunk_count=len(rows))
    return chunks.insert(database, [(document, rows)])


def _sentences(text: str) -> list[str]:
    return [sentence for sentence in re.split(r"(?<=[.?!])\s+", text) if len(sentence) > 30]


def _docstrings() -> Iterator[str]:
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
                yield text
