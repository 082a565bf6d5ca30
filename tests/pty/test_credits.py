"""Credits on a terminal: the browser, the code to scan, the spinner, Ctrl-C, and the chat's `/credits`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.pty.terminal import terminal
from tests.runner import Cli
from tests.servers.scripted import ScriptedServer
from tests.servers.stripe_double import StripeDouble

CTRL_C = "\x03"


@pytest.fixture
def buyer(cli: Cli, stripe: StripeDouble) -> Cli:
    cli.environ |= {"STRIPE_API_KEY": stripe.key, "AICHAT_STRIPE_API_BASE": stripe.url}
    return cli


def test_ctrl_c_leaves_the_terminal_whole_and_resume_goes_on(buyer: Cli, stripe: StripeDouble) -> None:
    with terminal(buyer, "credits", "buy", "medium", rows=40) as screen:
        shown = screen.wait_for("Ctrl+C stops waiting")
        assert "medium: 500 credits for $20.00. Test mode: no money moves." in shown
        assert "▄▄▄▄▄" in shown
        screen.type(CTRL_C)
        screen.wait_for("go on with: aichat credits buy --resume")
        assert screen.wait_for_exit() == 130
        assert screen.echoes
        assert screen.sent.rstrip().endswith(b"\x1b[0m") or b"\x1b[?25h" in screen.sent
    stripe.pay(stripe.last_session["id"])
    with terminal(buyer, "credits", "buy", "--resume") as screen:
        screen.wait_for("500 credits added. Balance: 600.")
        assert screen.wait_for_exit() == 0


def test_a_lost_network_is_told_beside_the_spinner_and_the_payment_is_found_after_it(
    buyer: Cli, stripe: StripeDouble
) -> None:
    with terminal(buyer, "credits", "buy", "small", "--no-browser", rows=40) as screen:
        screen.wait_for("Ctrl+C stops waiting")
        stripe.go_down()
        screen.wait_for("Still trying.")
        stripe.pay(stripe.last_session["id"])
        stripe.go_down(is_down=False)
        screen.wait_for("100 credits added. Balance: 200.")
        assert screen.wait_for_exit() == 0
        assert screen.text.count("Still trying.") == 1


def test_the_browser_is_opened_and_comes_back_to_a_page_that_is_still_there(
    buyer: Cli, stripe: StripeDouble, tmp_path: Path
) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho noise\nprintf %s "$1" > {tmp_path}/opened\n', "utf-8")
    browser.chmod(0o755)
    with terminal(buyer, "credits", "buy", "small", rows=40, BROWSER=str(browser)) as screen:
        screen.wait_for("Pay in the browser.")
        screen.wait_for("Ctrl+C stops waiting")
        assert "▄▄▄▄▄" not in screen.text
        session = stripe.last_session
        assert (tmp_path / "opened").read_text("utf-8") == session["url"]
        stripe.pay(session["id"])
        screen.wait_for("100 credits added. Balance: 200.")
        assert screen.process.poll() is None
        stripe._visit(session["success_url"])
        assert screen.wait_for_exit() == 0


def test_over_ssh_the_address_is_printed(buyer: Cli) -> None:
    with terminal(buyer, "credits", "buy", "small", "--timeout", "0", rows=40, SSH_CONNECTION="1 2 3 4") as screen:
        screen.wait_for("Pay here:")
        assert screen.wait_for_exit() == 1
        assert "▄▄▄▄▄" in screen.text
    assert sys.platform != "darwin" or "Pay in the browser" not in screen.text


def test_a_code_that_would_be_wider_than_the_terminal_is_left_out(buyer: Cli) -> None:
    with terminal(buyer, "credits", "buy", "small", "--timeout", "0", rows=40, columns=30) as screen:
        screen.wait_for("Pay here:")
        assert screen.wait_for_exit() == 1
        assert "▄▄▄▄▄" not in screen.text


def test_the_chat_tells_the_balance(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli, columns=120) as screen:
        screen.wait_for("gpt-4o-mini | ")
        screen.type("/credits\r")
        screen.wait_for("100 credits | plan free | calls left: 20 of 20 within an hour | your own keys pay")
