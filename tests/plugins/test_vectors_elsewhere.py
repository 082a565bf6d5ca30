"""A collection in the vector store of another package, through the program."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.documents.library import ingest_here
from tests.plugins.packages import write_package
from tests.runner import Cli

ASKED = ("search", "cetaceans in the ocean", "--threshold", "0")
TEXTS = {
    "harbour.md": "# Harbour\n\nThe lighthouse keeper counts the ships at dusk.\n",
    "kitchen.md": "# Kitchen\n\nBread rises for two hours before it is baked.\n",
    "sea.md": "# Sea\n\nBlue whales migrate to warm waters in winter.\n",
}
BROKEN = """
import os
from aichat_example.store import NpzStore

fault = os.environ.get("FAULT")
class Store(NpzStore):
    def settle(self):
        if fault != "forget":
            super().settle()
    def nearest(self, query, limit):
        found = super().nearest(query, limit)
        if fault == "strange":
            return [type(each)(each.chunk_seq + 1000, each.similarity) for each in found]
        return found
"""


@pytest.fixture
def notes(with_example: Cli, tmp_path: Path) -> Path:
    """Notes that are ingested where the example is installed."""
    folder = tmp_path / "notes"
    folder.mkdir()
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    ingest_here(with_example, folder)
    return folder


def files(cli: Cli) -> list[Path]:
    return sorted(cli.database.parent.glob("vectors/*/*"))


def there(cli: Cli) -> set[int]:
    (path,) = files(cli)
    with np.load(path) as kept:
        return {int(seq) for seq in kept["seqs"]}


def stored(cli: Cli) -> set[int]:
    return {seq for (seq,) in cli.rows("SELECT chunk_seq FROM chunk_vectors")}


def test_a_collection_goes_to_the_examples_store_is_used_there_and_comes_back(with_example: Cli, notes: Path) -> None:
    cli = with_example
    here = cli.json(*ASKED)
    moved = cli.run("docs", "migrate", "--to", "npz")
    assert moved.returncode == 0, moved.stderr.decode()
    assert '"default" is searched in the vector store "npz" now: all 3 vectors are there.' in moved.stderr.decode()
    assert there(cli) == stored(cli)
    assert cli.json(*ASKED) == here

    (notes / "night.md").write_text("# Night\n\nOwls hunt in the dark.\n")
    assert cli.run("ingest", str(notes)).returncode == 0
    assert len(there(cli)) == 4
    assert cli.run("docs", "rm", "kitchen.md", "--yes").returncode == 0
    assert there(cli) == stored(cli)
    assert "npz with 3 vectors" in cli.run("doctor").stdout.decode()

    back = cli.run("docs", "migrate", "--to", "local")
    assert '"default" is searched on this device now: all 3 vectors are there.' in back.stderr.decode()
    assert files(cli) == []
    assert cli.rows("SELECT count(*) FROM vector_namespaces") == [(0,)]


def test_a_store_that_breaks_leaves_the_words_keeps_changes_and_is_left_again(
    with_example: Cli, notes: Path, tmp_path: Path
) -> None:
    cli = with_example
    without = cli.environ["PYTHONPATH"]
    write_package(tmp_path / "site", "frail", {"aichat.vector_stores": {"frail": "Store"}}, BROKEN)
    cli.environ["PYTHONPATH"] = f"{without}:{tmp_path / 'site'}"
    assert cli.run("docs", "migrate", "--to", "frail").returncode == 0
    told = {
        "strange": 'has none of the vectors of "default"',
        "uninstalled": 'No package adds a vector store "frail"',
    }
    for fault, said in told.items():
        cli.environ["FAULT"] = fault
        if fault == "uninstalled":
            cli.environ["PYTHONPATH"] = without
        found = cli.run("search", "whales in winter")
        assert (found.returncode, b"sea.md" in found.stdout) == (0, True), (fault, found.stderr)
        assert "Searched by words alone: " in found.stderr.decode(), fault
        assert said in found.stderr.decode()
    (notes / "night.md").write_text("# Night\n\nOwls hunt in the dark.\n")
    kept = cli.run("ingest", str(notes))
    assert kept.returncode == 0
    assert "Changes are kept on this device until they can be sent: No package adds" in kept.stderr.decode()
    findings = json.loads(cli.run("doctor", "--json").stdout)
    (finding,) = [each for each in findings if each["subject"] == "vector store"]
    assert (finding["state"], "No package adds" in finding["detail"]) == ("broken", True)

    cli.environ |= {"PYTHONPATH": f"{without}:{tmp_path / 'site'}", "FAULT": ""}
    again = cli.run("docs", "migrate", "--to", "frail")
    assert 'in the vector store "frail" already: all 4 vectors are there.' in again.stderr.decode()
    assert there(cli) == stored(cli)

    cli.environ["PYTHONPATH"] = without
    back = cli.run("docs", "migrate", "--to", "local")
    assert back.returncode == 0
    assert '"default" is searched on this device now: all 4 vectors are there.' in back.stderr.decode()
    assert 'not searched any more are still in the vector store "frail"' in back.stderr.decode()
    assert "words alone" not in cli.run("search", "owls").stderr.decode()

    cli.environ |= {"PYTHONPATH": f"{without}:{tmp_path / 'site'}", "FAULT": "forget"}
    lost = cli.run("docs", "migrate", "--to", "frail")
    assert lost.returncode == 6
    assert 'The vector store "frail" has 0 vectors where 4 were sent' in lost.stderr.decode()
    assert cli.rows("SELECT searched_in FROM collections") == [("local",)]
