"""Times the search of a peer, run by the peer's own interpreter: it prints the seconds of each query as JSON.

    python peer_vectors.py llm|lancedb VECTORS QUERIES DIMENSIONS FOLDER

Both files hold float32 values, row after row. The program around the search, and embedding the query, are not timed.
"""

from __future__ import annotations

import array
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

FOUND = 10
LLM_QUERIES = 5
"""Each takes seconds."""


def main() -> None:
    """Fill, warm up, and time."""
    peer, vectors, queries, dimensions, folder = sys.argv[1:]
    rows, asked = _rows(Path(vectors), int(dimensions)), list(_rows(Path(queries), int(dimensions)))
    taken = _llm(rows, asked, Path(folder)) if peer == "llm" else _lancedb(rows, asked, Path(folder))
    print(json.dumps(taken))


def _rows(path: Path, dimensions: int) -> Iterator[Sequence[float]]:
    with path.open("rb") as file:
        while block := file.read(4 * dimensions):
            yield array.array("f", block)


def _llm(rows: Iterator[Sequence[float]], queries: Sequence[Sequence[float]], folder: Path) -> list[float]:
    """What `llm similar` does once it has the vector of its query."""
    import llm
    import sqlite_utils

    database = sqlite_utils.Database(str(folder / "embeddings.db"))
    collection = llm.Collection("passages", database, model_id="3-small")
    database["embeddings"].insert_all(
        {
            "collection_id": collection.id,
            "id": str(number),
            "embedding": llm.encode(row),
            "content": None,
            "content_blob": None,
            "content_hash": number.to_bytes(16, "little"),
            "metadata": None,
            "updated": 0,
        }
        for number, row in enumerate(rows)
    )
    collection.similar_by_vector(list(queries[0]), number=FOUND)
    return [
        _seconds(lambda each=query: collection.similar_by_vector(list(each), number=FOUND))
        for query in queries[:LLM_QUERIES]
    ]


def _lancedb(rows: Iterator[Sequence[float]], queries: Sequence[Sequence[float]], folder: Path) -> list[float]:
    """A table without an index."""
    import lancedb
    import pyarrow as pa

    dimensions = len(queries[0])
    values = array.array("f")
    for row in rows:
        values.extend(row)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(memoryview(values)), dimensions)
    numbers = pa.array(range(len(vectors)), pa.int64())
    data = pa.Table.from_arrays([numbers, vectors], ["id", "vector"])
    table = lancedb.connect(str(folder)).create_table("passages", data)

    def found(query: Sequence[float]) -> Any:
        return table.search(list(query)).distance_type("cosine").select(["id"]).limit(FOUND).to_arrow()

    found(queries[0])
    return [_seconds(lambda each=query: found(each)) for query in queries]


def _seconds(search: Any) -> float:
    began = time.perf_counter()
    if len(search()) != FOUND:
        raise SystemExit("The search found too little")
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
