"""Credits bought through a gateway: the program, the gateway, and Stripe's double behind it."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.account.users import OFFLINE, account_file, log_in
from tests.runner import Cli
from tests.servers.gateway import RunningGateway
from tests.servers.scripted import ScriptedServer
from tests.servers.stripe_double import WEBHOOK_SECRET, StripeDouble


@pytest.fixture(scope="module")
def stripe() -> Iterator[StripeDouble]:
    with StripeDouble() as double:
        yield double


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, provider: ScriptedServer, stripe: StripeDouble
) -> Iterator[RunningGateway]:
    environ = {
        "STRIPE_API_KEY": stripe.key,
        "AICHAT_STRIPE_API_BASE": stripe.url,
        "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
    }
    with RunningGateway(tmp_path_factory.mktemp("shop"), provider, environ=environ) as running:
        yield running


@contextmanager
def buying(cli: Cli, stripe: StripeDouble, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """`credits buy`, as far as the address of a page to pay on."""
    with cli.start("credits", "buy", *arguments) as process:
        assert process.stderr is not None
        while b"checkout.stripe.com" not in (line := process.stderr.readline()):
            assert line, process.stderr.read()
        yield process


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out.decode(), err.decode()


def test_a_package_is_bought_from_the_price_to_the_balance(
    cli: Cli, gateway: RunningGateway, stripe: StripeDouble
) -> None:
    log_in(cli, gateway.url, gateway.key("anna"))

    with buying(cli, stripe, "medium") as process:
        stripe.pay(stripe.last_session["id"])
        code, out, _ = ended(process)

    assert (code, out) == (0, "500 credits added. Balance: 600.\n")
    assert cli.json("credits")["balance"] == 600
    assert json.loads(account_file(cli).read_text())["purchases"] == []
    assert json.loads(cli.run("credits", "--local", "--json").stdout)["balance"] == 100


def test_what_is_bought_and_for_whom_is_said_before_it_is_paid(
    cli: Cli, gateway: RunningGateway, stripe: StripeDouble
) -> None:
    log_in(cli, gateway.url, gateway.key("bert"))

    done = cli.run("credits", "buy", "small", "--timeout", "0")

    told = done.stderr.decode()
    assert done.returncode == 1
    assert f"small: 100 credits for $5.00, for your account on {gateway.url}." in told
    assert stripe.last_session["url"] in told
    assert "█" in told or "▀" in told
    assert "is not paid yet. To go on with it: aichat credits buy --resume" in told


def test_ctrl_c_stops_waiting_and_loses_nothing(cli: Cli, gateway: RunningGateway, stripe: StripeDouble) -> None:
    log_in(cli, gateway.url, gateway.key("cleo"))

    with buying(cli, stripe, "small") as process:
        session = stripe.last_session["id"]
        process.send_signal(signal.SIGINT)
        code, _, told = ended(process)
    assert code == 130
    assert "aichat credits buy --resume" in told
    assert "begun and not seen to their end" in cli.run("credits").stderr.decode()

    stripe.pay(session)
    resumed = cli.run("credits", "buy", "--resume")
    assert (resumed.returncode, resumed.stdout) == (0, b"100 credits added. Balance: 200.\n")
    assert cli.run("credits", "buy", "--resume").stderr == b"No purchase is open.\n"


def test_the_same_package_again_goes_on_with_the_purchase_that_is_open(
    cli: Cli, gateway: RunningGateway, stripe: StripeDouble
) -> None:
    log_in(cli, gateway.url, gateway.key("dora"))
    cli.run("credits", "buy", "large", "--timeout", "0")
    known = len(stripe.sessions)

    again = cli.run("credits", "buy", "large", "--timeout", "0", "--json")

    assert len(stripe.sessions) == known
    told = json.loads(again.stderr.splitlines()[0])["checkout"]
    assert set(told) == {"purchase", "package", "amount_cents", "currency", "live", "url"}
    report = json.loads(again.stdout)
    assert report["balance"] == 100
    assert [(each["result"], each["granted"]) for each in report["purchases"]] == [("timeout", False)]
    assert json.loads(account_file(cli).read_text())["purchases"] == [told["purchase"]]


def test_a_purchase_that_expires_is_told(cli: Cli, gateway: RunningGateway, stripe: StripeDouble) -> None:
    log_in(cli, gateway.url, gateway.key("emil"))
    with buying(cli, stripe, "small") as process:
        stripe.let_expire(stripe.last_session["id"])
        code, _, told = ended(process)
    assert code == 1
    assert "The purchase of small for $5.00 has expired; it was not paid." in told


def test_a_key_that_may_not_buy_is_told_so(cli: Cli, gateway: RunningGateway) -> None:
    log_in(cli, gateway.url, gateway.key("fred", scopes=("chat",)))
    done = cli.run("credits", "buy", "small")
    assert done.returncode == 3
    assert b"may not be used for" in done.stderr


def test_without_a_network_nothing_is_begun(cli: Cli, gateway: RunningGateway, stripe: StripeDouble) -> None:
    log_in(cli, gateway.url, gateway.key("gerd"))
    known = len(stripe.sessions)
    done = cli.run("credits", "buy", "small", environ=OFFLINE)
    assert done.returncode == 6
    assert len(stripe.sessions) == known


def test_a_gateway_that_sells_nothing_says_so(
    cli: Cli, tmp_path_factory: pytest.TempPathFactory, provider: ScriptedServer
) -> None:
    with RunningGateway(tmp_path_factory.mktemp("no shop"), provider, environ={"STRIPE_API_KEY": ""}) as closed:
        log_in(cli, closed.url, closed.key("hugo"))
        done = cli.run("credits", "buy", "small")
    assert done.returncode == 6
    assert b"Credits are not sold on this gateway." in done.stderr


def test_a_gateway_that_is_away_for_a_while_is_waited_for(
    cli: Cli, gateway: RunningGateway, stripe: StripeDouble
) -> None:
    log_in(cli, gateway.url, gateway.key("ines"))
    with buying(cli, stripe, "small") as process:
        session = stripe.last_session["id"]
        stripe.go_down()
        assert process.stderr is not None
        while b"Still trying" not in (line := process.stderr.readline()):
            assert line
        stripe.go_down(is_down=False)
        stripe.pay(session)
        code, out, _ = ended(process)
    assert (code, out) == (0, "100 credits added. Balance: 200.\n")


def test_a_payment_by_bank_is_said_to_take_its_time_and_is_seen_to_its_end_later(
    cli: Cli, gateway: RunningGateway, stripe: StripeDouble
) -> None:
    log_in(cli, gateway.url, gateway.key("jana"))
    with buying(cli, stripe, "small") as process:
        session = stripe.last_session["id"]
        stripe.begin_bank_payment(session)
        code, out, _ = ended(process)
    assert code == 0
    assert "The bank is still processing the payment of small for $5.00." in out
    stripe.end_bank_payment(session, is_paid=True)
    assert cli.run("credits", "buy", "--resume").stdout == b"100 credits added. Balance: 200.\n"
