"""Measures `aichat usage` with a million calls in the books, in zones whose days are not those of UTC."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping
from pathlib import Path

from aichat_cli.core.ids import LOCAL_PROFILE
from aichat_cli.storage import usage
from aichat_cli.storage.database import Database
from benchmarks import measure
from benchmarks.contenders import Contender
from benchmarks.table import Row, verdict, within

CALLS = 1_000_000
DAYS = 730
MODELS = (
    ("gpt-4o-mini", "openai", 150),
    ("gpt-4o", "openai", 2_500),
    ("claude-3.5-sonnet", "anthropic", 3_000),
    ("claude-haiku-4-5", "anthropic", 1_000),
    ("groq/llama-3.3-70b-versatile", "groq", 590),
    ("smollm2", "local", 0),
    ("lab", "custom", None),
)
ZONES = ("UTC", "America/New_York", "Asia/Kathmandu")
MOST_TIMES, MOST_SECONDS = 12, 0.3

_FILL = """
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1),
m AS (SELECT i, json_extract(?2, '$[' || (i * 7919 % ?3) || ']') AS model FROM n)
INSERT INTO usage (request_id, user_id, type, provider, model, input_tokens, cached_tokens, cache_write_tokens,
  output_tokens, reasoning_tokens, cost_nano, provenance, status, created_at)
SELECT printf('%08x-0000-7000-8000-%012x', i, i), ?4, 'chat', model ->> 1, model ->> 0, 100 + i % 8999, i % 100, 0,
  10 + i % 899, 0, (model ->> 2) * (100 + i % 8999), 'calculated', 'complete',
  strftime('%Y-%m-%dT%H:%M:%fZ', ?5 + i * ?6, 'unixepoch')
FROM m
"""


def built(folder: Path) -> Path:
    """The database file in a folder; made there where it is missing."""
    path = folder / f"usage-{CALLS}.db"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        for suffix in ("", "-wal", "-shm"):
            partial.with_name(partial.name + suffix).unlink(missing_ok=True)
        begin, step = time.time() - DAYS * 86_400, DAYS * 86_400 / CALLS
        with Database.open(partial) as database:
            database.execute(_FILL, (CALLS, json.dumps(MODELS), len(MODELS), LOCAL_PROFILE, begin, step))
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        partial.rename(path)
    return path


def rows(ours: Contender, python: Contender, cache: Path, runs: int) -> list[Row]:
    """Whole processes, interleaved with a bare Python; and what is asked before every turn where a cap is set."""
    path = built(cache)
    with_books = Contender(ours.name, ours.command, {**ours.environment, "AICHAT_DATABASE": str(path)})
    commands = {f"`aichat usage monthly`, {zone}": ("monthly", "--timezone", zone) for zone in ZONES}
    commands |= {f"`aichat usage {name}`, {ZONES[1]}": (name, "--timezone", ZONES[1]) for name in ("daily", "models")}
    walls: dict[str, list[float]] = {name: [] for name in ("python", *commands)}
    for number in range(runs + 1):
        taken = {"python": measure.run(python, list(python.command)).wall} | _walls(with_books, commands)
        if number:
            for name, seconds in taken.items():
                walls[name].append(seconds)
    medians = {name: statistics.median(seconds) for name, seconds in walls.items()}
    return [*(_row(name, medians[name], medians["python"]) for name in commands), _month(path, runs)]


def _walls(ours: Contender, commands: Mapping[str, tuple[str, ...]]) -> dict[str, float]:
    return {name: measure.run(ours, [*ours.command, "usage", *words]).wall for name, words in commands.items()}


def _row(name: str, seconds: float, bare: float) -> Row:
    return Row(
        f"{name} ({CALLS:,} calls)",
        f"{seconds * 1000:.0f} ms",
        f"python -c pass: {bare * 1000:.0f} ms",
        f"{seconds / bare:.2f}",
        f"at most {MOST_TIMES}, or {MOST_SECONDS * 1000:.0f} ms",
        verdict(seconds <= max(MOST_TIMES * bare, MOST_SECONDS)),
    )


def _month(path: Path, runs: int) -> Row:
    since = time.strftime("%Y-%m-%dT05:45:00.000Z", time.gmtime(time.time() - 30 * 86_400))
    taken = []
    with Database.open(path) as database:
        for _ in range(runs):
            started = time.perf_counter()
            usage.spent_since(database, since)
            taken.append(time.perf_counter() - started)
    return within("what was spent in thirty days: the query", taken, 0.005)
