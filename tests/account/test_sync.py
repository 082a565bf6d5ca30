"""Sync with the account one is logged in to, by the real program against a real gateway on a real Postgres."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from aichat_cli.accounts.postgres import PostgresAccounts
from aichat_cli.core.secret import Secret
from tests.account.users import OFFLINE, log_in
from tests.cli.test_sync import failing, fill, join, now, titles
from tests.runner import Cli
from tests.servers.gateway import RunningGateway
from tests.servers.postgres import Cluster, connect
from tests.servers.scripted import ScriptedServer
from tests.sync.conftest import apply_schema


@pytest.fixture(scope="module")
def dsn(postgres18: Cluster) -> Iterator[str]:
    with postgres18.database(postgres18.template("schema", apply_schema)) as made:
        yield made


@pytest.fixture(scope="module")
def hosted(dsn: str, provider: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    store = PostgresAccounts(Secret(dsn, "test"))
    with RunningGateway(tmp_path_factory.mktemp("hosted"), provider, store=store) as running:
        yield running


@pytest.fixture
def other(tmp_path: Path) -> Cli:
    """Another device."""
    home = tmp_path / "other"
    home.mkdir()
    return Cli(home)


def join_gateway(cli: Cli) -> str:
    done = cli.run("sync", "init", "--yes")
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def sync_finding(cli: Cli) -> dict[str, str]:
    """What doctor says of sync."""
    [found] = [each for each in json.loads(cli.run("doctor", "--json").stdout) if each["subject"] == "sync"]
    return dict(found)


def test_two_devices_of_one_account_are_kept_alike(
    cli: Cli, other: Cli, hosted: RunningGateway, tmp_path: Path
) -> None:
    key = hosted.key("vera")
    told = cli.run("login", hosted.url, stdin=key).stderr.decode()
    assert "This gateway keeps your chats alike on several devices, too. Run: aichat sync init" in told
    log_in(other, hosted.url, key)
    fill(cli, tmp_path)
    (tmp_path / "paint.md").write_text("# Paint\n\nThe colours of paint are red and blue.\n")
    cli.run("ingest", str(tmp_path / "paint.md"))

    refused = cli.run("sync", "init").stderr.decode()
    assert f"You are logged in to {hosted.url} as vera." in refused
    assert "Nothing was changed" in refused
    assert join_gateway(cli) == "Sent 2 conversations, 4 messages and 1 document.\n"
    assert join_gateway(other) == "Received 2 conversations, 4 messages and 1 document.\n"
    assert other.json("search", "colours")[0]["document"] == "paint.md"
    other.run("history", "rename", "Chat 0", "Named elsewhere")
    now(other)
    assert now(cli) == "Received 1 changed conversation.\n"
    assert titles(cli) == {"Named elsewhere", "Chat 1"}

    status = cli.json("sync", "status")
    assert (status["database"], len(status["devices"])) == (hosted.url, 2)
    assert sync_finding(cli)["detail"] == f"with {hosted.url}; no problem"
    assert "several devices" not in cli.run("login", hosted.url, stdin=key).stderr.decode()
    assert join_gateway(cli) == "Nothing to do: both sides are alike.\n"
    offline = failing(cli, "sync", "now", code=6, environ=OFFLINE)
    assert "Nothing is lost" in offline
    assert key not in offline

    hint = failing(cli, "search", "colours", code=1, environ={"AICHAT_DOCUMENTS_SEARCH_IN": "hosted"})
    assert "documents.search_in is hosted" in hint
    assert cli.run("sync", "off", "--yes").returncode == 0
    assert [each["is_this"] for each in other.json("sync", "status")["devices"]] == [True]
    assert cli.json("keys", "list") == [{"name": "gateway", "source": "keyring"}]


def test_a_call_through_the_gateway_counts_once_on_each_device_and_there(
    cli: Cli, other: Cli, hosted: RunningGateway, provider: ScriptedServer, dsn: str
) -> None:
    provider.script = {"text": "All is well.", "usage": {"input": 1_000_000, "output": 2_000}}
    key = hosted.key("dora", credits_=100)
    for device in (cli, other):
        log_in(device, hosted.url, key)
        join_gateway(device)

    done = cli.run("-m", "gateway/gpt-4o-mini", "is all well?")
    assert done.stdout == b"All is well.", done.stderr
    now(other)  # which has the gateway's record, and not what it belongs to
    for device in (cli, other, cli):
        now(device)

    [(request_id, conversation)] = cli.rows("SELECT request_id, conversation_id FROM usage")
    assert conversation is not None
    assert other.rows("SELECT request_id, conversation_id FROM usage") == [(request_id, conversation)]
    for device in (cli, other):
        [month] = device.json("usage", "monthly")["rows"]
        assert (month["requests"], month["cost_usd"]) == (1, 0.1512)
        [told] = device.json("usage", "conversations")["rows"]
        assert told["requests"] == 1
    with connect(dsn) as connection:
        there = connection.execute(
            "SELECT u.request_id::text, u.conversation_id::text, u.cost_nano FROM usage u"
            " JOIN profiles p ON p.id = u.user_id WHERE p.name = 'dora'"
        ).fetchall()
    assert there == [(request_id, conversation, 151_200_000)]
    assert now(cli) == now(other) == "Nothing to do: both sides are alike.\n"


def test_the_key_of_another_account_mixes_nothing(cli: Cli, hosted: RunningGateway, tmp_path: Path) -> None:
    mine = hosted.key("paul")
    log_in(cli, hosted.url, mine)
    fill(cli, tmp_path)
    join_gateway(cli)
    log_in(cli, hosted.url, hosted.key("mary"))
    cli.run("history", "rename", "Chat 0", "Paul's")

    assert "belongs to another account" in failing(cli, "sync", "now", code=3)
    assert "another account than it was" in failing(cli, "sync", "init", "--yes", code=1)
    assert b"This device syncs through it" in cli.run("logout").stderr
    assert f"aichat login {hosted.url}" in failing(cli, "sync", "now", code=1)
    assert sync_finding(cli)["state"] == "broken"

    log_in(cli, hosted.url, mine)
    assert now(cli) == "Sent 1 conversation.\n"


def test_a_device_syncs_with_one_place(cli: Cli, other: Cli, hosted: RunningGateway, postgres18: Cluster) -> None:
    log_in(cli, hosted.url, hosted.key("iris"))
    log_in(other, hosted.url, hosted.key("iris"))
    join_gateway(other)
    with postgres18.database() as own:
        join(cli, own)
        assert "To sync there: aichat sync off" in failing(cli, "sync", "init", "--yes", code=1)
        assert "aichat sync off" in failing(other, "sync", "init", "--yes", "-", stdin=own, code=1)
    assert now(other) == "Nothing to do: both sides are alike.\n"


def test_a_gateway_or_a_key_without_sync_is_told_before_anything_is_stored(
    cli: Cli, other: Cli, gateway: RunningGateway, hosted: RunningGateway
) -> None:
    told = cli.run("login", gateway.url, stdin=gateway.key("anna")).stderr.decode()
    assert "several devices" not in told
    assert "has no sync" in failing(cli, "sync", "init", "--yes", code=1)
    log_in(other, hosted.url, hosted.key("anna", scopes=("chat",)))
    assert "may not be used for sync" in failing(other, "sync", "init", "--yes", code=1)
    for device in (cli, other):
        assert "Sync is off" in failing(device, "sync", "now", code=1)
