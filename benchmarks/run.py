"""Measures the budgets of the design side by side with `llm`, `sgpt` and a bare Python, on loopback, and prints a table.

python -m benchmarks.run [--runs 15] [--peers FOLDER] [--only PART ...] [--write]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    contenders,
    documents,
    gateway,
    large_history,
    measure,
    observing,
    sidebar,
    streaming,
    sync,
    typing_delay,
    usage,
    vector_data,
    vectors,
)
from benchmarks.contenders import Contender
from benchmarks.table import Row, peak, seconds, table, times, verdict, within
from tests.servers.scripted import ScriptedServer

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->"
TOGETHER, PEERS_TOGETHER = 50, 10
KEYS_TYPED = 40
STREAMED_BYTES, STREAMED_RUNS = 32_000, 5
INGESTS = 5


def main() -> None:
    """Measure everything and print the table."""
    parser = argparse.ArgumentParser(description="Measure aichat against its peers.")
    parser.add_argument("--runs", type=int, default=15, help="runs of each, interleaved; the median counts")
    parser.add_argument(
        "--peers", type=Path, default=Path(__file__).with_name(".peers"), help="where peers are installed"
    )
    parser.add_argument(
        "--cache", type=Path, default=Path(__file__).with_name(".cache"), help="where the large database is kept"
    )
    parser.add_argument(
        "--texts", type=Path, nargs="*", default=[], help="folders in BEIR form whose texts are embedded"
    )
    parser.add_argument("--only", nargs="*", default=[], metavar="PART", help="measure these parts alone")
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/README.md")
    arguments = parser.parse_args()
    if arguments.write and arguments.only:
        parser.error("--write puts in the whole table: not with --only")
    with tempfile.TemporaryDirectory() as folder, ScriptedServer() as server:
        rows = _rows(Path(folder), server, arguments)
    text = f"{_machine()}, medians of {arguments.runs} interleaved runs:\n\n{table(rows)}\n"
    print(text)
    if arguments.write:
        head, _, rest = README.read_text("utf-8").partition(BEGIN)
        README.write_text(f"{head}{BEGIN}{text}{END}{rest.partition(END)[2]}", "utf-8")


def _rows(folder: Path, server: ScriptedServer, arguments: argparse.Namespace) -> list[Row]:
    peers, runs = arguments.peers, arguments.runs
    ours = contenders.aichat(folder / "aichat", server.openai_url)
    llm = contenders.llm(folder / "llm", server.openai_url, peers)
    sgpt = contenders.sgpt(folder / "sgpt", server.openai_url, peers)
    python = contenders.bare_python(folder / "python")
    groups: dict[str, Callable[[], list[Row]]] = {
        "one-shot": lambda: _one_shots(ours, llm, sgpt, python, server, runs),
        "together": lambda: _together(ours, llm),
        "listings": lambda: _listings(ours, llm, python, runs),
        "usage": lambda: usage.rows(ours, python, arguments.cache, runs),
        "prompt": lambda: [_prompt(ours, python, runs)],
        "observing": lambda: observing.rows(ours, python, folder / "observing", runs),
        "history": lambda: _large_history(large_history.built(arguments.cache), folder / "large", runs),
        "streaming": lambda: _streamed(ours, llm, sgpt, server, runs),
        "typing": lambda: [_typing(ours, server)],
        "documents": lambda: documents.rows(
            ours, arguments.cache, folder / "documents", vector_data.texts(arguments.texts), min(runs, INGESTS)
        ),
        "gateway": lambda: gateway.rows(folder / "gateway", peers),
        "sync": lambda: sync.rows(folder / "sync"),
        "vectors": lambda: vectors.rows(arguments.cache, peers, arguments.texts),
    }
    if unknown := set(arguments.only) - set(groups):
        raise SystemExit(f"There is no part {', '.join(unknown)}. There are: {', '.join(groups)}")
    return [row for name, group in groups.items() if not arguments.only or name in arguments.only for row in group()]


def _one_shots(
    ours: Contender, llm: Contender, sgpt: Contender, python: Contender, server: ScriptedServer, runs: int
) -> list[Row]:
    by_name: dict[str, list[measure.Run]] = {each.name: [] for each in (ours, llm, sgpt, python)}
    for number in range(runs + 1):
        for each in (ours, llm, sgpt):
            taken = measure.run(each, each.one_shot(f"hello {number}"), server)
            if f"hello {number}" not in taken.stdout:
                raise SystemExit(f"{each.name} did not print the answer: {taken.stdout}")
            by_name[each.name].append(taken)
        by_name["python"].append(measure.run(python, list(python.command)))
    for taken_runs in by_name.values():
        del taken_runs[0]  # the first fills caches
    to_request = {name: _median(taken, lambda run: run.to_request or run.wall) for name, taken in by_name.items()}
    memory = {name: _median(taken, lambda run: run.peak_bytes) for name, taken in by_name.items()}
    what = "one-shot: start to request on the wire"
    return [
        times(what, to_request["aichat"], "llm", to_request["llm"], 0.30),
        times(what, to_request["aichat"], "sgpt", to_request["sgpt"], 0.70),
        times(what, to_request["aichat"], "python -c pass", to_request["python"], None),
        peak("one-shot: peak memory", memory["aichat"], memory["llm"], 45),
    ]


def _together(ours: Contender, llm: Contender) -> list[Row]:
    processes, printed, seconds = measure.at_once(ours, TOGETHER)
    listed = measure.run(ours, [*ours.command, "history", "list", "--all", "--json"])
    titles = {row["title"] for row in json.loads(listed.stdout) if row["messages"] == 2}
    answers = sum(f"question {number}" in text for number, text in enumerate(printed))
    stored = sum(f"question {number}" in titles for number in range(TOGETHER))
    errors = sum(process.returncode != 0 for process in processes)
    peers, peers_printed, peers_seconds = measure.at_once(llm, PEERS_TOGETHER)
    peers_answers = sum(f"question {number}" in text for number, text in enumerate(peers_printed))
    peers_errors = sum(process.returncode != 0 for process in peers)
    result = f"{answers} answers, {stored} stored, {errors} errors, {seconds:.1f} s"
    theirs = (
        f"llm, {PEERS_TOGETHER} at once: {peers_answers} answers, {_llm_stored(llm)} stored, "
        f"{peers_errors} errors, {peers_seconds:.1f} s"
    )
    is_kept = (answers, stored, errors) == (TOGETHER, TOGETHER, 0)
    budget = f"{TOGETHER} answers, {TOGETHER} stored, no error"
    return [Row(f"{TOGETHER} one-shots at once on one database", result, theirs, "", budget, verdict(is_kept))]


def _llm_stored(llm: Contender) -> int:
    logged = measure.run(llm, [*llm.command, "logs", "list", "-n", "0", "--json"]).stdout
    return sum(f'"question {number}"' in logged for number in range(PEERS_TOGETHER))


def _listings(ours: Contender, llm: Contender, python: Contender, runs: int) -> list[Row]:
    commands = {
        "--version": (ours, [*ours.command, "--version"]),
        "history list": (ours, [*ours.command, "history", "list"]),
        "--help": (ours, [*ours.command, "--help"]),
        "llm --version": (llm, [*llm.command, "--version"]),
        "llm logs list": (llm, [*llm.command, "logs", "list", "--short"]),
        "python": (python, list(python.command)),
    }
    walls: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(runs + 1):
        for name, (contender, command) in commands.items():
            taken = measure.run(contender, command)
            if number:
                walls[name].append(taken.wall)
    medians = {name: statistics.median(taken) for name, taken in walls.items()}
    return [
        times("`aichat --version`", medians["--version"], "python -c pass", medians["python"], 6),
        times("`aichat --version`", medians["--version"], "llm --version", medians["llm --version"], None),
        times("`aichat history list`", medians["history list"], "python -c pass", medians["python"], 12),
        times("`aichat history list`", medians["history list"], "llm logs list", medians["llm logs list"], None),
        times("`aichat --help`", medians["--help"], "python -c pass", medians["python"], None),
    ]


def _prompt(ours: Contender, python: Contender, runs: int) -> Row:
    to_prompt, bare = [], []
    for number in range(runs + 1):
        seconds = measure.seconds_to_prompt(ours)
        bare_seconds = measure.run(python, list(python.command)).wall
        if number:
            to_prompt.append(seconds)
            bare.append(bare_seconds)
    return times(
        "chat: start to a prompt that takes keys",
        statistics.median(to_prompt),
        "python -c pass",
        statistics.median(bare),
        25,
    )


def _large_history(database: Path, home: Path, runs: int) -> list[Row]:
    taken = sidebar.measured(database, home, runs)
    of = "100,000 conversations, 1,000,000 messages"
    return [
        within(f"chats: from the key to the first screen ({of})", taken.opened, 0.200),
        within("chats: from a key in the filter to its result", taken.keys, 0.050),
        within("`history search`: the query", taken.searches, 0.050),
    ]


def _typing(ours: Contender, server: ScriptedServer) -> Row:
    server.script = {"text": streaming.typical(60_000), "split": streaming.DELTA, "delay": 0.0005}
    taken = typing_delay.seconds_to_show_keys(ours, "go", KEYS_TYPED)
    server.script = None
    return within("chat: a key typed while an answer streams, until it shows", taken, 0.050)


def _streamed(ours: Contender, llm: Contender, sgpt: Contender, server: ScriptedServer, runs: int) -> list[Row]:
    """A long answer on a terminal. sgpt's work grows with the square of it: it gets an eighth, once."""
    text, twice = streaming.typical(STREAMED_BYTES), streaming.typical(2 * STREAMED_BYTES)
    size = len(text.encode())
    once, double, theirs = [], [], []
    for _ in range(min(runs, STREAMED_RUNS)):
        once.append(streaming.streamed(ours, server, text))
        double.append(streaming.streamed(ours, server, twice))
        theirs.append(streaming.streamed(llm, server, text))
    part = streaming.typical(STREAMED_BYTES // 8)
    slowest = streaming.streamed(sgpt, server, part)
    server.script = None
    cpu = statistics.median(run.cpu for run in once)
    growth = statistics.median(run.cpu for run in double) / cpu
    sent = statistics.median(run.sent for run in once) / size
    llm_cpu = statistics.median(run.cpu for run in theirs)
    what = f"{size // 1000} KB of Markdown in {streaming.DELTA}-character deltas to a terminal"
    return [
        seconds(f"{what}: CPU", cpu, "llm (raw text)", llm_cpu, 0.8),
        seconds(f"{what}: CPU", cpu, "sgpt, for an eighth of it", slowest.cpu, None),
        Row("twice the text", f"{growth:.2f} x the CPU", "", "", "at most 2.2 x", verdict(growth <= 2.2)),
        Row(
            "bytes to the terminal",
            f"{sent:.2f} x the answer",
            f"sgpt: {slowest.sent / len(part.encode()):.0f} x, llm: {theirs[0].sent / size:.1f} x",
            "",
            "at most 3 x",
            verdict(sent <= 3),
        ),
    ]


def _median(taken: list[measure.Run], value: Callable[[measure.Run], float]) -> float:
    return statistics.median(value(run) for run in taken)


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
