"""How the workers share the tests: file by file, so that what a module sets up is set up by one of them; the longest first, so
that none is left with one when the others are done. Tests of an `xdist_group` stay together, across files too.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import pytest
from xdist.scheduler import LoadGroupScheduling
from xdist.workermanage import WorkerController

_LONG = {
    "litellm": 60.0,
    "tests/cli/test_every_command.py": 40.0,
    "tests/hosted/test_nearest.py": 20.0,
}
"""Seconds, of groups and files with tests that take long."""

_OF_A_TEST = {"account": 0.6, "cli": 0.5, "pty": 0.5, "sync": 0.5, "render": 0.02}
"""Seconds of a test of these folders. A guess that is wrong costs time and nothing else."""


class _ByFile(LoadGroupScheduling):  # type: ignore[misc]
    def _split_scope(self, nodeid: str) -> str:
        scope = str(super()._split_scope(nodeid))
        return scope.partition("::")[0] if scope == nodeid else scope

    def _assign_work_unit(self, node: WorkerController) -> None:
        self.workqueue.move_to_end(max(self.workqueue, key=self._seconds), last=False)
        super()._assign_work_unit(node)

    def _seconds(self, scope: str) -> float:
        tests = len(self.workqueue[scope])
        return _LONG.get(scope, tests * _OF_A_TEST.get(PurePath(scope).parent.name, 0.1))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadGroupScheduling | None:
    """With `--dist loadgroup`; None leaves it to others."""
    return _ByFile(config, log) if config.getvalue("dist") == "loadgroup" else None
