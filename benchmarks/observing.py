"""What it costs to be observed: one-shots that LangSmith is told of, beside one that it is not, and its own client."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

from benchmarks import measure
from benchmarks.contenders import Contender
from benchmarks.table import Row, times
from tests.servers.langsmith_double import KEY, LangSmithDouble

_WITH_ITS_CLIENT = """
import sys
from langsmith import Client
from langsmith.run_trees import RunTree

client = Client(api_url=sys.argv[1], api_key=sys.argv[2])
run = RunTree(name="one", run_type="llm", inputs={"messages": []}, project_name="aichat", client=client)
run.post()
run.end(outputs={"messages": []})
run.patch()
client.flush()
"""


def rows(ours: Contender, python: Contender, folder: Path, runs: int) -> list[Row]:
    """CPU and wall time of whole one-shots, interleaved, with a LangSmith on loopback."""
    with LangSmithDouble() as langsmith:
        told = {"AICHAT_INTEGRATIONS": "langsmith", "AICHAT_LANGSMITH_URL": langsmith.url, "LANGSMITH_API_KEY": KEY}
        observed = Contender(ours.name, ours.command, {**ours.environment, **told})
        client = folder / "client.py"
        client.parent.mkdir(parents=True, exist_ok=True)
        client.write_text(_WITH_ITS_CLIENT, "utf-8")
        commands = {
            "off": (ours, ours.one_shot("hello")),
            "on": (observed, observed.one_shot("hello")),
            "client": (python, [sys.executable, str(client), langsmith.url, KEY]),
        }
        taken: dict[str, list[measure.Run]] = {name: [] for name in commands}
        for number in range(runs + 1):
            for name, (contender, command) in commands.items():
                run = measure.run(contender, command)
                if number:  # the first fills caches
                    taken[name].append(run)
        if len(langsmith.traces) != 2 * (runs + 1):
            raise SystemExit(f"{len(langsmith.traces)} traces arrived of {2 * (runs + 1)}.")
    cpu = {name: statistics.median(run.cpu for run in each) for name, each in taken.items()}
    wall = {name: statistics.median(run.wall for run in each) for name, each in taken.items()}
    return [
        times("one-shot with a trace to LangSmith: CPU", cpu["on"], "without", cpu["off"], 1.5),
        times("one-shot with a trace to LangSmith: from start to end", wall["on"], "without", wall["off"], 1.5),
        times("one-shot with a trace to LangSmith: CPU", cpu["on"], "LangSmith's client alone", cpu["client"], None),
    ]
