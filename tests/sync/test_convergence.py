"""Devices end up alike, and nothing is lost, whatever happens between them: 200 runs, each of up to 25 steps.

`scripts/test --hypothesis-profile=thorough tests/sync/test_convergence.py` makes 4,000.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.servers.gateway import RunningGateway
from tests.servers.postgres import Cluster
from tests.servers.scripted import ScriptedServer
from tests.sync.conftest import apply_schema
from tests.sync.machine import Devices, machine
from tests.sync.sides import GatewaySide, Side, gateway_at

pytestmark = pytest.mark.no_cover  # traced, it would take twice as long

RUNS = 4
EXAMPLES = 50
THROUGH_GATEWAY = 20


@pytest.fixture
def crowded_dsn(postgres18: Cluster) -> Iterator[str]:
    """One database for many users: every example has one of its own."""
    with postgres18.database(postgres18.template("schema", apply_schema)) as address:
        yield address


@pytest.mark.parametrize("number", range(RUNS))
def test_devices_converge_and_lose_nothing(number: int, crowded_dsn: str, blank_database: Path) -> None:
    with machine(f"Run{number}", crowded_dsn, blank_database, with_documents=number % 2 == 0) as devices:
        run(devices, EXAMPLES)


def test_devices_converge_and_lose_nothing_through_a_gateway(
    crowded_dsn: str, blank_database: Path, provider: ScriptedServer, tmp_path: Path
) -> None:
    with (
        gateway_at(crowded_dsn, tmp_path, provider) as running,
        machine("ThroughGateway", crowded_dsn, blank_database, users=users_of(running)) as devices,
    ):
        run(devices, THROUGH_GATEWAY)


def users_of(running: RunningGateway) -> Iterator[tuple[str, Side]]:
    """Ever new users of a gateway: their ids, and their ways there."""
    for number in count():
        user = running.user(f"user-{number}")
        yield user.id, GatewaySide(running.url, running.key(user.name))


def run(devices: type[Devices], examples: int) -> None:
    is_thorough = settings.default is not None and settings.default.max_examples >= 1000
    run_state_machine_as_test(
        devices,
        settings=settings(
            max_examples=1000 if is_thorough else examples,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )
