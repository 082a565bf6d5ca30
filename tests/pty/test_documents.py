"""Answering from documents in the chat: /docs, /sources, the status line, and what a hostile document does to a screen."""

from __future__ import annotations

from tests.pty.terminal import terminal
from tests.runner import Cli
from tests.servers.scripted import ScriptedServer

PROMPT = "gpt-4o-mini | "


def test_docs_answers_with_citations_and_sources_shows_what_was_drawn_on(cli: Cli, server: ScriptedServer) -> None:
    notes = cli.home / "ops.md"
    notes.write_bytes(
        b"# Keys\n\nAPI keys are rotated every ninety days.\n\x1b[2J\x1b]0;hacked\x07\x1b[31mred\n\n"
        + b"Whoever is on call tells the others a day before, and writes it down in the book of the week. " * 4
        + b"They are in the safe.\n"
    )
    server.script = {"text": "Every ninety days [1], or so [4].", "split": 2}
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("/docs\r")
        screen.wait_for("There are no documents yet.")
        screen.type(f"/ingest {notes}\r")
        screen.wait_for("docs default")
        screen.type("/sources\r")
        screen.wait_for("No answer here drew on documents")
        screen.type("When are the API keys rotated?\r")
        text = screen.wait_for("aichat docs show")
        assert "Every ninety days [1], or so." in text
        assert "[1] ops.md:1 Keys" in text
        screen.type("/sources\r")
        screen.wait_for("/sources N shows a passage.")
        screen.type("/sources 1\r")
        screen.wait_for("They are in the safe.")
        screen.type("/sources 2\r")
        screen.wait_for('There is no source "2"')
        sent = screen.sent
        notes.write_text("# Keys\n\nAPI keys are never rotated, says a later edition of this.\n")
        assert cli.run("ingest", str(notes)).returncode == 0
        screen.type("/sources 1\r")
        screen.wait_for("ops.md changed after this answer")
        screen.type("/docs off\r")
        screen.wait_for("Answers without documents from now on.")
        screen.wait_for(lambda text: "docs default" not in text.splitlines()[-1])
        screen.type("And now?\r")
        screen.wait_for(lambda text: text.count("or so") == 2)

    assert b"hacked" not in sent
    assert b"\x1b[31mred" not in sent
    assert server.requests[-1].body["messages"][-1]["content"] == "And now?"
    assert cli.json("history", "list")[0]["title"] == "When are the API keys rotated?"
