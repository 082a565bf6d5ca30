"""How many processor cores this process may keep busy: physical ones, within its affinity and its control group."""

from __future__ import annotations

import os
from pathlib import Path


def physical_cores(
    cpuinfo: Path = Path("/proc/cpuinfo"),
    cgroup: Path = Path("/sys/fs/cgroup"),
    allowed: frozenset[int] | None = None,
) -> int:
    """Physical cores, at least 1. `allowed` holds the logical processors the process may run on, by default its own."""
    if allowed is None:
        allowed = _affinity()
    cores = _cores_listed(cpuinfo, allowed) or _cores_of_macos() or len(allowed)
    quota = _quota(cgroup)
    return max(1, min(cores, quota) if quota else cores)


def default_threads() -> int:
    """Threads for a model: all physical cores but one, since spinning threads on a busy core slow each other down."""
    return max(1, physical_cores() - 1)


def _affinity() -> frozenset[int]:
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _cores_listed(cpuinfo: Path, allowed: frozenset[int]) -> int:
    """Distinct (socket, core) pairs among the allowed processors; 0 where the file does not tell."""
    try:
        blocks = cpuinfo.read_text(errors="replace").split("\n\n")
    except OSError:
        return 0
    cores: set[tuple[str, str]] = set()
    for block in blocks:
        pairs = (line.partition(":") for line in block.splitlines())
        fields = {key.strip(): value.strip() for key, _, value in pairs}
        processor = fields.get("processor", "")
        if "core id" in fields and processor.isdigit() and int(processor) in allowed:
            cores.add((fields.get("physical id", "0"), fields["core id"]))
    return len(cores)


def _cores_of_macos() -> int:
    """Performance cores where there are two kinds, else physical ones; 0 elsewhere than on macOS."""
    import sys

    if sys.platform != "darwin":
        return 0
    import subprocess

    for name in ("hw.perflevel0.physicalcpu", "hw.physicalcpu"):
        result = subprocess.run(["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, check=False)
        if result.stdout.strip().isdigit():
            return int(result.stdout)
    return 0


def _quota(cgroup: Path) -> int:
    """Whole processors the control group may use (version 2, then 1), at least 1; 0 where there is no limit."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return 0
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return 0
    return max(1, int(quota) // int(period))
