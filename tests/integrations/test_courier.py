"""How deliveries are put together, what becomes of each, and what is given up."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from aichat_cli.core.errors import ProviderUnavailable, RequestRejected
from aichat_cli.core.struct import replace
from aichat_cli.integrations import backlog, delivering
from aichat_cli.integrations.backlog import Backlog
from aichat_cli.integrations.checking import deliver_waiting
from aichat_cli.integrations.courier import Courier
from aichat_cli.integrations.hub import Hub
from aichat_cli.integrations.observer import Delivery
from aichat_cli.storage import deliveries
from aichat_cli.storage.database import Database
from tests.integrations.test_hub import Recorder, a_turn

NAME = "recorder"


def some(count: int, size: int = 2) -> list[Delivery]:
    return [Delivery(f"id-{number}", b"x" * size) for number in range(count)]


def ids(found: list[Delivery]) -> list[str]:
    return [each.id for each in found]


def test_after_a_failure_of_the_service_the_rest_is_not_tried() -> None:
    observer = Recorder()
    observer.failure = ProviderUnavailable("down")
    first, rest = delivering.outcomes(NAME, observer, some(10))
    assert (ids(first.deliveries), first.error, first.was_tried) == (ids(some(4)), observer.failure, True)
    assert (ids(rest.deliveries), rest.was_tried) == (ids(some(10))[4:], False)
    assert observer.batches == [4]


def test_what_is_refused_for_itself_is_found_and_all_others_are_made() -> None:
    observer = Recorder()
    observer.poison = {"id-2", "id-9"}
    found = list(delivering.outcomes(NAME, observer, some(12)))
    refused = [each.id for outcome in found if outcome.error for each in outcome.deliveries]
    assert refused == ["id-2", "id-9"]
    assert sorted(observer.made) == sorted(set(ids(some(12))) - observer.poison)


def test_a_batch_has_a_megabyte_at_most_but_for_one_that_is_larger_by_itself() -> None:
    observer = Recorder()
    sizes = [600_000, 500_000, 3_000_000, 10, 10]
    list(delivering.outcomes(NAME, observer, [Delivery(str(at), b"x" * size) for at, size in enumerate(sizes)]))
    assert observer.batches == [1, 1, 1, 2]


def test_what_waits_in_memory_is_bounded_and_the_oldest_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MOST_AHEAD", 3)
    monkeypatch.setattr(backlog, "MOST_BYTES_AHEAD", 100)
    queue = Backlog()
    assert [ids(queue.put([each])) for each in some(5)] == [[], [], [], ["id-0"], ["id-1"]]
    assert ids(queue.put([Delivery("large", b"x" * 95)])) == ["id-2"]
    assert ids(queue.put([Delivery("larger", b"x" * 200)])) == ["id-3", "id-4", "large"]
    assert ids(queue.take(10) or []) == ["larger"]


def test_what_turns_left_is_taken_together_up_to_a_batch() -> None:
    queue = Backlog()
    for at in range(3):
        queue.put(some(2)[:2] if at else some(5))
    assert [len(queue.take(4) or []), len(queue.take(4) or [])] == [5, 4]
    assert not queue.wait(0)
    queue.done()
    queue.done()
    assert queue.wait(0)
    queue.end()
    assert queue.take(4) is None


def test_without_a_database_what_does_not_arrive_is_counted_as_lost() -> None:
    observer = Recorder()
    observer.failure = ProviderUnavailable("down")
    courier = Courier(NAME, observer, None)
    courier.take(some(6))
    assert courier.wait(5)
    courier.end(5)
    assert (courier.delivered, courier.failed, courier.lost) == (0, 4, 6)


def test_what_is_at_hand_is_not_claimed_a_second_time(tmp_path: Path) -> None:
    with Database.open(tmp_path / "aichat.db") as database:
        with database.transaction():
            deliveries.add(database, NAME, some(2), claimed_ms=-1)
        observer = Recorder()
        courier = Courier(NAME, observer, database)
        courier.take(some(1))
        assert courier.wait(5)
        courier.end(5)
        assert sorted(observer.made) == ["id-0", "id-1"]


def test_only_so_many_bytes_are_claimed_at_once(tmp_path: Path) -> None:
    with Database.open(tmp_path / "aichat.db") as database:
        with database.transaction():
            deliveries.add(database, NAME, some(5, size=40), claimed_ms=-1)
        assert len(deliveries.claim(database, NAME, claimed_ms=60_000, limit=5, most_bytes=100)) == 2
        assert len(deliveries.claim(database, NAME, claimed_ms=60_000, limit=5, most_bytes=1)) == 1
        assert len(deliveries.claim(database, NAME, claimed_ms=60_000, limit=5)) == 2


def test_a_refusal_is_told_only_to_those_who_hear_of_refusals() -> None:
    deaf, hearing = Recorder(), Recorder()
    hearing.hears_refusals = True
    hub = Hub({"deaf": deaf, "hearing": hearing}, None)
    hub.observe(replace(a_turn(None), was_sent=False))
    hub.close(5)
    assert (len(deaf.made), len(hearing.made)) == (0, 1)


def test_what_waits_is_delivered_by_hand_until_the_service_fails(tmp_path: Path) -> None:
    with Database.open(tmp_path / "aichat.db") as database:
        with database.transaction():
            deliveries.add(database, NAME, some(9), claimed_ms=-1)
        observer = Recorder()
        observer.failure = ProviderUnavailable("down")
        with pytest.raises(ProviderUnavailable):
            deliver_waiting(NAME, observer, database)
        assert observer.batches == [4]

        observer.failure, observer.poison = None, {"id-3"}
        database.execute("UPDATE deliveries SET claimed_until = 0")
        with pytest.raises(RequestRejected):
            deliver_waiting(NAME, observer, database)
        assert len(observer.made) == 8
        assert deliveries.fate(database, NAME).waiting == 1


def test_an_observer_that_hangs_is_left_behind(tmp_path: Path) -> None:
    with Database.open(tmp_path / "aichat.db") as database:
        observer = Recorder()
        observer.gate.clear()
        hub = Hub({NAME: observer}, database)
        hub.observe(a_turn(database))
        began = time.monotonic()
        hub.close(0.2)
        assert time.monotonic() - began < 3
        assert deliveries.fate(database, NAME).failures == 1
        observer.gate.set()
        for thread in threading.enumerate():
            if thread.name == f"deliver to {NAME}":
                thread.join(5)
