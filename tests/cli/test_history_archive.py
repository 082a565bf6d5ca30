"""Export, import and search through the program: what is printed, what is stored, and what a kill leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.archives import LEGACY_TABLES, chatgpt_talk, claude, claude_message, llm_logs, plain, zipped
from tests.pty.terminal import terminal
from tests.runner import Cli
from tests.servers.scripted import ScriptedServer

MANY = 2_500


def stored(cli: Cli) -> list[Any]:
    """All that an import wrote, but for the order it was written in."""
    return [
        cli.rows("SELECT id, title, model, head_id, created_at, updated_at FROM conversations ORDER BY id"),
        cli.rows("SELECT id, conversation_id, parent_id, role, content, extra, created_at FROM messages ORDER BY id"),
        cli.rows("SELECT message_id, sha256, name FROM attachments ORDER BY message_id, name"),
    ]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of thousands of short conversations, each with a branch."""
    path = tmp_path_factory.mktemp("many") / "export.zip"
    return zipped(path, (chatgpt_talk(f"talk {number}", turns=1) for number in range(MANY)))


def test_what_was_imported_is_told_listed_shown_and_found(cli: Cli, tmp_path: Path) -> None:
    talk = claude("c", [claude_message("m", "human", "about geese", files=[{"file_name": "photo.png"}])])
    paths = [
        str(
            zipped(tmp_path / "chatgpt.zip", [chatgpt_talk("herons"), {"mapping": 1, "id": "x", "title": "Bad\x1b[2J"}])
        ),
        str(plain(tmp_path / "claude.json", [talk])),
        str(llm_logs(tmp_path / "logs.db", LEGACY_TABLES)),
    ]
    done = cli.run("history", "import", *paths)

    assert done.returncode == 1
    assert done.stdout.decode().splitlines() == [
        "Conversations: 4 new",
        "Messages: 20 new, 0 were here",
        "Branches beside the first: 1",
        "Attachments: 1 stored, 2 not in the archive",
        "  missing: photo.png, secret.png",
        "Left out: 1 empty messages",
    ]
    assert re.fullmatch(
        r'aichat: .*chatgpt\.zip: conversations\.json: "Bad": it has no mapping of nodes\n', done.stderr.decode()
    )
    assert {row["title"] for row in cli.json("history", "list")} == {"About herons", "About c", "Old talk", "alone"}
    assert cli.json("history", "search", "geese")[0]["title"] == "About c"
    shown = cli.json("history", "show", "Old talk")["messages"]
    assert [each["role"] for each in shown].count("tool") == 1
    assert shown[0]["attachments"] == [{"name": "att1.png", "media_type": "image/png", "bytes": 9}]
    assert b"## tool (" in cli.run("history", "show", "Old talk").stdout


def test_a_second_import_and_a_dry_run_say_what_they_found_as_json(cli: Cli, tmp_path: Path) -> None:
    path = str(zipped(tmp_path / "chatgpt.zip", [chatgpt_talk("herons")]))
    rehearsal = cli.json("history", "import", path, "--dry-run")
    assert (rehearsal["dry_run"], rehearsal["conversations"]["new"]) == (True, 1)
    assert cli.json("history", "list") == []
    first, second = cli.json("history", "import", path), cli.json("history", "import", path)
    assert (first["conversations"]["new"], first["messages"]["new"]) == (1, 11)
    assert second == {
        **rehearsal, "dry_run": False,
        "conversations": {"new": 0, "updated": 0, "unchanged": 1, "in_trash": 0, "failed": 0},
        "messages": {"new": 0, "known": 11, "kept": 0},
    }  # fmt: skip


def test_a_file_that_is_not_there_is_an_error_before_anything_is_read(cli: Cli, tmp_path: Path) -> None:
    path = str(plain(tmp_path / "a.json", [chatgpt_talk("herons")]))
    done = cli.run("history", "import", path, str(tmp_path / "nowhere.zip"))
    assert (done.returncode, done.stdout) == (1, b"")
    assert cli.json("history", "list") == []


def test_an_export_goes_to_stdout_to_a_file_or_to_a_folder(cli: Cli, server: ScriptedServer, tmp_path: Path) -> None:
    server.script = {"text": "They are \x1b]0;evil\x07 birds."}
    cli.run("about herons")
    cli.run("about geese")

    assert cli.run("history", "export").stdout.decode().startswith("# about geese\n")
    assert "They are \x1b]0;evil\x07 birds." in cli.run("history", "export", "herons").stdout.decode()
    document = json.loads(cli.run("history", "export", "--all", "--format", "json").stdout)
    assert [each["title"] for each in document["conversations"]] == ["about herons", "about geese"]
    page = tmp_path / "all.html"
    wrote = cli.run("history", "export", "--all", "-o", str(page))
    assert wrote.stderr.decode() == f"Wrote 2 conversations to {page}.\n"
    assert page.read_text("utf-8").count("<main") == 2
    refused = cli.run("history", "export", "-o", str(page))
    assert (refused.returncode, b"--force" in refused.stderr) == (1, True)
    assert cli.run("history", "export", "herons", "-o", str(page), "--force").returncode == 0
    assert page.read_text("utf-8").count("<main") == 1
    cli.run("history", "export", "herons", "geese", "-o", str(tmp_path))
    assert len(list(tmp_path.glob("*-about-*.md"))) == 2
    assert cli.run("history", "export", "herons", "--all").returncode == 2


def test_an_export_leaves_devices_and_links_what_they_are(cli: Cli, tmp_path: Path) -> None:
    cli.run("history", "import", str(plain(tmp_path / "a.json", [chatgpt_talk("herons", turns=1)])))
    told = cli.run("history", "export", "-o", "/dev/stdout")
    assert (told.returncode, told.stdout.startswith(b"# About herons")) == (0, True)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert cli.run("history", "export", "--force", "-o", str(pipe)).returncode == 0
    assert os.read(reader, 14) == b"# About herons"
    assert pipe.is_fifo()
    os.close(reader)
    link = tmp_path / "link.md"
    link.symlink_to("real.md")
    assert cli.run("history", "export", "--force", "-o", str(link)).returncode == 0
    assert link.is_symlink()
    assert (tmp_path / "real.md").read_bytes().startswith(b"# About herons")


def test_a_folder_that_is_meant_and_not_there_does_not_become_a_file(cli: Cli, tmp_path: Path) -> None:
    cli.run("history", "import", str(plain(tmp_path / "a.json", [chatgpt_talk("herons", turns=1)])))
    done = cli.run("history", "export", "--all", "-o", f"{tmp_path}/notes/")
    assert (done.returncode, (tmp_path / "notes").exists()) == (1, False)
    assert "There is no folder" in done.stderr.decode()


def test_an_export_on_a_terminal_is_safe(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": "They are \x1b]0;evil\x07 birds."}
    cli.run("about herons")
    with terminal(cli, "history", "export") as screen:
        assert screen.wait_for_exit() == 0
    assert b"\x1b]" not in screen.sent
    assert "They are  birds." in screen.text


def test_an_export_is_imported_by_another_user_as_it_was(cli: Cli, server: ScriptedServer, tmp_path: Path) -> None:
    cli.run("-s", "be brief", "about herons")
    path = tmp_path / "all.json"
    cli.run("history", "export", "--all", "-o", str(path))
    (tmp_path / "other").mkdir()
    other = Cli(tmp_path / "other")
    assert other.json("history", "import", str(path))["conversations"]["new"] == 1
    mine, theirs = (each.json("history", "show", "herons") for each in (cli, other))
    assert (theirs["id"], theirs["system_prompt"]) == (mine["id"], "be brief")
    assert [each["content"] for each in theirs["messages"]] == [each["content"] for each in mine["messages"]]
    assert other.rows("SELECT count(*) FROM usage") == [(0,)]
    assert cli.json("history", "import", str(path))["conversations"]["unchanged"] == 1


def test_thousands_of_conversations_imported_twice_are_there_once(cli: Cli, many: Path) -> None:
    first = cli.json("history", "import", str(many))
    assert (first["conversations"]["new"], first["messages"]["new"], first["branches"]) == (MANY, MANY * 3, MANY)
    before = stored(cli)
    second = cli.json("history", "import", str(many))
    assert (second["conversations"]["unchanged"], second["messages"]["known"]) == (MANY, MANY * 3)
    assert (second["conversations"]["new"], second["messages"]["new"], second["branches"]) == (0, 0, MANY)
    assert stored(cli) == before


def test_others_can_chat_while_an_import_runs(cli: Cli, server: ScriptedServer, tmp_path: Path) -> None:
    archive = str(zipped(tmp_path / "a.zip", (chatgpt_talk(f"talk {n}") for n in range(1500))))
    chats = 0
    longest = 0.0
    with cli.start("history", "import", archive, "--json") as importing:
        while importing.poll() is None:
            began = time.monotonic()
            assert cli.run("still there?").returncode == 0
            longest = max(longest, time.monotonic() - began)
            chats += 1
        assert importing.returncode == 0
    assert chats > 1
    assert longest < 10
    assert len(cli.json("history", "list", "--all")) == 1500 + chats


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_import_that_was_stopped_left_whole_conversations_and_is_finished_by_the_next(
    cli: Cli, tmp_path: Path, number: signal.Signals
) -> None:
    archive = zipped(tmp_path / "a.zip", (chatgpt_talk(f"talk {n}") for n in range(600)))
    (tmp_path / "clean").mkdir()
    clean = Cli(tmp_path / "clean")
    clean.run("history", "import", str(archive))
    for _ in range(2):
        with cli.start("history", "import", str(archive)) as importing:
            count = len(cli.rows("SELECT 1 FROM conversations"))
            deadline = time.monotonic() + 30
            while importing.poll() is None and len(cli.rows("SELECT 1 FROM conversations")) == count:
                assert time.monotonic() < deadline
                time.sleep(0.005)
            importing.send_signal(number)
            assert importing.wait(30) in (-number, 130)
            assert importing.stdout is not None
            assert number == signal.SIGKILL or b"new" in importing.stdout.read()
        whole = cli.rows("SELECT count(*) FROM messages GROUP BY conversation_id")
        assert 0 < len(whole) < 600
        assert set(whole) == {(11,)}
    assert cli.json("history", "import", str(archive))["conversations"]["failed"] == 0
    assert stored(cli) == stored(clean)


def test_two_imports_of_the_same_archive_at_once_store_it_once(cli: Cli, tmp_path: Path) -> None:
    archive = str(zipped(tmp_path / "a.zip", (chatgpt_talk(f"talk {n}") for n in range(600))))
    with (
        cli.start("history", "import", archive, "--json") as one,
        cli.start("history", "import", archive, "--json") as two,
    ):
        ended = [process.communicate(timeout=60) for process in (one, two)]
        assert (one.returncode, two.returncode) == (0, 0), [error for _, error in ended]
    printed = [json.loads(output) for output, _ in ended]
    assert sum(each["conversations"]["new"] for each in printed) == 600
    assert sum(each["conversations"]["unchanged"] for each in printed) == 600
    assert cli.rows("SELECT count(*) FROM messages") == [(6600,)]


def test_an_import_on_a_terminal_shows_how_far_it_is(cli: Cli, tmp_path: Path) -> None:
    archive = str(zipped(tmp_path / "a.zip", (chatgpt_talk(f"talk {n}") for n in range(1000))))
    with terminal(cli, "history", "import", archive, columns=100) as screen:
        screen.wait_for(lambda text: re.search(r"Importing .*% [\d,]+ conversations, [\d,]+/s", text) is not None)
        assert screen.wait_for_exit() == 0
    assert "Conversations: 1,000 new" in screen.text


def long_talk(tmp_path: Path) -> str:
    text = "I saw a grey heron \ue000not marked\ue001 standing in the canal near the old mill for an hour, alone."
    name = "The birds of the marsh, their nests, and how far they travel every spring \x1b]0;evil\x07"
    return str(plain(tmp_path / "c.json", [claude("c", [claude_message("m", "human", text)], name=name)]))


@pytest.mark.parametrize("columns", [60, 80])
def test_found_words_are_marked_in_lines_that_fit(cli: Cli, tmp_path: Path, columns: int) -> None:
    cli.run("history", "import", long_talk(tmp_path))
    with terminal(cli, "history", "search", "herons", columns=columns) as screen:
        assert screen.wait_for_exit() == 0
    assert b"\x1b[1;33mheron\x1b[0m" in screen.sent
    assert screen.sent.count(b"\x1b[1;33m") == 1
    assert b"\x1b]" not in screen.sent
    title, *found = screen.text.splitlines()
    assert re.fullmatch(r"The birds of the marsh.*…  2026-03-29  [0-9a-f]{8}-[0-9a-f]{4}", title)
    assert len(title) == columns
    assert found[0].startswith("  you: I saw a grey heron")
    assert max(map(len, found)) <= columns


def test_without_colour_found_words_are_in_brackets(cli: Cli, tmp_path: Path) -> None:
    cli.run("history", "import", long_talk(tmp_path))
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        plain_terminal = Cli(cli.home, environ={name: value})
        with terminal(plain_terminal, "history", "search", "heron", columns=30) as screen:
            assert screen.wait_for_exit() == 0
        assert b"\x1b" not in screen.sent
        assert "[heron]" in screen.text
        assert max(map(len, screen.text.splitlines())) <= 30


def test_a_title_that_was_found_is_marked_and_stands_alone(cli: Cli, tmp_path: Path) -> None:
    cli.run("history", "import", long_talk(tmp_path))
    with terminal(cli, "history", "search", "nests") as screen:
        assert screen.wait_for_exit() == 0
    assert b"\x1b[1;33mnests\x1b[0m" in screen.sent
    assert len(screen.text.splitlines()) == 1


def test_search_in_a_pipe_stays_tab_separated_without_marks(cli: Cli, tmp_path: Path) -> None:
    cli.run("history", "import", long_talk(tmp_path))
    (line,) = cli.run("history", "search", "heron").stdout.decode().splitlines()
    assert len(line.split("\t")) == 5
    assert "a grey heron \ue000not marked\ue001 standing" in line
