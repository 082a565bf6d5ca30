"""`aichat integrations` and what doctor says of them, in processes of their own, with services on loopback."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_keys_and_secrets import everything_in
from tests.pty.terminal import terminal
from tests.runner import ROOT, Cli
from tests.servers.helicone_double import KEY as HELICONE_KEY
from tests.servers.helicone_double import HeliconeDouble
from tests.servers.langsmith_double import KEY, LangSmithDouble
from tests.servers.pinecone_double import PineconeDouble
from tests.servers.resend_double import DOMAIN, ResendDouble
from tests.servers.resend_double import KEY as RESEND_KEY
from tests.servers.scripted import ScriptedServer
from tests.servers.service import HANGS_UNREAD, answers


@pytest.fixture(scope="module")
def shared_langsmith() -> Iterator[LangSmithDouble]:
    with LangSmithDouble() as running:
        yield running


@pytest.fixture
def langsmith(shared_langsmith: LangSmithDouble) -> LangSmithDouble:
    shared_langsmith.clear()
    return shared_langsmith


@pytest.fixture
def traced(cli: Cli, langsmith: LangSmithDouble) -> Cli:
    """The program with LangSmith on."""
    cli.environ = {
        "AICHAT_INTEGRATIONS": "langsmith",
        "AICHAT_LANGSMITH_URL": f"http://127.0.0.1:{langsmith.port}",
        "LANGSMITH_API_KEY": KEY,
    }
    return cli


def state_of(cli: Cli, name: str = "langsmith") -> dict[str, object]:
    [state] = [row for row in cli.json("integrations", "list") if row["name"] == name]
    return dict(state)


def a_failed_delivery(cli: Cli, langsmith: LangSmithDouble) -> None:
    """A turn whose trace waits, with nothing tried for a while."""
    langsmith.fault = answers(503)
    assert cli.run("-m", "gpt-4o-mini", "hello").returncode == 0
    langsmith.fault = None
    state = state_of(cli)
    assert (state["waiting"], state["last_delivered_at"]) == (1, None)
    assert state["retry_at"] is not None


def test_all_are_off_at_first_and_listed_without_a_connection_or_a_key(cli: Cli) -> None:
    listed = cli.json("integrations", "list")
    assert {"langsmith", "helicone", "posthog", "resend", "pinecone"} <= {row["name"] for row in listed}
    assert [row["name"] for row in listed if row["enabled"] or row["key"]] == []
    assert set(listed[0]) == {
        "name", "purpose", "enabled", "key", "last_delivered_at", "waiting", "dropped", "problem", "last_failed_at", "retry_at",
    }  # fmt: skip
    rows = cli.rows("SELECT (SELECT count(*) FROM deliveries) + (SELECT count(*) FROM integrations)")
    assert rows == [(0,)]


def test_enabling_says_what_is_sent_and_what_to_do_next_and_disabling_undoes_it(cli: Cli) -> None:
    first = cli.run("integrations", "enable", "langsmith")
    assert (first.returncode, first.stdout) == (0, b"")
    assert b"what was said only where the setting langsmith.content is true" in first.stderr
    assert first.stderr.endswith(b"Next: aichat keys set langsmith\n")
    second = cli.run("integrations", "enable", "posthog", environ={"POSTHOG_API_KEY": "phc_of-somebody"})
    assert second.stderr.endswith(b"Next: aichat integrations test posthog\n")
    assert cli.config_file.read_text("utf-8") == 'integrations = ["langsmith", "posthog"]\n'
    assert b"was on already" in cli.run("integrations", "enable", "posthog").stderr
    assert b"langsmith is off" in cli.run("integrations", "disable", "langsmith").stderr
    assert b"was off already" in cli.run("integrations", "disable", "langsmith").stderr
    assert cli.config_file.read_text("utf-8") == 'integrations = ["posthog"]\n'


def test_a_setting_in_the_environment_is_not_written_but_said_to_come_first(cli: Cli) -> None:
    done = cli.run("integrations", "enable", "posthog", environ={"AICHAT_INTEGRATIONS": "langsmith"})
    assert b"AICHAT_INTEGRATIONS is set in the environment and comes first" in done.stderr
    assert cli.config_file.read_text("utf-8") == 'integrations = ["posthog"]\n'


@pytest.mark.parametrize("command", ["enable", "disable", "test"])
def test_a_wrong_name_is_answered_with_a_near_one(cli: Cli, command: str) -> None:
    done = cli.run("integrations", command, "langsmit")
    assert done.returncode == 1
    assert b'No integration "langsmit". Did you mean "langsmith"?' in done.stderr
    assert not cli.config_file.exists()


def test_what_is_on_without_being_there_is_named_and_can_be_turned_off(cli: Cli) -> None:
    cli.run("config", "set", "integrations", "langsmoth")
    assert b'names "langsmoth", which is none of them' in cli.run("integrations", "list").stderr
    assert b"BROKEN  langsmoth" in cli.run("doctor").stdout
    assert cli.run("integrations", "disable", "langsmoth").returncode == 0
    assert b"none on" in cli.run("doctor").stdout


@pytest.mark.parametrize(
    ("command", "name", "instead"),
    [
        ("enable", "helicone", b"aichat config set helicone.providers openai"),
        ("disable", "helicone", b"aichat config unset helicone.providers"),
        ("enable", "pinecone", b"aichat docs migrate --to pinecone"),
        ("disable", "pinecone", b"aichat docs migrate --to local"),
    ],
)
def test_what_is_told_of_no_turn_has_a_command_of_its_own(cli: Cli, command: str, name: str, instead: bytes) -> None:
    done = cli.run("integrations", command, name)
    assert (done.returncode, instead in done.stderr) == (2, True)


def test_pinecone_and_helicone_are_tested_too(cli: Cli, server: ScriptedServer) -> None:
    with PineconeDouble() as pinecone, HeliconeDouble(server) as helicone:
        cli.environ = {"PINECONE_API_KEY": pinecone.key, "AICHAT_PINECONE_URL": pinecone.url}
        cli.environ |= {"HELICONE_API_KEY": HELICONE_KEY, "AICHAT_HELICONE_URL": helicone.url}
        there = cli.run("integrations", "test", "pinecone")
        wrong = cli.run("integrations", "test", "pinecone", environ={"PINECONE_API_KEY": "pcsk_of_nobody"})
        passing = cli.run("integrations", "test", "helicone", environ={"AICHAT_HELICONE_PROVIDERS": "openai"})
        sending = cli.run("integrations", "test", "helicone", "--send")
    assert there.stdout.startswith(b"pinecone: the key is accepted, 0 indexes (")
    assert there.stderr.endswith(b"It is off. To turn it on: aichat docs migrate --to pinecone\n")
    assert wrong.returncode == 3
    assert b"accepts the key" in passing.stdout
    assert sending.returncode == 2


def test_resend_is_sent_a_mail_only_when_that_is_asked_for(cli: Cli) -> None:
    with ResendDouble() as resend:
        cli.environ = {"RESEND_API_KEY": RESEND_KEY, "AICHAT_RESEND_URL": f"http://127.0.0.1:{resend.port}"}
        cli.environ |= {"AICHAT_RESEND_FROM": f"aichat@{DOMAIN}", "AICHAT_RESEND_TO": "anna@example.com"}
        asked = cli.run("integrations", "test", "resend")
        silent = len(resend.mails)
        sent = cli.run("integrations", "test", "resend", "--send")
        [mail] = resend.mails
    assert (asked.returncode, silent) == (0, 0)
    assert (sent.returncode, mail.body["subject"]) == (0, "A test from aichat")
    assert b"a test was sent" in sent.stdout


def test_a_test_delivers_what_waited_and_ends_the_pause(
    traced: Cli, server: ScriptedServer, langsmith: LangSmithDouble
) -> None:
    a_failed_delivery(traced, langsmith)
    done = traced.run("integrations", "test", "langsmith")
    assert (done.returncode, done.stderr) == (0, b"")
    assert re.fullmatch(
        rb'langsmith: traces go to the project "aichat", without what was said \([\d,]+ ms\); 1 that waited delivered\n',
        done.stdout,
    )
    assert len(langsmith.traces) == 1
    state = state_of(traced)
    assert (state["waiting"], state["problem"], state["retry_at"]) == (0, None, None)
    assert state["last_delivered_at"] is not None


def test_what_is_refused_for_good_does_not_keep_the_others(
    traced: Cli, server: ScriptedServer, langsmith: LangSmithDouble
) -> None:
    a_failed_delivery(traced, langsmith)
    for question in ("two", "three"):
        traced.run("-m", "gpt-4o-mini", question)
    ids = [row[0] for row in traced.rows("SELECT id FROM deliveries ORDER BY seq")]
    with sqlite3.connect(traced.database) as database:
        spoilt = "CAST(replace(CAST(payload AS TEXT), 'start_time', 'begun_at') AS BLOB)"
        database.execute(f"UPDATE deliveries SET payload = {spoilt} WHERE id = ?", [ids[1]])
    done = traced.run("integrations", "test", "langsmith")
    assert done.returncode == 6
    assert b"LangSmith answered 4" in done.stderr
    assert len(langsmith.traces) == 2
    assert traced.rows("SELECT id FROM deliveries WHERE payload IS NOT NULL") == [(ids[1],)]


def test_turning_one_off_deletes_what_waited(traced: Cli, server: ScriptedServer, langsmith: LangSmithDouble) -> None:
    a_failed_delivery(traced, langsmith)
    del traced.environ["AICHAT_INTEGRATIONS"]
    traced.run("config", "set", "integrations", "langsmith")
    assert b"langsmith is off. 1 that waited deleted.\n" in traced.run("integrations", "disable", "langsmith").stderr
    assert state_of(traced)["waiting"] == 0


WATCHED = """
import sys
kept = open(sys.argv.pop(1), "a", buffering=1)
sys.addaudithook(lambda event, given: kept.write(f"{event} {given[1:]}\\n") if event.startswith("socket.conn") else None)
from aichat_cli.__main__ import main
main()
"""


@pytest.mark.parametrize(("command", "connects"), [("hello", 1), ("doctor", 0), ("integrations list", 0)])
def test_with_all_off_nobody_is_connected_to_but_the_provider(
    cli: Cli, server: ScriptedServer, tmp_path: Path, command: str, connects: int
) -> None:
    seen = tmp_path / "connections"
    environment = {**cli.environment, "PYTHONPATH": str(ROOT), "AICHAT_MODEL": "gpt-4o-mini"}
    subprocess.run(
        [sys.executable, "-c", WATCHED, str(seen), *command.split()],
        env=environment, capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    lines = seen.read_text("utf-8").splitlines()
    assert len(lines) == connects
    assert all(str(server.port) in line for line in lines)


def test_a_test_of_what_is_off_says_how_to_turn_it_on(traced: Cli) -> None:
    traced.environ["AICHAT_INTEGRATIONS"] = ""
    done = traced.run("integrations", "test", "langsmith", "--json")
    assert json.loads(done.stdout).keys() == {"name", "found", "milliseconds", "delivered"}
    done = traced.run("integrations", "test", "langsmith")
    assert (done.returncode, done.stderr) == (0, b"It is off. To turn it on: aichat integrations enable langsmith\n")


def test_a_wrong_key_and_no_key_end_with_3_or_1_and_are_not_shown(traced: Cli) -> None:
    wrong = traced.run("integrations", "test", "langsmith", environ={"LANGSMITH_API_KEY": "lsv2_of_nobody"})
    missing = traced.run("integrations", "test", "langsmith", environ={"LANGSMITH_API_KEY": ""})
    assert wrong.returncode == 3
    assert b"LangSmith refuses the key from $LANGSMITH_API_KEY (401). Run: aichat keys set langsmith" in wrong.stderr
    assert missing.returncode == 1
    assert b"has no key. Run: aichat keys set langsmith" in missing.stderr
    assert b"lsv2_of_nobody" not in wrong.stderr + wrong.stdout + everything_in(traced.home)


def test_dead_and_hanging_services_are_broken_for_doctor_within_seconds(
    traced: Cli, langsmith: LangSmithDouble
) -> None:
    with langsmith.refusing():
        dead = traced.run("integrations", "test", "langsmith")
    langsmith.fault = HANGS_UNREAD
    hanging = traced.run("doctor", timeout=30)
    langsmith.fault = None
    good = traced.run("doctor")
    assert dead.returncode == 6
    assert b"LangSmith" in dead.stderr
    assert hanging.returncode == 1
    assert b"BROKEN  langsmith       langsmith did not answer within 5 s." in hanging.stdout
    assert b'ok      langsmith       traces go to the project "aichat"' in good.stdout
    assert b"nothing delivered yet" in good.stdout


def test_without_a_usable_database_they_are_listed_and_tested_still(traced: Cli, tmp_path: Path) -> None:
    traced.database.write_bytes(b"not a database " * 100)
    listed = traced.run("integrations", "list", "--json")
    tested = traced.run("integrations", "test", "langsmith")
    assert listed.returncode == tested.returncode == 0
    assert json.loads(listed.stdout)[0]["waiting"] is None
    assert b"What waits was not delivered." in tested.stderr
    assert b"warning" in listed.stderr


def test_a_problem_stands_below_the_table_on_a_terminal_of_any_width(
    traced: Cli, server: ScriptedServer, langsmith: LangSmithDouble
) -> None:
    a_failed_delivery(traced, langsmith)
    for columns in (80, 40):
        with terminal(traced, "integrations", "list", columns=columns, NO_COLOR="1") as screen:
            assert screen.wait_for_exit() == 0
        lines = screen.text.splitlines()
        assert max(len(line) for line in lines) <= columns
        assert [line.split()[:2] for line in lines if line.startswith(("langsmith ", "posthog "))] == [
            ["langsmith", "on"],
            ["posthog", "off"],
        ]
        assert "langsmith: LangSmith answered 503" in screen.text
    piped = traced.run("integrations", "list").stdout.decode().splitlines()
    assert {len(line.split("\t")) for line in piped} == {7}


def test_a_turn_with_an_integration_that_has_no_key_says_so_once_on_stderr(traced: Cli, server: ScriptedServer) -> None:
    done = traced.run("-m", "gpt-4o-mini", "hello", environ={"LANGSMITH_API_KEY": ""})
    assert (done.returncode, done.stdout) == (0, b"You said: hello")
    assert done.stderr.count(b"aichat: langsmith is on, but has no key. Run: aichat keys set langsmith") == 1


def test_names_are_completed_by_the_shell(cli: Cli) -> None:
    words = {"COMP_WORDS": "aichat integrations test lang", "COMP_CWORD": "3", "_AICHAT_COMPLETE": "complete_bash"}
    assert cli.run(environ=words).stdout.split() == [b"langsmith"]
