"""Mail to users of a gateway about their money: at each threshold one, from however many gateways."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from aichat_cli.accounts.postgres import PostgresAccounts
from aichat_cli.accounts.protocol import AccountStore
from aichat_cli.accounts.sqlite import SqliteAccounts
from aichat_cli.core.credits import NANO_PER_CREDIT
from aichat_cli.core.secret import Secret
from tests.gateway.asking import HELLO, soon
from tests.hosted.database import template
from tests.servers import resend_double
from tests.servers.gateway import RunningGateway
from tests.servers.postgres import Cluster
from tests.servers.resend_double import ResendDouble
from tests.servers.scripted import ScriptedServer

MODEL = "gpt-4o-mini"
COSTS_91 = {"text": "Dear.", "usage": {"input": 1_000_000, "output": 1_266_000}}
COSTS_1 = {"text": "Cheap."}


@pytest.fixture
def resend() -> Iterator[ResendDouble]:
    with ResendDouble() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgres16"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AccountStore]:
    if request.param == "sqlite":
        yield SqliteAccounts(tmp_path / "gateway.db")
        return
    cluster: Cluster = request.getfixturevalue(request.param)
    with cluster.database(template(cluster)) as dsn:
        yield PostgresAccounts(Secret(dsn, "test"))


def environ(resend: ResendDouble) -> dict[str, str]:
    return {
        "AICHAT_INTEGRATIONS": "resend",
        "AICHAT_RESEND_URL": resend.url,
        "AICHAT_RESEND_FROM": f"aichat <aichat@{resend_double.DOMAIN}>",
        "RESEND_API_KEY": resend_double.KEY,
    }


def ask(gateway: RunningGateway, key: str) -> None:
    body = {"model": MODEL, "messages": HELLO, "max_tokens": 50}
    headers = {"Authorization": f"Bearer {key}"}
    url = f"{gateway.openai_url}/chat/completions"
    assert httpx.post(url, json=body, headers=headers, trust_env=False, timeout=20).status_code == 200


def test_two_gateways_send_one_mail_at_each_threshold(
    tmp_path: Path, provider: ScriptedServer, store: AccountStore, resend: ResendDouble
) -> None:
    (tmp_path / "other").mkdir()
    with (
        RunningGateway(tmp_path, provider, store=store, environ=environ(resend)) as one,
        RunningGateway(tmp_path / "other", provider, store=store, environ=environ(resend)) as two,
    ):
        key = one.key("anna", email="anna@example.net", monthly_cap_nano=110 * NANO_PER_CREDIT)
        other = one.key("bert")
        provider.script = COSTS_91
        ask(one, key)
        ask(two, other)
        soon(lambda: len(resend.mails) == 2)
        provider.script = COSTS_1
        for gateway in (one, two, one):
            ask(gateway, key)
    assert sorted(mail.body["subject"] for mail in resend.mails) == [
        'aichat: 80 % of the cap of your key "test" is spent',
        f"aichat: {9} credits are left",
    ]
    assert {str(mail.body["to"]) for mail in resend.mails} == {"['anna@example.net']"}
    assert all(mail.key and mail.key.startswith("alert-20") for mail in resend.mails)
