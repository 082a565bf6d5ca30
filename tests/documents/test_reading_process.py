"""The child process that reads what may crash, hang or fill memory: killed, interrupted, outlived, and replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aichat_cli.core.errors import DocumentError
from aichat_cli.documents.loading.loader import Loader
from tests.documents import samples

ROOT = Path(__file__).parents[2]
SLOW = samples.pdf(tuple((f"Line {number} of a long report",) * 40 for number in range(1500)))
"""A file that takes about a second to read."""


def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def child_of(pid: int) -> int | None:
    """The one child of a process, whichever of its threads started it."""
    children = [
        child for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    return int(children[0]) if children else None


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def worker_pid(loader: Loader) -> int:
    assert loader._worker is not None
    return loader._worker.pid


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def test_no_process_is_started_for_what_needs_none_and_one_for_all_that_do() -> None:
    with Loader() as loader:
        loader.load(b"# Hi", "a.md")
        loader.load(b"<p>Hi", "a.html")
        assert loader._worker is None
        loader.load(samples.pdf(), "a.pdf")
        first = worker_pid(loader)
        loader.load(samples.docx(("", "x")), "a.docx")
        assert worker_pid(loader) == first


def test_what_takes_too_long_is_given_up_and_the_next_file_is_read() -> None:
    with Loader() as loader:
        loader.load(samples.pdf(), "a.pdf")
        start = time.monotonic()
        with pytest.raises(DocumentError, match=r"It took longer than 0\.05 seconds to read\."):
            loader.load(SLOW, "slow.pdf", timeout_s=0.05)
        assert time.monotonic() - start < 1
        assert "ferry" in loader.load(samples.pdf(), "a.pdf").text


def test_a_process_that_dies_in_the_middle_is_one_file_s_failure() -> None:
    with Loader() as loader:
        loader.load(samples.pdf(), "a.pdf")
        timer = threading.Timer(0.05, os.kill, (worker_pid(loader), signal.SIGKILL))
        timer.start()
        with pytest.raises(DocumentError, match="Its reader crashed on it"):
            loader.load(SLOW, "slow.pdf")
        timer.join()
        assert "ferry" in loader.load(samples.pdf(), "a.pdf").text
        os.kill(worker_pid(loader), signal.SIGKILL)
        time.sleep(0.05)
        with pytest.raises(DocumentError, match="Its reader crashed on it"):
            loader.load(samples.pdf(), "a.pdf")
        assert "ferry" in loader.load(samples.pdf(), "a.pdf").text


def test_closing_ends_a_reading_of_another_thread() -> None:
    loader = Loader()
    loader.load(samples.pdf(), "a.pdf")
    reasons: list[str] = []

    def read() -> None:
        try:
            loader.load(SLOW, "slow.pdf")
        except DocumentError as exc:
            reasons.append(exc.message)

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.1)
    loader.close()
    thread.join(5)
    assert reasons == ["The reading was stopped."]
    with pytest.raises(DocumentError, match="The reading was stopped"):
        loader.load(samples.pdf(), "a.pdf")


def test_an_interrupted_reading_fails_and_the_next_does_not() -> None:
    with Loader() as loader:
        loader.load(samples.pdf(), "a.pdf")
        timer = threading.Timer(0.1, loader.interrupt)
        timer.start()
        with pytest.raises(DocumentError, match=r"The reading was stopped\."):
            loader.load(SLOW, "slow.pdf")
        timer.join()
        loader.load(samples.pdf(), "a.pdf")
        loader.interrupt()
        assert "ferry" in loader.load(samples.pdf(), "a.pdf").text


def test_several_threads_share_a_loader() -> None:
    texts: list[str] = []

    def read(word: str) -> None:
        for _ in range(5):
            texts.append(loader.load(samples.pdf(((word,),)), "a.pdf").text.strip())

    with Loader() as loader:
        threads = [threading.Thread(target=read, args=(f"word{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(texts) == sorted(f"word{number}" for number in range(4) for _ in range(5))


HOLDING = """
import sys, time
sys.path.insert(0, sys.argv[1])
from aichat_cli.core.interrupts import leave_signals_to_the_main_thread
from aichat_cli.documents.loading.loader import Loader
import threading
loader = Loader()
def read():
    leave_signals_to_the_main_thread()
    loader.load(open(sys.argv[2], "rb").read(), "a.pdf")
    print("ready", flush=True)
    try:
        loader.load(open(sys.argv[3], "rb").read(), "slow.pdf")
        print("done", flush=True)
    except Exception as exc:
        print(type(exc).__name__, exc, flush=True)
thread = threading.Thread(target=read, daemon=True)
thread.start()
while thread.is_alive():
    try:
        time.sleep(0.02)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
loader.close()
"""


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    small, slow = tmp_path / "a.pdf", tmp_path / "slow.pdf"
    small.write_bytes(samples.pdf())
    slow.write_bytes(SLOW)
    return [str(small), str(slow)]


def holding(files: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(ROOT), *files],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@linux_only
def test_the_child_dies_with_its_parent_in_the_middle_of_a_file(files: list[str]) -> None:
    with holding(files) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        child = child_of(parent.pid)
        assert child is not None
        parent.kill()
        until(lambda: not is_alive(child))


@linux_only
def test_ctrl_c_is_the_parent_s_to_decide(files: list[str]) -> None:
    with holding(files) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        child = child_of(parent.pid)
        os.killpg(parent.pid, signal.SIGINT)
        assert parent.stdout.readline() == "interrupted\n"
        assert parent.stdout.readline() == "done\n"
        assert parent.wait(10) == 0
        assert child is not None
        until(lambda: not is_alive(child))


def test_memory_has_a_limit() -> None:
    """Run where the reader runs: a page of tags that would need more than there is."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from aichat_cli.documents.loading import worker\n"
        "worker._limit_memory()\n"
        "try:\n    bytearray(3_000_000_000)\nexcept MemoryError:\n    print('refused')\n"
    )
    made = subprocess.run(
        [sys.executable, "-c", script, str(ROOT)], capture_output=True, text=True, check=True, timeout=30
    )
    assert made.stdout == "refused\n"


def test_reading_what_is_cheap_imports_nothing_that_is_not() -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from aichat_cli.documents.loading.loader import Loader\nfrom aichat_cli.documents import sources\n"
        "Loader().load(b'# Hi', 'a.md'); Loader().load(b'x = 1', 'a.py'); Loader().load(b'{}', 'a.json')\n"
        "print(sorted({'lxml', 'pypdfium2', 'kreuzberg', 'pathspec', 'numpy'} & set(sys.modules)))\n"
    )
    made = subprocess.run(
        [sys.executable, "-c", script, str(ROOT)], capture_output=True, text=True, check=True, timeout=30
    )
    assert made.stdout == "[]\n"
