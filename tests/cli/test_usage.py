"""`aichat usage`, run as a user runs it."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from aichat_cli.core.money import TokenUsage
from aichat_cli.render.markdown.cells import cells
from aichat_cli.storage.database import Database
from tests.cli.test_failures import AS_ANYBODY
from tests.pty.terminal import terminal
from tests.runner import Cli
from tests.servers.scripted import ScriptedServer
from tests.storage.support import booked, said

REPORTS = ("overview", "daily", "weekly", "monthly", "models", "conversations", "calendar")
WIDE_TITLE = "日本語のとても長い題名がここにあります 👩‍👩‍👧‍👦🇩🇪 and so on for a while"


@contextmanager
def books(cli: Cli) -> Iterator[Database]:
    cli.database.parent.mkdir(parents=True, exist_ok=True)
    with Database.open(cli.database) as db:
        yield db


def ago(**time: float) -> str:
    moment = datetime.now(UTC) - timedelta(**time)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def a_busy_year(cli: Cli) -> None:
    with books(cli) as db:
        talk = said(db, title=WIDE_TITLE, cost_nano=2_500_000_000)
        said(db, title="\x1b]0;evil\x07=SUM(1;2)\u202e\x9b2J", cost_nano=10)
        for day in range(0, 360, 3):
            booked(
                db, ago(days=day), model="provider/a-model-with-quite-a-long-name\x1b[2J" if day % 2 else "gpt-4o",
                tokens=TokenUsage(12_345_678, 2_345_678, cached_tokens=1_234_567), cost_nano=12_345_678_901 + day,
                conversation_id=talk.conversation_id if day % 4 else None,
            )  # fmt: skip
        booked(db, ago(days=1), model="lab", provider="custom", cost_nano=None)
        booked(db, ago(days=1), cost_nano=0, provenance="estimated")


def november(cli: Cli) -> None:
    with books(cli) as db:
        booked(db, "2025-11-01T04:30:00.000Z", cost_nano=1)
        booked(db, "2025-11-02T18:14:59.999Z", cost_nano=10)
        booked(db, "2025-11-02T18:15:00.000Z", cost_nano=100)
        booked(db, "2025-11-30T23:59:59.999Z", cost_nano=1_000)
        booked(db, "2025-12-01T00:00:00.000Z", cost_nano=10_000)


def nano(rows: Sequence[dict[str, float]]) -> dict[str, int]:
    return {str(row["period"]): round(row["cost_usd"] * 10**9) for row in rows}


def test_without_any_call_it_says_how_to_begin(cli: Cli) -> None:
    for report in REPORTS:
        done = cli.run("usage", report)
        assert (done.returncode, done.stdout) == (0, b"")
        assert b'aichat "your question"' in done.stderr
        told = cli.json("usage", report)
        assert (told["rows"], told["total"]["requests"], told["total"]["cost_usd"]) == ([], 0, 0)
    assert b"in that time" in cli.run("usage", "--since", "7d").stderr


@pytest.mark.parametrize("columns", [40, 60, 100])
@pytest.mark.parametrize("report", REPORTS)
def test_nothing_is_wider_than_the_terminal_nor_a_control_sequence_of_others(
    cli: Cli, report: str, columns: int
) -> None:
    a_busy_year(cli)
    with terminal(cli, "usage", report, columns=columns) as screen:
        assert screen.wait_for_exit() == 0
    plain = re.sub(rb"\x1b\[[0-9;]*m", b"", screen.sent)
    assert b"\x1b" not in plain
    lines = plain.decode().replace("\r", "").splitlines()
    assert max(map(cells, lines)) <= columns
    assert "\x1b[32m" in screen.sent.decode()
    assert not set("\u202e\x07\x9b") & set("".join(lines))
    assert "+ 1 call has no known price" in plain.decode()
    assert "~ 1 call was cut off" in plain.decode()


@pytest.mark.parametrize("report", REPORTS)
def test_a_terminal_that_can_do_nothing_gets_ascii(cli: Cli, report: str) -> None:
    with books(cli) as db:
        for day in range(40):
            booked(db, ago(days=day), model="m" * 70, cost_nano=day * 10**8)
    with terminal(cli, "usage", report, columns=60, TERM="dumb") as screen:
        assert screen.wait_for_exit() == 0
    assert screen.sent.isascii()
    assert b"\x1b" not in screen.sent
    assert b"$" in screen.sent


def test_the_overview_shows_totals_a_chart_and_models(cli: Cli) -> None:
    a_busy_year(cli)
    with terminal(cli, "usage", columns=60, rows=40, NO_COLOR="1") as screen:
        screen.wait_for_exit()
        text = screen.text
    for expected in ("today", "last 7 days", "this month", "all time", "30 days to", "by cost", "└─", "█", "gpt-4o"):
        assert expected in text
    assert "$1484.0" not in text  # all time: 120 calls of $12.35, and one conversation of $2.50
    assert re.search(r"all time .* \$1483\.98\+", text), text
    assert b"\x1b[3" not in screen.sent


def test_what_costs_nothing_is_drawn_by_its_tokens(cli: Cli) -> None:
    with books(cli) as db:
        booked(db, ago(days=2), model="smollm2", cost_nano=0)
        booked(db, ago(days=0), model="smollm2", cost_nano=0, tokens=TokenUsage(2_000, 200))
    text = cli.run("usage", environ={"COLUMNS": "60"}).stdout.decode()
    assert "by tokens" in text
    assert re.search(r"^2,200 │ +█$", text, re.MULTILINE)
    assert re.search(r"█ █$", text, re.MULTILINE)


def test_the_calendar_has_a_row_for_each_weekday(cli: Cli) -> None:
    november(cli)
    done = cli.run("usage", "calendar", "--since", "2025-11", "--until", "2025-12-07", environ={"COLUMNS": "60"})
    lines = done.stdout.decode().splitlines()
    assert lines[2:10] == [
        "    Nov       Dec",
        "Mon   · · · · █",
        "Tue   · · · · ·",
        "Wed   · · · · ·",
        "Thu   · · · · ·",
        "Fri   · · · · ·",
        "Sat ░ · · · · ·",
        "Sun ▒ · · · ▓ ·",
    ]
    assert "less · ░ ▒ ▓ █ more" in lines[11]


@pytest.mark.parametrize(
    ("zone", "days", "months"),
    [
        (
            "UTC",
            {"2025-11-01": 1, "2025-11-02": 110, "2025-11-30": 1_000, "2025-12-01": 10_000},
            {"2025-11": 1_111, "2025-12": 10_000},
        ),
        (
            "America/New_York",
            {"2025-11-01": 1, "2025-11-02": 110, "2025-11-30": 11_000},
            {"2025-11": 11_111},
        ),
        (
            "Asia/Kathmandu",
            {"2025-11-01": 1, "2025-11-02": 10, "2025-11-03": 100, "2025-12-01": 11_000},
            {"2025-11": 111, "2025-12": 11_000},
        ),
    ],
)
def test_days_and_months_are_those_of_the_zone(
    cli: Cli, zone: str, days: dict[str, int], months: dict[str, int]
) -> None:
    november(cli)
    for where in ({"cli": ("--timezone", zone), "tz": "Asia/Tokyo"}, {"cli": (), "tz": zone}):
        cli.environ = {"TZ": str(where["tz"])}
        daily = cli.json("usage", "daily", *where["cli"])
        assert nano(daily["rows"]) == days
        assert [row["period"] for row in daily["rows"]] == sorted(days, reverse=True)
        assert nano(cli.json("usage", "monthly", *where["cli"])["rows"]) == months


def test_since_and_until_bound_the_days_both_included(cli: Cli) -> None:
    november(cli)
    zone = ("--timezone", "utc")
    told = cli.json("usage", "daily", "--since", "2025-11-02", "--until", "2025-11", *zone)
    assert nano(told["rows"]) == {"2025-11-02": 110, "2025-11-30": 1_000}
    assert (told["total"]["period"], told["total"]["requests"]) == ("2025-11-02/2025-11-30", 3)
    weekly = cli.json("usage", "weekly", "--since", "2025-11-02", "--until", "2025-11-30", *zone)["rows"]
    assert [(row["period"], row["first_day"], row["last_day"]) for row in weekly] == [
        ("2025-W48", "2025-11-24", "2025-11-30"),
        ("2025-W44", "2025-11-02", "2025-11-02"),
    ]


def test_limit_leaves_rows_out_but_not_of_the_total(cli: Cli) -> None:
    november(cli)
    done = cli.run("usage", "daily", "--limit", "1", "--timezone", "UTC")
    assert done.stdout.decode().split("\t")[0] == "2025-12-01"
    assert b"--all" in done.stderr
    told = cli.json("usage", "daily", "--limit", "1")
    assert (len(told["rows"]), told["total"]["requests"]) == (1, 5)
    assert len(cli.json("usage", "daily", "--limit", "1", "--all", "--timezone", "UTC")["rows"]) == 4


def test_json_has_the_documented_shape_exact_to_the_nano_dollar(cli: Cli) -> None:
    a_busy_year(cli)
    for report in REPORTS:
        told = cli.json("usage", report)
        for row in [*told["rows"], told["total"]]:
            assert {"period", "requests", "input_tokens", "cached_tokens", "output_tokens", "cost_usd"} <= set(row)
            assert {"cache_write_tokens", "reasoning_tokens", "unpriced", "estimated"} <= set(row)
    models = {row["model"]: row for row in cli.json("usage", "models")["rows"]}
    assert models["lab"]["provider"] == "custom"
    assert (models["lab"]["cost_usd"], models["lab"]["unpriced"]) == (None, 1)
    [(cost,)] = cli.rows("SELECT sum(cost_nano) FROM usage")
    assert round(cli.json("usage", "monthly")["total"]["cost_usd"] * 10**9) == cost
    conversations = cli.json("usage", "conversations")["rows"]
    assert [row["title"] for row in conversations] == [WIDE_TITLE, "\x1b]0;evil\x07=SUM(1;2)\u202e\x9b2J", None]
    assert conversations[-1]["conversation_id"] is None


def test_csv_has_the_same_rows_and_no_formula(cli: Cli) -> None:
    a_busy_year(cli)
    for report in REPORTS:
        printed = cli.run("usage", report, "--csv").stdout.decode()
        assert "\r\n" in printed
        rows = list(csv.DictReader(io.StringIO(printed, newline="")))
        told = cli.json("usage", report)["rows"]
        assert len(rows) == len(told) > 0
        for row, expected in zip(rows, told, strict=True):
            assert int(row["requests"]) == expected["requests"]
            assert (float(row["cost_usd"]) if row["cost_usd"] else None) == expected["cost_usd"]
    printed = cli.run("usage", "conversations", "--csv").stdout.decode()
    assert "'=SUM(1;2)" in printed
    assert "\x1b" not in printed
    assert "0.000000010" in printed


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["daily", "--since", "soon"], "no date"),
        (["--until", "2026-13"], "no date"),
        (["--since", "2026-02", "--until", "2026-01-31"], "is after"),
        (["monthly", "--timezone", "Mars/Olympus"], "no time zone"),
        (["monthly", "--json", "--csv"], "exclude"),
        (["yearly"], "yearly"),
        (["daily", "--limit", "0"], "0"),
    ],
)
def test_what_cannot_be_meant_is_one_usage_error(cli: Cli, arguments: list[str], told: str) -> None:
    done = cli.run("usage", *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert told in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def test_a_database_that_cannot_be_written_is_reported_on(cli: Cli) -> None:
    november(cli)
    cli.database.parent.chmod(0o555)
    cli.database.chmod(0o444)
    try:
        with cli.start("usage", "monthly", "--json", prefix=AS_ANYBODY) as process:
            output, errors = process.communicate(timeout=30)
    finally:
        cli.database.parent.chmod(0o755)
        cli.database.chmod(0o644)
    assert process.returncode == 0, errors
    assert json.loads(output)["total"]["requests"] == 5


def test_deleted_conversations_stay_in_one_line(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": "ok", "usage": {"input": 1_000, "output": 100}}
    cli.run("about birds")
    cli.run("about fish")
    cli.run("history", "rm", "-y", "fish")
    rows = cli.run("usage", "conversations").stdout.decode().splitlines()
    assert [row.split("\t")[1] for row in rows] == ["about birds", "no chat, or deleted"]
    assert [row.split("\t")[2:] for row in rows] == [["1", "1000", "0", "100", "$0.000210"]] * 2


def shows_answers(count: int) -> Callable[[str], bool]:
    return lambda text: len(re.findall("^ok$", text, re.MULTILINE)) >= count


def test_forks_retries_and_edits_count_each_call_once(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": "ok", "usage": {"input": 1_000, "output": 100}}
    with terminal(cli, "--no-md") as screen:
        screen.wait_for("gpt-4o-mini |")
        for calls, line in enumerate(("about birds\r", "/retry\r", "/edit\r", "/fork Another try\r", "more\r"), 1):
            screen.type(line)
            if line == "/edit\r":
                screen.wait_for(lambda text: text.count("> about birds") == 2)
                screen.type(" and fish\r")
            elif line.startswith("/fork"):
                screen.wait_for('Going on in "Another try"')
                continue
            screen.wait_for(shows_answers(calls - (calls > 4)))
        screen.type("/quit\r")
        screen.wait_for_exit()
    assert len(server.requests) == 4
    total = cli.json("usage", "daily")["total"]
    assert (total["requests"], total["input_tokens"], total["cost_usd"]) == (4, 4_000, 4 * 0.00021)
    by_title = {row["title"]: row["requests"] for row in cli.json("usage", "conversations")["rows"]}
    assert sorted(by_title.values()) == [1, 3]
    assert by_title["Another try"] == 1
