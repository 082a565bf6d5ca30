"""The operator's commands: users, keys, the audit; in a file, and at the address of a database, which is a secret."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aichat_cli.accounts import keys
from aichat_cli.accounts.sqlite import SqliteAccounts
from aichat_cli.core.errors import KeyRefused
from tests.cli.test_keys_and_secrets import everything_in
from tests.pty.terminal import terminal
from tests.runner import Cli

KEY = re.compile(r"aichat-[a-z2-7]{8}-[a-z2-7]{52}")


@pytest.fixture
def team(cli: Cli) -> Cli:
    assert cli.run("users", "create", "anna", "--plan", "pro").returncode == 0
    return cli


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A team of anna, for what changes nothing."""
    cli = Cli(tmp_path_factory.mktemp("unchanged"))
    assert cli.run("users", "create", "anna").returncode == 0
    return cli


def made_key(cli: Cli, *arguments: str) -> str:
    done = cli.run("api-keys", "create", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


def is_taken(cli: Cli, key: str) -> bool:
    books = SqliteAccounts(cli.home / "data" / "aichat" / "gateway.db").calls()
    try:
        books.authenticate(keys.prefix_of(key), keys.hash_of(key))
    except KeyRefused:
        return False
    finally:
        books.close()
    return True


def refused(cli: Cli, *arguments: str) -> str:
    """What a command that fails says, in one line on stderr."""
    done = cli.run(*arguments)
    assert done.returncode in {1, 2}, done
    assert done.stdout == b""
    said = done.stderr.decode()
    assert said.count("\n") == 1
    return said


def test_a_user_is_created_with_credits_and_told_what_comes_next(cli: Cli) -> None:
    done = cli.run("users", "create", "anna", "--email", "anna@example.com", "--plan", "pro", "--json")
    made = json.loads(done.stdout)

    assert {name: made[name] for name in ("name", "email", "plan", "balance", "held", "keys", "suspended_at")} == {
        "name": "anna", "email": "anna@example.com", "plan": "pro", "balance": 100, "held": 0, "keys": 0,
        "suspended_at": None,
    }  # fmt: skip
    assert done.stderr == b""
    assert b"aichat api-keys create ben" in cli.run("users", "create", "ben").stderr
    assert cli.json("users", "list")[0] == made
    assert cli.json("users", "show", "anna") == {**made, "api_keys": []}


def test_a_new_key_is_all_that_is_on_stdout_and_nowhere_else(team: Cli) -> None:
    done = team.run("api-keys", "create", "anna", "--name", "laptop")
    key = done.stdout.decode()

    assert KEY.fullmatch(key.removesuffix("\n"))
    assert b"shown this once" in done.stderr
    assert b"aichat login" in done.stderr
    assert key.strip().encode() not in done.stderr
    assert is_taken(team, key.strip())
    assert key.strip().encode() not in everything_in(team.home)
    assert key.strip() not in json.dumps(team.json("api-keys", "list"))


def test_a_key_has_the_limits_it_is_made_with(team: Cli) -> None:
    made: dict[str, Any] = json.loads(
        made_key(
            team, "anna", "--name", "ci", "--plan", "free", "--scope", "chat,embeddings", "--scope", "credits",
            "--expires", "90d", "--monthly-cap", "500", "--json",
        )
    )  # fmt: skip
    assert KEY.fullmatch(made.pop("key"))
    assert team.json("api-keys", "list", "anna") == [made]
    assert (made["user"], made["name"], made["plan"], made["monthly_cap"]) == ("anna", "ci", "free", 500)
    assert made["scopes"] == ["chat", "embeddings", "credits"]
    left = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=89, hours=23) < left <= timedelta(days=90)


def test_a_key_that_expires_on_a_day_can_be_used_to_its_end(team: Cli) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date()
    made = json.loads(made_key(team, "anna", "--expires", tomorrow.isoformat(), "--json"))
    assert made["expires_at"] == f"{tomorrow + timedelta(days=1)}T00:00:00.000Z"


@pytest.mark.parametrize("by", ["prefix", "id", "key", "letters"])
def test_a_revoked_key_is_refused_at_once_and_another_is_not(team: Cli, by: str) -> None:
    kept, revoked = made_key(team, "anna"), made_key(team, "anna")
    [row] = [row for row in team.json("api-keys", "list") if revoked.startswith(row["prefix"])]
    typed = {"prefix": row["prefix"], "id": row["id"], "key": revoked, "letters": row["prefix"][7:]}[by]

    done = team.run("api-keys", "revoke", typed)

    assert done.returncode == 0
    assert revoked.encode() not in done.stdout + done.stderr
    assert not is_taken(team, revoked)
    assert is_taken(team, kept)
    assert b"before" in team.run("api-keys", "revoke", typed).stderr


def test_a_key_that_could_not_be_printed_is_revoked(team: Cli) -> None:
    with open("/dev/full", "wb") as full, team.start("api-keys", "create", "anna", stdout=full) as process:
        _, err = process.communicate(timeout=20)

    assert process.returncode == 1
    assert b"Cannot write to stdout" in err
    assert team.json("users", "show", "anna")["keys"] == 0


def test_credits_are_given_once_for_each_ref_and_user(team: Cli) -> None:
    team.run("users", "create", "ben")
    first = team.json("users", "grant", "anna", "50", "--ref", "november")
    again = team.json("users", "grant", "anna", "50", "--ref", "november")
    other = team.json("users", "grant", "ben", "50", "--ref", "november")
    fresh = [team.json("users", "grant", "ben", "5")["balance"] for _ in range(2)]

    assert (first["balance"], first["granted"]) == (150, 50)
    assert (again["balance"], again["granted"]) == (150, 0)
    assert (other["balance"], other["granted"]) == (150, 50)
    assert fresh == [155, 160]


def test_a_suspended_users_key_is_refused_until_they_are_resumed(team: Cli) -> None:
    suspended = team.json("users", "suspend", "anna")
    listed = team.run("users", "list").stdout
    resumed = team.json("users", "resume", "anna")

    assert suspended["suspended_at"]
    assert b"suspended" in listed
    assert resumed["suspended_at"] is None


def test_the_audit_tells_who_did_what_to_whom(team: Cli) -> None:
    made_key(team, "anna", "--name", "laptop")
    team.run("users", "plan", "anna", "enterprise")
    team.run("users", "create", "ben")

    told = team.json("users", "audit", "anna")

    assert [event["action"] for event in told] == ["user.plan", "key.created", "user.created"]
    assert {event["user"] for event in told} == {"anna"}
    assert all(event["actor"] for event in told)
    assert told[1]["detail"] == {"name": "laptop"}
    assert told[1]["key"].startswith("aichat-")
    assert len(team.json("users", "audit")) == 4
    assert team.run("users", "audit").stdout.decode().splitlines()[0].split("\t")[2:4] == ["user.created", "ben"]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("users create anna", "aichat users list"),
        ("users create ", "one word"),
        ("users create carl --plan gold", "free, pro, enterprise"),
        ("users create carl --email nonsense", "not an address"),
        ("users show nobody", "aichat users create nobody"),
        ("users grant anna 0", "0 is not in the range"),
        ("users grant nobody 5", "There is no user"),
        ("api-keys create nobody", "aichat users create nobody"),
        ("api-keys create anna --scope everything", "chat, embeddings, credits, sync"),
        ("api-keys create anna --expires 2020-01-01", "in the past"),
        ("api-keys create anna --expires soon", "90d"),
        ("api-keys create anna --plan gold", "free, pro, enterprise"),
        ("api-keys revoke aichat-nonsense", "aichat api-keys list"),
        ("users list --database /proc/nowhere/gateway.db", "/proc/nowhere"),
        ("users list --database postgresql://anna:sesame@[", "address"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(unchanged: Cli, command: str, told: str) -> None:
    assert told in refused(unchanged, *command.split(" "))


@pytest.mark.parametrize("by", ["flag", "variable", "keyring", "setting"])
def test_the_accounts_are_where_the_operator_says(cli: Cli, tmp_path: Path, by: str) -> None:
    place = tmp_path / "elsewhere.db"
    flag: list[str] = []
    if by == "flag":
        flag = ["--database", str(place)]
    elif by == "variable":
        cli.environ = {"AICHAT_SERVER_DATABASE": str(place)}
    elif by == "keyring":
        cli.run("keys", "set", "server", stdin=str(place))
    else:
        cli.run("config", "set", "server.file", str(place))

    assert cli.run("users", "create", "anna", *flag).returncode == 0

    assert place.is_file()
    assert [user["name"] for user in cli.json("users", "list", *flag)] == ["anna"]


def test_an_address_is_not_taken_for_a_setting_and_not_repeated(cli: Cli) -> None:
    done = cli.run("config", "set", "server.file", "postgresql://anna:sesame@127.0.0.1/db")
    assert done.returncode == 2
    assert b"aichat keys set server" in done.stderr
    assert b"sesame" not in done.stderr


def test_a_command_that_knows_of_key_command_does_not_ask_it_for_the_database(cli: Cli) -> None:
    cli.run("config", "set", "key_command", "false")
    assert cli.run("users", "create", "anna").returncode == 0


def test_tables_fit_a_narrow_terminal(team: Cli) -> None:
    made_key(team, "anna", "--monthly-cap", "500", "--expires", "90d")
    for command in (("users", "list"), ("users", "show", "anna"), ("api-keys", "list"), ("users", "audit")):
        with terminal(team, *command, columns=60) as screen:
            assert screen.wait_for_exit() == 0
            assert "anna" in screen.text
