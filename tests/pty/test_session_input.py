"""What goes into a message besides what is typed: files, mentions, the output of commands, roles."""

from __future__ import annotations

import signal

from aichat_cli.storage.database import Database
from tests.documents import samples
from tests.pty.terminal import terminal
from tests.runner import Cli
from tests.servers.pages import PageServer, page
from tests.servers.scripted import ScriptedServer

PROMPT = "gpt-4o-mini | "
PNG = b"\x89PNG\r\n\x1a\n" + bytes(32)
CTRL_C, TAB, UP = "\x03", "\t", "\x1b[A"


def contents(server: ScriptedServer, number: int = -1) -> list[object]:
    return [message["content"] for message in server.requests[number].body["messages"]]


def test_a_mentioned_file_is_named_and_sent_with_the_message(cli: Cli, server: ScriptedServer) -> None:
    (cli.home / "notes.txt").write_text("remember the milk")
    with terminal(cli, folder=cli.home) as screen:
        screen.wait_for(PROMPT)
        screen.type("what is in @notes.txt ?\r")
        screen.wait_for("notes.txt:")
        screen.wait_for("You said:")

    sent = str(contents(server)[0])
    assert "remember the milk" in sent
    assert sent.endswith("what is in @notes.txt ?")


def test_a_mention_that_was_pasted_reads_nothing(cli: Cli, server: ScriptedServer) -> None:
    (cli.home / "secret.txt").write_text("the secret")
    with terminal(cli, folder=cli.home) as screen:
        screen.wait_for(PROMPT)
        screen.type("explain \x1b[200~cat @secret.txt\x1b[201~\r")
        screen.wait_for("You said:")

    assert contents(server) == ["explain cat @secret.txt"]


def test_a_pasted_line_is_neither_a_command_nor_one_of_the_shell(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli, folder=cli.home) as screen:
        screen.wait_for(PROMPT)
        screen.type("\x1b[200~!touch made\x1b[201~\r")
        screen.wait_for("You said: !touch")
        screen.type("\x1b[200~/quit\x1b[201~\r")
        screen.wait_for("You said: /quit")

    assert not (cli.home / "made").exists()


def test_colours_in_what_is_typed_do_no_harm(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("a \x1b[31mred\x1b[0m word\r")
        screen.wait_for("You said: a red word")


def test_a_path_is_completed_after_an_at_sign(cli: Cli, server: ScriptedServer) -> None:
    (cli.home / "a-long-name.txt").write_text("found")
    with terminal(cli, folder=cli.home) as screen:
        screen.wait_for(PROMPT)
        screen.type("see @a-lo")
        screen.wait_for("a-long-name.txt")
        screen.type(f"{TAB}\r\r")
        screen.wait_for("You said:")

    assert "found" in str(contents(server)[0])


def test_a_file_that_cannot_be_taken_gives_the_message_back(cli: Cli, server: ScriptedServer) -> None:
    (cli.home / "binary").write_bytes(bytes(range(256)) * 40)
    with terminal(cli, folder=cli.home) as screen:
        screen.wait_for(PROMPT)
        screen.type("what is @binary\r")
        screen.wait_for("cannot be put in a prompt: it is a binary file")
        screen.wait_for(lambda text: text.count("> what is @") == 2)

    assert server.requests == []


def test_files_wait_beside_the_prompt_until_they_are_sent_or_dropped(cli: Cli, server: ScriptedServer) -> None:
    (cli.home / "photo.png").write_bytes(PNG)
    (cli.home / "notes.txt").write_text("remember the milk")
    with terminal(cli, folder=cli.home) as screen:
        screen.wait_for(PROMPT)
        screen.type("/file notes.txt\r")
        screen.wait_for("with: ")
        screen.type("/file -\r")
        screen.wait_for("Dropped 1.")
        screen.wait_for(lambda text: "with: " not in text)
        screen.type("/attach photo.png\r")
        screen.wait_for("photo.png")
        screen.type("what is this?\r")
        screen.wait_for("You said: what is this?")
        screen.wait_for(lambda text: "with: " not in text)
        screen.type("/file /nowhere\r")
        screen.wait_for("aichat: ")

    parts = contents(server)[0]
    assert isinstance(parts, list)
    assert [part["type"] for part in parts] == ["image_url", "text"]
    assert cli.rows("SELECT name, media_type FROM attachments") == [("photo.png", "image/png")]


def test_the_output_of_a_command_is_shown_and_goes_with_the_next_message(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("!echo one; echo two >&2; exit 3\r")
        screen.wait_for("Ended with code 3. The output goes with the next message")
        assert "one\ntwo\n" in screen.text
        screen.wait_for("with: output of echo one")
        screen.type("why?\r")
        screen.wait_for("You said:")

    sent = str(contents(server)[0])
    assert sent.startswith('<output command="echo one; echo two &gt;&amp;2; exit 3" exit_code="3">\none\ntwo\n')
    assert sent.endswith("\n\nwhy?")


def test_ctrl_c_ends_a_command_and_not_the_session(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("!echo begun; sleep 60\r")
        screen.wait_for("\nbegun")
        screen.type(CTRL_C)
        screen.wait_for("Ended with code 130.")
        screen.type("/file -\r")
        screen.wait_for("Dropped 1.")
        screen.type("hello\r")
        screen.wait_for("You said: hello")


def test_a_command_that_prints_nothing_leaves_nothing_beside_the_prompt(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("!true\r")
        screen.wait_for("It printed nothing.")
        assert "with: " not in screen.settle()


def test_a_role_answers_from_now_on(cli: Cli, server: ScriptedServer) -> None:
    roles = cli.config_file.parent / "roles"
    roles.mkdir(parents=True)
    (roles / "pirate.md").write_text("Talk like a pirate.")
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("/role\r")
        screen.wait_for("pirate")
        screen.type("/role pirate\r")
        screen.wait_for("Talk like a pirate.")
        screen.type("hello\r")
        screen.wait_for("You said: hello")
        screen.type("/role nobody\r")
        screen.wait_for("nobody")

    assert contents(server) == ["Talk like a pirate.", "hello"]


def test_a_new_conversation_is_named_by_the_model_that_is_set_for_it(cli: Cli, server: ScriptedServer) -> None:
    server.script = [{"text": "Blue light scatters."}, {"text": '"The blue sky"'}]
    with terminal(cli, AICHAT_TITLES_MODEL="gpt-4o") as screen:
        screen.wait_for(PROMPT)
        screen.type("why is the sky blue?\r")
        screen.wait_for("Blue light scatters.")
        screen.type("/title\r")
        screen.settle(1.0)
        screen.type("/title\r")
        screen.wait_for("The blue sky")

    assert server.requests[1].body["model"] == "gpt-4o"
    assert cli.rows("SELECT model, type, conversation_id IS NULL FROM usage ORDER BY created_at") == [
        ("gpt-4o-mini", "chat", 0),
        ("gpt-4o", "completion", 1),
    ]


def test_a_conversation_that_begins_with_a_paste_is_named_after_the_answer(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": "## A failed upload\n\nThe log shows ..."}
    pasted = "\n".join(f"line {number}" for number in range(100))
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type(f"\x1b[200~{pasted}\x1b[201~\r")
        screen.wait_for("The log shows")

    assert cli.json("history", "list")[0]["title"] == "A failed upload"


def test_an_undone_question_comes_back_with_its_files(cli: Cli, server: ScriptedServer) -> None:
    (cli.home / "photo.png").write_bytes(PNG)
    with terminal(cli, folder=cli.home) as screen:
        screen.wait_for(PROMPT)
        screen.type("what is @photo.png\r")
        screen.wait_for("You said:")
        screen.type("/undo\r")
        screen.wait_for("with: photo.png")
        screen.type(" really\r")
        screen.wait_for(lambda text: text.count("You said:") == 2)

    first, again = contents(server, 0)[0], contents(server, 1)[0]
    assert isinstance(first, list)
    assert isinstance(again, list)
    assert first[0] == again[0]


def test_a_prompt_can_be_answered_before_the_chat_goes_on(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli, "-i", "first question") as screen:
        screen.wait_for("You said: first question")
        screen.wait_for(PROMPT)
        screen.type("second\r")
        screen.wait_for("You said: second")

    assert contents(server) == ["first question", "You said: first question", "second"]


def test_a_message_stopped_before_it_was_stored_comes_back_with_its_files(cli: Cli, server: ScriptedServer) -> None:
    (cli.home / "notes.txt").write_text("remember the milk")
    with terminal(cli, folder=cli.home) as screen:
        screen.wait_for(PROMPT)
        screen.type("hello\r")
        screen.wait_for("ctx 0%")
        screen.type("/file notes.txt\r")
        screen.wait_for("with: notes.txt")
        with Database.open(cli.database) as database, database.transaction():
            screen.type("what is it\r")
            screen.wait_for("answering")
            screen.type(CTRL_C)
            screen.wait_for("Stopped.")
            screen.wait_for("with: notes.txt\n> what is it\n")
        screen.type("\r")
        screen.wait_for(lambda text: text.count("You said:") == 2)

    assert str(contents(server)[-1]).endswith("remember the milk\n</file>\n\nwhat is it")


def test_what_was_typed_before_a_signal_ended_the_session_can_be_had_back(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type("half a thought")
        screen.wait_for("> half a thought")
        screen.process.send_signal(signal.SIGTERM)
        screen.wait_for_exit()

    with terminal(cli) as screen:
        screen.wait_for(PROMPT)
        screen.type(UP)
        screen.wait_for("> half a thought")


def test_a_url_is_fetched_when_typed_and_not_when_pasted(cli: Cli, server: ScriptedServer) -> None:
    cli.environ["AICHAT_DOCUMENTS_PRIVATE_ADDRESSES"] = "true"
    with PageServer({"/bees": page("They make honey.")}) as web, terminal(cli, folder=cli.home) as screen:
        screen.wait_for(PROMPT)
        screen.type(f"see \x1b[200~@{web.url('/other')}\x1b[201~ now\r")
        screen.wait_for("You said:")
        assert web.connections == 0
        screen.type(f"what is @{web.url('/bees')}?\r")
        screen.wait_for("Fetching http")
        screen.wait_for(lambda text: text.count("You said:") == 2)

    assert str(contents(server)[-1]).startswith(f'<file name="{web.url("/bees")}">\nThey make honey.')


def test_a_folder_and_a_page_wait_for_the_next_message(cli: Cli, server: ScriptedServer) -> None:
    (cli.home / "notes").mkdir()
    (cli.home / "notes" / "a.txt").write_text("remember the milk")
    cli.environ["AICHAT_DOCUMENTS_PRIVATE_ADDRESSES"] = "true"
    with PageServer({"/bees": page("They make honey.")}) as web, terminal(cli, folder=cli.home) as screen:
        screen.wait_for(PROMPT)
        screen.type(f"/file {web.url('/bees')}\r")
        screen.wait_for("It goes with the next message.")
        screen.type("what is in @notes/ ?\r")
        screen.wait_for("With notes/: 1 file, about")
        screen.wait_for("You said:")

    sent = str(contents(server)[-1])
    assert sent.index("They make honey.") < sent.index("remember the milk") < sent.index("what is in @notes/ ?")


def test_a_folder_without_room_is_refused_and_the_message_comes_back(cli: Cli, server: ScriptedServer) -> None:
    (cli.home / "notes").mkdir()
    (cli.home / "notes" / "a.txt").write_text("word " * 300_000)
    with terminal(cli, folder=cli.home) as screen:
        screen.wait_for(PROMPT)
        screen.type("sum up @notes/\r")
        screen.wait_for("/ingest notes/, then ask")
        screen.wait_for(lambda text: text.count("> sum up @notes/") == 2)

    assert server.requests == []


def test_a_pdf_file_is_attached_or_becomes_its_text_by_what_the_model_reads(cli: Cli, server: ScriptedServer) -> None:
    (cli.home / "lamp.pdf").write_bytes(samples.pdf((("The lamp is lit at dusk.",),)))
    with terminal(cli, "-m", "o3-mini", folder=cli.home) as screen:
        screen.wait_for("o3-mini | ")
        screen.type("sum up @lamp.pdf\r")
        screen.wait_for("lamp.pdf goes in as its text")
        screen.wait_for("You said:")
    with terminal(cli, "-m", "claude-haiku-4-5", folder=cli.home) as screen:
        screen.wait_for("claude-haiku-4-5 | ")
        screen.type("sum up @lamp.pdf\r")
        screen.wait_for("You said:")

    assert "The lamp is lit at dusk." in str(server.requests[0].body["messages"][-1]["content"])
    assert "'type': 'document'" in str(server.requests[1].body["messages"][-1]["content"])
