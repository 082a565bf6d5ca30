"""Nothing that came from outside reaches a terminal as a control sequence, on any way through the program."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from aichat_cli.render.theme import Role, Theme
from tests.pty.terminal import terminal
from tests.render.test_sanitize import ATTACKS
from tests.runner import Cli
from tests.servers.scripted import ScriptedServer

CORPUS = "".join(f"<{number}>{attack}\n" for number, (attack, _) in enumerate(ATTACKS.values()))
DANGEROUS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
STYLES = {"0", "1", "2", "31", "33", *(Theme().style(role) for role in get_args(Role))}
OURS = re.compile(rf"\x1b\[(?:{'|'.join(STYLES)})m|\x1b\[\?(?:25|2026)[hl]|\r?\x1b\[(?:\d*A|[JK])")


def assert_harmless(sent: bytes) -> None:
    """Nothing but text, line ends, the styles we put there ourselves and what redraws an open line."""
    text = OURS.sub("", sent.decode())
    assert DANGEROUS.findall(text) == []
    assert "\r" not in text.replace("\r\n", "")


@pytest.mark.parametrize("split", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("model", ["gpt-4o-mini", "claude-haiku-4-5"])
def test_an_answer_split_anywhere(cli: Cli, server: ScriptedServer, model: str, split: int) -> None:
    server.script = {"text": CORPUS, "split": split}
    with terminal(cli, "-m", model, "hello", rows=60) as screen:
        assert screen.wait_for_exit() == 0

    assert_harmless(screen.sent)
    for number in range(len(ATTACKS)):
        assert f"<{number}>".encode() in screen.sent


def test_what_a_model_thinks(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"deltas": [*({"reasoning": character} for character in CORPUS), "ok"]}
    with terminal(cli, "hello", rows=60) as screen:
        assert screen.wait_for_exit() == 0

    assert_harmless(screen.sent)


@pytest.mark.parametrize("status", [200, 400, 401, 404, 429, 500])
def test_an_error_of_a_provider(cli: Cli, server: ScriptedServer, status: int) -> None:
    error = {"message": CORPUS[:900], "type": CORPUS[:90], "code": CORPUS[:90]}
    server.script = {"deltas": ["x", {"error": error}]} if status == 200 else {"status": status, "error": error}
    with terminal(cli, "hello", "--debug", rows=60, AICHAT_RETRY_ATTEMPTS="1") as screen:
        assert screen.wait_for_exit() != 0

    assert_harmless(screen.sent)


def test_garbage_in_the_place_of_an_answer(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"body": CORPUS, "content_type": "text/html"}
    with terminal(cli, "hello", AICHAT_RETRY_ATTEMPTS="1") as screen:
        assert screen.wait_for_exit() == 6

    assert_harmless(screen.sent)


@pytest.mark.parametrize(
    "arguments",
    [
        ["history", "list"],
        ["history", "list", "--json"],
        ["history", "show", "<0>"],
        ["history", "show", "<0>", "--json"],
        ["history", "search", "evil"],
        ["history", "show", "no\x1b]0;x\x07such"],
        ["-m", "bad\x1b]0;x\x07\u202ename\x9b2J", "hello"],
        ["-r", "\x1b[2J", "hello"],
        ["--bad\x1b]0;x\x07"],
        ["models", "info", "\x1b]0;x\x07"],
        ["config", "get", "\x1b]0;x\x07"],
        ["config", "list"],
        ["keys", "rm", "\x1b]0;x\x07"],
    ],
    ids=lambda arguments: ascii(" ".join(arguments)),
)
def test_titles_names_and_arguments(cli: Cli, server: ScriptedServer, arguments: list[str]) -> None:
    server.script = [{"text": CORPUS}, {"status": 400}]
    cli.run("-s", CORPUS.replace("\x00", ""), CORPUS.replace("\x00", ""))
    cli.environ = {"AICHAT_SYSTEM_PROMPT": CORPUS.replace("\x00", "")}
    with terminal(cli, *arguments, columns=120, rows=60) as screen:
        screen.wait_for_exit()

    assert_harmless(re.sub(rb"\x1b\[\d*(;\d+)*m", b"", screen.sent))


def test_a_session_with_its_status_line(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": CORPUS, "split": 1}
    with terminal(cli, "-m", "odd\x1b]0;evil\x07name", rows=60, columns=120) as screen:
        screen.wait_for("oddname |")
        screen.type("hello\r")
        screen.wait_for(f"<{len(ATTACKS) - 1}>")
        screen.type("/resume\r")
        screen.wait_for("Today")
        screen.settle()
        screen.type("\x1b")
        screen.wait_for("oddname |")
        screen.type("/undo\r")
        screen.wait_for("Taken back.")

    for attack, _ in ATTACKS.values():
        if DANGEROUS.search(attack) and len(attack) > 6:
            assert attack.encode() not in screen.sent
    assert b"\x1b]" not in screen.sent
    assert b"\x9d" not in screen.sent.replace("─".encode(), b"")
