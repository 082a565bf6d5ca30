"""Calls whose books fail at the moment they end, or that somebody else has ended."""

from __future__ import annotations

from pathlib import Path

from aichat_cli.accounts.sqlite import SqliteAccounts, SqliteCalls
from aichat_cli.core.accounts import Charge
from aichat_cli.core.errors import DatabaseLocked
from aichat_cli.core.ids import RequestId
from aichat_cli.core.usage import UsageRecord
from aichat_cli.storage.database import Database
from tests.gateway.asking import HELLO, money, openai_of, settled, soon, used
from tests.servers.gateway import RunningGateway
from tests.servers.scripted import ScriptedServer

OPENAI = "gpt-4o-mini"


class LockedOnce(SqliteAccounts):
    """Accounts whose database is locked when the first call ends."""

    locked = True

    def calls(self) -> SqliteCalls:
        return _Books(Database.open(self.path), self)


class _Books(SqliteCalls):
    def __init__(self, db: Database, accounts: LockedOnce) -> None:
        super().__init__(db)
        self._accounts = accounts

    def settle(self, request_id: RequestId, record: UsageRecord | None) -> Charge:
        if self._accounts.locked:
            self._accounts.locked = False
            raise DatabaseLocked("The database is locked.")
        return super().settle(request_id, record)


def test_a_call_whose_books_are_locked_is_answered_and_charged_later(tmp_path: Path, provider: ScriptedServer) -> None:
    with RunningGateway(tmp_path, provider, store=LockedOnce(tmp_path / "gateway.db")) as gateway:
        client = openai_of(gateway, gateway.key("anna"))
        answer = client.chat.completions.create(model=OPENAI, messages=HELLO)
        client.close()
        assert answer.choices[0].message.content == "You said: hello there"
        assert settled(gateway, "anna") == (99, 0)
        assert len(used(gateway, "anna")) == 1


def test_a_call_that_somebody_else_has_ended_is_broken_off_and_charged_once(
    gateway: RunningGateway, provider: ScriptedServer
) -> None:
    provider.script = {"deltas": ["One ", "two ", "three"], "stall_after": 2}
    stream = openai_of(gateway, gateway.key("bela")).chat.completions.create(model=OPENAI, messages=HELLO, stream=True)
    for chunk in stream:
        if chunk.choices[0].delta.content == "two ":
            break
    with_books = SqliteAccounts(gateway.database).calls()
    with_books.settle(RequestId(stream.response.headers["x-request-id"]), None)
    with_books.close()
    assert provider.requests[0].client_left.wait(20)
    assert soon(lambda: "gave no sign of life" in rest_of(stream))
    assert money(gateway, "bela") == (100, 0)
    assert used(gateway, "bela") == []


def rest_of(stream: object) -> str:
    """What an answer that breaks off ends with."""
    try:
        for _ in stream:  # type: ignore[attr-defined]
            pass
    except Exception as exc:
        return str(exc)
    return ""
