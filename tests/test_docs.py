"""The documentation says what is true: generated pages are in date, commands and links in it exist."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from aichat_cli.cli.main import EPILOG, root
from aichat_cli.core import exits
from aichat_cli.render import json_shapes
from aichat_cli.render.turn_view import TurnResult
from tests import starting
from tests.chat.files import PNG
from tests.servers.scripted import ScriptedServer
from tests.servers.stripe_double import StripeDouble

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SEPARATORS = {"|", "&&", "||", ";", ">", "<", "2>&1", "&"}


def commands_in(page: Path) -> Iterator[list[str]]:
    """The arguments of every `aichat` on a line of a console block that begins with `$`."""
    for kind, body in FENCE.findall(page.read_text("utf-8")):
        for line in body.splitlines() if kind == "console" else []:
            assert line.startswith("$ "), f"{page.name}: output in a console block cannot be checked: {line}"
            yield from _aichat_calls(shlex.split(line[2:]))


def _aichat_calls(words: list[str]) -> Iterator[list[str]]:
    call: list[str] | None = None
    for word in [*words, ";"]:
        if word in SEPARATORS:
            if call is not None:
                yield call
            call = None
        elif call is not None:
            call.append(word)
        elif Path(word).name == "aichat":
            call = []


def parse(arguments: list[str]) -> str:
    """Parse a command line as the program would, without running it; the command it names."""
    command: Any = typer.main.get_command(root)
    context = command.make_context("aichat", list(arguments))
    while hasattr(command, "resolve_command"):
        words = [*context._protected_args, *context.args]
        if not words and command.invoke_without_command:
            break
        name, command, rest = command.resolve_command(context, words)
        context = command.make_context(name, rest, parent=context)
    return str(context.command_path)


CALLS = [pytest.param(call, id=f"{page.name}: {shlex.join(call)}") for page in PAGES for call in commands_in(page)]


@pytest.mark.parametrize("call", CALLS)
def test_every_command_in_the_documentation_parses(call: list[str]) -> None:
    if call in (["--install-completion"], ["--version"]):
        return
    assert parse(call).startswith("aichat ")


def test_the_documentation_is_searched_for_commands() -> None:
    assert len(CALLS) > 50
    with pytest.raises(Exception, match="No such option"):
        parse(["--no-such-option"])
    with pytest.raises(Exception, match="No such command"):
        parse(["history", "no-such-command"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8")):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name) if name else page
        assert linked.is_file(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_every_page_of_the_docs_can_be_found_from_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    for page in ROOT.glob("docs/*/*.md"):
        assert str(page.relative_to(ROOT / "docs")) in index


def test_generated_files_are_in_date() -> None:
    checked = subprocess.run(
        [sys.executable, ROOT / "scripts" / "generate.py", "--check"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_exit_codes_of_the_readme_and_the_help_are_those_of_the_errors() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", readme, re.MULTILINE)}
    named = {value for name, value in vars(exits).items() if name.startswith("EXIT_")}
    assert told == named | {130}
    assert {int(code) for code in re.findall(r"\b(\d+) ", EPILOG)} == told


def shapes() -> dict[str, Any]:
    """Each JSON block of the reference by its heading."""
    text = (ROOT / "docs" / "reference" / "json.md").read_text("utf-8")
    blocks = re.findall(r"^## (.*?)$.*?^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return {heading: json.loads(block) for heading, block in blocks}


def test_the_documented_shape_of_an_answer_is_the_one_that_is_printed() -> None:
    documented = set(shapes()["`aichat --json`"])
    assert documented == set(json_shapes.turn(TurnResult(), ""))
    example = (ROOT / "docs" / "how-to" / "scripting.md").read_text("utf-8")
    assert documented == set(json.loads(dict(FENCE.findall(example))["json"]))


in_one_worker = pytest.mark.xdist_group("used-home")
"""For tests of one home: each worker would make one."""


@pytest.fixture(scope="module")
def used_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a user who has asked one question."""
    home = tmp_path_factory.mktemp("used")
    environment = environment_in(home)
    (home / "photo.png").write_bytes(PNG)
    (home / "paint.md").write_text("# Paint\n\nThe colours of paint are red and blue.\n")
    printed_by(["ingest", str(home / "paint.md")], environment)
    printed_by(["users", "create", "anna"], environment)
    printed_by(["roles", "edit", "critic"], {**environment, "VISUAL": "sh -c 'echo Be strict. > \"$0\"'"})
    with ScriptedServer() as server:
        printed_by(
            ["--docs", "-a", str(home / "photo.png"), "colours?"],
            {**environment, "OPENAI_BASE_URL": server.openai_url},
        )
    return home


@pytest.fixture
def home_with_a_turn(used_home: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of that user, in a copy of that home."""
    return environment_in(shutil.copytree(used_home, tmp_path / "home"))


def environment_in(home: Path) -> dict[str, str]:
    return starting.ENVIRONMENT | {"HOME": str(home), "OPENAI_API_KEY": "not-a-key", "NO_PROXY": "127.0.0.1"}


def printed_by(arguments: list[str], environment: dict[str, str], *, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [*starting.PROGRAM, *arguments]
    with starting.start(
        command, environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == code, err.decode()
    return subprocess.CompletedProcess(process.args, code, out.decode(), err.decode())


def fields_of(value: Any) -> Any:
    """The names in a JSON value; of a list those of its first item, a list in which is of the first that has one."""
    if isinstance(value, list):
        fields = [fields_of(item) for item in value]
        if fields and isinstance(fields[0], dict):
            return [
                {name: next((each[name] for each in fields if each.get(name)), fields[0][name]) for name in fields[0]}
            ]
        return fields[:1]
    return {name: fields_of(item) for name, item in value.items()} if isinstance(value, dict) else None


@in_one_worker
def test_the_documented_shapes_of_listings_are_those_that_are_printed(home_with_a_turn: dict[str, str]) -> None:
    documented = {
        ("history", "list"): "`aichat history list --json`",
        ("history", "show", "colours?"): "`aichat history show --json`",
        ("history", "search", "colours"): "`aichat history search --json`",
        ("models", "list"): "`aichat models list --json`, `aichat models info --json`",
        ("roles", "list"): "`aichat roles list --json`, `aichat roles show --json`",
        ("keys", "list"): "`aichat keys list --json`",
        ("config", "list"): "`aichat config list --json`",
        ("doctor",): "`aichat doctor --json`",
        ("integrations", "list"): "`aichat integrations list --json`",
        ("docs", "list"): "`aichat docs list --json`",
        ("docs", "collections"): "`aichat docs collections --json`",
        ("docs", "show", "paint.md"): "`aichat docs show --json`",
        ("search", "colours"): "`aichat search --json`",
        ("credits",): "`aichat credits --json`",
        ("credits", "history"): "`aichat credits history --json`",
        ("usage",): "`aichat usage --json`",
        ("usage", "weekly"): "`aichat usage daily --json`, and `weekly`, `monthly`, `calendar`",
        ("usage", "models"): "`aichat usage models --json`",
        ("usage", "conversations"): "`aichat usage conversations --json`",
        ("users", "list"): "`aichat users list --json`",
        ("users", "show", "anna"): "`aichat users show --json`",
        ("users", "grant", "anna", "1"): "`aichat users grant --json`",
        ("users", "audit"): "`aichat users audit --json`",
        ("api-keys", "create", "anna"): "`aichat api-keys create --json`",
        ("api-keys", "list"): "`aichat api-keys list --json`",
    }
    every = shapes()
    for arguments, heading in documented.items():
        printed = json.loads(printed_by([*arguments, "--json"], home_with_a_turn).stdout)
        assert fields_of(printed) == fields_of(every[heading]), heading
    info = json.loads(printed_by(["models", "info", "gpt-4o", "--json"], home_with_a_turn).stdout)
    assert fields_of([info]) == fields_of(every[documented["models", "list"]])


@in_one_worker
def test_the_documented_shape_of_a_statement_is_the_one_that_is_printed(home_with_a_turn: dict[str, str]) -> None:
    printed = json.loads(printed_by(["credits", "statement", "--json"], home_with_a_turn).stdout)
    assert fields_of({**printed, "problems": [""]}) == fields_of(shapes()["`aichat credits statement --json`"])


@in_one_worker
def test_the_documented_shape_of_a_purchase_is_the_one_that_is_printed(
    home_with_a_turn: dict[str, str], stripe: StripeDouble
) -> None:
    environment = {**home_with_a_turn, "STRIPE_API_KEY": stripe.key, "AICHAT_STRIPE_API_BASE": stripe.url}
    documented = shapes()["`aichat credits buy --json`"]
    ended = printed_by(["credits", "buy", "small", "--timeout", "0", "--json"], environment, code=1)
    assert fields_of(json.loads(ended.stdout)["purchases"]) == fields_of(documented["purchases"])
    told = set(json.loads(ended.stderr.splitlines()[0])["checkout"])
    assert told == {"purchase", "package", "amount_cents", "currency", "live", "url"}
    session = stripe.pay(stripe.last_session["id"])
    stripe.refund(session["id"], 500)
    printed = json.loads(printed_by(["credits", "buy", "--resume", "--json"], environment).stdout)
    assert fields_of(printed) == fields_of(documented)


@in_one_worker
def test_the_documented_shape_of_an_ingest_is_the_one_that_is_printed(
    home_with_a_turn: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "empty.txt").touch()
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 broken")
    (folder / "old.txt").write_bytes("Größe und Länge".encode("cp1252"))
    printed = json.loads(printed_by(["ingest", str(folder), "--json"], home_with_a_turn, code=1).stdout)
    assert fields_of(printed) == fields_of(shapes()["`aichat ingest --json`"])


@in_one_worker
def test_the_documented_shapes_of_an_export_and_an_import_are_those_that_are_printed(
    home_with_a_turn: dict[str, str], tmp_path: Path
) -> None:
    every = shapes()
    exported = json.loads(printed_by(["history", "export", "--format", "json"], home_with_a_turn).stdout)
    documented = every["`aichat history export --format json`"]
    for _ in ("document", "conversation", "message"):
        assert set(exported) == set(documented)
        exported, documented = (
            next((each[name][0] for name in ("conversations", "messages") if name in each), {})
            for each in (exported, documented)
        )
    archive = tmp_path / "archive.json"
    archive.write_text('[{"mapping": 1}]', "utf-8")
    imported = json.loads(printed_by(["history", "import", str(archive), "--json"], home_with_a_turn, code=1).stdout)
    documented = every["`aichat history import --json`"]
    documented |= {"skipped": [], "attachments": {**documented["attachments"], "missing_names": []}}
    assert fields_of(imported) == fields_of(documented)


@in_one_worker
def test_the_documented_shape_of_an_error_is_the_one_that_is_printed(home_with_a_turn: dict[str, str]) -> None:
    failed = printed_by(["history", "show", "nowhere", "--json"], home_with_a_turn, code=1)
    documented = shapes()["Errors"]
    del documented["error"]["retry_after"]  # of a rate limit only
    assert fields_of(json.loads(failed.stderr)) == fields_of(documented)
    assert failed.stdout == ""
