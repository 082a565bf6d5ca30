"""What is handed out to run the gateway with runs it: commands that exist, ends that are waited for, no secrets."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from aichat_cli.gateway.server import SETTLE_SECONDS
from tests.runner import ROOT
from tests.test_docs import parse

DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "aichat-gateway.service"


def test_what_the_files_start_is_a_command() -> None:
    started = re.search(r"^ExecStart=\S*/aichat (.*)$", UNIT.read_text(), re.MULTILINE)
    assert started
    container = (DEPLOY / "Containerfile").read_text()
    default = re.search(r"^CMD (\[.*\])$", container, re.MULTILINE)
    assert default
    for words in (started[1].split(), json.loads(default[1])):
        assert parse(words) == "aichat serve"
    for line in re.findall(
        r"^# docker compose run --rm gateway (.*)$", (DEPLOY / "compose.yaml").read_text(), re.MULTILINE
    ):
        assert parse(line.split()).startswith("aichat ")


def test_whoever_ends_the_gateway_waits_until_all_is_settled() -> None:
    longest = 30 + SETTLE_SECONDS
    for name, pattern in ((UNIT.name, r"^TimeoutStopSec=(\d+)$"), ("compose.yaml", r"stop_grace_period: (\d+)s$")):
        waits = re.search(pattern, (DEPLOY / name).read_text(), re.MULTILINE)
        assert waits
        assert int(waits[1]) > longest


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    # Neither the program nor its user is on this machine.
    unit.write_text(
        re.sub(r"^User=.*$", "", UNIT.read_text().replace("/usr/local/bin/aichat", "/bin/true"), flags=re.MULTILINE)
    )
    checked = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60, check=False
    )
    assert checked.returncode == 0
    assert checked.stderr == ""
