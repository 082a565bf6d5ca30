"""Every command in a process of its own, which has to import what it uses, and in a forked one, which says the same."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any

import pytest
import typer

from aichat_cli.cli.main import root
from tests.runner import Cli
from tests.servers.scripted import ScriptedServer

STORIES = {
    "chat": """
        hello
        chat -m gpt-4o-mini -s 'be brief' -o temperature 0 hello
        -m claude-haiku-4-5 hello
        -c and then
        -n --json hello
        -f notes/bees.md sum up
        -a photo.png 'what is it?'
        -m nonsense hello
    """,
    "documents": """
        search bees
        ingest notes
        ingest notes --dry-run --json
        search honey
        search honey --json
        --docs 'what do bees make?'
        docs list
        docs list --json
        docs collections
        docs show notes/bees.md
        docs refresh -y
        docs reindex -y
        docs warm
        docs migrate --to local
        docs rm notes/bees.md -y
    """,
    "history": """
        hello
        history list
        history list --json
        history show hello
        history search hello
        history rename hello 'a greeting'
        history export --all --format json -o told.json
        history export greeting
        history export greeting --format html
        history import told.json
        history rm greeting -y
    """,
    "money": """
        usage
        hello
        usage
        usage calendar
        usage monthly --json
        usage models --csv
        credits
        credits history
        credits statement
        credits buy --resume
        credits buy nonsense
    """,
    "models": """
        models list gpt-4o
        models info gpt-4o-mini
        models alias quick gpt-4o-mini
        models add mine --base-url http://127.0.0.1:9/v1
        models price mine --free
        models rm mine
        models default gpt-4o
        models pull nonsense
    """,
    "sync": """
        sync status
        sync now
        sync now --dry-run
        sync init --print
        sync init nonsense
        nonsense | sync init -
        sync init postgresql://me@127.0.0.1:9/nowhere --yes
        sync trash
        sync off -y
    """,
    "gateway": """
        users list
        users create anna --email anna@example.com
        users grant anna 50 --ref welcome
        users plan anna pro
        users show anna --json
        api-keys list
        api-keys create nobody
        api-keys create anna --name laptop --json
        api-keys list anna
        api-keys revoke nonsense
        users suspend anna
        users resume anna
        users list
        users audit anna
        serve --host nowhere.invalid
        serve --tls-cert nowhere.pem
        serve --host 0.0.0.0 --database empty.db
    """,
    "account": """
        whoami
        logout
        login
        login http://chat.example.org
        sk-of-a-provider | login http://127.0.0.1:9
        login http://127.0.0.1:9 a-key
        -m gateway/gpt-4o hello
    """,
    "integrations": """
        integrations list
        integrations enable langsmth
        integrations enable langsmith
        integrations list --json
        integrations disable langsmith
        integrations enable helicone
        integrations test helicone
        doctor
    """,
    "settings": """
        sk-of-mine | keys set mistral
        keys list
        keys rm mistral
        config path
        config set model gpt-4o
        config get model
        config list
        config unset model
        config edit
        roles edit critic
        roles list
        roles show critic
        --role critic hello
        roles rm critic -y
        doctor
        --version
        --help
        chat --help
    """,
}
"""Command lines that are run one after the other by one user; what stands before a | is on its stdin."""


CHANGING = r"aichat-[a-z2-7]{8}(-[a-z2-7]{52})?|[0-9a-f]{8}(-[0-9a-f]+)+|\d+([-.:]\d+)+|\d+ s\b|\d+ ([kM]B|bytes)/s"
"""What is another the next time: ids, times, amounts of time and of money, and how fast it went."""


def lines(story: str) -> list[str]:
    return [line.strip() for line in STORIES[story].strip().splitlines()]


def commands_of(command: Any, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """The words of each command that does something."""
    if not hasattr(command, "list_commands"):
        return {path}
    context = typer.Context(command)
    each = {name: command.get_command(context, name) for name in command.list_commands(context)}
    return set().union(*(commands_of(found, (*path, name)) for name, found in each.items()))


def test_every_command_is_told_of() -> None:
    told = [shlex.split(line.rpartition(" | ")[2]) for story in STORIES for line in lines(story)]
    commands = commands_of(typer.main.get_command(root))
    assert [command for command in commands if not any(tuple(words[: len(command)]) == command for words in told)] == []


@pytest.mark.parametrize("story", STORIES)
def test_a_command_does_the_same_in_a_new_process_and_in_a_forked_one(
    server: ScriptedServer, tmp_path: Path, story: str
) -> None:
    server.script = {"text": "All is well."}
    users = {fresh: a_user(tmp_path, server, fresh=fresh) for fresh in (True, False)}
    told = {fresh: [said(user, line, fresh=fresh) for line in lines(story)] for fresh, user in users.items()}
    for line, new, forked in zip(lines(story), told[True], told[False], strict=True):
        assert "This is a defect" not in new, line
        assert forked == new, line


def a_user(tmp_path: Path, server: ScriptedServer, *, fresh: bool) -> Cli:
    home = tmp_path / ("new" if fresh else "old")
    (home / "notes").mkdir(parents=True)
    (home / "notes" / "bees.md").write_text("# Bees\n\nThey make honey.\n", "utf-8")
    (home / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    editors = {
        "VISUAL": "sh -c 'echo \\# Be strict. >> \"$0\"'",
        "STRIPE_API_KEY": "",
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    }
    return Cli(home, server, editors)


def said(user: Cli, line: str, *, fresh: bool) -> str:
    """The command, its exit code and all it said, without what differs from one moment to the next."""
    piped, _, command = line.rpartition(" | ")
    with user.start(*shlex.split(command), cwd=user.home, fresh=fresh, stdin=PIPE if piped else DEVNULL) as process:
        out, err = process.communicate(piped.encode() or None, timeout=60)
    text = f"{process.returncode}\n{out.decode()}\n{err.decode()}".replace(str(user.home), "~")
    return re.sub(CHANGING, "#", text)
