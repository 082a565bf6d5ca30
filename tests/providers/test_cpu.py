"""Counting cores: physical ones, within affinity and control group."""

from __future__ import annotations

from pathlib import Path

import pytest

from aichat_cli.providers import cpu

NO_CGROUP = Path("/nonexistent")


def cpuinfo(tmp_path: Path, cores: list[tuple[int, int]]) -> Path:
    path = tmp_path / "cpuinfo"
    blocks = [
        f"processor\t: {number}\nphysical id\t: {socket}\ncore id\t\t: {core}\n"
        for number, (socket, core) in enumerate(cores)
    ]
    path.write_text("\n".join(blocks))
    return path


def test_two_threads_of_one_core_count_once(tmp_path: Path) -> None:
    path = cpuinfo(tmp_path, [(0, 0), (0, 1), (0, 0), (0, 1), (1, 0), (1, 0)])
    assert cpu.physical_cores(path, NO_CGROUP, frozenset(range(6))) == 3


def test_only_cores_the_process_may_use_count(tmp_path: Path) -> None:
    path = cpuinfo(tmp_path, [(0, 0), (0, 1), (0, 2), (0, 3)])
    assert cpu.physical_cores(path, NO_CGROUP, frozenset({1, 3})) == 2


def test_where_cores_are_not_listed_the_allowed_processors_count(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nBogoMIPS\t: 50\n\nprocessor\t: 1\n")
    assert cpu.physical_cores(tmp_path / "cpuinfo", NO_CGROUP, frozenset({0, 1, 2})) == 3
    assert cpu.physical_cores(tmp_path / "missing", NO_CGROUP, frozenset()) == 1


@pytest.mark.parametrize(
    ("limit", "cores"), [("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1), ("x", 8), ("100000 0", 8)]
)
def test_the_limit_of_a_control_group_is_kept(tmp_path: Path, limit: str, cores: int) -> None:
    path = cpuinfo(tmp_path, [(0, core) for core in range(8)])
    (tmp_path / "cpu.max").write_text(limit + "\n")
    assert cpu.physical_cores(path, tmp_path, frozenset(range(8))) == cores


@pytest.mark.parametrize(("quota", "cores"), [("300000", 3), ("-1", 8)])
def test_the_limit_of_an_older_control_group_is_kept(tmp_path: Path, quota: str, cores: int) -> None:
    path = cpuinfo(tmp_path, [(0, core) for core in range(8)])
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert cpu.physical_cores(path, tmp_path, frozenset(range(8))) == cores


def test_this_machine_has_at_least_one_thread_and_one_core_is_left_free() -> None:
    assert cpu.default_threads() == max(1, cpu.physical_cores() - 1)
