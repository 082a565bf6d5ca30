"""Measures what search finds, on any folder in BEIR form: corpus.jsonl, queries.jsonl, qrels.tsv.

    python -m benchmarks.retrieval FOLDER [FOLDER ...]

Each collection is ingested by the program, in a home of its own; of the caller's only the models folder is used. With several folders, the questions of the others are those that a
collection cannot answer: how many are refused, and how many of its own are kept.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aichat_cli.app import App
from aichat_cli.core.documents import Collection
from aichat_cli.core.struct import replace
from aichat_cli.documents.local_corpus import LocalCorpus
from aichat_cli.documents.reranking import fill
from aichat_cli.documents.search import SearchDeps, search
from aichat_cli.documents.sqlite_vectors import SqliteVectors
from aichat_cli.storage import chunks, collections
from aichat_cli.storage.database import Database
from tests.runner import Cli

CUTOFF = 10
DEFAULT_LIMIT = 5
PASSAGES = 40
"""So many are ranked that ten documents are among them where documents have several passages."""
Ranking = Callable[[str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A folder: its questions by id, and how relevant which documents are to each."""

    name: str
    documents: dict[str, str]
    questions: dict[str, str]
    judgements: dict[str, dict[str, int]]


def main() -> None:
    """Measure each folder and print a table."""
    parser = argparse.ArgumentParser(description="Measure retrieval on folders in BEIR form.")
    parser.add_argument("folders", type=Path, nargs="+")
    arguments = parser.parse_args()
    measured = [_read(folder) for folder in arguments.folders]
    models = App().paths.model_dir
    print("| collection | what | nDCG@10 | p50 |\n| --- | --- | --- | --- |")
    for benchmark in measured:
        elsewhere = [text for each in measured if each is not benchmark for text in each.questions.values()]
        with tempfile.TemporaryDirectory() as home:
            _measure(benchmark, elsewhere, Path(home), models)


def ndcg(ranked: Sequence[str], judgements: Mapping[str, int], cutoff: int = CUTOFF) -> float:
    """Normalised discounted cumulative gain, as trec_eval has it: 1 where nothing could be ranked better."""
    ideal = _gain(sorted(judgements.values(), reverse=True)[:cutoff])
    return _gain([judgements.get(document, 0) for document in ranked[:cutoff]]) / ideal if ideal else 0.0


def _gain(grades: Sequence[int]) -> float:
    return sum(grade / math.log2(position + 2) for position, grade in enumerate(grades))


def _read(folder: Path) -> Benchmark:
    judgements: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels.tsv").read_text("utf-8").splitlines()[1:]:
        question, document, grade = line.split("\t")
        judgements.setdefault(question, {})[document] = int(grade)
    documents = {
        str(row["_id"]): f"# {row['title']}\n\n{row['text']}\n" if row.get("title") else f"{row['text']}\n"
        for row in _rows(folder / "corpus.jsonl")
    }
    questions = {str(row["_id"]): row["text"] for row in _rows(folder / "queries.jsonl")}
    judged = {key: text for key, text in questions.items() if key in judgements}
    return Benchmark(folder.name, documents, judged, judgements)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _measure(benchmark: Benchmark, elsewhere: Sequence[str], home: Path, models: Path) -> None:
    folder = home / "corpus"
    folder.mkdir()
    for identity, text in benchmark.documents.items():
        (folder / f"{identity}.md").write_text(text, "utf-8")
    user = Cli(home)
    user.database.parent.mkdir(parents=True)
    (user.database.parent / "models").symlink_to(models)
    # Ranking again is made ready below, not by a process in the background that would be measured along.
    done = user.run("ingest", str(folder), timeout=3600, environ={"AICHAT_DOCUMENTS_RERANK": "false"})
    if done.returncode:
        raise SystemExit(done.stderr.decode())
    os.environ.update(user.environment)
    house = App()
    with Database.open(user.database) as database:
        collection = collections.get(database, "default")
        deps = SearchDeps(house.documents.embedder, house.documents.reranker)
        if (reranker := house.documents.reranker()) is not None:
            began = time.monotonic()
            count = fill(database, collection.seq, reranker, stop=lambda: False)
            rate = count / (time.monotonic() - began)
            print(f"| {benchmark.name} | {reranker.name}: {count:,} chunks | {rate:.0f} chunks/s | |", flush=True)
        for what, ranking in _rankings(database, collection, deps).items():
            _report(benchmark, what, ranking)
        _report_gate(benchmark, elsewhere, database, collection, deps)
    house.close()


def _rankings(database: Database, collection: Collection, deps: SearchDeps) -> dict[str, Ranking]:
    words_alone = replace(collection, embedding_model=None, dimensions=None)

    def searched(searched_collection: Collection, *, rerank: bool) -> Ranking:
        def ranking(question: str) -> Sequence[str]:
            corpus = LocalCorpus(database, searched_collection)
            result = search(corpus, question, deps, limit=PASSAGES, threshold=-1.0, rerank=rerank)
            return [hit.passage.document for hit in result.hits]

        return ranking

    def vectors_alone(question: str) -> Sequence[str]:
        vector = deps.embedder_for(collection.embedding_model or "").embed([question], is_query=True)
        found = [each.chunk_seq for each in SqliteVectors(database, collection).nearest(vector, PASSAGES)]
        passages = chunks.passages(database, found)
        return [passages[chunk_seq].document for chunk_seq in found]

    rankings: dict[str, Ranking] = {"words alone": searched(words_alone, rerank=False)}
    if collection.embedding_model is not None:
        rankings[f"vectors alone ({collection.embedding_model})"] = vectors_alone
        rankings["both"] = searched(collection, rerank=False)
    if (reranker := deps.reranker()) is not None:
        rankings[f"both, ranked again ({reranker.name})"] = searched(collection, rerank=True)
    return rankings


def _report(benchmark: Benchmark, what: str, ranking: Ranking) -> None:
    gains, times = [], []
    for key, question in benchmark.questions.items():
        began = time.perf_counter()
        passages = ranking(question)
        times.append(time.perf_counter() - began)
        documents = list(dict.fromkeys(Path(name).stem for name in passages))
        gains.append(ndcg(documents, benchmark.judgements[key]))
    p50 = statistics.median(times) * 1000
    print(f"| {benchmark.name} | {what} | {statistics.fmean(gains):.4f} | {p50:.1f} ms |", flush=True)


def _report_gate(
    benchmark: Benchmark, elsewhere: Sequence[str], database: Database, collection: Collection, deps: SearchDeps
) -> None:
    def answered(questions: Sequence[str], *, rerank: bool) -> float:
        corpus = LocalCorpus(database, collection)
        found = [search(corpus, text, deps, limit=DEFAULT_LIMIT, rerank=rerank).hits for text in questions]
        return sum(map(bool, found)) / len(found)

    for rerank in (False, True) if deps.reranker() is not None else (False,):
        kept = answered(list(benchmark.questions.values()), rerank=rerank)
        refused = (
            f", refused of questions from elsewhere {1 - answered(elsewhere, rerank=rerank):.1%}" if elsewhere else ""
        )
        print(f"| {benchmark.name} | {'ranked again: ' if rerank else ''}own questions kept {kept:.1%}{refused} | | |")


if __name__ == "__main__":
    main()
