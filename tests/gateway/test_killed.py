"""`kill -9` of a gateway under load, and two gateways at once: whatever happens, the books are right."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import apsw
import httpx
import psycopg
import pytest

from aichat_cli.core.credits import charge_nano
from tests.runner import Cli
from tests.servers.postgres import Cluster
from tests.servers.scripted import ScriptedServer
from tests.servers.serving import serving

CALLERS = 16
SECONDS_UNDER_LOAD = 4.0
SLOW = {"deltas": [f"word{number} " for number in range(20)], "delay": 0.1, "usage": {"input": 1000, "output": 20}}
BODY = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "Say some words."}]}

Row = tuple[Any, ...]


@dataclass
class Books:
    """The database of accounts, read from outside."""

    place: str

    def rows(self, sql: str) -> list[Row]:
        """In SQLite's words and Postgres' alike."""
        if self.place.startswith("postgresql:"):
            with psycopg.connect(self.place) as connection:
                rows = connection.execute(sql.encode()).fetchall()
            return [tuple(map(_plain, row)) for row in rows]
        database = apsw.Connection(self.place, flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return [tuple(row) for row in database.execute(sql)]
        finally:
            database.close()

    def time_passes(self) -> None:
        """Whoever holds a call and gave no sign of life is dead. In SQLite the operating system knows that at once."""
        if self.place.startswith("postgresql:"):
            with psycopg.connect(self.place) as connection:
                connection.execute("update public.credit_holds set expires_at = now()")


def _plain(value: Any) -> Any:
    """As SQLite has it: ids are texts, sums are whole numbers."""
    return int(value) if isinstance(value, Decimal) else str(value) if isinstance(value, UUID) else value


@pytest.fixture(params=["sqlite", "postgres"])
def books(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Books]:
    if request.param == "sqlite":
        yield Books(str(tmp_path / "gateway.db"))
        return
    cluster: Cluster = request.getfixturevalue("postgres18")
    with cluster.database() as dsn:
        yield Books(dsn)


@pytest.fixture
def operator(cli: Cli, books: Books, server: ScriptedServer) -> Cli:
    cli.server = server
    cli.environ["AICHAT_SERVER_DATABASE"] = books.place
    return cli


def key_of(operator: Cli, name: str, *, plan: str = "enterprise", credits_: int = 0) -> str:
    operator.json("users", "create", name, "--plan", plan)
    if credits_:
        operator.json("users", "grant", name, str(credits_))
    return str(operator.json("api-keys", "create", name)["key"])


@dataclass
class Crowd:
    """Clients that ask for one answer after the other, each call under an id of its own, as long as somebody answers."""

    url: str
    key: str
    asked: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    _stops: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def asking(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._ask) for _ in range(CALLERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stops.set()
            for thread in threads:
                thread.join(30)
                assert not thread.is_alive()

    def _ask(self) -> None:
        with httpx.Client(trust_env=False, timeout=20) as client:
            while not self._stops.is_set():
                call = str(uuid4())
                self.asked.append(call)
                try:
                    with client.stream("POST", **request(self.url, self.key, call)) as answer:
                        text = "".join(answer.iter_text())
                except httpx.HTTPError:
                    return
                if answer.status_code == 200 and text.endswith("data: [DONE]\n\n"):
                    self.ended.append(call)
                else:
                    self.failures.append(answer.status_code)


def request(url: str, key: str, call: str, body: object = BODY) -> dict[str, Any]:
    """A call, as httpx takes it."""
    headers = {"Authorization": f"Bearer {key}", "X-Aichat-Request-Id": call, "Content-Type": "application/json"}
    return {"url": f"{url}/v1/chat/completions", "headers": headers, "content": json.dumps(body)}


def assert_right(books: Books) -> None:
    """Every balance is what its ledger says; every charge is that of one call that is written down, at its cost."""
    for name, balance, held, entered, open_holds in books.rows(
        "SELECT name, balance_nano, held_nano,"
        " (SELECT sum(amount_nano) FROM credit_ledger WHERE user_id = profiles.id),"
        " (SELECT coalesce(sum(amount_nano), 0) FROM credit_holds WHERE user_id = profiles.id)"
        " FROM profiles WHERE name IS NOT NULL"
    ):
        assert (name, balance, held) == (name, entered, open_holds)
    charges = books.rows("SELECT ref, -amount_nano + uncovered_nano FROM credit_ledger WHERE kind = 'charge'")
    costs = books.rows("SELECT request_id, cost_nano FROM usage WHERE cost_nano > 0")
    assert sorted(charges) == sorted((call, charge_nano(cost)) for call, cost in costs)


def test_killed_under_load_it_comes_back_with_books_that_are_right(
    operator: Cli, books: Books, server: ScriptedServer
) -> None:
    server.script = SLOW
    key = key_of(operator, "ada", credits_=100_000)
    with serving(operator) as gateway:
        crowd = Crowd(gateway.url, key)
        with crowd.asking():
            time.sleep(SECONDS_UNDER_LOAD)
            gateway.process.kill()
            gateway.process.wait()
    assert not crowd.failures
    assert len(crowd.ended) >= CALLERS
    cut_off = set(crowd.asked) - set(crowd.ended)
    assert cut_off
    assert books.rows("SELECT count(*) FROM credit_holds") != [(0,)]
    books.time_passes()
    with serving(operator) as gateway:
        _wait_until(lambda: books.rows("SELECT count(*) FROM credit_holds") == [(0,)])
        assert_right(books)
        status: dict[str, str] = dict(books.rows("SELECT request_id, status FROM usage"))
        assert {status[call] for call in crowd.ended} == {"complete"}
        # Of what was cut off, that is paid whose answer had begun: once. Nobody can have it a second time.
        begun = cut_off & set(status)
        assert begun
        assert set(status) <= set(crowd.asked)
        again = [httpx.post(**request(gateway.url, key, call), trust_env=False) for call in [*begun][:3]]
        assert [answer.status_code for answer in again] == [409] * len(again)
    assert_right(books)


def test_two_gateways_admit_exactly_what_the_plan_and_the_balance_allow(
    cli: Cli, server: ScriptedServer, postgres18: Cluster
) -> None:
    cli.server = server
    server.script = {"text": "Gladly.", "usage": {"input": 100_000, "output": 300}}
    with postgres18.database() as dsn:
        books = Books(dsn)
        cli.environ["AICHAT_SERVER_DATABASE"] = dsn
        free, pro = key_of(cli, "free", plan="free", credits_=10_000), key_of(cli, "pro", plan="pro")
        with serving(cli) as one, serving(cli) as other:
            urls = one.url, other.url
            plan = _asked_at_once(urls, free, 60, {"model": "gpt-4o-mini", "max_tokens": 16})
            assert sorted(plan) == [200] * 20 + [429] * 40
            # A call may cost 25 credits and a bit: three fit into 100 at a time.
            server.script = {"text": "Gladly.", "usage": {"input": 1000, "output": 10}, "first_byte_delay": 2.0}
            balance = _asked_at_once(urls, pro, 26, {"model": "gpt-4o", "max_tokens": 25_000})
            assert sorted(balance) == [200] * 3 + [402] * 23
        assert_right(books)


def _asked_at_once(urls: Sequence[str], key: str, count: int, more: dict[str, object]) -> list[int]:
    body = {"messages": [{"role": "user", "content": "hello"}], **more}

    def ask(number: int) -> int:
        return httpx.post(
            **request(urls[number % len(urls)], key, str(uuid4()), body),
            trust_env=False,
            timeout=60,
        ).status_code

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(ask, range(count)))


def _wait_until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
