"""Observers at work in threads of their own: what they may do wrong, and what the database may."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from aichat_cli.chat.observing import FinishedTurn, TurnContent
from aichat_cli.core.errors import ProviderUnavailable, RequestRejected
from aichat_cli.core.ids import RequestId, new_id
from aichat_cli.integrations.hub import Hub
from aichat_cli.integrations.observer import Delivery, Observer
from aichat_cli.storage import deliveries
from aichat_cli.storage.database import Database
from tests.servers.stripe_double import until


class Recorder(Observer):
    """Takes down what it is given; `failure` is raised instead, and `gate` is waited for first."""

    batch_size = 4

    def __init__(self) -> None:
        self.made: list[str] = []
        self.batches: list[int] = []
        self.failure: Exception | None = None
        self.poison: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.warmed = 0

    def deliveries(self, turn: FinishedTurn) -> Sequence[Delivery]:
        return [Delivery(turn.id, b"{}")]

    def warm(self) -> None:
        self.warmed += 1

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        self.gate.wait(10)
        self.batches.append(len(deliveries))
        if self.failure is not None:
            raise self.failure
        if any(each.id in self.poison for each in deliveries):
            raise RequestRejected("no")
        self.made += [each.id for each in deliveries]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(tmp_path / "aichat.db") as opened:
        yield opened


def a_turn(books: Database | None) -> FinishedTurn:
    nothing = TurnContent(None, (), "", "")
    return FinishedTurn(RequestId(new_id()), "chat", "m", "p", "complete", 1.0, 2.0, nothing, books=books)


def told(observer: Observer, books: Database | None, count: int = 1, seconds: float = 5.0) -> list[str]:
    """The ids of turns that one run of the program tells an observer."""
    hub = Hub({"recorder": observer}, books)
    turns = [a_turn(books) for _ in range(count)]
    for turn in turns:
        hub.observe(turn)
    hub.close(seconds)
    return [turn.id for turn in turns]


def forgive(database: Database) -> None:
    database.execute("UPDATE deliveries SET claimed_until = 0")
    database.execute("UPDATE integrations SET retry_at = 0")


def test_after_a_failure_nothing_is_tried_nor_opened_until_it_is_time(database: Database) -> None:
    recorder = Recorder()
    recorder.failure = ProviderUnavailable("down")
    ids = told(recorder, database)
    assert deliveries.fate(database, "recorder").problem == "down"
    recorder.failure = None
    ids += told(recorder, database)
    assert (recorder.made, recorder.batches, recorder.warmed) == ([], [1], 1)
    forgive(database)
    ids += told(recorder, database)
    assert sorted(recorder.made) == sorted(ids)
    fate = deliveries.fate(database, "recorder")
    assert (fate.waiting, fate.problem, fate.failures, fate.dropped) == (0, None, 0, 0)


def test_the_pauses_grow_up_to_an_hour(database: Database) -> None:
    recorder = Recorder()
    recorder.failure = ProviderUnavailable("down")
    pauses: list[int] = []
    for _ in range(12):
        database.execute("UPDATE integrations SET retry_at = 0")
        now = time.time() * 1000
        told(recorder, database)
        pauses.append(round((deliveries.retry_at(database, "recorder") - now) / 1000))
    assert pauses[:3] == [15, 30, 60]
    assert pauses[-1] == 3600


def test_what_hangs_at_the_end_counts_as_failed(database: Database) -> None:
    recorder = Recorder()
    recorder.gate.clear()
    began = time.monotonic()
    ids = told(recorder, database, count=2, seconds=0.2)
    assert time.monotonic() - began < 2.0
    fate = deliveries.fate(database, "recorder")
    assert (fate.waiting, fate.problem) == (2, "recorder did not answer before the program ended.")
    assert fate.retry_at > 0
    recorder.gate.set()
    until(lambda: not [each for each in threading.enumerate() if each.name == "deliver to recorder"])
    assert sorted(recorder.made) == sorted(ids)


def test_one_that_is_refused_is_found_among_many_and_given_up(database: Database) -> None:
    recorder = Recorder()
    recorder.failure = ProviderUnavailable("down")
    ids: list[str] = []
    for _ in range(4):
        forgive(database)
        ids += told(recorder, database)
    recorder.failure = None
    recorder.poison = {ids[2]}
    for _ in range(4):
        forgive(database)
        ids += told(recorder, database)
    assert sorted(recorder.made) == sorted(each for each in ids if each != ids[2])
    fate = deliveries.fate(database, "recorder")
    assert (fate.waiting, fate.dropped, fate.retry_at) == (0, 1, 0)


def test_an_observer_that_breaks_breaks_nothing(database: Database) -> None:
    class Broken(Recorder):
        def deliveries(self, turn: FinishedTurn) -> Sequence[Delivery]:
            raise ZeroDivisionError("the secret")

    recorder = Recorder()
    hub = Hub({"broken": Broken(), "recorder": recorder}, database)
    hub.observe(a_turn(database))
    hub.close()
    assert len(recorder.made) == 1
    assert str(hub.couriers[0].failure) == "broken failed with ZeroDivisionError."


def test_without_a_database_that_takes_it_a_delivery_is_made_all_the_same(tmp_path: Path, database: Database) -> None:
    recorder = Recorder()
    ids = told(recorder, None)
    with Database.in_memory() as memory:
        ids += told(recorder, memory)
    with Database.open(tmp_path / "aichat.db", read_only=True) as readable:
        ids += told(recorder, readable)
    with Database.open(tmp_path / "aichat.db") as other, other.transaction():
        began = time.monotonic()
        ids += told(recorder, database)
        assert time.monotonic() - began < 2.5
    assert recorder.made == ids


def test_a_full_disk_keeps_nothing_and_delivers(tmp_path: Path, database: Database) -> None:
    pages = database.rows("PRAGMA page_count")[0][0]
    database.rows(f"PRAGMA max_page_count = {pages}")

    class Large(Recorder):
        def deliveries(self, turn: FinishedTurn) -> Sequence[Delivery]:
            return [Delivery(turn.id, b"x" * 5_000_000)]

    recorder = Large()
    assert told(recorder, database) == recorder.made


def test_turns_told_by_several_threads_arrive_once_each(database: Database) -> None:
    recorder = Recorder()
    hub = Hub({"recorder": recorder}, database)
    ids: list[str] = []

    def tell() -> None:
        with database.reopen() as books:
            for _ in range(5):
                turn = a_turn(books)
                ids.append(turn.id)
                hub.observe(turn)

    threads = [threading.Thread(target=tell) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    hub.close(10.0)
    other = Recorder()
    forgive(database)
    ids += told(other, database)
    assert sorted(recorder.made + other.made) == sorted(ids)
    assert not [each for each in threading.enumerate() if each.name.startswith("deliver to")]
