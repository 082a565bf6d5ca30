"""`aichat credits`, as it is typed: what is bought, told, cut off and gone on with, with Stripe's double for Stripe."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aichat_cli.storage.database import Database
from tests.billing.books import leave_credits
from tests.runner import ROOT, Cli
from tests.servers.scripted import ScriptedServer
from tests.servers.stripe_double import Failure, StripeDouble, until


@pytest.fixture
def buyer(cli: Cli, stripe: StripeDouble) -> Cli:
    """A user whose key for Stripe is in the environment."""
    cli.environ |= {"STRIPE_API_KEY": stripe.key, "AICHAT_STRIPE_API_BASE": stripe.url}
    return cli


@contextmanager
def buying(buyer: Cli, stripe: StripeDouble, *arguments: str, fresh: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """`credits buy`, as far as a page to pay on whose address was told."""
    known = len(stripe.sessions)
    with buyer.start("credits", "buy", *arguments, fresh=fresh) as process:
        until(lambda: len(stripe.sessions) > known)
        assert process.stderr is not None
        while b"checkout.stripe.com" not in (line := process.stderr.readline()):
            assert line, process.stderr.read()
        yield process


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=30)
    return process.returncode, out.decode(), err.decode()


def test_a_package_is_bought_from_the_price_to_the_balance(buyer: Cli, stripe: StripeDouble) -> None:
    with buying(buyer, stripe, "medium") as process:
        stripe.pay(stripe.last_session["id"], come_back=True)
        code, out, _ = ended(process)
    assert (code, out) == (0, "500 credits added. Balance: 600.\n")
    history = buyer.json("credits", "history")
    assert [(each["kind"], each["credits"], each["balance"]) for each in history] == [
        ("purchase", 500, 600),
        ("grant", 100, 100),
    ]
    assert history[0]["ref"] == stripe.last_session["id"]


def test_what_is_bought_the_price_and_the_mode_are_told_before_and_the_address_with_its_code(
    buyer: Cli, stripe: StripeDouble
) -> None:
    done = buyer.run("credits", "buy", "large", "--timeout", "0")
    told = done.stderr.decode()
    assert done.returncode == 1
    assert done.stdout == b""
    assert told.startswith("large: 2,000 credits for $70.00. Test mode: no money moves.\n")
    assert stripe.last_session["url"] in told
    assert "█▀" in told
    assert "aichat credits buy --resume" in told


def test_a_live_key_is_not_called_a_test(buyer: Cli, stripe: StripeDouble) -> None:
    stripe.key, stripe.is_live = "rk_live_51abcdefgh", True
    buyer.environ["STRIPE_API_KEY"] = stripe.key
    told = buyer.run("credits", "buy", "small", "--timeout", "0").stderr.decode()
    assert told.startswith("small: 100 credits for $5.00.\n")


def test_a_purchase_as_json_is_one_object_and_the_address_one_on_stderr(buyer: Cli, stripe: StripeDouble) -> None:
    with buying(buyer, stripe, "small", "--json") as process:
        stripe.pay(stripe.last_session["id"], come_back=True)
        code, out, err = ended(process)
    printed = json.loads(out)
    assert code == 0
    assert printed["balance"] == 200
    assert [(each["package"], each["result"], each["granted"]) for each in printed["purchases"]] == [
        ("small", "paid", True)
    ]
    assert err == ""


def test_a_cancelled_purchase_says_so_and_costs_nothing(buyer: Cli, stripe: StripeDouble) -> None:
    with buying(buyer, stripe, "small") as process:
        stripe.cancel(stripe.last_session["id"])
        code, out, err = ended(process)
    assert (code, out) == (1, "")
    assert "The purchase of small for $5.00 was cancelled; it was not paid." in err
    assert stripe.last_session["status"] == "expired"
    assert buyer.json("credits")["open_purchases"] == 0


def test_an_expired_purchase_says_so(buyer: Cli, stripe: StripeDouble) -> None:
    with buying(buyer, stripe, "small") as process:
        stripe.let_expire(stripe.last_session["id"])
        code, _, err = ended(process)
    assert code == 1
    assert "has expired; it was not paid" in err


def test_a_wrong_amount_is_refused_and_says_what_to_do(buyer: Cli, stripe: StripeDouble) -> None:
    with buying(buyer, stripe, "small") as process:
        stripe.last_session["amount_total"] = 1
        stripe.pay(stripe.last_session["id"], come_back=True)
        code, out, err = ended(process)
    assert (code, out) == (1, "")
    assert "Money may have been taken" in err
    assert f"Find {stripe.last_session['id']} in the Stripe dashboard" in err
    assert buyer.json("credits")["balance"] == 100


def test_ctrl_c_stops_waiting_and_resume_grants_what_was_paid_meanwhile(buyer: Cli, stripe: StripeDouble) -> None:
    with buying(buyer, stripe, "medium") as process:
        process.send_signal(signal.SIGINT)
        code, out, err = ended(process)
    assert (code, out) == (130, "")
    assert "go on with: aichat credits buy --resume" in err
    stripe.pay(stripe.last_session["id"])
    done = buyer.run("credits", "buy", "--resume")
    assert (done.returncode, done.stdout) == (0, b"500 credits added. Balance: 600.\n")
    again = buyer.run("credits", "buy", "--resume")
    assert (again.returncode, again.stdout) == (0, b"")
    assert b"No purchase is open" in again.stderr
    assert len(stripe.sessions) == 1


def test_a_process_killed_after_the_payment_loses_nothing(buyer: Cli, stripe: StripeDouble) -> None:
    with buying(buyer, stripe, "medium") as process:
        process.kill()
        process.wait(10)
        stripe.pay(stripe.last_session["id"])
    for _ in range(2):
        buyer.run("credits", "buy", "--resume")
    assert buyer.json("credits")["balance"] == 600
    assert len(stripe.sessions) == 1


def test_resume_waits_for_what_can_still_be_paid_on_the_page_it_had(buyer: Cli, stripe: StripeDouble) -> None:
    buyer.run("credits", "buy", "medium", "--timeout", "0")
    with buyer.start("credits", "buy", "--resume") as process:
        assert process.stderr is not None
        while b"Waiting" not in process.stderr.readline():
            pass
        stripe.pay(stripe.last_session["id"], come_back=True)
        assert ended(process)[:2] == (0, "500 credits added. Balance: 600.\n")


def test_a_network_lost_before_the_answer_is_gone_on_with_and_makes_one_session(
    buyer: Cli, stripe: StripeDouble
) -> None:
    stripe.failures = dict.fromkeys((1, 2, 3), "cut_after")
    done = buyer.run("credits", "buy", "medium")
    assert done.returncode == 6
    assert b"aichat credits buy --resume" in done.stderr
    assert buyer.json("credits")["open_purchases"] == 1
    assert len(stripe.sessions) == 1
    stripe.pay(stripe.last_session["id"])
    resumed = buyer.run("credits", "buy", "--resume")
    assert (resumed.returncode, resumed.stdout) == (0, b"500 credits added. Balance: 600.\n")
    assert len(stripe.sessions) == 1


@pytest.mark.parametrize("request_number", range(3))
@pytest.mark.parametrize("failure", ["cut_before", "cut_after"])
def test_wherever_it_is_killed_there_is_one_session_and_one_grant(
    buyer: Cli, stripe: StripeDouble, request_number: int, failure: Failure
) -> None:
    stripe.failures = dict.fromkeys(range(request_number, request_number + 40), failure)
    with buyer.start("credits", "buy", "small") as process:
        until(lambda: len(stripe.requests) > request_number)
        process.kill()
        process.wait(10)
    stripe.failures = {}
    assert buyer.run("credits", "buy", "small", "--timeout", "0").returncode == 1
    assert len(stripe.sessions) == 1
    stripe.pay(stripe.last_session["id"])
    assert buyer.run("credits", "buy", "--resume").returncode == 0
    assert buyer.json("credits")["balance"] == 200


def test_two_who_buy_the_same_at_once_share_one_session_and_one_grant(buyer: Cli, stripe: StripeDouble) -> None:
    buyer.run("credits")
    with buyer.start("credits", "buy", "medium") as first, buyer.start("credits", "buy", "medium") as second:
        for process in (first, second):
            assert process.stderr is not None
            while b"Waiting" not in (line := process.stderr.readline()):
                assert line
        assert len(stripe.sessions) == 1
        stripe.pay(stripe.last_session["id"], come_back=True)
        printed = sorted(ended(process)[1] for process in (first, second))
    assert printed[0] == "500 credits added. Balance: 600.\n"
    assert printed[1] == "500 credits had been added already. Balance: 600.\n"
    assert buyer.json("credits")["balance"] == 600


def test_refunds_are_found_by_resume_and_told(buyer: Cli, stripe: StripeDouble) -> None:
    with buying(buyer, stripe, "medium") as process:
        stripe.pay(stripe.last_session["id"], come_back=True)
        ended(process)
    refund = stripe.refund(stripe.last_session["id"], 500)
    done = buyer.run("credits", "buy", "--resume")
    assert done.stdout.decode() == f"125 credits taken back: refund {refund['id']}.\n"
    with Database.open(buyer.database) as database:
        leave_credits(database, 100)
    stripe.refund(stripe.last_session["id"], 1500)
    printed = json.loads(buyer.run("credits", "buy", "--resume", "--json").stdout)
    assert [(each["credits"], each["uncovered"]) for each in printed["reversals"]] == [(-100, 275)]
    assert printed["balance"] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("buy",), 2, "Name a package, or --resume."),
        (("buy", "small", "--resume"), 2, "Name a package, or --resume."),
        (("buy", "huge"), 2, 'No package is called "huge". There are small (100 for $5), medium (500 for $20), large'),
        (("statement", "--since", "tomorrow"), 2, '--since cannot be "tomorrow"'),
        (("statement", "--since", "2026-02-02", "--until", "2026-02-01"), 2, "--since is not before --until"),
    ],
)
def test_what_is_typed_wrong_is_told(buyer: Cli, arguments: tuple[str, ...], code: int, told: str) -> None:
    done = buyer.run("credits", *arguments)
    assert (done.returncode, done.stdout) == (code, b"")
    assert told in done.stderr.decode()


@pytest.mark.parametrize(
    ("environ", "code", "told"),
    [
        ({"STRIPE_API_KEY": ""}, 3, "Run: aichat keys set stripe, or set STRIPE_API_KEY"),
        ({"STRIPE_API_KEY": "pk_test_1234567890"}, 3, "is not a secret key"),
        ({"STRIPE_API_KEY": "sk_test_1234567890"}, 3, "Stripe refused the key"),
        ({"AICHAT_STRIPE_API_BASE": "https://evil.example"}, 1, "it takes a loopback address"),
    ],
)
def test_what_keeps_from_buying_is_told_with_its_exit_code(
    buyer: Cli, stripe: StripeDouble, environ: dict[str, str], code: int, told: str
) -> None:
    done = buyer.run("credits", "buy", "small", environ=environ)
    assert done.returncode == code
    assert told in done.stderr.decode()
    assert stripe.sessions == {}


def test_the_other_variable_holds_the_key_too(buyer: Cli, stripe: StripeDouble) -> None:
    environ = {"STRIPE_API_KEY": "", "STRIPE_SECRET_KEY": stripe.key}
    assert buyer.run("credits", "buy", "small", "--timeout", "0", environ=environ).returncode == 1
    assert len(stripe.sessions) == 1


def test_without_the_extra_buying_says_how_to_get_it_and_the_rest_works(buyer: Cli, tmp_path: Path) -> None:
    without = tmp_path / "without.py"
    without.write_text(
        "import importlib.util as u, sys\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name in {'stripe', 'segno'} else find(name, *rest)\n"
        "sys.modules['stripe'] = sys.modules['segno'] = None\n"
        "from aichat_cli.__main__ import main\n"
        "main()\n",
        "utf-8",
    )

    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, without, *arguments], env=buyer.environment, capture_output=True, timeout=60, check=False
        )

    refused = run("credits", "buy", "small")
    assert refused.returncode == 1
    assert b"pip install 'aichat-terminal[stripe]'" in refused.stderr
    assert run("credits").returncode == 0
    assert run("credits", "statement").returncode == 0


def test_only_buying_loads_the_sdk_of_stripe(buyer: Cli) -> None:
    program = (
        "import sys\nfrom aichat_cli.cli.main import run\n"
        "for words in (['credits', '--json'], ['credits', 'history', '--json'], ['credits', 'statement', '--json']):\n"
        "    assert run(words) == 0\n"
        "loaded = {'stripe', 'requests', 'segno', 'webbrowser', 'http.server', 'rich'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=buyer.environment, cwd=ROOT, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def everything_in(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path, path.read_bytes()


def test_the_key_is_nowhere_but_in_the_keyring(buyer: Cli, stripe: StripeDouble) -> None:
    buyer.environ |= {"STRIPE_API_KEY": "", "STRIPE_LOG": "debug"}
    stored = buyer.run("keys", "set", "stripe", stdin=stripe.key)
    assert b"keyring" in stored.stderr
    outputs = [stored.stdout, stored.stderr]
    with buying(buyer, stripe, "medium") as process:
        stripe.pay(stripe.last_session["id"], come_back=True)
        outputs += [text.encode() for text in ended(process)[1:]]
    stripe.refund(stripe.last_session["id"], 100)
    stripe.failures = dict.fromkeys(range(len(stripe.requests) + 1, len(stripe.requests) + 9), "error")
    runs: list[tuple[str, ...]] = [("credits", "buy", "--resume", "--debug")]
    runs += [("credits", "buy", "small", "--debug", "--json"), ("credits", "--json"), ("credits", "history")]
    runs += [("keys", "list"), ("doctor",)]
    for arguments in runs:
        done = buyer.run(*arguments)
        outputs += [done.stdout, done.stderr]
    secret = stripe.key.encode()
    assert {request.headers["authorization"] for request in stripe.requests} == {f"Bearer {stripe.key}"}
    assert not any(secret in output for output in outputs)
    assert [path for path, content in everything_in(buyer.home) if secret in content] == []
    assert json.loads(buyer.run("keys", "list", "--json").stdout) == [{"name": "stripe", "source": "keyring"}]


def test_the_key_is_in_no_list_of_processes(buyer: Cli, stripe: StripeDouble) -> None:
    with buying(buyer, stripe, "small", fresh=True) as process:
        assert stripe.key.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        stripe.let_expire(stripe.last_session["id"])
        ended(process)


def test_the_balance_the_window_and_the_last_entries_are_shown(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": "Bonjour", "usage": {"input": 1000, "output": 500}}
    cli.environ["AICHAT_BILLING_MODE"] = "credits"
    assert cli.run("-m", "gpt-4o", "hello").returncode == 0
    printed = cli.json("credits")
    reset_at = printed["window"].pop("reset_at")
    assert printed == {
        "balance": 99, "held": 0, "plan": "free", "mode": "credits", "window": {"limit": 20, "remaining": 19},
        "open_purchases": 0,
    }  # fmt: skip
    assert reset_at.endswith("Z")
    told = cli.run("credits").stdout.decode()
    assert "balance     99 credits\n" in told
    assert "calls left  19 of 20 within an hour; one more at " in told
    assert "\tcharge\t-1\t\t99\t" in told
    assert cli.run("credits", "history", "--limit", "1").stdout.count(b"\n") == 1
    assert cli.run("credits", "history", "--limit", "1", "--all").stdout.count(b"\n") == 2


def test_a_statement_of_real_calls_reconciles(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": "Bonjour", "usage": {"input": 1000, "output": 500}}
    cli.environ["AICHAT_BILLING_MODE"] = "credits"
    for _ in range(2):
        cli.run("-m", "gpt-4o", "hello")
    printed = cli.json("credits", "statement")
    assert printed["reconciles"] is True
    assert (printed["opening"], printed["grants"], printed["charges"], printed["closing"]) == (0, 100, 2, 98)
    assert (printed["usage_nano"], printed["rounding_nano"], printed["charges_nano"]) == (
        15_000_000,
        5_000_000,
        20_000_000,
    )
    assert cli.json("credits", "statement", "--until", "2020-01-01")["closing"] == 0
    later = cli.json("credits", "statement", "--since", "2999-01-01")
    assert (later["opening"], later["charged_calls"], later["reconciles"]) == (98, 0, True)
    told = cli.run("credits", "statement").stdout.decode()
    assert told.endswith("It reconciles, to the nano-dollar.\n")
    with Database.open(cli.database) as database:
        leave_credits(database, 90)
    assert b"Does not reconcile: 1 charges belong to no call" in cli.run("credits", "statement").stdout


def test_a_broken_pipe_while_waiting_is_quiet_and_grants(buyer: Cli, stripe: StripeDouble) -> None:
    reading, writing = os.pipe()
    with buyer.start("credits", "buy", "small", stdout=writing) as process:
        os.close(writing)
        os.close(reading)
        until(lambda: bool(stripe.sessions))
        threading.Timer(0.5, lambda: stripe.pay(stripe.last_session["id"])).start()
        process.wait(30)
    assert buyer.json("credits")["balance"] == 200
