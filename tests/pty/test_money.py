"""Money in the chat: in view all the time, told in time, and nothing typed is lost to a refusal."""

from __future__ import annotations

import pytest

from aichat_cli.storage.database import Database
from tests.billing.books import leave_credits
from tests.pty.terminal import terminal
from tests.runner import Cli
from tests.servers.scripted import ScriptedServer

CTRL_D = "\x04"
READY = "gpt-4o-mini |"


@pytest.fixture
def paying(cli: Cli, server: ScriptedServer) -> Cli:
    """A user who pays with credits."""
    server.script = {"text": "Bonjour", "usage": {"input": 1000, "output": 500}}
    cli.environ["AICHAT_BILLING_MODE"] = "credits"
    cli.run("history", "list")
    return cli


def last_line(text: str) -> str:
    return text.rstrip().splitlines()[-1]


def test_the_balance_is_in_view_before_and_after_an_answer(paying: Cli) -> None:
    with terminal(paying) as screen:
        screen.wait_for("credits 100")
        screen.type("hello\r")
        screen.wait_for(lambda text: last_line(text).endswith("credits 99"))


def test_what_was_spent_today_is_in_view_with_its_cap(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": "Bonjour", "usage": {"input": 1000, "output": 500}}
    cli.environ["AICHAT_LIMITS_DAILY_USD"] = "1"
    with terminal(cli) as screen:
        screen.wait_for("today $0 of $1.00")
        screen.type("hello\r")
        screen.wait_for(lambda text: last_line(text).endswith("today $0.000450 of $1.00"))


def test_a_cap_set_in_the_chat_holds_from_then_on(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": "Bonjour", "usage": {"input": 1000, "output": 500}}
    with terminal(cli) as screen:
        screen.wait_for(READY)
        screen.type("hello\r")
        screen.wait_for("Bonjour")
        screen.wait_for(lambda text: last_line(text).endswith("today $0.000450"))
        screen.type("/set limits.daily_usd 0.0004\r")
        screen.wait_for("of $0.000400")
        screen.type("and again\r")
        screen.wait_for("Your cap of $0.000400 today is reached")
        screen.wait_for(lambda text: text.rstrip().splitlines()[-2] == "> and again")

    assert len(server.requests) == 1


def test_few_credits_are_told_and_without_any_the_message_is_kept(paying: Cli, server: ScriptedServer) -> None:
    with Database.open(paying.database) as database:
        leave_credits(database, 1)
    with terminal(paying) as screen:
        screen.wait_for("credits 1")
        screen.type("hello\r")
        screen.wait_for(lambda text: last_line(text).endswith("credits 0"))
        screen.type("a long thought\r")
        screen.wait_for("There are no credits left for gpt-4o-mini.")
        screen.wait_for(lambda text: text.rstrip().splitlines()[-2] == "> a long thought")

    assert len(server.requests) == 1


def test_an_expensive_message_is_sent_when_it_is_entered_again(cli: Cli, server: ScriptedServer) -> None:
    cli.environ["AICHAT_LIMITS_CONFIRM_USD"] = "0.0000001"
    with terminal(cli) as screen:
        screen.wait_for(READY)
        screen.type("hello\r")
        screen.wait_for("Enter it once more, and it is sent.")
        screen.wait_for(lambda text: text.rstrip().splitlines()[-2] == "> hello")
        assert server.requests == []
        screen.type("\r")
        screen.wait_for("You said: hello")
        screen.type("hello\r")
        screen.wait_for(lambda text: text.count("Enter it once more, and it is sent.") == 2)

    assert len(server.requests) == 1


def test_a_chat_costs_at_most_what_max_cost_says(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": "Bonjour", "usage": {"input": 1000, "output": 500}}
    with terminal(cli, "--max-cost", "0.0008") as screen:
        screen.wait_for(READY)
        screen.type("hello\r")
        screen.wait_for("Bonjour")
        screen.wait_for(lambda text: last_line(text).endswith("today $0.000450"))
        screen.type("again\r")
        screen.wait_for(lambda text: text.count("Bonjour") == 2)
        screen.wait_for(lambda text: last_line(text).endswith("today $0.000900"))
        screen.type("once more\r")
        screen.wait_for("--max-cost $0.000800 is spent")

    assert len(server.requests) == 2
