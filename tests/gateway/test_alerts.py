"""Mail to users of a gateway about their money: at each threshold one, from however many gateways."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from aichat_cli.accounts.postgres import PostgresAccounts
from aichat_cli.accounts.protocol import AccountStore
from aichat_cli.accounts.sqlite import SqliteAccounts
from aichat_cli.core.clock import utc_now
from aichat_cli.core.credits import NANO_PER_CREDIT
from aichat_cli.core.ids import ProfileId
from aichat_cli.core.secret import Secret
from tests.gateway.asking import HELLO, soon
from tests.hosted.database import template
from tests.servers import resend_double
from tests.servers.gateway import RunningGateway
from tests.servers.postgres import Cluster
from tests.servers.resend_double import ResendDouble
from tests.servers.scripted import ScriptedServer
from tests.servers.service import Fault

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
        for gateway in (one, two):
            ask(gateway, key)
        # Whoever is sent a mail now was looked at after her, or together with her.
        provider.script = COSTS_91
        for number, gateway in enumerate((one, two), 3):
            ask(gateway, gateway.key(f"n{number}", email=f"n{number}@example.net"))
            soon(lambda number=number: len(resend.mails) == number)  # type: ignore[misc]
    assert len([each for each in resend.requests if each.method == "POST"]) == 4
    mails = [mail for mail in resend.mails if mail.body["to"] == ["anna@example.net"]]
    assert sorted(mail.body["subject"] for mail in mails) == [
        'aichat: 80 % of the cap of your key "test" is spent',
        "aichat: 9 credits are left",
    ]
    assert all(mail.key and mail.key.startswith("alert-20") for mail in mails)


def test_a_mail_is_claimed_by_one_and_never_again_once_it_is_sent(store: AccountStore) -> None:
    store.prepare()
    with closing(store.users()) as users:
        user = users.create_user("carl", email="carl@example.net", plan="free", actor="test").id

    def claimed(_: int) -> bool:
        with closing(store.alerts()) as books:
            return books.claim("alert-1", user)

    with ThreadPoolExecutor(4) as crowd:
        assert sum(crowd.map(claimed, range(8))) == 1
    with closing(store.alerts()) as books:
        books.release("alert-1", 60)
        assert not books.claim("alert-1", user)
        books.release("alert-1", 0)
        time.sleep(0.01)
        assert books.claim("alert-1", user)
        books.sent("alert-1")
        books.release("alert-1", 0)
        time.sleep(0.01)
        assert not books.claim("alert-1", user)


def test_a_mail_that_could_not_be_sent_is_free_to_be_tried_again_and_no_call_waits_for_it(
    tmp_path: Path, provider: ScriptedServer, resend: ResendDouble
) -> None:
    resend.fault = Fault({"status": 500, "body": "{}"})
    with RunningGateway(tmp_path, provider, environ=environ(resend)) as gateway:
        key = gateway.key("dora", email="dora@example.net")
        provider.script = COSTS_91
        ask(gateway, key)
        soon(lambda: resend.requests)
        id_ = f"alert-{utc_now()[:7]}-{gateway.user_id('dora')}-credits-10-after-1"
        with closing(gateway.store.alerts()) as books:
            assert soon(lambda: books.claim(id_, ProfileId(gateway.user_id("dora"))))
            books.release(id_, 0)
    resend.fault = None
    with RunningGateway(tmp_path, provider, store=gateway.store, environ=environ(resend)) as gateway:
        provider.script = COSTS_1
        ask(gateway, key)
        assert soon(lambda: [mail.key for mail in resend.mails]) == [id_]


def test_somebody_without_credits_is_told_that_and_not_that_few_are_left(
    tmp_path: Path, provider: ScriptedServer, resend: ResendDouble
) -> None:
    with RunningGateway(tmp_path, provider, environ=environ(resend)) as gateway:
        key = gateway.key("emil", email="emil@example.net")
        provider.script = {"text": "Dear.", "usage": {"input": 1_000_000, "output": 2_000_000}}
        ask(gateway, key)
        assert soon(lambda: [mail.body["subject"] for mail in resend.mails]) == ["aichat: 0 credits are left"]
