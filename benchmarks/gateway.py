"""Measures the gateway against the LiteLLM proxy: the same provider behind both, the same clients, in one run.

Ours authenticates, admits, holds, settles and writes down every call; LiteLLM's runs without a database, so it does not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks import contenders
from benchmarks.streams import DELTAS, MODEL, Load
from benchmarks.table import Row, verdict
from tests.runner import ROOT
from tests.servers.postgres import own_cluster

AT_ONCE, STREAMS, THEIR_STREAMS = 20, 2000, 200
CROWD, CROWD_STREAMS = 200, 2000
LEAST_RATIO, MOST_RATIO = 10, 0.1
_MASTER_KEY = "sk-litellm-benchmark"


def rows(folder: Path, peers: Path) -> list[Row]:
    """Streams in a second and the time to the first delta, ours on SQLite and on Postgres, LiteLLM's, and the provider's."""
    folder.mkdir(parents=True, exist_ok=True)
    with _provider() as port:
        base = f"http://127.0.0.1:{port}/v1"
        alone = _load(base, "none", STREAMS, AT_ONCE)
        with _litellm(folder, base, peers) as (url, key):
            theirs = _load(url, key, THEIR_STREAMS, AT_ONCE)
        with _ours(folder / "sqlite", base, str(folder / "gateway.db")) as (url, key):
            sqlite = _load(url, key, STREAMS, AT_ONCE)
            crowd = _load(url, key, CROWD_STREAMS, CROWD)
        with (
            own_cluster(18) as cluster,
            cluster.database() as dsn,
            _ours(folder / "postgres", base, dsn) as (url, key),
        ):
            postgres = _load(url, key, STREAMS, AT_ONCE)
    listed = [*_beside(sqlite, theirs, "SQLite"), *_beside(postgres, theirs, "Postgres")]
    listed.append(
        Row(
            f"gateway: {CROWD} streams at once",
            f"{crowd.per_second:.0f} streams/s, {crowd.failures} failed, first delta p50 {crowd.first_p50_ms:.0f} ms",
            f"the provider alone, {AT_ONCE} at once: {alone.per_second:.0f} streams/s",
            "",
            "none fails",
            verdict(crowd.failures == 0),
        )
    )
    return listed


def _beside(ours: Load, theirs: Load, kept_in: str) -> list[Row]:
    rate, first = ours.per_second / theirs.per_second, ours.first_p50_ms / theirs.first_p50_ms
    what = f"gateway on {kept_in}, {AT_ONCE} streams of {DELTAS} deltas at once"
    return [
        Row(
            f"{what}: streams",
            f"{ours.per_second:.0f}/s",
            f"LiteLLM: {theirs.per_second:.1f}/s",
            f"{rate:.1f}",
            f"at least {LEAST_RATIO} x",
            verdict(rate >= LEAST_RATIO and ours.failures == 0),
        ),
        Row(
            f"{what}: time to the first delta",
            f"p50 {ours.first_p50_ms:.0f} ms, p99 {ours.first_p99_ms:.0f} ms",
            f"LiteLLM: p50 {theirs.first_p50_ms:.0f} ms, p99 {theirs.first_p99_ms:.0f} ms",
            f"{first:.3f}",
            f"at most {MOST_RATIO} x",
            verdict(first <= MOST_RATIO),
        ),
    ]


def _load(url: str, key: str, streams: int, at_once: int) -> Load:
    command = [sys.executable, "-m", "benchmarks.streams", "load", url, key, str(streams), str(at_once)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    return Load(**json.loads(done.stdout))


@contextmanager
def _process(command: list[str], environ: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[str]]:
    with log.open("w") as errors:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def _provider() -> Iterator[int]:
    command = [sys.executable, "-m", "benchmarks.streams", "serve"]
    with _process(command, os.environ, Path(os.devnull)) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())


@contextmanager
def _ours(home: Path, base_url: str, database: str) -> Iterator[tuple[str, str]]:
    aichat = contenders.aichat(home, base_url)
    port = _free_port()

    def run(*arguments: str) -> str:
        command = [*aichat.command, *arguments, "--database", database]
        done = subprocess.run(command, env=dict(aichat.environment), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    run("users", "create", "load", "--plan", "enterprise")
    run("users", "grant", "load", "1000000")
    key = run("api-keys", "create", "load")
    _without_window(database)
    command = [*aichat.command, "serve", "--port", str(port), "--database", database]
    with _process(command, aichat.environment, home / "serve.log"):
        _wait_for(f"http://127.0.0.1:{port}/healthz")
        yield f"http://127.0.0.1:{port}/v1", key


def _without_window(database: str) -> None:
    """The window of an hour holds 1,000 calls at most, and more are needed here: it is emptied as it fills."""
    trigger = "AFTER INSERT ON rate_events"
    if database.startswith("postgresql:"):
        import psycopg

        with psycopg.connect(database) as connection:
            connection.execute(
                "CREATE FUNCTION emptied() RETURNS trigger LANGUAGE plpgsql AS"
                " 'BEGIN DELETE FROM public.rate_events WHERE id = NEW.id; RETURN NULL; END';"
                f"CREATE TRIGGER emptied {trigger.replace('rate_events', 'public.rate_events')}"
                " FOR EACH ROW EXECUTE FUNCTION emptied()"
            )
        return
    import apsw

    with apsw.Connection(database) as connection:
        connection.execute(f"CREATE TRIGGER emptied {trigger} BEGIN DELETE FROM rate_events WHERE seq = new.seq; END")


@contextmanager
def _litellm(folder: Path, base_url: str, peers: Path) -> Iterator[tuple[str, str]]:
    python = contenders.interpreter("litellm-proxy", peers)
    home, port = folder / "litellm", _free_port()
    home.mkdir(parents=True, exist_ok=True)
    settings = home / "config.yaml"
    settings.write_text(
        f"model_list:\n  - model_name: {MODEL}\n    litellm_params:\n      model: openai/{MODEL}\n"
        f"      api_base: {base_url}\n      api_key: none\ngeneral_settings:\n  master_key: {_MASTER_KEY}\n"
    )
    environ = {
        "HOME": str(home),
        "PATH": f"{python.parent}:/usr/bin:/bin",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
    }
    command = [str(python.with_name("litellm")), "--config", str(settings), "--host", "127.0.0.1", "--port", str(port)]
    with _process([*command, "--telemetry", "False"], environ, home / "log"):
        _wait_for(f"http://127.0.0.1:{port}/health/liveliness")
        yield f"http://127.0.0.1:{port}/v1", _MASTER_KEY


def _free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 120
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            opener.open(url, timeout=5).close()
        except (urllib.error.URLError, OSError):
            assert time.monotonic() < deadline, f"{url} does not answer"
            time.sleep(0.2)
        else:
            return
