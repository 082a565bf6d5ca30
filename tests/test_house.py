"""The house as a whole: what a command did not import, that the layers hold, that the shell's completion works."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aichat_cli.account import profile
from aichat_cli.account.profile import Account, Window
from aichat_cli.core.clock import utc_now
from tests.servers.scripted import ScriptedServer

ROOT = Path(__file__).resolve().parent.parent

HEAVY = {
    "aiohttp", "anthropic", "asyncio", "click", "httpx", "importlib.metadata", "keyring", "litellm", "multiprocessing",
    "openai", "pinecone", "prompt_toolkit", "psycopg", "pydantic", "pygments", "requests", "rich", "rich.markdown", "tiktoken",
    "tomlkit", "urllib.request", "xllamacpp", "yaml",
}  # fmt: skip
"""What a one-shot and a listing have no use for."""

RUN_AND_LIST = """
import json, sys
sys.argv = ["aichat", *sys.argv[1:]]
from aichat_cli.__main__ import main
try:
    main()
except SystemExit as ended:
    code = ended.code or 0
else:
    code = 0
sys.stdout.flush()
print(json.dumps({"code": code, "modules": sorted(sys.modules)}), file=sys.stderr)
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A user who has nothing but a home."""
    return {
        "HOME": str(tmp_path),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
        "PYTHONPATH": str(ROOT),
        "OPENAI_API_KEY": "not-a-key",
        "NO_PROXY": "127.0.0.1",
    }


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer({"text": "All is well."}) as running:
        yield running


def modules_after(arguments: list[str], environment: dict[str, str], stdin: str = "") -> tuple[str, set[str]]:
    """What a command printed, and what it had imported when it ended."""
    ended = subprocess.run(
        [sys.executable, "-c", RUN_AND_LIST, *arguments],
        env=environment, input=stdin, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    told = json.loads(ended.stderr.splitlines()[-1])
    assert told["code"] == 0, ended.stderr
    return ended.stdout, set(told["modules"])


def test_a_piped_one_shot_imports_nothing_heavy(environment: dict[str, str], server: ScriptedServer) -> None:
    environment["OPENAI_BASE_URL"] = server.openai_url
    answer, modules = modules_after(["is all well?"], environment, stdin="a log")
    assert answer.startswith("All is well.")
    assert server.requests[0].body["messages"][-1]["content"] == "a log\n\nis all well?"
    assert modules & HEAVY == set()
    assert "aichat_cli.providers.helicone" not in modules
    assert not any(
        name.startswith("aichat_cli.integrations") or name.endswith((".plugins", ".plugged")) for name in modules
    )


def test_a_one_shot_imports_nothing_of_an_account_on_a_gateway_unless_there_is_one(
    environment: dict[str, str], server: ScriptedServer, tmp_path: Path
) -> None:
    environment["OPENAI_BASE_URL"] = server.openai_url
    _, modules = modules_after(["is all well?"], environment)
    assert not {name for name in modules if name.startswith(("aichat_cli.account", "aichat_cli.gateway"))}
    assert "aichat_cli.providers.gateway" not in modules
    account = Account(server.url, "1", "anna", "free", 0, 0, Window(20, 20, None), utc_now())
    profile.save(tmp_path / "state" / "aichat" / "account.json", profile.Profile(account, (), utc_now()))
    environment |= {"AICHAT_GATEWAY_URL": server.url, "AICHAT_GATEWAY_KEY": "not-a-key"}
    environment["XDG_STATE_HOME"] = str(tmp_path / "state")
    _, modules = modules_after(["-m", "gateway/gpt-4o", "is all well?"], environment)
    assert "aichat_cli.account.services" in modules
    assert modules & (HEAVY | {"aichat_cli.account.client", "aichat_cli.account.login"}) == set()


def test_a_one_shot_with_a_text_file_imports_no_reader_of_documents(
    environment: dict[str, str], server: ScriptedServer
) -> None:
    environment["OPENAI_BASE_URL"] = server.openai_url
    _, modules = modules_after(["-f", str(ROOT / "pyproject.toml"), "is all well?"], environment)
    assert modules & (HEAVY | {"lxml", "numpy", "pathspec"}) == set()
    assert not modules & {"aichat_cli.documents.fetching", "aichat_cli.documents.loading.readers"}


def test_a_one_shot_to_anthropic_imports_nothing_heavy(environment: dict[str, str], server: ScriptedServer) -> None:
    environment |= {"ANTHROPIC_BASE_URL": server.anthropic_url, "ANTHROPIC_API_KEY": "not-a-key"}
    answer, modules = modules_after(["-m", "claude-haiku-4-5", "is all well?"], environment)
    assert answer.startswith("All is well.")
    assert modules & HEAVY == set()


def test_the_version_imports_neither_the_command_line_nor_the_database(environment: dict[str, str]) -> None:
    answer, modules = modules_after(["--version"], environment)
    assert answer.startswith("aichat ")
    assert modules & (HEAVY | {"typer", "apsw", "aichat_cli.cli", "aichat_cli.core.errors"}) == set()


def test_a_piped_listing_imports_no_wire_and_nothing_heavy(environment: dict[str, str]) -> None:
    _, modules = modules_after(["history", "list", "--json"], environment)
    assert modules & HEAVY == set()
    assert not {name for name in modules if name.endswith("_wire")}


@pytest.mark.parametrize("arguments", [[], ["monthly"], ["conversations"], ["models", "--json"], ["daily", "--csv"]])
def test_usage_imports_nothing_heavy(arguments: list[str], environment: dict[str, str], server: ScriptedServer) -> None:
    environment["OPENAI_BASE_URL"] = server.openai_url
    _, modules = modules_after(["-m", "gpt-4o-mini", "is all well?"], environment)
    assert not modules & {"aichat_cli.billing.reports", "aichat_cli.storage.usage_reports"}
    answer, modules = modules_after(["usage", *arguments], environment)
    assert answer
    assert modules & (HEAVY | {"zoneinfo", "rich.cells"}) == set()
    assert len(modules & {"aichat_cli.render.usage_view", "aichat_cli.render.usage_data"}) == 1
    assert not {name for name in modules if name.endswith("_wire")}


def test_every_contract_between_the_layers_holds(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("lint-imports")
    checked = subprocess.run(
        [program, "--config", ROOT / "pyproject.toml", "--no-cache", "--no-logo"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_no_file_of_the_package_is_longer_than_a_page_can_hold() -> None:
    longest = max((len(path.read_text("utf-8").splitlines()), path.name) for path in ROOT.glob("aichat_cli/**/*.py"))
    assert longest[0] <= 400, longest


def completed(shell: str, line: str, environment: dict[str, str]) -> set[str]:
    """What the program offers for the last word of a line, asked as the shell's script asks."""
    words = line.split(" ")
    asked = {
        "bash": {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }
    ended = subprocess.run(
        [sys.executable, "-m", "aichat_cli"],
        env={**environment, **asked[shell], "_AICHAT_COMPLETE": f"complete_{shell}"},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    if shell == "zsh":
        return {row.split('"')[1] for row in ended.stdout.splitlines() if '"' in row}
    return {row.split("\t")[0] for row in ended.stdout.splitlines()}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands_complete(shell: str, environment: dict[str, str]) -> None:
    assert completed(shell, "aichat hi", environment) == {"history"}
    assert completed(shell, "aichat history re", environment) == {"rename"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_options_complete_without_the_word_chat(shell: str, environment: dict[str, str]) -> None:
    assert completed(shell, "aichat --no", environment) == {"--no-log", "--no-md", "--no-stream"}
    assert completed(shell, "aichat why --no", environment) == {"--no-log", "--no-md", "--no-stream"}
    assert completed(shell, "aichat -o temperature 0 why --ex", environment) == {"--extract"}


def test_every_command_completes_at_an_empty_word(environment: dict[str, str]) -> None:
    assert {"chat", "history", "models", "keys", "config", "doctor"} <= completed("bash", "aichat ", environment)


def test_bash_completes_with_the_shipped_script(environment: dict[str, str], tmp_path: Path) -> None:
    bash = shutil.which("bash")
    assert bash, "these tests need bash"
    _put_on_path(environment, tmp_path)
    script = f"""
        . '{ROOT}/completions/aichat.bash'
        COMP_WORDS=(aichat history li) COMP_CWORD=2
        $(complete -p aichat | sed 's/.*-F \\([^ ]*\\).*/\\1/') aichat li history
        echo "${{COMPREPLY[@]}}"
    """
    ended = subprocess.run(
        [bash, "--norc", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.split() == ["list"]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes_at_every_tab_with_the_shipped_script(environment: dict[str, str], tmp_path: Path) -> None:
    _put_on_path(environment, tmp_path)
    controller, terminal = pty.openpty()
    environment |= {"PS1": "% ", "TERM": "dumb"}
    shell = subprocess.Popen(
        ["zsh", "-f", "-i"], env=environment, cwd=tmp_path,
        stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    try:
        os.write(controller, f"fpath=({ROOT}/completions $fpath); autoload -Uz compinit; compinit -D -u\r".encode())
        os.write(controller, b"echo rea''dy\r")
        _wait_for(controller, b"ready")
        for typed, completed_to in ((b"hist", b"history"), (b"--no-l", b"--no-log"), (b"why --ex", b"--extract")):
            os.write(controller, b"aichat " + typed + b"\t")
            _wait_for(controller, completed_to)
            os.write(controller, b"\x15")
    finally:
        shell.kill()
        shell.wait()
        os.close(controller)


def _wait_for(controller: int, wanted: bytes) -> None:
    seen = b""
    end = time.monotonic() + 30
    while wanted not in seen:
        assert time.monotonic() < end, f"{wanted!r} did not come: {seen!r}"
        if select.select([controller], [], [], 0.1)[0]:
            seen += os.read(controller, 65536)


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes_with_the_shipped_script(environment: dict[str, str], tmp_path: Path) -> None:
    _put_on_path(environment, tmp_path)
    script = f"source {ROOT}/completions/aichat.fish; complete -C 'aichat history li'"
    ended = subprocess.run(
        ["fish", "--no-config", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert [line.split("\t")[0] for line in ended.stdout.splitlines()] == ["list"]


def _put_on_path(environment: dict[str, str], folder: Path) -> None:
    """A command `aichat` first on the path, also where the package is not installed."""
    program = folder / "bin" / "aichat"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m aichat_cli "$@"\n', "utf-8")
    program.chmod(0o755)
    environment["PATH"] = f"{program.parent}{os.pathsep}{environment['PATH']}"


def test_completion_installs_itself_for_bash(environment: dict[str, str], tmp_path: Path) -> None:
    environment["_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"] = "1"
    subprocess.run(
        [sys.executable, "-m", "aichat_cli", "--install-completion", "bash"],
        env=environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    installed = (tmp_path / ".bash_completions" / "aichat.sh").read_text("utf-8")
    assert installed.strip() == (ROOT / "completions" / "aichat.bash").read_text("utf-8").strip()
    assert "aichat.sh" in (tmp_path / ".bashrc").read_text("utf-8")
