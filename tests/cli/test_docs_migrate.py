"""`aichat docs migrate`, and what works on collections that are searched elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runner import Cli
from tests.servers.pinecone_double import PineconeDouble
from tests.servers.postgres import Cluster

TEXTS = {
    "harbour.md": "# Harbour\n\nThe lighthouse keeper counts the ships at dusk.\n",
    "kitchen.md": "# Kitchen\n\nBread rises for two hours before it is baked.\n",
    "sea.md": "# Sea\n\nBlue whales migrate to warm waters in winter.\n",
}
INDEX = "aichat-256"


@pytest.fixture
def double() -> Iterator[PineconeDouble]:
    with PineconeDouble() as made:
        yield made


@pytest.fixture
def notes(cli: Cli, double: PineconeDouble, tmp_path: Path) -> Path:
    """Notes that are ingested, of a user who has a key."""
    cli.environ |= {"PINECONE_API_KEY": double.key, "AICHAT_PINECONE_URL": double.url}
    folder = tmp_path / "notes"
    folder.mkdir()
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    assert cli.run("ingest", str(folder)).returncode == 0
    return folder


def ids(double: PineconeDouble) -> set[str]:
    return {id_ for namespace in double.vectors(INDEX).values() for id_ in namespace}


def stored(cli: Cli) -> set[str]:
    return {str(seq) for (seq,) in cli.rows("SELECT chunk_seq FROM chunk_vectors")}


def test_a_collection_at_pinecone_is_used_like_any_other(cli: Cli, double: PineconeDouble, notes: Path) -> None:
    here = cli.json("search", "cetaceans in the ocean", "--threshold", "0")

    moved = cli.run("docs", "migrate", "--to", "pinecone")

    assert moved.returncode == 0, moved.stderr.decode()
    assert '"default" is searched at Pinecone now: all 3 vectors are there.' in moved.stderr.decode()
    assert cli.rows("SELECT searched_in FROM collections") == [("pinecone",)]
    assert cli.json("search", "cetaceans in the ocean", "--threshold", "0") == here
    assert any(request.path == "/query" for request in double.requests)
    (notes / "night.md").write_text("# Night\n\nOwls hunt in the dark.\n")
    (notes / "kitchen.md").write_text("# Kitchen\n\nCakes are baked for an hour.\n")
    assert cli.run("ingest", str(notes)).returncode == 0
    assert ids(double) == stored(cli)
    assert cli.run("docs", "rm", "night.md", "--yes").returncode == 0
    assert ids(double) == stored(cli)
    checked = cli.run("doctor").stdout.decode()
    assert "pinecone" in checked
    assert "aichat-256 with 3 vectors" in checked

    double.fault = "garbage"
    found = cli.run("search", "whales in winter")
    assert found.returncode == 0
    assert b"sea.md" in found.stdout
    assert "Searched by words alone: Pinecone at 127.0.0.1" in found.stderr.decode()
    (notes / "night.md").rename(notes / "day.md")
    left = cli.run("ingest", str(notes))
    assert left.returncode == 0
    assert "Changes are kept on this device until they can be sent" in left.stderr.decode()
    double.fault = None
    again = cli.run("docs", "migrate", "--to", "pinecone")
    assert "is searched at Pinecone already: all 4 vectors are there." in again.stderr.decode()
    assert ids(double) == stored(cli)
    anew = cli.run("docs", "reindex", "--embedding-model", "none")
    assert anew.returncode == 0, anew.stderr.decode()
    assert ids(double) == set()
    for done in (moved, found, left, again, anew):
        assert double.key.encode() not in done.stdout + done.stderr


def test_a_collection_comes_back_and_one_that_is_removed_leaves_nothing_there(
    cli: Cli, double: PineconeDouble, notes: Path
) -> None:
    assert cli.run("docs", "migrate", "--to", "pinecone").returncode == 0
    back = cli.run("docs", "migrate", "--to", "local")
    assert '"default" is searched on this device now: all 3 vectors are there.' in back.stderr.decode()
    assert ids(double) == set()
    assert cli.run("docs", "migrate", "--to", "pinecone").returncode == 0
    double.fault = "garbage"
    left = cli.run("docs", "rm", "--all", "--yes")
    assert left.returncode == 0
    assert "Vectors that are not searched any more are still at Pinecone" in left.stderr.decode()
    double.fault = None
    assert cli.run("ingest", str(notes)).returncode == 0
    assert "already: all 3 vectors" in cli.run("docs", "migrate", "--to", "local").stderr.decode()
    assert ids(double) == set()


def test_what_cannot_be_moved_is_one_clear_error(cli: Cli, notes: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "pinecone.py").write_text("raise ImportError('not here')\n")
    path = f"{broken}:{cli.environment['PYTHONPATH']}" if "PYTHONPATH" in cli.environment else str(broken)
    cases = [
        (["--to", "moon"], {}, 2, "There is no place 'moon' for vectors."),
        (["--to", "pinecone", "--collection", "nowhere"], {}, 1, 'There is no collection "nowhere".'),
        (["--to", "hosted"], {}, 1, "Sync is off."),
        (["--to", "pinecone"], {"PINECONE_API_KEY": ""}, 3, "No key for Pinecone."),
        (["--to", "pinecone"], {"PINECONE_API_KEY": "pcsk_wrong_1234567"}, 3, "refused the API key."),
        (["--to", "pinecone"], {"AICHAT_PINECONE_URL": "http://192.0.2.1"}, 1, "is not encrypted"),
        (["--to", "pinecone"], {"PYTHONPATH": path}, 1, "which is not installed."),
    ]
    for arguments, environ, code, said in cases:
        done = cli.run("docs", "migrate", *arguments, environ=environ, fresh="PYTHONPATH" in environ)
        told = done.stderr.decode()
        assert (done.returncode, said in told) == (code, True), told
        assert "Traceback" not in told
        assert "pcsk_" not in told


def test_a_collection_is_searched_on_the_hosted_database_and_back(cli: Cli, notes: Path, postgres18: Cluster) -> None:
    question = ("search", "cetaceans in the ocean", "--threshold", "0")
    here = cli.json(*question)
    with postgres18.database() as dsn:
        assert cli.run("sync", "init", "-", "--yes", stdin=dsn).returncode == 0
        (notes / "night.md").write_text("# Night\n\nOwls hunt in the dark.\n")
        assert cli.run("ingest", str(notes)).returncode == 0
        moved = cli.run("docs", "migrate", "--to", "hosted")
        assert moved.returncode == 0, moved.stderr.decode()
        assert '"default" is searched on the hosted database now: all 4 chunks are there.' in moved.stderr.decode()
        there = cli.json(*question)
        assert [hit["document"] for hit in there[:1]] == [hit["document"] for hit in here[:1]]
        assert cli.rows("SELECT count(*) FROM vector_indexes") == [(0,)]
    cli.run("sync", "off", "--yes")
    lost = cli.run(*question)
    assert lost.returncode == 1
    assert "aichat docs migrate --to local --collection default" in lost.stderr.decode()
    back = cli.run("docs", "migrate", "--to", "local")
    assert "all 4 vectors are there" in back.stderr.decode()
    assert cli.json(*question)[0]["document"] == here[0]["document"]
