"""Which turns are still written, as seen from this process, from others, and after their death."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from aichat_cli.storage import liveness
from tests.storage.support import finish, first_line, kill, start

HOLDER = """
import sys
from pathlib import Path
from aichat_cli.storage import liveness
for seq in sys.argv[2:]:
    liveness.hold(Path(sys.argv[1]), int(seq))
print("held", flush=True)
sys.stdin.read()
"""

ASKER = """
import sys
from pathlib import Path
from aichat_cli.storage import liveness
print(liveness.abandoned(Path(sys.argv[1]), [1, 2, 3]))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "aichat.db"


def test_a_turn_held_by_this_process_is_its_own_until_released(path: Path) -> None:
    liveness.hold(path, 1)
    assert liveness.is_own(path, 1)
    assert not liveness.is_own(path, 2)
    assert liveness.abandoned(path, [1, 2]) == [2]
    liveness.release(path, 1)
    assert not liveness.is_own(path, 1)
    assert liveness.abandoned(path, [1, 2]) == [1, 2]


def test_releasing_what_is_not_held_changes_nothing(path: Path) -> None:
    liveness.hold(path, 1)
    liveness.release(path, 2)
    liveness.release(path, 2)
    assert finish(start(ASKER, path)) == "[2, 3]"
    liveness.release(path, 1)


def test_another_process_sees_which_turns_are_held_here(path: Path) -> None:
    for seq in (1, 3):
        liveness.hold(path, seq)
    assert liveness.abandoned(path, [2]) == [2]
    assert finish(start(ASKER, path)) == "[2]"
    liveness.release(path, 3)
    assert finish(start(ASKER, path)) == "[2, 3]"
    liveness.release(path, 1)
    assert finish(start(ASKER, path)) == "[1, 2, 3]"


def test_a_killed_process_holds_nothing(path: Path) -> None:
    process = start(HOLDER, path, "1", "2")
    assert first_line(process) == "held"
    assert liveness.abandoned(path, [1, 2, 3]) == [3]
    kill(process)
    assert liveness.abandoned(path, [1, 2, 3]) == [1, 2, 3]


def test_one_file_has_one_lock_file_by_whatever_name_it_is_reached(path: Path) -> None:
    path.touch()
    alias = path.with_name("alias.db")
    alias.symlink_to(path)
    liveness.hold(path, 1)
    assert liveness.is_own(alias, 1)
    liveness.release(alias, 1)
    assert not liveness.is_own(path, 1)


def test_a_database_in_memory_has_no_lock_file() -> None:
    liveness.hold(None, 1)
    assert not liveness.is_own(None, 1)
    assert liveness.abandoned(None, [1]) == []
    liveness.release(None, 1)


def test_without_a_lock_file_nothing_counts_as_abandoned(tmp_path: Path) -> None:
    path = tmp_path / "no such folder" / "aichat.db"
    assert liveness.abandoned(path, [1, 2]) == []
    liveness.hold(path, 1)
    assert liveness.is_own(path, 1)
    liveness.release(path, 1)


def test_no_descriptor_stays_open_when_nothing_is_held(path: Path) -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    liveness.hold(path, 1)
    liveness.abandoned(path, [1, 2])
    liveness.release(path, 1)
    assert len(list(Path("/dev/fd").iterdir())) == before


FORKER = """
import os, sys
from pathlib import Path
from aichat_cli.storage import liveness
path = Path(sys.argv[1])
liveness.hold(path, 1)
child = os.fork()
if child == 0:
    print(liveness.is_own(path, 1), liveness.abandoned(path, [1, 2]), flush=True)
    liveness.release(path, 1)
    os._exit(0)
os.waitpid(child, 0)
print(liveness.is_own(path, 1), flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_forked_child_owns_nothing_and_takes_nothing_from_its_parent(path: Path) -> None:
    process = start(FORKER, path)
    assert first_line(process) == "False [2]"
    assert first_line(process) == "True"
    assert liveness.abandoned(path, [1]) == []
    finish(process)
