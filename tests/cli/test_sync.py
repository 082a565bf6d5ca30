"""The commands of sync, by the real program against a real Postgres."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aichat_cli.storage import liveness, sync_state
from tests.runner import ROOT, Cli
from tests.servers.postgres import BARE, Cluster, as_user, connect, own_cluster
from tests.test_docs import shapes


@pytest.fixture
def dsn(postgres18: Cluster) -> Iterator[str]:
    with postgres18.database() as made:
        yield made


@pytest.fixture
def other(tmp_path: Path) -> Cli:
    """Another device."""
    home = tmp_path / "other"
    home.mkdir()
    return Cli(home)


def archive(path: Path, conversations: int, messages: int) -> str:
    """An export of Claude's with some conversations."""
    made = [
        {
            "uuid": f"{number:08d}-1111-4000-8000-000000000000",
            "name": f"Chat {number}",
            "created_at": "2026-01-01T00:00:00Z",
            "updated_at": "2026-01-01T00:00:00Z",
            "chat_messages": [
                {
                    "uuid": f"{number:08d}-0000-4000-8000-{place:012d}",
                    "sender": "assistant" if place % 2 else "human",
                    "text": f"message {place} of chat {number}",
                    "created_at": "2026-01-01T00:00:00Z",
                }
                for place in range(messages)
            ],
        }
        for number in range(conversations)
    ]
    path.write_text(json.dumps(made))
    return str(path)


def fill(cli: Cli, tmp_path: Path, conversations: int = 2, messages: int = 2) -> None:
    assert cli.run("history", "import", archive(tmp_path / "archive.json", conversations, messages)).returncode == 0


def join(cli: Cli, dsn: str, *options: str) -> str:
    done = cli.run("sync", "init", "--yes", *options, "-", stdin=dsn)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def now(cli: Cli) -> str:
    done = cli.run("sync", "now")
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def failing(cli: Cli, *arguments: str, code: int, **options: Any) -> str:
    """What it says on stderr, in one line."""
    done = cli.run(*arguments, **options)
    assert done.returncode == code, done.stderr.decode()
    [line] = [line for line in done.stderr.decode().splitlines() if line.startswith("aichat: ")]
    return line


def titles(cli: Cli) -> set[str]:
    return {each["title"] for each in cli.json("history", "list")}


def test_conversations_documents_titles_and_deletions_reach_the_other_device(
    cli: Cli, other: Cli, postgres: Cluster, tmp_path: Path
) -> None:
    fill(cli, tmp_path)
    (tmp_path / "paint.md").write_text("# Paint\n\nThe colours of paint are red and blue.\n")
    cli.run("ingest", str(tmp_path / "paint.md"))

    with postgres.database() as dsn:
        assert join(cli, dsn) == "Sent 2 conversations, 4 messages and 1 document.\n"
        assert join(other, dsn) == "Received 2 conversations, 4 messages and 1 document.\n"
        assert titles(other) == {"Chat 0", "Chat 1"}
        assert other.json("search", "colours")[0]["document"] == "paint.md"

        other.run("history", "rename", "Chat 0", "Named elsewhere")
        other.run("history", "rm", "Chat 1", "--yes")
        assert now(other) == "Sent 1 conversation and passed 1 deletion on.\n"
        assert now(cli) == "Received 1 changed conversation and deleted 1 here that was deleted elsewhere.\n"
        assert now(cli) == "Nothing to do: both sides are alike.\n"

    assert titles(cli) == {"Named elsewhere"}


@pytest.mark.first_start
def test_print_prints_the_schema_and_nothing_else_and_needs_no_database(cli: Cli) -> None:
    done = cli.run("sync", "init", "--print")

    assert done.stdout == (ROOT / "schema.sql").read_bytes()
    assert done.stderr == b""
    assert not cli.database.exists()


def test_without_consent_nothing_is_changed_on_either_side(cli: Cli, dsn: str) -> None:
    line = failing(cli, "sync", "init", "-", stdin=dsn, code=2)

    assert "Nothing was changed" in line
    with connect(dsn) as connection:
        assert connection.execute("SELECT to_regnamespace('aichat')").fetchone() == (None,)
    assert cli.json("keys", "list") == []
    assert "Sync is off" in failing(cli, "sync", "now", code=1)


def test_init_again_goes_on_with_the_same_database_and_refuses_another(
    cli: Cli, other: Cli, dsn: str, postgres18: Cluster
) -> None:
    join(cli, dsn)
    [before] = cli.json("sync", "status")["devices"]

    assert join(cli, dsn) == "Nothing to do: both sides are alike.\n"
    assert [each["id"] for each in cli.json("sync", "status")["devices"]] == [before["id"]]
    with postgres18.database() as another:
        join(other, another)
        assert "aichat sync off" in failing(cli, "sync", "init", "--yes", "-", stdin=another, code=1)
        assert "aichat sync off" in failing(cli, "sync", "now", code=1, environ={"AICHAT_SYNC_DSN": another})
    assert now(cli) == "Nothing to do: both sides are alike.\n"


def test_the_address_may_come_from_the_environment(cli: Cli, dsn: str) -> None:
    done = cli.run("sync", "init", "--yes", environ={"AICHAT_SYNC_DSN": dsn})

    assert done.returncode == 0, done.stderr
    assert cli.json("keys", "list") == [{"name": "sync", "source": "keyring"}]
    assert now(cli)


def test_a_rehearsal_tells_what_would_be_done_and_changes_nothing(
    cli: Cli, other: Cli, dsn: str, tmp_path: Path
) -> None:
    fill(cli, tmp_path)
    join(cli, dsn)
    join(other, dsn)
    cli.run("history", "rename", "Chat 0", "Mine")
    other.run("history", "rm", "Chat 1", "--yes")
    now(other)

    for _ in range(2):
        told = cli.run("sync", "now", "--dry-run").stdout.decode()
        assert told == "Would send 1 conversation and delete 1 here that was deleted elsewhere.\n  Mine\n"
    planned = cli.json("sync", "now", "--dry-run")
    assert (planned["send"], planned["receive"], planned["delete_here"]) == ({"conversation": 1}, {}, 1)
    assert titles(cli) == {"Mine", "Chat 1"}
    assert titles(other) == {"Chat 0"}


def test_what_lost_to_another_device_can_be_listed_read_restored_and_deleted(
    cli: Cli, other: Cli, dsn: str, tmp_path: Path
) -> None:
    fill(cli, tmp_path)
    join(cli, dsn)
    join(other, dsn)
    cli.run("history", "rename", "Chat 0", "First title")
    cli.run("history", "rename", "Chat 1", "Still wanted")
    other.run("history", "rename", "Chat 0", "Later title")
    other.run("history", "rm", "Chat 1", "--yes")
    now(other)

    done = cli.run("sync", "now")
    assert b'the title "First title"' in done.stderr
    assert b'the conversation "Still wanted"' in done.stderr
    assert b"aichat sync trash" in done.stderr
    kept = {entry["kind"]: entry["id"] for entry in cli.json("sync", "trash")}
    assert set(kept) == {"title", "conversation"}
    assert cli.run("sync", "trash", kept["title"]).stdout == b"First title"
    assert b"message 0 of chat 1" in cli.run("sync", "trash", kept["conversation"]).stdout

    assert cli.run("sync", "trash", kept["conversation"], "--restore").returncode == 0
    assert cli.run("sync", "trash", kept["title"], "--restore").returncode == 0
    assert cli.json("sync", "trash") == []
    now(cli)
    now(other)
    assert titles(other) == {"First title", "Still wanted"}
    assert "in the trash" in failing(cli, "sync", "trash", kept["title"], "--delete", code=1)


def test_documents_stay_where_they_are_if_that_is_wished_and_come_when_it_is_no_more(
    cli: Cli, other: Cli, dsn: str, tmp_path: Path
) -> None:
    (tmp_path / "paint.md").write_text("The colours of paint are red and blue.\n")
    cli.run("ingest", str(tmp_path / "paint.md"))
    join(cli, dsn)

    assert join(other, dsn, "--no-documents") == "Nothing to do: both sides are alike.\n"
    assert other.json("docs", "list") == []
    assert other.json("sync", "status")["documents"] is False

    other.run("config", "set", "sync.documents", "true")
    assert now(other) == "Received 1 document.\n"
    assert other.json("docs", "list")[0]["name"] == "paint.md"


def test_off_deletes_nothing_and_tells_what_was_never_sent(cli: Cli, other: Cli, dsn: str, tmp_path: Path) -> None:
    fill(cli, tmp_path)
    join(cli, dsn)
    join(other, dsn)
    cli.run("history", "rename", "Chat 0", "Only here")

    assert "Sync stays on" in cli.run("sync", "off").stderr.decode()
    done = cli.run("sync", "off", "--yes")
    assert b"1 change was never sent" in done.stderr
    assert titles(cli) == {"Only here", "Chat 1"}
    assert titles(other) == {"Chat 0", "Chat 1"}
    assert cli.json("keys", "list") == []
    assert [each["is_this"] for each in other.json("sync", "status")["devices"]] == [True]

    join(cli, dsn)
    now(other)
    assert titles(cli) == titles(other)


def test_what_keeps_a_database_from_being_set_up_is_one_line_with_what_to_run(cli: Cli, postgres18: Cluster) -> None:
    with postgres18.database(BARE) as bare:
        line = failing(cli, "sync", "init", "--yes", "-", stdin=bare, code=6)
        assert "CREATE EXTENSION vector;" in line
        with connect(postgres18.dsn(bare.rpartition("/")[2].partition("?")[0])) as administrator:
            administrator.execute("CREATE EXTENSION vector")
        join(cli, bare)
        cli.run("sync", "off", "--yes")
    with postgres18.database() as dsn:
        stranger = as_user(dsn, "plain_owner")
        line = failing(cli, "sync", "init", "--yes", "-", stdin=stranger, code=3)
        assert "GRANT CREATE ON DATABASE" in line
        assert '"plain_owner"' in line
    assert "Sync is off" in failing(cli, "sync", "status", code=1)
    assert cli.json("keys", "list") == []


def test_a_database_of_a_newer_aichat_is_left_alone(cli: Cli, other: Cli, dsn: str) -> None:
    join(cli, dsn)
    with connect(dsn) as connection:
        connection.execute("INSERT INTO aichat.schema_versions VALUES (99)")
        assert "pip install --upgrade" in failing(cli, "sync", "now", code=6)
        assert "pip install --upgrade" in failing(other, "sync", "init", "--yes", "-", stdin=dsn, code=6)
        assert "99" in cli.json("sync", "status")["problem"]
        connection.execute("DELETE FROM aichat.schema_versions WHERE version = 99")
    assert now(cli)
    assert cli.json("sync", "status")["problem"] is None


def test_a_database_that_can_only_be_read_is_not_set_up(cli: Cli, dsn: str) -> None:
    with connect(dsn) as connection:
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'.encode())

    assert "can only be read" in failing(cli, "sync", "init", "--yes", "-", stdin=dsn, code=6)


def test_two_at_a_time_do_not_sync_one_database(cli: Cli, dsn: str) -> None:
    join(cli, dsn)
    assert liveness.claim(cli.database, sync_state._LOCK)
    try:
        assert "Another aichat is syncing" in failing(cli, "sync", "now", code=1)
    finally:
        liveness.release(cli.database, sync_state._LOCK)
    assert now(cli)


def test_a_server_that_dies_in_the_middle_loses_nothing_and_the_next_sync_finishes(
    cli: Cli, other: Cli, tmp_path: Path
) -> None:
    with own_cluster(18) as cluster, cluster.database() as dsn:
        join(cli, dsn)
        join(other, dsn)
        fill(cli, tmp_path, conversations=300, messages=12)
        with cli.start("sync", "now") as process, connect(dsn) as connection:
            while process.poll() is None:
                if connection.execute("SELECT count(*) FROM public.messages").fetchone() != (0,):
                    cluster.kill()
                    break
                time.sleep(0.005)
            _, err = process.communicate(timeout=60)
        assert process.returncode == 6, err
        assert b"cannot be reached, or the connection was lost" in err
        assert b"aichat sync now" in err

        stopped = cli.json("sync", "status")
        assert stopped["devices"] is None
        assert stopped["unreachable"]
        assert stopped["pending"]["message"] > 0
        refused = cli.run("sync", "off", "--yes", "--forget")
        assert refused.returncode == 6
        assert b"never sent" in refused.stderr
        assert b"cannot be reached" in refused.stderr

        cluster.start()
        now(cli)
        now(other)
        assert other.rows("SELECT count(*) FROM messages") == [(3600,)]
        assert cli.json("sync", "status")["pending"] == {}


def test_a_sync_in_a_pipe_draws_nothing_and_a_quiet_one_says_nothing(cli: Cli, dsn: str, tmp_path: Path) -> None:
    join(cli, dsn)
    fill(cli, tmp_path)

    loud = cli.run("sync", "now")
    quiet = cli.run("sync", "now", "--quiet")

    assert loud.stdout == b"Sent 2 conversations and 4 messages.\n"
    assert loud.stderr == b""
    assert quiet.stdout + quiet.stderr == b""


def test_the_documented_shapes_are_those_that_are_printed(cli: Cli, other: Cli, dsn: str, tmp_path: Path) -> None:
    fill(cli, tmp_path)
    join(cli, dsn)
    join(other, dsn)
    cli.run("history", "rename", "Chat 0", "First title")
    other.run("history", "rename", "Chat 0", "Later title")
    now(other)
    documented = shapes()

    planned = cli.json("sync", "now", "--dry-run")
    done = cli.json("sync", "now")
    kept = cli.json("sync", "trash")
    stands = cli.json("sync", "status")

    assert set(planned) == set(documented["`aichat sync now --dry-run --json`"])
    assert set(done) == set(documented["`aichat sync now --json`"])
    assert set(done["kept"][0]) == set(documented["`aichat sync now --json`"]["kept"][0])
    assert set(kept[0]) == set(documented["`aichat sync trash --json`"][0])
    assert set(stands) == set(documented["`aichat sync status --json`"])
    assert set(stands["devices"][0]) == set(documented["`aichat sync status --json`"]["devices"][0])
