"""What a gateway says is read with care: it may be old, odd or hostile."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from aichat_cli.account import profile as profiles
from aichat_cli.account.client import GatewayClient
from aichat_cli.account.profile import Account, Profile, Window
from aichat_cli.core.clock import utc_now
from aichat_cli.core.errors import BadResponse, ConfigError, OutOfCredits
from aichat_cli.core.money import FREE
from aichat_cli.core.secret import Secret
from aichat_cli.providers.base import ChatRequest
from aichat_cli.providers.failures import status_error
from aichat_cli.providers.gateway import ListedModel, Listing
from aichat_cli.providers.said import Said
from tests.account.users import account_file, log_in
from tests.runner import Cli
from tests.servers.gateway import RunningGateway
from tests.servers.scripted import ScriptedServer

KEY = "aichat-" + "a" * 8 + "-" + "b" * 52
ACCOUNT: dict[str, Any] = {
    "user": {"id": "1", "name": "an\x1b]0;na\x07na"},
    "plan": "free",
    "credits": {"balance": 10.5, "held": 0.5},
    "window": {"limit": 20, "remaining": 20, "reset_at": None},
    "something": "new",
}


def client_of(server: ScriptedServer) -> GatewayClient:
    return GatewayClient(server.url, Secret(KEY, "a test"))


def test_an_account_is_read_whatever_else_is_told_with_it() -> None:
    with ScriptedServer({"body": ACCOUNT}) as server, closing(client_of(server)) as client:
        account = client.account()
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
        assert server.requests[0].method == "GET"
        assert "content-type" not in server.requests[0].headers
    assert (account.balance_nano, account.available_nano) == (105_000_000, 100_000_000)


@pytest.mark.parametrize(
    "changed",
    [
        {"credits": {"balance": "many"}},
        {"credits": {"balance": 1e308}, "window": {"limit": 1, "remaining": 1, "reset_at": 1e300}},
        {"user": None},
        {"window": {"limit": 1, "remaining": 1, "reset_at": -1e18}},
    ],
)
def test_an_account_that_makes_no_sense_is_that_of_no_gateway(changed: dict[str, Any]) -> None:
    with (
        ScriptedServer({"body": ACCOUNT | changed}) as server,
        closing(client_of(server)) as client,
        pytest.raises(BadResponse, match="not a gateway"),
    ):
        client.account()


@pytest.mark.parametrize("url", ["file:///etc/passwd", "javascript:alert(1)", "--new-window"])
def test_what_is_no_page_is_not_opened_to_pay_on(url: str) -> None:
    purchase = {"id": "1", "state": "open", "package": "small", "credits": 100, "amount_cents": 500, "url": url}
    with ScriptedServer({"body": purchase}) as server, closing(client_of(server)) as client:
        with pytest.raises(BadResponse, match="not opened"):
            client.buy("small")
        assert server.requests[0].body == {"package": "small"}


def test_prices_are_those_that_were_told_and_never_a_guess() -> None:
    rows = [
        {"id": "paid", "input_usd_per_mtok": 0.15, "output_usd_per_mtok": 0.6},
        {"id": "free", "input_usd_per_mtok": 0, "output_usd_per_mtok": 0},
        {"id": "unknown", "input_usd_per_mtok": 1},
        {"id": "odd", "input_usd_per_mtok": -1, "output_usd_per_mtok": 2},
        {"id": "vectors", "mode": "embedding", "input_usd_per_mtok": 0.02, "dimensions": 256},
    ]
    with ScriptedServer({"body": {"data": rows}}) as server, closing(client_of(server)) as client:
        listing = Listing(server.url, client.models())
    prices = {each.name: each.price for each in listing.models}
    assert prices["paid"] is not None
    assert prices["paid"].rates.input == 150_000_000
    assert prices["free"] == FREE
    assert prices["unknown"] is None
    assert prices["odd"] is None
    assert prices["vectors"] is not None
    assert listing.names() == ["gateway/paid", "gateway/free", "gateway/unknown", "gateway/odd"]
    assert listing.names(is_embedding=True) == ["gateway/vectors"]
    assert listing.model("vectors").dimensions == 256


def test_what_breaks_off_an_answer_for_want_of_credits_is_told_as_that() -> None:
    request = ChatRequest(Listing("https://chat.example.org").model("gpt-4o"), ())
    said = Said("There are no credits left.", ("out_of_credits", "insufficient_quota"))
    error = status_error(request, said.status, said)
    assert isinstance(error, OutOfCredits)
    assert error.message == "The gateway https://chat.example.org says: There are no credits left."
    assert error.hint == "For more: aichat credits buy small"


def test_names_that_a_gateway_tells_reach_no_terminal_unclean(cli: Cli) -> None:
    body = {**ACCOUNT, "data": [{"id": "gpt\x1b[2J"}]}
    with ScriptedServer({"body": body}) as server:
        cli.environ |= {"AICHAT_GATEWAY_URL": server.url, "AICHAT_GATEWAY_KEY": KEY}
        told = [cli.run("whoami"), cli.run("credits"), cli.run("models", "list", "gateway"), cli.run("doctor")]
    for done in told:
        assert b"\x1b" not in done.stdout + done.stderr
        assert b"\x07" not in done.stdout + done.stderr


def test_an_account_named_by_the_environment_alone_answers_and_is_asked_for_its_models_once(cli: Cli) -> None:
    listing = {**ACCOUNT, "data": [{"id": "gpt-4o-mini", "input_usd_per_mtok": 1, "output_usd_per_mtok": 1}]}
    answers: list[dict[str, Any]] = [{"body": listing}, {"body": listing}, {"text": "Hello."}]
    with ScriptedServer(answers) as server:
        cli.environ |= {"AICHAT_GATEWAY_URL": server.url, "AICHAT_GATEWAY_KEY": KEY}
        done = cli.run("hello")
        again = cli.run("hello")
        paths = [request.path for request in server.requests]
    assert (done.stdout, again.stdout) == (b"Hello.", b"Hello."), done.stderr
    assert paths == ["/v1/account", "/v1/models", "/v1/chat/completions", "/v1/chat/completions"]


def test_where_nothing_can_be_remembered_it_is_known_for_the_moment(cli: Cli) -> None:
    body = {**ACCOUNT, "data": []}
    account_file(cli).mkdir(parents=True)  # a folder where the file should be
    with ScriptedServer({"body": body}) as server:
        cli.environ |= {"AICHAT_GATEWAY_URL": server.url, "AICHAT_GATEWAY_KEY": KEY}
        assert json.loads(cli.run("whoami", "--json").stdout)["plan"] == "free"
        found = json.loads(cli.run("doctor", "--json").stdout)
    assert next(each for each in found if each["subject"] == "gateway")["state"] == "broken"


def test_models_are_fresh_for_a_day_and_not_if_the_clock_was_ahead(tmp_path: Path) -> None:
    account = Account("https://a.example", "1", "anna", "free", 0, 0, Window(1, 1, None), "2026-01-01T00:00:00.000Z")
    for told, is_fresh in (("2020-01-01T00:00:00.000Z", False), ("2999-01-01T00:00:00.000Z", False), ("", False)):
        assert Profile(account, (), told).is_fresh == is_fresh
    path = tmp_path / "account.json"
    assert profiles.load(path) is None
    profile = Profile(account, (ListedModel("gpt-4o"),), utc_now(), ("p1",))
    profiles.save(path, profile)
    assert profiles.load(path) == profile
    assert profile.is_fresh
    profiles.forget(path)
    profiles.forget(path)
    path.write_text("nonsense")
    with pytest.raises(ConfigError, match="damaged"):
        profiles.load(path)


def test_a_gateway_does_not_serve_what_its_operator_is_logged_in_to(
    cli: Cli, tmp_path: Path, provider: ScriptedServer
) -> None:
    listing = {**ACCOUNT, "data": [{"id": "gpt-4o", "input_usd_per_mtok": 1, "output_usd_per_mtok": 1}]}
    with ScriptedServer({"body": listing}) as elsewhere:
        environ = {"AICHAT_GATEWAY_URL": elsewhere.url, "AICHAT_GATEWAY_KEY": KEY}
        with RunningGateway(tmp_path, provider, environ=environ) as gateway:
            log_in(cli, gateway.url, gateway.key("anna"))
            served = cli.json("whoami")
            refused = cli.run("-m", "gateway/gateway/gpt-4o", "hello")
    assert served["default_model"] == "gateway/gpt-4o"
    assert not [name for name in served["models"] if name.startswith("gateway/gateway/")]
    assert refused.returncode == 6
    assert b"This gateway has no model" in refused.stderr
