"""The address of a database is a secret: where it could be seen, and is not."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.cli.test_keys_and_secrets import everything_in
from tests.pty.terminal import terminal
from tests.runner import Cli
from tests.servers.postgres import Cluster, own_cluster
from tests.servers.serving import serving

PASSWORD = "sesame/5544#open"
SHOWN_AT_MOST = 0.33
"""Of the whole run: as long as an interpreter takes to start, which is a few dozen milliseconds, on an idle machine."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with own_cluster(18, password=PASSWORD) as running:
        yield running


@pytest.fixture
def address(cluster: Cluster) -> Iterator[str]:
    with cluster.database(tcp=True) as dsn:
        yield dsn


def leaks(data: bytes) -> bool:
    return PASSWORD.encode() in data or quote(PASSWORD, safe="").encode() in data or b"sesame" in data


def test_an_address_given_as_an_argument_leaves_the_process_list_at_once_and_is_in_no_environment(
    cli: Cli, address: str
) -> None:
    began = time.monotonic()
    seen, environments, shown_for = [], [], 0.0
    with cli.start("sync", "init", "--yes", address, fresh=True) as process:
        while process.poll() is None:
            proc = Path(f"/proc/{process.pid}")
            try:
                line, environment = (proc / "cmdline").read_bytes(), (proc / "environ").read_bytes()
            except OSError:
                break
            seen.append(line)
            environments.append(environment)
            if leaks(line):
                shown_for = time.monotonic() - began
            time.sleep(0.002)
        took = time.monotonic() - began
        out, err = process.communicate(timeout=20)

    assert process.returncode == 0, err
    assert any(b"fd:" in line for line in seen)
    assert not leaks(seen[-1])
    assert not any(map(leaks, environments))
    assert shown_for < SHOWN_AT_MOST * took
    assert not leaks(out + err)
    assert b"history" in err


def test_without_a_password_nothing_is_said_of_the_history(cli: Cli, cluster: Cluster) -> None:
    with cluster.database() as dsn:
        done = cli.run("sync", "init", "--yes", dsn)

    assert done.returncode == 0, done.stderr
    assert b"history" not in done.stderr


@pytest.mark.parametrize("spelled", ["url", "words"])
def test_the_address_is_in_no_output_and_no_file_after_a_life_of_sync(
    cli: Cli, address: str, cluster: Cluster, spelled: str
) -> None:
    database = address.rpartition("/")[2]
    words = f"host=127.0.0.1 port={cluster.port} user=owner password='{PASSWORD}' dbname={database}"
    given = address if spelled == "url" else words
    wrong = given.replace("5544", "5545")
    runs = [
        cli.run("sync", "init", "--yes", "--debug", wrong),
        cli.run("sync", "init", "--yes", given, given),
        cli.run("sync", given),
        cli.run("sync", "init", f"--dsn={given}"),
        cli.run("sync", "init", "--yes", "-", stdin=given),
        cli.run("sync", "status", "--json"),
        cli.run("sync", "now", "--debug", environ={"AICHAT_SYNC_DSN": wrong}),
        cli.run("keys", "list"),
        cli.run("config", "list"),
        cli.run("doctor"),
        cli.run("sync", "off", "--yes", "--debug"),
    ]

    assert [done.returncode for done in runs] == [3, 2, 2, 2, 0, 0, 3, 0, 0, 0, 0], [done.stderr for done in runs]
    assert not leaks(b"".join(done.stdout + done.stderr for done in runs))
    assert not leaks(everything_in(cli.home))


def test_a_wrong_password_stores_nothing_and_turns_nothing_on(cli: Cli, address: str) -> None:
    done = cli.run("sync", "init", "--yes", address.replace("5544", "5545"))

    assert done.returncode == 3
    assert b"refused the user or the password" in done.stderr
    assert cli.json("keys", "list") == []
    assert b"Sync is off" in cli.run("sync", "status").stderr


def test_the_hidden_prompt_shows_nothing_of_what_is_typed(cli: Cli, address: str) -> None:
    with terminal(cli, "sync", "init") as screen:
        screen.wait_for("Address of the database (hidden)")
        time.sleep(0.3)  # what is typed before the echo is off is thrown away
        screen.type(address + "\r")
        screen.wait_for("[y/N]")
        screen.type("y\r")
        assert screen.wait_for_exit() == 0

    assert not leaks(screen.sent)
    assert b"history" not in screen.sent
    assert cli.json("keys", "list") == [{"name": "sync", "source": "keyring"}]


def test_without_a_keyring_the_address_is_kept_in_a_private_file_and_that_is_said(cli: Cli, address: str) -> None:
    cli.environ = {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}

    done = cli.run("sync", "init", "--yes", "-", stdin=address)

    kept = cli.home / "config" / "aichat" / "keys.toml"
    assert b"no keyring" in done.stderr
    assert kept.stat().st_mode & 0o777 == 0o600
    assert cli.run("sync", "now").returncode == 0
    cli.run("sync", "off", "--yes")
    assert not leaks(kept.read_bytes())


def test_the_key_of_a_provider_that_is_given_for_one_chat_is_not_taken_for_the_address(cli: Cli, address: str) -> None:
    cli.run("sync", "init", "--yes", "-", stdin=address)

    with terminal(cli, "--key", "sk-not-an-address") as screen:
        screen.wait_for("synced")
        screen.type("/sync\r")
        screen.wait_for("both sides are alike")


def test_a_descriptor_that_is_not_there_is_told_in_one_line(cli: Cli) -> None:
    done = cli.run("sync", "init", "--yes", f"fd:{os.sysconf('SC_OPEN_MAX') % 100_000 + 7}")

    assert done.returncode == 2
    assert b"Nothing can be read" in done.stderr


def test_the_address_of_a_gateways_accounts_is_in_no_process_list_no_output_and_no_file(cli: Cli, address: str) -> None:
    given = ("--database", address)
    made = cli.run("users", "create", "anna", f"--database={address}", fresh=True)
    key = cli.run("api-keys", "create", "anna", *given, fresh=True)
    listed = cli.run("users", "list", environ={"AICHAT_SERVER_DATABASE": address})
    wrong = [
        cli.run("users", "list", "--debug", *(word.replace("5544", "5545") for word in given), fresh=True),
        cli.run("users", "list", address, fresh=True),
        cli.run("serve", f"--dsn={address}", fresh=True),
    ]
    with serving(cli, *given, fresh=True) as gateway:
        proc = Path(f"/proc/{gateway.process.pid}")
        seen = (proc / "cmdline").read_bytes() + (proc / "environ").read_bytes()
        headers = {"x-api-key": key.stdout.decode().strip()}
        account = httpx.get(f"{gateway.url}/v1/account", headers=headers, trust_env=False)
        assert gateway.end(signal.SIGTERM) == 0

    assert [done.returncode for done in (made, key, listed, *wrong)] == [0, 0, 0, 3, 2, 2], wrong
    assert b"anna" in listed.stdout
    assert account.json()["user"]["name"] == "anna"
    assert b"fd:" in seen
    assert not leaks(seen)
    assert not leaks(b"".join(done.stdout + done.stderr for done in (made, key, listed, *wrong)))
    assert not leaks(gateway.everything.encode())
    assert not leaks(everything_in(cli.home))
