"""The example package, installed and used through the program; its store keeps the contract of all stores."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

import aichat_cli.plugins
from aichat_cli.app import App
from aichat_cli.cli import doctor
from aichat_cli.config import plugins
from aichat_cli.core.errors import ConfigError
from aichat_cli.documents.plugged_vectors import StoreSurroundings, open_store
from aichat_cli.storage.database import Database
from tests.documents.vector_contract import Shelf, VectorContract
from tests.documents.vector_rows import collection, random_vectors
from tests.plugins.packages import EXAMPLE, on_path
from tests.runner import ROOT, Cli


@pytest.fixture
def memo(tmp_path: Path) -> Path:
    """A document that only the example can read."""
    path = tmp_path / "dinner.memo"
    path.write_text("Friday\n\nThe walrus comes to dinner.\n", "utf-8")
    return path


def test_a_chat_with_its_provider_about_its_file_is_paid_and_its_observer_told(
    with_example: Cli, memo: Path, tmp_path: Path
) -> None:
    told = tmp_path / "told.jsonl"
    with_example.config_file.parent.mkdir(parents=True)
    with_example.config_file.write_text(
        f'integrations = ["jsonl"]\n[plugins.jsonl]\npath = "{told}"\n', encoding="utf-8"
    )
    said = with_example.run("-m", "echo/loud", "-f", str(memo), "who  comes?")
    assert said.returncode == 0, said.stderr
    assert b"THE WALRUS COMES TO DINNER." in said.stdout
    assert said.stdout.rstrip().endswith(b"WHO  COMES?")
    (line,) = told.read_text("utf-8").splitlines()
    tokens = len(said.stdout.split())
    # 1 dollar and 2.50 dollars for a million tokens.
    cost_nano = tokens * 1_000 + tokens * 2_500
    assert json.loads(line) | {"id": ""} == {
        "id": "",
        "model": "echo/loud",
        "status": "complete",
        "cost_nano": cost_nano,
    }
    assert with_example.rows("SELECT model, cost_nano FROM usage") == [("echo/loud", cost_nano)]


def test_a_document_of_its_kind_is_ingested(with_example: Cli, memo: Path) -> None:
    done = with_example.run("ingest", str(memo))
    assert done.returncode == 0, done.stderr
    assert with_example.rows("SELECT title, media_type FROM documents") == [("Friday", "application/x-memo")]


def test_its_models_are_listed(with_example: Cli) -> None:
    assert [model["name"] for model in with_example.json("models", "list", "echo/")] == ["echo/plain", "echo/loud"]


def test_doctor_tells_what_is_installed(example: Path) -> None:
    with on_path(example):
        line = doctor._plugins(App())
    package = "(aichat-example-plugin 1.0)"
    assert (line.state, line.detail) == (
        "ok",
        f"loader memo {package}, observer jsonl {package}, provider echo {package}, vector store npz {package}",
    )


def test_names_are_listed_without_importing(example: Path) -> None:
    with on_path(example):
        assert {group: plugins.names(group) for group in plugins.GROUPS} == {
            plugins.PROVIDERS: ("echo",),
            plugins.OBSERVERS: ("jsonl",),
            plugins.LOADERS: ("memo",),
            plugins.VECTOR_STORES: ("npz",),
        }
        assert "aichat_example" not in sys.modules


class TestItsStore(VectorContract):
    _numbers = count()

    @pytest.fixture(autouse=True)
    def _installed(self, example: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        type(self).folder = tmp_path_factory.mktemp("store")
        with on_path(example):
            yield

    folder: Path

    def shelf(self, dimensions: int) -> Shelf:
        database = Database.in_memory()
        where = collection(database, dimensions)
        surroundings = StoreSurroundings(f"{where.id}-{next(self._numbers)}", dimensions, self.folder)
        return Shelf(database, where, open_store("npz", surroundings))

    def test_a_change_that_is_undone_leaves_nothing(self) -> None:
        """A file has no transactions: what was not settled is gone with the store that was told of it."""
        where = StoreSurroundings("undone", 8, self.folder)
        store = open_store("npz", where)
        store.add(range(150), random_vectors(150, 8))
        store.settle()
        store.remove([3])
        assert open_store("npz", where).count() == 150

    def test_it_is_there_the_next_time(self) -> None:
        where = StoreSurroundings("one", 2, self.folder)
        store = open_store("npz", where)
        store.add([7], random_vectors(1, 2))
        store.settle()
        assert open_store("npz", where).count() == 1

    def test_another_name_is_none_of_it(self) -> None:
        with pytest.raises(ConfigError, match='adds a vector store "milvus"; there are: npz'):
            open_store("milvus", StoreSurroundings("one", 2, self.folder))


def test_every_name_for_others_is_there() -> None:
    assert set(aichat_cli.plugins._HOME_OF) == set(aichat_cli.plugins.__all__)
    assert all(hasattr(aichat_cli.plugins, name) for name in aichat_cli.plugins.__all__)
    with pytest.raises(AttributeError):
        _ = aichat_cli.plugins.Registry


@pytest.mark.parametrize(
    "part", ["pyproject.toml", *(f"aichat_example/{n}.py" for n in ["provider", "observer", "loader", "store"])]
)
def test_the_page_shows_the_example_as_it_is(part: str) -> None:
    page = (ROOT / "docs" / "how-to" / "write-a-plugin.md").read_text("utf-8")
    assert (EXAMPLE / part).read_text("utf-8") in page


def test_the_page_tells_every_name_that_others_may_import() -> None:
    page = (ROOT / "docs" / "how-to" / "write-a-plugin.md").read_text("utf-8")
    assert [name for name in aichat_cli.plugins.__all__ if f"`{name}`" not in page] == []
