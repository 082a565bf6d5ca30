"""A library as the program has it, and what is in its indexes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from aichat_cli.config.secrets import KeyStore
from aichat_cli.config.settings import Settings
from aichat_cli.core.errors import EmbeddingError, HostedUnavailable
from aichat_cli.core.ingest import IngestOptions, IngestSummary
from aichat_cli.document_services import DocumentServices
from aichat_cli.documents.embedding.base import Embedder
from aichat_cli.documents.hosted_corpus import HostedCorpora
from aichat_cli.documents.library import Library
from aichat_cli.storage import vectors
from aichat_cli.storage.database import Database
from tests.runner import ROOT, Cli

INGEST = (sys.executable, "-m", "aichat_cli", "ingest")


def write_files(folder: Path, count: int, *, words: str = "ocean") -> None:
    """So many small Markdown files, each with words of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        text = (
            f"# Note {number}\n\nThe {words} of item{number} is described here.\n\n## Details\n\nValue {number * 7}.\n"
        )
        (folder / f"note{number:05}.md").write_text(text, "utf-8")


def contents(database: Path) -> dict[str, Any]:
    """What the indexes of the default collection hold, by what they say, not by their numbers."""
    with Database.open(database) as db:
        [(seq,)] = db.rows("SELECT seq FROM collections WHERE name = 'default'")
        db.load_vector_extension()
        rows = db.rows(
            "SELECT d.path, c.chunk_index, c.content, c.heading, c.line, hex(v.vector) FROM document_chunks c"
            " JOIN documents d ON d.seq = c.document_seq LEFT JOIN chunk_vectors v ON v.chunk_seq = c.seq"
            " WHERE d.collection_seq = ? ORDER BY d.path, c.chunk_index",
            (seq,),
        )
        return {
            "chunks": rows,
            "words": db.rows(f"SELECT term, doc, cnt FROM chunks_words_{seq} ORDER BY term"),
            "indexed": db.rows(f"SELECT count(*) FROM chunks_fts_{seq}"),
            "vectors": db.rows(f"SELECT count(*) FROM {vectors.searched(db, seq).table}"),
        }


def require_consistent(database: Path) -> None:
    """No chunk without its words and vector, no word or vector without its chunk, no document twice or in part."""
    with Database.open(database) as db:
        db.load_vector_extension()
        for seq, dimensions in db.rows("SELECT seq, dimensions FROM collections"):
            chunk_seqs = {
                row[0]
                for row in db.rows(
                    "SELECT c.seq FROM document_chunks c JOIN documents d ON d.seq = c.document_seq"
                    " WHERE d.collection_seq = ?",
                    (seq,),
                )
            }
            assert {row[0] for row in db.rows(f"SELECT rowid FROM chunks_fts_{seq}")} == chunk_seqs
            if dimensions is not None:
                assert {row[0] for row in db.rows(f"SELECT rowid FROM {vectors.searched(db, seq).table}")} == chunk_seqs
        assert (
            db.rows(
                "SELECT d.path FROM documents d LEFT JOIN document_chunks c ON c.document_seq = d.seq GROUP BY d.seq"
                " HAVING count(c.seq) <> d.chunk_count"
            )
            == []
        )
        assert db.rows(
            "SELECT count(*) FROM document_chunks WHERE document_seq NOT IN (SELECT seq FROM documents)"
        ) == [(0,)]
        assert db.rows(
            "SELECT count(*) FROM chunk_vectors WHERE chunk_seq NOT IN (SELECT seq FROM document_chunks)"
        ) == [(0,)]


@contextmanager
def library_of(cli: Cli) -> Iterator[Library]:
    """A user's library, opened in this process."""
    settings = Settings(cli.config_file)
    services = DocumentServices(
        lambda: settings,
        cli.home,
        _no_api,
        _no_hosted,
        KeyStore(cli.home / "keys.toml", lambda _: ()),
        cli.home / "vectors",
    )
    cli.database.parent.mkdir(parents=True, exist_ok=True)
    with closing(services), Database.open(cli.database) as database:
        yield services.library(database)


def ingest_here(cli: Cli, folder: Path) -> None:
    """Ingest a folder in this process, for tests that begin with what is there already."""
    with library_of(cli) as library:
        summary = IngestSummary()
        library.ingest(
            library.opened("default", None),
            [str(folder)],
            IngestOptions(),
            summary,
            progress=lambda _: None,
            confirm=lambda _: True,
        )
        assert summary.added
        assert not summary.failure_count


def found(cli: Cli, query: str, collection: str = "default") -> list[str]:
    """The documents that a search finds, best first."""
    with library_of(cli) as library:
        return [hit.passage.document for hit in library.search(collection, query, limit=5).hits]


def _no_api(name: str) -> Embedder:
    raise EmbeddingError(f"{name} is not asked.")


def _no_hosted() -> HostedCorpora:
    raise HostedUnavailable("There is no hosted database here.")


def command(*arguments: str) -> Sequence[str]:
    """The command line of an ingest."""
    return [*INGEST, *arguments]


__all__ = ["ROOT", "command", "contents", "found", "ingest_here", "require_consistent", "write_files"]
