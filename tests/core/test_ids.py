from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from aichat_cli.core.clock import utc_now
from aichat_cli.core.ids import LOCAL_PROFILE, id_at, new_id


def test_an_id_is_a_valid_uuid_of_version_7_with_the_current_time() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(new_id())
    after = time.time_ns() // 1_000_000

    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= after + 1


def test_ids_increase_in_the_order_they_are_made() -> None:
    made = [new_id() for _ in range(20_000)]

    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_ids_of_many_threads_are_all_different() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = [
            identifier
            for batch in pool.map(lambda _: [new_id() for _ in range(2000)], range(8))
            for identifier in batch
        ]

    assert len(set(made)) == len(made)


def test_the_local_profile_is_a_valid_id() -> None:
    assert uuid.UUID(LOCAL_PROFILE).version == 7


def test_time_is_utc_and_its_text_sorts() -> None:
    first = utc_now()
    time.sleep(0.002)
    second = utc_now()

    assert first < second
    assert len(first) == len("2026-11-22T21:59:33.120Z")
    assert first.endswith("Z")
    assert first[:16] in {
        time.strftime("%Y-%m-%dT%H:%M", time.gmtime()),
        time.strftime("%Y-%m-%dT%H:%M", time.gmtime(time.time() - 60)),
    }


def test_an_id_of_a_moment_is_a_valid_uuid_of_version_7_and_always_the_same() -> None:
    made = uuid.UUID(id_at(1_700_000_000_123, 2**80 - 1))

    assert (made.version, made.variant, made.int >> 80) == (7, uuid.RFC_4122, 1_700_000_000_123)
    assert str(made) == id_at(1_700_000_000_123, 2**80 - 1) != id_at(1_700_000_000_123, 2**80 - 2)
