"""`aichat search` and `--docs` in the documents of the hosted database, on a device that has none of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runner import Cli
from tests.servers.postgres import Cluster
from tests.servers.scripted import ScriptedServer


@pytest.fixture
def dsn(postgres18: Cluster) -> Iterator[str]:
    with postgres18.database() as made:
        yield made


def test_a_device_without_documents_searches_those_that_are_hosted(
    cli: Cli, server: ScriptedServer, dsn: str, tmp_path: Path
) -> None:
    texts = {
        "harbour.md": "# Harbour\n\nThe lighthouse keeper counts the ships at dusk.\n",
        "kitchen.md": "# Kitchen\n\nBread rises for two hours before it is baked.\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    assert cli.run("ingest", str(tmp_path / "harbour.md"), str(tmp_path / "kitchen.md")).returncode == 0
    here = cli.json("search", "who counts the ships")
    assert cli.run("sync", "init", "-", "--yes", stdin=dsn).returncode == 0
    home = tmp_path / "phone"
    home.mkdir()
    phone = Cli(home, server)
    assert phone.run("sync", "init", "-", "--yes", "--no-documents", stdin=dsn).returncode == 0
    assert phone.json("docs", "list") == []
    assert phone.run("config", "set", "documents.search_in", "hosted").returncode == 0

    there = phone.json("search", "who counts the ships")

    names = ("document", "heading", "text", "line", "start", "end")
    assert [[hit[name] for name in names] for hit in there] == [[hit[name] for name in names] for hit in here]
    assert phone.json("search", "zzz qqq") == []
    server.script = {"text": "The keeper counts them [1]."}
    answer = phone.run("--docs", "who counts the ships?")
    assert answer.returncode == 0, answer.stderr.decode()
    assert "harbour.md" in answer.stdout.decode() + answer.stderr.decode()
    missing = phone.run("search", "--collection", "nowhere", "ships")
    assert missing.returncode == 1
    assert 'There is no collection "nowhere" on the hosted database.' in missing.stderr.decode()


def test_without_sync_there_is_nothing_hosted_to_search(cli: Cli) -> None:
    assert cli.run("config", "set", "documents.search_in", "hosted").returncode == 0
    done = cli.run("search", "ships")
    assert done.returncode == 1
    assert "Sync is off." in done.stderr.decode()
