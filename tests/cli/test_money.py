"""What a call may cost, through the program: refused before anything is sent, charged once, told in one line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from aichat_cli.core.credits import NANO_PER_CREDIT
from aichat_cli.storage import accounts
from aichat_cli.storage.database import Database
from tests.billing.books import leave_credits
from tests.runner import ROOT, Cli
from tests.servers.scripted import ScriptedServer

GPT_4O = ("-m", "gpt-4o")


@pytest.fixture
def paying(cli: Cli, server: ScriptedServer) -> Cli:
    """A user whose calls are paid with credits; they have 100."""
    server.script = {"text": "Bonjour", "usage": {"input": 1000, "output": 500}}
    cli.environ["AICHAT_BILLING_MODE"] = "credits"
    return cli


def with_credits(cli: Cli, number: int) -> None:
    with Database.open(cli.database) as database:
        leave_credits(database, number)


def balance(cli: Cli) -> tuple[float, float]:
    [(balance_nano, held_nano)] = cli.rows("SELECT balance_nano, held_nano FROM profiles")
    return balance_nano / NANO_PER_CREDIT, held_nano / NANO_PER_CREDIT


# ----- the pipeline in credits mode


@pytest.mark.parametrize(
    ("model", "cost_nano", "credits_taken"), [("gpt-4o", 7_500_000, 1), ("claude-3.5-sonnet", 10_500_000, 2)]
)
def test_a_chat_is_admitted_streamed_recorded_deducted_and_saved(
    paying: Cli, server: ScriptedServer, model: str, cost_nano: int, credits_taken: int
) -> None:
    done = paying.run("-m", model, "-s", "Answer in French.", "Good day")
    assert (done.returncode, done.stdout) == (0, b"Bonjour")
    [request] = server.requests
    assert "Answer in French." in str(request.body)
    assert request.body["stream"] is True
    assert paying.rows(
        "SELECT u.input_tokens, u.output_tokens, u.cost_nano, u.cost_cents, u.provenance, m.content, m.status"
        " FROM usage u JOIN messages m ON m.id = u.message_id"
    ) == [(1000, 500, cost_nano, credits_taken, "calculated", "Bonjour", "complete")]
    assert paying.rows(
        "SELECT -l.amount_nano FROM credit_ledger l JOIN usage u ON u.request_id = l.ref WHERE l.kind = 'charge'"
    ) == [(credits_taken * NANO_PER_CREDIT,)]
    assert balance(paying) == (100 - credits_taken, 0)


def test_the_window_is_looked_at_before_the_balance(paying: Cli, server: ScriptedServer) -> None:
    with_credits(paying, 0)
    with Database.open(paying.database) as database, database.transaction():
        for minutes in range(1, 21):
            accounts.add_admitted(database, time.time_ns() // 1_000_000 - 60_000 * minutes)
    refused = paying.run(*GPT_4O, "hi", "--json")
    assert refused.returncode == 5
    error = json.loads(refused.stderr)["error"]
    assert error["code"] == "rate_limited"
    assert 2390 < error["retry_after"] <= 2400  # when the oldest is an hour old
    assert server.requests == []


def test_without_credits_nothing_is_sent_or_stored(paying: Cli, server: ScriptedServer) -> None:
    with_credits(paying, 0)
    refused = paying.run(*GPT_4O, "hi")
    assert refused.returncode == 4
    assert refused.stderr.decode().startswith("aichat: There are no credits left for gpt-4o. For more: aichat credits")
    assert server.requests == []
    assert paying.rows("SELECT count(*) FROM messages") == [(0,)]
    assert paying.rows("SELECT count(*) FROM rate_events") == [(0,)]


def test_a_failure_before_the_first_word_costs_nothing(paying: Cli, server: ScriptedServer) -> None:
    server.script = {"status": 400, "error": {"message": "no"}}
    assert paying.run(*GPT_4O, "hi").returncode == 6
    assert balance(paying) == (100, 0)
    assert paying.rows("SELECT count(*) FROM credit_holds") == [(0,)]


def test_an_interrupted_answer_is_charged_for_what_arrived(paying: Cli, server: ScriptedServer) -> None:
    server.script = {"deltas": ["word " * 1500, "never"], "stall_after": 1}
    with paying.start(*GPT_4O, "hi") as process:
        assert process.stdout is not None
        process.stdout.read(5)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    [(output_tokens, cost_nano)] = paying.rows("SELECT output_tokens, cost_nano FROM usage")
    assert 1500 <= output_tokens <= 1502
    assert balance(paying) == (100 - -(-cost_nano // NANO_PER_CREDIT), 0)
    assert balance(paying)[0] == 98


def test_a_model_without_a_price_is_refused_and_a_free_one_is_not_limited(paying: Cli, server: ScriptedServer) -> None:
    refused = paying.run("-m", "openai/brand-new", "hi")
    assert refused.returncode == 4
    assert b"Nobody knows what openai/brand-new costs" in refused.stderr
    with_credits(paying, 0)
    assert paying.run("models", "price", "openai/brand-new", "--free").returncode == 0
    assert paying.run("-m", "openai/brand-new", "hi").returncode == 0
    assert paying.rows("SELECT count(*) FROM rate_events") == [(0,)]


def test_a_price_of_ones_own_is_what_a_call_costs(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": "ok", "usage": {"input": 1000, "output": 500, "cached": 400, "reasoning": 100}}
    given = ("--input", "1", "--output", "10", "--cached", "0.5", "--reasoning", "20")
    assert cli.run("models", "price", "gpt-4o", *given).returncode == 0
    cli.run("-m", "gpt-4o", "hi")
    cli.run("models", "price", "gpt-4o", "--remove")
    cli.run("-m", "gpt-4o", "hi")
    expected = 600 * 1_000 + 400 * 500 + 400 * 10_000 + 100 * 20_000
    assert cli.rows("SELECT cost_nano FROM usage ORDER BY rowid") == [(expected,), (7_000_000,)]


@pytest.mark.parametrize("arguments", [("--input", "0", "--output", "1"), ("--input", "1"), ("--input", "-1"), ()])
def test_a_price_that_cannot_be_right_is_refused(cli: Cli, server: ScriptedServer, arguments: tuple[str, ...]) -> None:
    refused = cli.run("models", "price", "gpt-4o", *arguments)
    assert refused.returncode in {1, 2}
    assert refused.stderr.count(b"\n") == 1
    assert not cli.config_file.exists()


def test_an_answer_is_kept_as_short_as_the_balance_pays_for(paying: Cli, server: ScriptedServer) -> None:
    with_credits(paying, 5)
    done = paying.run(*GPT_4O, "hi")
    assert b"5 credits, pays for an answer of up to 4,996 tokens" in done.stderr
    assert server.requests[0].body["max_completion_tokens"] == 4996


def test_a_fallback_is_paid_for_in_place_of_the_model_that_failed(paying: Cli, server: ScriptedServer) -> None:
    server.script = [{"status": 400, "error": {"message": "no"}}, {"text": "ok", "usage": {"input": 5, "output": 1}}]
    assert paying.run(*GPT_4O, "hi", "--fallback", "gpt-4o-mini").returncode == 0
    assert balance(paying) == (99, 0)
    assert paying.rows("SELECT model, cost_nano FROM usage") == [("gpt-4o-mini", 1350)]
    assert paying.rows("SELECT count(*) FROM rate_events") == [(1,)]


def test_a_fallback_that_is_too_expensive_is_not_asked(paying: Cli, server: ScriptedServer) -> None:
    with_credits(paying, 1)
    server.script = {"status": 400, "error": {"message": "no"}}
    refused = paying.run("-m", "gpt-4o-mini", "hi", "--fallback", "gpt-4o", "-o", "max_tokens", "15000")
    assert refused.returncode == 4
    assert len(server.requests) == 1
    assert balance(paying) == (1, 0)


# ----- many at once


@dataclass(frozen=True)
class Ended:
    code: int
    error: str


def crowd(cli: Cli, count: int, folder: Path, *arguments: str) -> list[Ended]:
    """Run the program so many times at once."""
    folder.mkdir()
    subprocess.run(
        [sys.executable, "-m", "tests.cli.crowd", str(count), str(folder), *arguments],
        env=cli.environment,
        cwd=ROOT,
        check=True,
        timeout=120,
    )
    return [
        Ended(int((folder / f"{number}.code").read_text()), (folder / f"{number}.err").read_text())
        for number in range(count)
    ]


def test_forty_at_once_with_ten_affordable_send_exactly_ten(
    paying: Cli, server: ScriptedServer, tmp_path: Path
) -> None:
    server.script = {"text": "ok", "usage": {"input": 10, "output": 5}, "first_byte_delay": 1.0}
    paying.run("history", "list")
    with_credits(paying, 10)
    ended = crowd(paying, 40, tmp_path / "crowd", "-m", "gpt-4o-mini", "hi")
    assert len(server.requests) == 10
    assert sorted(each.code for each in ended) == [0] * 10 + [4] * 30
    assert balance(paying) == (0, 0)
    assert paying.rows("SELECT count(*) FROM usage") == [(10,)]


def test_sixty_at_once_with_a_limit_of_twenty_send_exactly_twenty(
    paying: Cli, server: ScriptedServer, tmp_path: Path
) -> None:
    server.script = {"text": "ok", "usage": {"input": 10, "output": 5}}
    paying.run("history", "list")
    began = time.time()
    ended = crowd(paying, 60, tmp_path / "crowd", "-m", "gpt-4o-mini", "hi", "--json")
    took = time.time() - began
    assert len(server.requests) == 20
    assert sorted(each.code for each in ended) == [0] * 20 + [5] * 40
    for each in ended:
        if each.code == 5:
            assert 3600 - took - 1 <= json.loads(each.error)["error"]["retry_after"] <= 3600


def test_a_place_in_the_window_is_free_when_retry_after_said(paying: Cli, server: ScriptedServer) -> None:
    paying.run("history", "list")
    with Database.open(paying.database) as database, database.transaction():
        now = time.time_ns() // 1_000_000
        for number in range(20):
            accounts.add_admitted(database, now - 3_600_000 + 4000 + number)
    refused = json.loads(paying.run(*GPT_4O, "hi", "--json").stderr)["error"]
    assert 0 < refused["retry_after"] <= 4
    time.sleep(refused["retry_after"])
    assert paying.run(*GPT_4O, "hi").returncode == 0


# ----- processes that die


@pytest.mark.parametrize("mode", ["credits", "own-keys"])
def test_a_killed_call_is_settled_at_the_next_start_for_what_arrived(
    cli: Cli, server: ScriptedServer, tmp_path: Path, mode: str
) -> None:
    cli.environ["AICHAT_BILLING_MODE"] = mode
    server.script = {"deltas": ["word " * 1500, "never"], "stall_after": 1}
    with cli.start(*GPT_4O, "hi") as process:
        wait_until(lambda: bool(cli.database.exists() and cli.rows("SELECT 1 FROM messages WHERE length(content) > 5")))
        held = cli.rows("SELECT amount_nano > 0 FROM credit_holds")
        process.kill()
        process.wait()
    assert held == [(int(mode == "credits"),)]
    ended = crowd(cli, 4, tmp_path / "crowd", "history", "rm", "another")  # they all find it
    assert {each.error for each in ended} == {'aichat: There is no conversation "another". Run: aichat history list\n'}
    [(tokens, cost, provenance, status)] = cli.rows("SELECT output_tokens, cost_nano, provenance, status FROM usage")
    assert (tokens in range(1500, 1503), provenance, status) == (True, "estimated", "stopped")
    assert balance(cli) == ((98, 0) if mode == "credits" else (100, 0))
    assert 15_000_000 <= cost < 16_000_000
    assert cli.rows("SELECT status FROM messages WHERE role = 'assistant'") == [("stopped",)]
    assert cli.rows("SELECT count(*) FROM credit_holds") == [(0,)]
    cli.run("history", "list")
    assert cli.rows("SELECT count(*) FROM usage") == [(1,)]


def wait_until(condition: object, timeout: float = 20.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# ----- caps on one's own keys


def test_a_cap_of_a_day_is_never_gone_over(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": "ok", "usage": {"input": 1000, "output": 500}}
    cli.environ["AICHAT_LIMITS_DAILY_USD"] = "0.01"
    first = cli.run(*GPT_4O, "hi")
    assert first.returncode == 0
    assert b"pays for an answer of up to 9" in first.stderr
    refused = cli.run(*GPT_4O, "hi", "-o", "max_tokens", "300")
    assert refused.returncode == 4
    assert refused.stderr.decode() == (
        "aichat: gpt-4o may cost up to $0.0030 for this; your cap today is $0.0100, with $0.0075 spent."
        " To raise it: aichat config set limits.daily_usd AMOUNT; or ask for a shorter answer: -o max_tokens 500\n"
    )
    assert len(server.requests) == 1


def test_a_cap_holds_for_calls_at_once(cli: Cli, server: ScriptedServer, tmp_path: Path) -> None:
    server.script = {"text": "ok", "usage": {"input": 10, "output": 300}, "first_byte_delay": 1.0}
    cli.environ["AICHAT_LIMITS_DAILY_USD"] = "0.01"
    cli.run("history", "list")
    ended = crowd(cli, 12, tmp_path / "crowd", *GPT_4O, "hi", "-o", "max_tokens", "300")
    assert sorted(each.code for each in ended) == [0] * 3 + [4] * 9
    assert len(server.requests) == 3
    assert any("held for calls under way" in each.error for each in ended)


def test_a_cap_of_nothing_leaves_what_is_free(cli: Cli, server: ScriptedServer) -> None:
    cli.environ["AICHAT_LIMITS_MONTHLY_USD"] = "0"
    refused = cli.run(*GPT_4O, "hi")
    assert refused.returncode == 4
    assert b"Your cap of $0 this month is reached, with $0 spent." in refused.stderr


@pytest.mark.parametrize(
    ("cap", "said"),
    [("0.0090", "83 % of your cap"), ("0.0075", "100 % of your cap"), ("0.1", "")],
    ids=["80 %", "100 %", "far"],
)
def test_a_cap_that_comes_near_is_told_once(cli: Cli, server: ScriptedServer, cap: str, said: str) -> None:
    server.script = {"text": "ok", "usage": {"input": 1000, "output": 500}}
    cli.environ["AICHAT_LIMITS_DAILY_USD"] = cap
    done = cli.run(*GPT_4O, "hi", "-o", "max_tokens", "500")
    assert done.returncode == 0
    shown = "80 % of your cap" if said.startswith("83") else said
    assert (shown or "ok") in done.stdout.decode() + done.stderr.decode()
    if not said:
        assert b"of your cap" not in done.stderr
    again = cli.run("-m", "gpt-4o-mini", "hi", "-o", "max_tokens", "1")
    assert b"of your cap is spent" not in again.stderr


def test_ten_credits_left_are_told(paying: Cli, server: ScriptedServer) -> None:
    paying.run("history", "list")
    with_credits(paying, 11)
    assert b"10 credits are left. For more: aichat credits buy small" in paying.run("-m", "gpt-4o-mini", "a").stderr
    assert b"credits are left." not in paying.run("-m", "gpt-4o-mini", "a").stderr


def test_max_cost_holds_for_one_run(cli: Cli, server: ScriptedServer) -> None:
    assert cli.run(*GPT_4O, "hi", "--max-cost", "0.001").returncode == 4
    done = cli.run(*GPT_4O, "hi", "--max-cost", "0.01")
    assert done.returncode == 0
    assert server.requests[-1].body["max_completion_tokens"] <= 1000


@pytest.mark.parametrize("amount", ["-1", "nan", "inf", "much"])
def test_a_max_cost_that_is_no_amount_is_refused(cli: Cli, amount: str) -> None:
    refused = cli.run("hi", "--max-cost", amount)
    assert refused.returncode == 2
    assert b"--max-cost" in refused.stderr


def test_a_cap_needs_books_that_can_be_kept(cli: Cli, server: ScriptedServer) -> None:
    cli.database.write_bytes(b"this is no database" * 100)
    cli.environ["AICHAT_LIMITS_DAILY_USD"] = "1"
    refused = cli.run(*GPT_4O, "hi")
    assert refused.returncode == 1
    assert server.requests == []


def test_without_a_cap_a_turn_is_answered_also_where_no_books_can_be_kept(cli: Cli, server: ScriptedServer) -> None:
    cli.database.write_bytes(b"this is no database" * 100)
    assert cli.run(*GPT_4O, "hi").stdout == b"You said: hi"


def test_a_turn_that_is_not_kept_is_paid_for(paying: Cli, server: ScriptedServer) -> None:
    assert paying.run(*GPT_4O, "hi", "-n").returncode == 0
    assert balance(paying) == (99, 0)
    assert paying.rows("SELECT count(*) FROM messages") == [(0,)]
    assert paying.rows("SELECT count(*) FROM credit_holds") == [(0,)]


# ----- what is expensive is asked about


def test_an_expensive_prompt_is_not_sent_unasked(cli: Cli, server: ScriptedServer) -> None:
    text = "lorem ipsum " * 1_500
    cli.environ["AICHAT_LIMITS_CONFIRM_USD"] = "0.005"
    refused = cli.run(*GPT_4O, "sum up", stdin=text)
    assert refused.returncode == 2
    assert b"gpt-4o reads about 3,0" in refused.stderr
    assert b"--yes" in refused.stderr
    assert server.requests == []
    assert cli.run(*GPT_4O, "sum up", "--yes", stdin=text).returncode == 0
    assert cli.run(*GPT_4O, "sum up", stdin=text, environ={"AICHAT_LIMITS_CONFIRM_USD": "none"}).returncode == 0


@pytest.mark.parametrize(
    ("model", "limit", "held"), [("gpt-4o", None, 17), ("claude-sonnet-4-5", 8192, 13), ("lab", 4096, 5)]
)
def test_what_is_held_is_what_the_model_may_write_at_most(
    paying: Cli, server: ScriptedServer, model: str, limit: int | None, held: int
) -> None:
    """The limit is sent where the wire demands one, and where nobody knows the model's own."""
    lab = ("--base-url", server.openai_url, "--input-price", "1", "--output-price", "10")
    assert paying.run("models", "add", "lab", *lab).returncode == 0
    server.script = {"text": "ok", "stall_after": 0, "usage": {"input": 1, "output": 1}}
    with paying.start("-m", model, "hi") as process:
        server.wait_for_requests(1)
        assert balance(paying) == (100, held)
        body = server.requests[0].body
        assert body.get("max_tokens", body.get("max_completion_tokens")) == limit
        server.release()
        assert process.wait(20) == 0
    assert balance(paying) == (99, 0)


def test_a_call_is_held_at_the_price_it_is_settled_at(paying: Cli, server: ScriptedServer) -> None:
    server.script = {"text": "ok", "stall_after": 0, "usage": {"input": 1, "output": 1}}
    with paying.start(*GPT_4O, "hi", "-o", "max_tokens", "3000") as process:
        server.wait_for_requests(1)
        assert balance(paying) == (100, 4)
        server.release()
        assert process.wait(20) == 0
    assert balance(paying) == (99, 0)


# ----- embedding by a provider's model


def embed(cli: Cli, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Ingest a short text by a paid model."""
    paid = ("--embedding-model", "text-embedding-3-small", "--name", "note", "--yes")
    return cli.run("ingest", "-", *paid, *arguments, stdin="# Tea\n\nGreen tea is steeped at 80 degrees.")


def test_embedding_is_paid_for_like_any_other_call(paying: Cli, server: ScriptedServer) -> None:
    server.script = {"embeddings": {"dimensions": 1536}, "usage": {"input": 12, "output": 0}}
    assert embed(paying).returncode == 0
    assert len(server.requests) == 1
    assert paying.rows("SELECT type, input_tokens, cost_nano, status FROM usage") == [
        ("embedding", 12, 240, "complete")
    ]
    assert balance(paying) == (99, 0)
    assert paying.rows("SELECT count(*) FROM credit_holds") == [(0,)]


def test_embedding_that_fails_costs_nothing(paying: Cli, server: ScriptedServer) -> None:
    server.script = {"status": 400, "error": {"message": "no"}}
    assert embed(paying).returncode != 0
    assert balance(paying) == (100, 0)
    assert paying.rows("SELECT count(*) FROM credit_holds") == [(0,)]


@pytest.mark.parametrize("limit", ["cap", "flag", "credits"])
def test_embedding_over_a_limit_is_refused_before_anything_is_sent(
    cli: Cli, server: ScriptedServer, limit: str
) -> None:
    if limit == "cap":
        cli.environ["AICHAT_LIMITS_DAILY_USD"] = "0"
    if limit == "credits":
        cli.environ["AICHAT_BILLING_MODE"] = "credits"
        cli.run("history", "list")
        with_credits(cli, 0)
    refused = embed(cli, *(["--max-cost", "0"] if limit == "flag" else []))
    assert refused.returncode == 4, refused.stderr
    assert refused.stderr.count(b"\n") == 1
    assert server.requests == []
