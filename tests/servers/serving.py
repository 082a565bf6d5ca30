"""`aichat serve` as a process of its own, until it answers."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from tests.runner import Cli

START_SECONDS = 60.0


def free_port() -> int:
    """A port nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def started(operator: Cli, port: int, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """The process, once it is ready; killed at the end of the block if need be."""
    with operator.start(
        "serve", "--port", str(port), *arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + START_SECONDS
        while not is_ready(port):
            assert process.poll() is None, "the gateway ended at its start"
            assert time.monotonic() < deadline, "the gateway did not start in time"
            time.sleep(0.05)
        yield process


@contextmanager
def serving(operator: Cli, *arguments: str) -> Iterator[str]:
    """Its URL; in the end it is told to end, and ends well."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with started(operator, port, "--public-url", url, *arguments) as process:
        yield url
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0


def is_ready(port: int) -> bool:
    """Whether it takes calls."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
