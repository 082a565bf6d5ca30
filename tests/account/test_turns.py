"""Asking the models of a gateway: who pays, what both sides write down, and what is refused."""

from __future__ import annotations

import json
import time

import pytest

from aichat_cli.core.accounts import NewCall
from aichat_cli.core.errors import CallKnown
from aichat_cli.core.events import Finished
from aichat_cli.core.ids import RequestId, new_id
from aichat_cli.core.messages import ChatMessage
from aichat_cli.core.secret import Secret
from aichat_cli.providers.base import ChatRequest
from aichat_cli.providers.gateway import Listing
from aichat_cli.providers.openai_wire import OpenAIWire
from aichat_cli.storage.database import Database
from tests.account.users import OFFLINE, account_file, log_in
from tests.pty.terminal import terminal
from tests.runner import Cli
from tests.servers.gateway import RunningGateway
from tests.servers.scripted import ScriptedServer

ANSWER = {"text": "All is well.", "usage": {"input": 1_000_000, "output": 2_000}}
"""Of gpt-4o-mini, 15 cents for the question and 0.12 for the answer."""


@pytest.fixture(autouse=True)
def well(provider: ScriptedServer) -> None:
    """All is well again before each test."""
    provider.script = ANSWER
    provider.requests.clear()


def usage_there(gateway: RunningGateway, name: str) -> list[tuple[str, int]]:
    with Database.open(gateway.store.path) as books:  # type: ignore[attr-defined]
        rows = books.rows(
            "SELECT u.request_id, u.cost_nano FROM usage u JOIN profiles p ON p.id = u.user_id WHERE p.name = ?",
            (name,),
        )
        return [(request_id, cost) for request_id, cost in rows]


def test_an_answer_is_written_down_on_both_sides_under_one_id_at_one_price(
    cli: Cli, gateway: RunningGateway, provider: ScriptedServer
) -> None:
    log_in(cli, gateway.url, gateway.key("anna", credits_=100))

    done = cli.run("-m", "gateway/gpt-4o-mini", "is all well?")

    assert done.stdout == b"All is well.", done.stderr
    assert provider.requests[0].body["model"] == "gpt-4o-mini"
    here = cli.rows("SELECT request_id, cost_nano FROM usage")
    assert here == usage_there(gateway, "anna")
    assert here[0][1] == 151_200_000
    assert cli.rows("SELECT provider, model, provenance FROM usage") == [("gateway", "gateway/gpt-4o-mini", "provider")]
    assert cli.json("whoami")["credits"]["balance"] == 200 - 16


def test_whoever_is_logged_in_asks_the_gateway_unless_they_name_a_model_of_their_own(
    cli: Cli, gateway: RunningGateway, provider: ScriptedServer
) -> None:
    log_in(cli, gateway.url, gateway.key("bert"))
    with ScriptedServer({"text": "Mine."}) as own:
        cli.environ |= {"OPENAI_API_KEY": "sk-of-my-own-1234", "OPENAI_BASE_URL": own.openai_url}
        assert cli.run("models", "default").stdout == b"gateway/gpt-4o-mini\n"
        assert cli.run("-m", "gpt-4o-mini", "hello").stdout == b"Mine."
        cli.run("config", "set", "model", "gpt-4o-mini")
        assert cli.run("models", "default").stdout == b"gpt-4o-mini\n"
    assert provider.requests == []


def test_the_credits_of_this_machine_are_not_asked_for_what_the_gateway_is_paid(
    cli: Cli, gateway: RunningGateway
) -> None:
    log_in(cli, gateway.url, gateway.key("cleo", credits_=100))
    cli.run("config", "set", "billing.mode", "credits")

    assert cli.run("-m", "gateway/gpt-4o-mini", "hello").returncode == 0

    assert json.loads(cli.run("credits", "--local", "--json").stdout)["balance"] == 100
    assert cli.rows("SELECT count(*) FROM rate_events") == [(0,)]


def test_a_cap_in_dollars_holds_for_the_gateway_too(
    cli: Cli, gateway: RunningGateway, provider: ScriptedServer
) -> None:
    log_in(cli, gateway.url, gateway.key("dora"))
    cli.run("config", "set", "limits.daily_usd", "0.000001")
    done = cli.run("-m", "gateway/gpt-4o-mini", "hello")
    assert done.returncode == 4
    assert b"Your cap" in done.stderr or b"your cap" in done.stderr
    assert provider.requests == []


def test_what_the_gateway_refuses_is_told_in_its_words(cli: Cli, gateway: RunningGateway) -> None:
    log_in(cli, gateway.url, gateway.key("emil", plan="free"))
    users = gateway.store.users()
    emil = users.user("emil")
    users.close()

    unaffordable = cli.run("-m", "gateway/gpt-4o", "-o", "max_tokens", "120000", "hello")
    books = gateway.store.calls()
    [key] = gateway.store.users().keys(user_id=emil.id)
    for _ in range(20):
        books.admit(NewCall(RequestId(new_id()), emil.id, key.id, 0, "{}"))
    books.close()
    too_often = cli.run("-m", "gateway/gpt-4o-mini", "hello")

    assert unaffordable.returncode == 4, unaffordable.stderr
    assert b"gpt-4o may cost up to" in unaffordable.stderr
    assert b"For more: aichat credits buy small" in unaffordable.stderr
    assert too_often.returncode == 5
    assert b"The free plan allows 20 calls an hour" in too_often.stderr
    assert cli.rows("SELECT count(*) FROM credit_holds") == [(0,)]


def test_a_model_that_the_gateway_does_not_serve_is_told_by_it(cli: Cli, gateway: RunningGateway) -> None:
    log_in(cli, gateway.url, gateway.key("fred"))
    done = cli.run("-m", "gateway/gpt-4p-mini", "hello")
    assert done.returncode == 6
    assert b"gpt-4o-mini" in done.stderr


def test_without_a_login_a_model_of_a_gateway_leads_nowhere(cli: Cli) -> None:
    done = cli.run("-m", "gateway/gpt-4o", "hello")
    assert done.returncode == 2
    assert b"aichat login URL" in done.stderr


def test_a_key_that_is_revoked_between_two_questions_is_refused_at_once(cli: Cli, gateway: RunningGateway) -> None:
    log_in(cli, gateway.url, gateway.key("gerd"))
    users = gateway.store.users()
    users.revoke_key(users.keys(user_id=users.user("gerd").id)[0].id, actor="test")
    users.close()
    done = cli.run("-m", "gateway/gpt-4o-mini", "hello")
    assert done.returncode == 3
    assert b"revoked" in done.stderr
    assert f"aichat login {gateway.url}".encode() in done.stderr


def test_without_a_network_the_question_is_kept_and_the_gateway_named(cli: Cli, gateway: RunningGateway) -> None:
    log_in(cli, gateway.url, gateway.key("hugo"))
    done = cli.run("-m", "gateway/gpt-4o-mini", "hello", environ={**OFFLINE, "AICHAT_RETRY_ATTEMPTS": "1"})
    assert done.returncode == 6
    assert gateway.url.encode() in done.stderr
    assert cli.json("history", "list")[0]["title"] == "hello"


def test_a_question_that_was_taken_before_is_not_asked_and_charged_again(
    gateway: RunningGateway, provider: ScriptedServer
) -> None:
    key = Secret(gateway.key("ines", credits_=100), "test")
    model = Listing(gateway.url).model("gpt-4o-mini")
    request = ChatRequest(model, (ChatMessage("user", "hello"),), key=key, request_id=new_id())
    wire = OpenAIWire()
    try:
        assert isinstance(list(wire.stream(request))[-1], Finished)
        with pytest.raises(CallKnown, match="its answer was lost on the way"):
            list(wire.stream(request))
    finally:
        wire.close()
    assert len(provider.requests) == 1
    assert len(usage_there(gateway, "ines")) == 1


def test_an_answer_that_the_provider_refused_at_first_is_asked_for_again_under_the_same_id(
    cli: Cli, gateway: RunningGateway, provider: ScriptedServer
) -> None:
    log_in(cli, gateway.url, gateway.key("jana", credits_=100))
    provider.script = [{"status": 500}, {"status": 500}, {"status": 500}, ANSWER]
    done = cli.run("-m", "gateway/gpt-4o-mini", "hello", environ={"AICHAT_RETRY_ATTEMPTS": "9"})
    assert done.stdout == b"All is well.", done.stderr
    assert cli.rows("SELECT request_id, cost_nano FROM usage") == usage_there(gateway, "jana")


def test_the_models_of_the_gateway_are_listed_with_their_prices_and_told_anew_when_asked(
    cli: Cli, gateway: RunningGateway
) -> None:
    log_in(cli, gateway.url, gateway.key("karl"))

    listed = {row["name"]: row for row in cli.json("models", "list", "gateway", "--all")}
    info = cli.json("models", "info", "gateway/gpt-4o-mini")

    assert listed["gateway/gpt-4o-mini"] == info
    assert (info["input_usd_per_mtok"], info["output_usd_per_mtok"], info["context"]) == (0.15, 0.6, 128_000)
    assert "image" in info["reads"]
    kept = json.loads(account_file(cli).read_text())
    assert kept["models_at"] < "2999"
    account_file(cli).write_text(json.dumps({**kept, "models": []}))
    assert cli.json("models", "list", "gateway/gpt") == []
    assert cli.run("models", "list", "--refresh").returncode == 0
    assert cli.json("models", "list", "gateway/gpt-4o-mini")[0]["name"] == "gateway/gpt-4o-mini"


def test_a_list_that_is_a_day_old_is_told_anew_or_shown_as_it_was_without_a_network(
    cli: Cli, gateway: RunningGateway
) -> None:
    log_in(cli, gateway.url, gateway.key("lars"))
    kept = json.loads(account_file(cli).read_text())
    old = {**kept, "models": kept["models"][:1], "models_at": "2020-01-01T00:00:00.000Z"}

    fresh = cli.run("models", "list", "gateway", environ=OFFLINE)
    account_file(cli).write_text(json.dumps(old))
    offline = cli.run("models", "list", "gateway", environ=OFFLINE)
    cli.run("models", "list", "gateway")

    assert b"last known" not in fresh.stderr
    assert b"as they were last known" in offline.stderr
    assert offline.stdout.startswith(b"gateway/gpt-4o\t")
    assert offline.stdout.count(b"\n") == 1
    assert len(json.loads(account_file(cli).read_text())["models"]) > 1


def test_a_chat_shows_the_credits_of_the_gateway_and_what_is_left_after_an_answer(
    cli: Cli, gateway: RunningGateway
) -> None:
    log_in(cli, gateway.url, gateway.key("mona", credits_=100))
    with terminal(cli, "-m", "gateway/gpt-4o-mini", columns=120) as screen:
        screen.wait_for("credits 200")
        screen.type("is all well?\r")
        screen.wait_for("All is well.")
        screen.wait_for("credits 184")
        screen.type("/credits\r")
        screen.wait_for("184 credits | plan enterprise | calls left: 999 of 1,000")
        screen.type("\x04")
        assert screen.wait_for_exit() == 0


def test_credits_are_those_of_the_gateway_while_one_is_logged_in(cli: Cli, gateway: RunningGateway) -> None:
    assert cli.run("credits", "--gateway").returncode == 3
    log_in(cli, gateway.url, gateway.key("nora", credits_=23))

    told = cli.json("credits")
    offline = cli.run("credits", environ=OFFLINE)

    assert (told["balance"], told["mode"], told["gateway"]) == (123, "credits", gateway.url)
    assert cli.run("credits").stdout.startswith(b"balance     123 credits\n")
    assert offline.returncode == 6
    assert b"as of" in offline.stdout
    assert json.loads(cli.run("credits", "--local", "--json").stdout)["mode"] == "own-keys"


def test_a_list_does_not_wait_long_for_a_gateway_that_hangs(cli: Cli) -> None:
    with ScriptedServer({"stall_after": -1}) as slow:
        cli.environ |= {"AICHAT_GATEWAY_URL": slow.url, "AICHAT_GATEWAY_KEY": "aichat-" + "a" * 8 + "-" + "b" * 52}
        began = time.monotonic()
        done = cli.run("models", "list", "gpt-4o")
        assert time.monotonic() - began < 30
    assert done.returncode == 0
    assert b"as they were last known" in done.stderr


def test_vectors_made_through_the_gateway_are_written_down_on_both_sides_under_one_id(
    cli: Cli, gateway: RunningGateway, provider: ScriptedServer
) -> None:
    log_in(cli, gateway.url, gateway.key("otto", credits_=100))
    provider.script = {"usage": {"input": 1_000_000, "output": 0}, "embeddings": {"dimensions": 1536}}
    (cli.home / "bees.md").write_text("# Bees\n\nThey make honey.\n", "utf-8")
    cli.environ["AICHAT_DOCUMENTS_EMBEDDING_MODEL"] = "gateway/text-embedding-3-small"

    done = cli.run("ingest", str(cli.home / "bees.md"))

    assert done.returncode == 0, done.stderr
    here = cli.rows("SELECT request_id, cost_nano FROM usage")
    assert here == usage_there(gateway, "otto")
    assert here[0][1] == 20_000_000
