"""The library as commands use it, in one process: collections, ingest, references, removal and other models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aichat_cli.app import App
from aichat_cli.core.documents import Collection, SearchResult
from aichat_cli.core.errors import EmbeddingError, NotFound, UsageError
from aichat_cli.core.ingest import GivenText, IngestOptions, IngestPreview, IngestSource, IngestSummary
from aichat_cli.core.struct import replace
from aichat_cli.documents.embedding.static import StaticEmbedder
from aichat_cli.documents.library import Library
from aichat_cli.documents.sqlite_vectors import SqliteVectors
from aichat_cli.storage import chunks, collections, documents
from tests.documents.library import require_consistent, write_files


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    """The library of a new user."""
    for name, folder in (("HOME", "home"), ("XDG_DATA_HOME", "data"), ("XDG_CONFIG_HOME", "config")):
        monkeypatch.setenv(name, str(tmp_path / folder))
    app = App()
    yield app.library
    app.close()


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A folder of notes."""
    folder = tmp_path / "notes"
    write_files(folder, 4)
    (folder / "bread.md").write_text("# Bread\n\nKnead the dough and bake it in a hot oven.\n")
    return folder


def ingested(
    library: Library, where: Collection, *sources: IngestSource, options: IngestOptions | None = None
) -> IngestSummary:
    summary = IngestSummary()
    library.ingest(where, sources, options or IngestOptions(), summary, progress=lambda _: None, confirm=lambda _: True)
    return summary


def found(library: Library, query: str, name: str = "default") -> list[str]:
    result: SearchResult = library.search(name, query, limit=5)
    return [hit.passage.document for hit in result.hits]


def path_of(library: Library) -> Path:
    assert library.database.path is not None
    return library.database.path


def reindexed(library: Library, model: str | None, *, embed_only: bool = False) -> int:
    where = collections.get(library.database, "default")
    return library.reindex(where, model, embed_only=embed_only, progress=lambda _: None, confirm=lambda _: True)


def test_a_folder_a_file_and_a_given_text_are_found_shown_and_removed(library: Library, notes: Path) -> None:
    where = library.opened("default", None)
    assert ingested(library, where, str(notes), GivenText("said.txt", b"The shed is painted green.")).added == 6
    assert found(library, "dough oven")[0] == "bread.md"
    assert found(library, "colour of the painted shed")[0] == "said.txt"
    [bread] = documents.find(library.database, "bread.md")
    assert documents.by_id(library.database, bread.id) == bread
    assert documents.find(library.database, bread.path) == documents.find(library.database, bread.id) == [bread]
    assert documents.text(library.database, bread) == (notes / "bread.md").read_text()
    assert len(library.of_reference(str(notes), None)) == 5
    library.remove(library.of_reference("bread.md", "default"))
    require_consistent(path_of(library))
    with pytest.raises(NotFound, match="note00001"):
        documents.find(library.database, "note0001.md")
    with pytest.raises(NotFound, match="no longer here"):
        documents.by_id(library.database, bread.id)


def test_where_documents_came_from_is_told_with_what_is_not_there(library: Library, notes: Path) -> None:
    where = library.opened("default", None)
    ingested(library, where, str(notes), GivenText("said.txt", b"green"))
    assert library.sources("default", []).present == [str(notes)]
    notes.rename(notes.with_name("elsewhere"))
    assert library.sources("default", ["bread.md"]).absent == [str(notes)]


def test_what_changed_moved_and_went_is_followed(library: Library, notes: Path) -> None:
    where = library.opened("default", None)
    ingested(library, where, str(notes))
    (notes / "bread.md").rename(notes / "loaf.md")
    (notes / "note00001.md").unlink()
    (notes / "note00002.md").touch()
    summary = ingested(library, where, str(notes), options=IngestOptions(prune=True))
    assert (summary.renamed, summary.removed, summary.unchanged) == (1, 1, 3)
    assert found(library, "dough oven")[0] == "loaf.md"
    require_consistent(path_of(library))


def test_another_model_is_staged_and_exchanged_and_words_alone_need_none(library: Library, notes: Path) -> None:
    where = library.opened("default", "none")
    ingested(library, where, str(notes))
    assert (where.embedding_model, found(library, "dough")) == (None, ["bread.md"])
    assert reindexed(library, None, embed_only=True) == 0
    with pytest.raises(UsageError, match="--embed-only keeps the model"):
        reindexed(library, "wordllama", embed_only=True)
    made = reindexed(library, "wordllama")
    assert made == collections.get(library.database, "default").chunk_count
    assert reindexed(library, None, embed_only=True) == 0
    with pytest.raises(EmbeddingError, match="were made by wordllama-256"):
        library.opened("default", "none")
    assert library.opened("default", "wordllama").dimensions == 256
    require_consistent(path_of(library))
    assert reindexed(library, None) == 0
    assert reindexed(library, "none") == 0
    assert found(library, "dough") == ["bread.md"]


def test_equal_texts_share_what_was_made_of_them(library: Library, notes: Path) -> None:
    where = library.opened("default", None)
    ingested(library, where, str(notes))
    [(digest, model)] = library.database.rows(
        "SELECT c.hash, l.embedding_model FROM document_chunks c JOIN documents d ON d.seq = c.document_seq"
        " JOIN collections l ON l.seq = d.collection_seq WHERE d.name = 'bread.md'"
    )
    assert list(chunks.vectors_by_hash(library.database, model, [digest])) == [digest]
    assert (library.unranked(where), library.warm(where, progress=lambda _: None)) == (0, 0)


def test_collections_are_apart_and_one_can_be_removed(library: Library, notes: Path) -> None:
    ingested(library, library.opened("default", None), str(notes))
    other = library.opened("other", None)
    ingested(library, other, GivenText("said.txt", b"The shed is painted green."))
    assert [each.name for each in collections.listing(library.database)] == ["default", "other"]
    assert found(library, "painted shed", "other") == ["said.txt"]
    collections.remove(library.database, other)
    with pytest.raises(NotFound, match='There is no collection "other"'):
        library.search("other", "painted shed", limit=5)
    for name in ("", " ", "x" * 101, "a\nb"):
        with pytest.raises(UsageError, match="cannot be the name"):
            library.opened(name, None)
    require_consistent(path_of(library))


class PaidEmbedder(StaticEmbedder):
    """Our own vectors, for money."""

    def cost_nano(self, tokens: int) -> int:
        return tokens


def test_a_paid_model_never_embeds_unasked_also_what_is_only_missing(library: Library, notes: Path) -> None:
    ingested(library, library.opened("default", None), str(notes))
    with library.database.transaction():
        SqliteVectors(library.database, collections.get(library.database, "default")).remove([1, 2])
    deps = replace(library._deps, embedder_for=lambda _: PaidEmbedder())
    asked: list[IngestPreview] = []

    def refuse(preview: IngestPreview) -> bool:
        asked.append(preview)
        return False

    where = collections.get(library.database, "default")
    with pytest.raises(EmbeddingError, match="not agreed to"):
        Library(library.database, deps).reindex(where, None, embed_only=True, progress=lambda _: None, confirm=refuse)
    assert [preview.tokens > 0 for preview in asked] == [True]
    assert SqliteVectors(library.database, where).count() == where.chunk_count - 2
