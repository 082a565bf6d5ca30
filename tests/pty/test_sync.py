"""Sync as somebody at a terminal meets it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.test_sync import fill, join, now
from tests.pty.terminal import Terminal, terminal
from tests.runner import Cli
from tests.servers.postgres import Cluster, connect, own_cluster
from tests.servers.scripted import ScriptedServer


@pytest.fixture
def dsn(postgres18: Cluster) -> Iterator[str]:
    with postgres18.database() as made:
        yield made


@pytest.fixture
def other(tmp_path: Path, server: ScriptedServer) -> Cli:
    """Another device."""
    home = tmp_path / "other"
    home.mkdir()
    return Cli(home, server)


def last_line(text: str) -> str:
    return text.rstrip().splitlines()[-1]


def status(wanted: str) -> Callable[[str], bool]:
    """Whether the status line ends with a word."""
    return lambda text: bool(text.strip()) and last_line(text).endswith(wanted)


def leave(screen: Terminal) -> float:
    """Leave with Ctrl+D; how long that took."""
    began = time.monotonic()
    screen.type("\x04")
    assert screen.wait_for_exit() == 0
    return time.monotonic() - began


def test_init_asks_tells_and_syncs(cli: Cli, server: ScriptedServer, dsn: str, tmp_path: Path) -> None:
    fill(cli, tmp_path)
    with terminal(cli, "sync", "init") as screen:
        screen.wait_for("Address of the database (hidden)")
        time.sleep(0.3)  # what is typed before the echo is off is thrown away
        screen.type(dsn + "\r")
        text = screen.wait_for("[y/N]")
        assert "will be set up" in text
        assert "Here: 2 conversations and 4 messages." in text
        screen.type("y\r")
        assert screen.wait_for_exit() == 0
        assert "Sent 2 conversations and 4 messages." in screen.text
        assert dsn not in screen.text


def test_a_sync_that_takes_long_shows_how_far_it_is_and_takes_that_away(
    cli: Cli, server: ScriptedServer, dsn: str, tmp_path: Path
) -> None:
    join(cli, dsn)
    fill(cli, tmp_path, conversations=400, messages=10)
    with terminal(cli, "sync", "now") as screen:
        assert screen.wait_for_exit(60) == 0
        assert b"Sending" in screen.sent
        assert screen.text == "Sent 400 conversations and 4,000 messages."


def test_a_chat_syncs_after_a_turn_and_says_so_in_the_status_line(
    cli: Cli, other: Cli, server: ScriptedServer, dsn: str
) -> None:
    join(cli, dsn)
    join(other, dsn)
    server.script = {"text": "All is well."}
    with terminal(cli, "-m", "gpt-4o-mini") as screen:
        screen.wait_for(status("synced"))
        screen.type("how are you?\r")
        screen.wait_for("All is well.")
        with connect(dsn) as connection:
            while connection.execute("SELECT count(*) FROM public.messages").fetchone() != (2,):
                screen.settle(0.1)
        screen.wait_for(status("synced"))
        assert leave(screen) < 5
    assert "1 conversation" in now(other)


def test_messages_of_another_device_appear_above_the_prompt_and_the_next_one_follows_them(
    cli: Cli, other: Cli, server: ScriptedServer, dsn: str
) -> None:
    server.script = {"text": "All is well."}
    cli.run("-m", "gpt-4o-mini", "hello")
    join(cli, dsn)
    join(other, dsn)
    with terminal(cli, "-c", "-m", "gpt-4o-mini") as screen:
        screen.wait_for(status("synced"))
        server.script = {"text": "Asked elsewhere."}
        other.run("-c", "-m", "gpt-4o-mini", "from the other one")
        now(other)

        screen.type("half a thought")
        screen.type("\x15/sync\r")
        screen.wait_for("Asked elsewhere.")
        screen.wait_for(status("synced"))
        assert "2 messages from another device:" in screen.text
        server.script = {"text": "I have read both."}
        screen.type("and you?\r")
        screen.wait_for("I have read both.")
        sent = [message["content"] for message in server.requests[-1].body["messages"]]
        assert sent == ["hello", "All is well.", "from the other one", "Asked elsewhere.", "and you?"]


def test_a_conversation_deleted_elsewhere_is_told_and_the_next_message_begins_a_new_one(
    cli: Cli, other: Cli, server: ScriptedServer, dsn: str
) -> None:
    server.script = {"text": "All is well."}
    cli.run("-m", "gpt-4o-mini", "hello")
    join(cli, dsn)
    join(other, dsn)
    with terminal(cli, "-c", "-m", "gpt-4o-mini") as screen:
        screen.wait_for(status("synced"))
        other.run("history", "rm", "hello", "--yes")
        now(other)
        screen.type("/sync\r")
        screen.wait_for("was deleted on another device")
        server.script = {"text": "Something new."}
        screen.type("still there?\r")
        screen.wait_for("Something new.")
        assert [message["content"] for message in server.requests[-1].body["messages"]] == ["still there?"]
        leave(screen)
    assert [each["title"] for each in cli.json("history", "list")] == ["still there?"]


def test_without_the_database_a_chat_goes_on_says_offline_and_leaves_at_once(cli: Cli, server: ScriptedServer) -> None:
    with own_cluster(18) as cluster, cluster.database() as dsn:
        join(cli, dsn)
        cluster.stop()
        server.script = {"text": "All is well."}
        with terminal(cli, "-m", "gpt-4o-mini") as screen:
            screen.wait_for(lambda text: "offline" in text)
            screen.type("how are you?\r")
            screen.wait_for("All is well.")
            screen.type("/sync\r")
            screen.wait_for("Nothing is lost.")
            screen.type("/sync status\r")
            screen.wait_for("to send")
            assert "Traceback" not in screen.text
            assert leave(screen) < 5
        cluster.start()
        assert "1 conversation" in now(cli)


def test_with_sync_off_a_chat_says_nothing_of_it_and_the_command_tells_how_to_begin(
    cli: Cli, server: ScriptedServer
) -> None:
    with terminal(cli, "-m", "gpt-4o-mini") as screen:
        screen.wait_for("Ctrl+D leaves")
        time.sleep(4)  # longer than it waits before it begins
        assert "sync" not in last_line(screen.settle())
        assert "psycopg" not in Path(f"/proc/{screen.process.pid}/maps").read_text()
        screen.type("/sync\r")
        screen.wait_for("aichat sync init")
