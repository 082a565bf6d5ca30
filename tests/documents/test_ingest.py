"""Ingest through the program: what is stored, what is left alone, and what a kill or another process does to it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.documents.library import contents, found, require_consistent, write_files
from tests.runner import Cli


def ingested(cli: Cli, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Run an ingest and read its summary."""
    done = cli.run("ingest", *arguments, "--json")
    assert done.returncode == code, done.stderr.decode()
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


@pytest.fixture
def notes(cli: Cli) -> Path:
    """A folder of a few notes."""
    folder = cli.home / "notes"
    write_files(folder, 12)
    (folder / "recipe.md").write_text("# Bread\n\nKnead the dough, let it rise and bake it in a hot oven.\n")
    return folder


def test_what_was_ingested_is_found_by_words_and_by_meaning(cli: Cli, notes: Path) -> None:
    assert ingested(cli, str(notes))["added"] == 13
    assert found(cli, "item7")[0] == "note00007.md"
    assert found(cli, "baking bread in the oven at home")[0] == "recipe.md"
    require_consistent(cli.database)


def test_a_second_ingest_reads_nothing_that_did_not_change(cli: Cli, notes: Path) -> None:
    ingested(cli, str(notes))
    before = contents(cli.database)
    (notes / "recipe.md").chmod(0)  # could not be read, were it tried by anybody but root
    summary = ingested(cli, str(notes))
    assert (summary["unchanged"], summary["added"], summary["updated"], summary["failed"]) == (13, 0, 0, 0)
    assert contents(cli.database) == before


def test_only_what_changed_is_replaced_and_the_old_text_is_gone(cli: Cli, notes: Path) -> None:
    ingested(cli, str(notes))
    (notes / "recipe.md").write_text("# Soup\n\nBoil carrots and leek in broth for an hour.\n")
    summary = ingested(cli, str(notes))
    assert (summary["updated"], summary["unchanged"], summary["chunks"]) == (1, 12, 1)
    assert found(cli, "carrots broth")[0] == "recipe.md"
    assert "recipe.md" not in found(cli, "dough")
    require_consistent(cli.database)


def test_a_touched_file_with_the_same_content_is_unchanged(cli: Cli, notes: Path) -> None:
    ingested(cli, str(notes))
    os.utime(notes / "recipe.md", (1, 1))
    assert ingested(cli, str(notes))["unchanged"] == 13


def test_a_renamed_file_keeps_its_document(cli: Cli, notes: Path) -> None:
    ingested(cli, str(notes))
    before = {row["name"]: row["id"] for row in cli.json("docs", "list")}
    (notes / "recipe.md").rename(notes / "loaf.md")
    summary = ingested(cli, str(notes))
    assert (summary["renamed"], summary["added"], summary["gone"]) == (1, 0, 0)
    after = {row["name"]: row["id"] for row in cli.json("docs", "list")}
    assert after["loaf.md"] == before["recipe.md"]
    assert "recipe.md" not in after
    require_consistent(cli.database)


def test_a_file_that_is_gone_is_kept_until_it_is_pruned(cli: Cli, notes: Path) -> None:
    ingested(cli, str(notes))
    (notes / "recipe.md").unlink()
    assert ingested(cli, str(notes))["gone"] == 1
    assert "recipe.md" in found(cli, "dough")
    assert ingested(cli, str(notes), "--prune")["removed"] == 1
    assert "recipe.md" not in found(cli, "dough")
    require_consistent(cli.database)


def test_a_folder_that_is_not_mounted_erases_nothing(cli: Cli, notes: Path) -> None:
    ingested(cli, str(notes))
    for file in notes.iterdir():
        file.unlink()
    done = cli.run("ingest", str(notes), "--prune")
    assert done.returncode == 1
    assert b"nothing was removed" in done.stderr
    notes.rmdir()
    done = cli.run("ingest", str(notes), "--prune")
    assert done.returncode == 1
    assert b"There is no file or folder" in done.stderr
    assert found(cli, "dough")[0] == "recipe.md"


def test_a_rehearsal_counts_and_stores_nothing(cli: Cli, notes: Path) -> None:
    summary = ingested(cli, str(notes), "--dry-run")
    assert (summary["added"], summary["dry_run"]) == (13, True)
    assert cli.json("docs", "list") == []


def test_one_bad_file_does_not_stop_the_rest(cli: Cli, notes: Path) -> None:
    (notes / "broken.pdf").write_bytes(b"%PDF-1.7\nthis is no pdf")
    done = cli.run("ingest", str(notes))
    assert done.returncode == 1
    assert b"broken.pdf" in done.stderr
    assert len(cli.json("docs", "list")) == 13


def test_what_is_piped_in_is_a_document_under_its_name(cli: Cli) -> None:
    done = cli.run("ingest", "-", "--name", "meeting.txt", stdin="We decided to paint the shed green.")
    assert done.returncode == 0, done.stderr.decode()
    assert found(cli, "colour of the shed") == ["meeting.txt"]


def test_another_embedding_model_is_refused_with_what_to_run(cli: Cli, notes: Path) -> None:
    ingested(cli, str(notes))
    before = contents(cli.database)
    done = cli.run("ingest", str(notes), "--embedding-model", "none")
    assert done.returncode == 1
    assert b"aichat docs reindex --collection default --embedding-model none" in done.stderr
    assert contents(cli.database) == before


def test_a_collection_without_a_model_is_searched_by_words(cli: Cli, notes: Path) -> None:
    ingested(cli, str(notes), "--collection", "plain", "--embedding-model", "none")
    assert found(cli, "dough", "plain")[0] == "recipe.md"
    done = cli.run("docs", "reindex", "--collection", "plain", "--embedding-model", "wordllama")
    assert done.returncode == 0, done.stderr.decode()
    assert found(cli, "baking bread in the oven at home", "plain")[0] == "recipe.md"
    require_consistent(cli.database)


def test_killed_at_any_point_and_run_again_is_as_one_clean_run(cli: Cli, tmp_path: Path) -> None:
    folder = cli.home / "many"
    write_files(folder, 900)
    clean = Cli(tmp_path / "clean")
    clean.home.mkdir()
    began = time.monotonic()
    ingested(clean, str(folder))
    whole_run = time.monotonic() - began
    chance = random.Random(7)
    for _ in range(4):
        with cli.start("ingest", str(folder)) as process:
            time.sleep(chance.uniform(0.1, whole_run * 0.8))
            process.send_signal(signal.SIGKILL)
        if cli.database.exists():
            require_consistent(cli.database)
    ingested(cli, str(folder))
    assert contents(cli.database) == contents(clean.database)
    assert cli.run("doctor").returncode == 0


def test_ctrl_c_keeps_what_was_stored_and_says_so(cli: Cli) -> None:
    folder = cli.home / "many"
    write_files(folder, 4000)
    with cli.start("ingest", str(folder)) as process:
        _wait_for_documents(cli)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"What was ingested is whole" in stderr
    require_consistent(cli.database)


def test_two_processes_ingest_one_folder_while_a_third_searches(cli: Cli) -> None:
    folder = cli.home / "many"
    write_files(folder, 500)
    cli.run("ingest", str(folder / "note00000.md"))
    with cli.start("ingest", str(folder)) as first, cli.start("ingest", str(folder)) as second:
        while first.poll() is None or second.poll() is None:
            assert "note00000.md" in found(cli, "item0")
        assert (first.wait(), second.wait()) == (0, 0), (first.stderr, second.stderr)
    assert len(cli.json("docs", "list", "--all")) == 500
    require_consistent(cli.database)


def _wait_for_documents(cli: Cli) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if cli.database.exists() and cli.rows("SELECT count(*) FROM documents") > [(0,)]:
            return
        time.sleep(0.02)
    raise subprocess.TimeoutExpired("ingest", 20)
