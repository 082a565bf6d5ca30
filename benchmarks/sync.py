"""Measures the first sync of a large history with a Postgres on this machine, sending and receiving, and one with nothing to
do; and the same through a gateway on this machine, which is another process than the devices.
"""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

from aichat_cli.core.clock import utc_now
from aichat_cli.core.ids import LOCAL_PROFILE, new_id
from aichat_cli.core.secret import Secret
from aichat_cli.hosted.connection import Connection
from aichat_cli.storage import sync_state
from aichat_cli.storage.database import Database
from aichat_cli.sync.direct import DirectTransport
from aichat_cli.sync.engine import SyncDeps, SyncOptions, sync
from aichat_cli.sync.protocol import NoDocuments, Transport
from benchmarks.table import Row, verdict
from tests.runner import ROOT
from tests.servers.postgres import connect, own_cluster
from tests.servers.scripted import ScriptedServer
from tests.sync.sides import GatewaySide, gateway_at

MESSAGES, FEW_MESSAGES = 100_000, 10_000
PER_CONVERSATION = 10
MOST_SECONDS = 30
MOST_GROWTH = 1.5
Way = Callable[[str], Transport]
"""The way of a device of that name to the other side."""
TEXT = "The quick brown fox jumps over the lazy dog, and then it thinks about it for a while. " * 6


def rows(folder: Path) -> list[Row]:
    """Both ways in processes of their own, for the memory of each, with few messages first and then with many."""
    folder.mkdir(parents=True, exist_ok=True)
    with own_cluster(18) as cluster:
        template = cluster.template("schema", _apply_schema)
        with cluster.database(template) as dsn:
            few = _both_ways(_direct(dsn), folder / "few", FEW_MESSAGES)
        with cluster.database(template) as dsn:
            many = _both_ways(_direct(dsn), folder / "many", MESSAGES)
        with (
            cluster.database(template) as dsn,
            ScriptedServer() as provider,
            gateway_at(dsn, folder, provider) as gateway,
        ):
            hosted = _both_ways(GatewaySide(gateway.url, gateway.key("anna")).transport, folder / "hosted", MESSAGES)
    return _told("", few, many) + _told(" through a gateway", few, hosted)


def _told(through: str, few: list[tuple[float, float]], many: list[tuple[float, float]]) -> list[Row]:
    listed = []
    for number, way in enumerate(("sending", "receiving")):
        seconds, peak = many[number]
        growth = peak / few[number][1]
        listed += [
            Row(
                f"first sync of {MESSAGES:,} messages{through}, {way}",
                f"{seconds:.1f} s",
                "",
                "",
                f"at most {MOST_SECONDS} s",
                verdict(seconds <= MOST_SECONDS),
            ),
            Row(
                f"its memory{through}, {way}",
                f"{peak:.0f} MB",
                f"with {FEW_MESSAGES:,} messages: {few[number][1]:.0f} MB",
                f"{growth:.2f}",
                f"at most {MOST_GROWTH}",
                verdict(growth <= MOST_GROWTH),
            ),
        ]
    trips, seconds = round(many[2][1]), many[2][0]
    listed.append(
        Row(
            f"a sync with nothing to do{through}",
            f"{trips} round trip, {seconds * 1000:.1f} ms",
            "",
            "",
            "1 round trip",
            verdict(trips == 1),
        )
    )
    return listed


def _direct(dsn: str) -> Way:
    return lambda name: DirectTransport(Connection.open(Secret(dsn, "benchmark")), device_name=name)


def _apply_schema(dsn: str) -> None:
    with connect(dsn) as connection:
        connection.execute((ROOT / "schema.sql").read_bytes())


def _both_ways(way: Way, folder: Path, messages: int) -> list[tuple[float, float]]:
    """(seconds, peak in megabytes) of sending and of receiving, and (seconds, round trips) of a sync with nothing to do."""
    folder.mkdir()
    for name in ("one", "other"):
        with Database.open(folder / f"{name}.db") as database:
            if name == "one":
                _fill(database, messages)
            sync_state.begin(database, "benchmark", with_documents=False)
    sent = _in_a_child(lambda: _sync(way, folder / "one.db"))
    received = _in_a_child(lambda: _sync(way, folder / "other.db"))
    return [sent, received, _idle(way, folder / "other.db")]


def _fill(database: Database, messages: int) -> None:
    now = utc_now()
    with database.transaction():
        for number in range(messages // PER_CONVERSATION):
            conversation, parent = new_id(), None
            database.execute(
                "INSERT INTO conversations (id, user_id, title, model, created_at, updated_at) VALUES (?, ?, ?, 'm', ?4, ?4)",
                (conversation, LOCAL_PROFILE, f"About {number}", now),
            )
            for place in range(PER_CONVERSATION):
                message, role = new_id(), ("user", "assistant")[place % 2]
                database.execute(
                    "INSERT INTO messages (id, conversation_id, parent_id, role, content, status, created_at, updated_at)"
                    " VALUES (?, ?, ?, ?, ?, 'complete', ?6, ?6)",
                    (message, conversation, parent, role, f"{place} {TEXT}", now),
                )
                parent = message
            database.execute("UPDATE conversations SET head_id = ? WHERE id = ?", (parent, conversation))


def _sync(way: Way, path: Path) -> float:
    with Database.open(path) as database:
        transport = way(path.stem)
        started = time.perf_counter()
        sync(SyncDeps(database, transport, NoDocuments(), str), SyncOptions(largest_file=1))
        return time.perf_counter() - started


def _idle(way: Way, path: Path) -> tuple[float, float]:
    with Database.open(path) as database:
        transport = way(path.stem)
        deps, options = SyncDeps(database, transport, NoDocuments(), str), SyncOptions(largest_file=1)
        sync(deps, options)
        before, started = transport.round_trips, time.perf_counter()
        sync(deps, options)
        return time.perf_counter() - started, transport.round_trips - before


def _in_a_child(work: Callable[[], float]) -> tuple[float, float]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        seconds = work()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        os.write(writing, json.dumps([seconds, peak]).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        text = told.read()
    os.waitpid(pid, 0)
    seconds, peak = json.loads(text)
    return seconds, peak
