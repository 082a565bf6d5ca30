"""Clients of a gateway, and a look into its books."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from typing import Any, NamedTuple, TypeVar

import anthropic
import openai

from aichat_cli.storage.database import Database
from tests.servers.gateway import RunningGateway

T = TypeVar("T")

HELLO: Any = [{"role": "user", "content": "hello there"}]


class Used(NamedTuple):
    """A call in the books of a gateway."""

    request_id: str
    model: str
    input_tokens: int
    output_tokens: int
    cost_nano: int
    status: str
    provenance: str


class Money(NamedTuple):
    """What a user has, in whole credits."""

    balance: int
    held: int


_clients: list[openai.OpenAI | anthropic.Anthropic] = []


def openai_of(gateway: RunningGateway, key: str) -> openai.OpenAI:
    """OpenAI's own client; it is closed at the end of the test."""
    client = openai.OpenAI(base_url=gateway.openai_url, api_key=key, max_retries=0, timeout=20)
    _clients.append(client)
    return client


def anthropic_of(gateway: RunningGateway, key: str) -> anthropic.Anthropic:
    """Anthropic's own client; it is closed at the end of the test."""
    client = anthropic.Anthropic(base_url=gateway.url, api_key=key, max_retries=0, timeout=20)
    _clients.append(client)
    return client


def close_clients() -> None:
    """Close the clients that were made."""
    while _clients:
        _clients.pop().close()


def used(gateway: RunningGateway, name: str) -> list[Used]:
    """The calls of a user, oldest first."""
    with closing(Database.open(gateway.database, read_only=True)) as db:
        rows = db.rows(
            "SELECT request_id, model, input_tokens, output_tokens, cost_nano, usage.status, provenance FROM usage"
            " JOIN profiles ON profiles.id = usage.user_id WHERE profiles.name = ? ORDER BY usage.created_at",
            (name,),
        )
    return [Used(*row) for row in rows]


def money(gateway: RunningGateway, name: str) -> Money:
    """What a user has, and what is held of it."""
    users = gateway.store.users()
    try:
        user = users.user(name)
    finally:
        users.close()
    return Money(user.balance_nano // 10_000_000, user.held_nano // 10_000_000)


def soon(look: Callable[[], T], seconds: float = 10.0) -> T:
    """What `look` gives as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
    return seen


def settled(gateway: RunningGateway, name: str) -> Money:
    """What a user has once nothing is held."""

    def nothing_held() -> Money | None:
        has = money(gateway, name)
        return has if not has.held else None

    found = soon(nothing_held)
    assert found is not None
    return found
