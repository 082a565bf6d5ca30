"""When a session syncs by itself, and what it gives way to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aichat_cli.core.errors import AichatError, HostedLogin, HostedUnavailable
from aichat_cli.core.sync import SyncProgress, SyncReport
from aichat_cli.repl import background_sync
from aichat_cli.repl.background_sync import BackgroundSync
from aichat_cli.storage import sync_state
from aichat_cli.storage.database import Database
from aichat_cli.sync_services import SyncServices
from tests import blank

Progress = Callable[[SyncProgress], None]


class Services(SyncServices):
    """Syncs with nobody: what a sync does is given."""

    def __init__(self, action: Callable[[Progress], None]) -> None:
        self.action = action
        self.runs = 0

    @property
    def is_background(self) -> bool:
        return True

    @property
    def seconds_between(self) -> float:
        return 3600

    def run(self, database: Database, progress: Progress) -> SyncReport:
        self.runs += 1
        self.action(progress)
        sync_state.note(database, problem=None)
        return SyncReport(received={"message": 1})


class Running:
    def __init__(self, path: Path, action: Callable[[Progress], None]) -> None:
        self.services = Services(action)
        self.done: list[SyncReport] = []
        self.sync = BackgroundSync(
            self.services, path, redraw=lambda: None, done=lambda _, report: self.done.append(report)
        )


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_sync, "FIRST_AFTER_SECONDS", 0.05)
    monkeypatch.setattr(background_sync, "AFTER_TURN_SECONDS", 0.05)


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    with Database.open(blank.put(tmp_path / "aichat.db")) as database:
        sync_state.begin(database, "db.example.com/aichat#1", with_documents=True)
        yield tmp_path / "aichat.db"


def test_it_syncs_after_the_prompt_is_there_and_after_each_turn(path: Path) -> None:
    running = Running(path, lambda _: None)
    running.sync.start()
    eventually(lambda: len(running.done) == 1)
    eventually(lambda: running.sync.status == "synced")
    running.sync.hold()
    time.sleep(0.3)
    assert running.services.runs == 1
    running.sync.release()
    eventually(lambda: len(running.done) == 2)
    running.sync.stop()


def test_a_turn_that_wants_to_write_has_precedence_over_what_is_applied(path: Path) -> None:
    begun = threading.Event()
    applied: list[int] = []

    def apply(progress: Progress) -> None:
        begun.set()
        for row in range(200):
            time.sleep(0.005)
            progress(SyncProgress("applying", row, 200))
        applied.append(200)

    running = Running(path, apply)
    running.sync.start()
    assert begun.wait(10)
    running.sync.hold()
    time.sleep(0.3)
    assert not applied
    assert running.done == []
    running.sync.release()
    eventually(lambda: applied == [200])
    running.sync.stop()


@pytest.mark.parametrize(
    ("error", "word"), [(HostedUnavailable("away"), "offline"), (HostedLogin("refused"), "sync failed")]
)
def test_a_failure_is_one_word_until_it_works_again(path: Path, error: AichatError, word: str) -> None:
    errors = [error]

    def fail_once(_: Progress) -> None:
        if errors:
            raise errors.pop()

    running = Running(path, fail_once)
    running.sync.start()
    eventually(lambda: running.sync.status == word)
    assert running.sync.has_trouble
    running.sync.release()
    eventually(lambda: running.sync.status == "synced")
    assert not running.sync.has_trouble
    running.sync.stop()


def test_the_end_of_a_session_waits_a_second_at_most(path: Path) -> None:
    begun, let_go = threading.Event(), threading.Event()

    def hang(_: Progress) -> None:
        begun.set()
        let_go.wait(30)

    running = Running(path, hang)
    running.sync.start()
    assert begun.wait(10)
    began = time.monotonic()
    running.sync.stop()
    assert time.monotonic() - began < 1.5
    let_go.set()


def test_with_sync_off_nothing_is_run_and_nothing_is_said(tmp_path: Path) -> None:
    blank.put(tmp_path / "aichat.db")
    running = Running(tmp_path / "aichat.db", lambda _: None)
    running.sync.start()
    time.sleep(0.5)
    assert running.services.runs == 0
    assert running.sync.status == ""
    running.sync.stop()


def test_a_defect_does_not_write_over_the_prompt(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def break_(_: Progress) -> None:
        raise ZeroDivisionError

    running = Running(path, break_)
    running.sync.start()
    eventually(lambda: running.sync.status == "sync failed")
    running.sync.stop()
    assert capfd.readouterr().err == ""
