"""`-f` and `-a` through the program: what is sent, kept, shown and refused."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from tests.chat.files import EXECUTABLE, PDF, PNG, WAV
from tests.runner import Cli
from tests.servers.pages import PageServer, page
from tests.servers.scripted import ScriptedServer

IMAGE_PART = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{b64encode(PNG).decode()}"}}
IMAGE_BLOCK = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": b64encode(PNG).decode()},
}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "photo.png").write_bytes(PNG)
    (folder / "report.pdf").write_bytes(PDF)
    (folder / "talk.wav").write_bytes(WAV)
    (folder / "notes.txt").write_bytes("Grüße\r\n".encode())
    (folder / "old.txt").write_bytes("Grüße".encode("latin-1"))
    (folder / "wide.txt").write_bytes("Grüße".encode("utf-16"))
    (folder / "program").write_bytes(EXECUTABLE)
    (folder / "empty").touch()
    os.mkfifo(folder / "pipe")
    return folder


def sent(server: ScriptedServer) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = server.requests[-1].body["messages"]
    return messages


def test_an_image_is_sent_to_openai_in_front_of_the_question(cli: Cli, server: ScriptedServer, files: Path) -> None:
    done = cli.run("-a", str(files / "photo.png"), "what is it?")

    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
    assert sent(server) == [{"role": "user", "content": [IMAGE_PART, {"type": "text", "text": "what is it?"}]}]


def test_an_image_is_sent_to_anthropic_in_front_of_the_question(cli: Cli, server: ScriptedServer, files: Path) -> None:
    done = cli.run("-m", "claude-haiku-4-5", "-a", str(files / "photo.png"), "what is it?")

    assert done.returncode == 0, done.stderr.decode()
    assert sent(server) == [{"role": "user", "content": [IMAGE_BLOCK, {"type": "text", "text": "what is it?"}]}]


@pytest.mark.parametrize(("model", "image"), [("gpt-4o-mini", IMAGE_PART), ("claude-haiku-4-5", IMAGE_BLOCK)])
def test_a_conversation_goes_on_with_the_images_of_earlier_messages(
    cli: Cli, server: ScriptedServer, files: Path, model: str, image: dict[str, Any]
) -> None:
    cli.run("-m", model, "-a", str(files / "photo.png"), "what is it?")
    (files / "photo.png").unlink()
    cli.run("-c", "sure?")

    assert sent(server) == [
        {"role": "user", "content": [image, {"type": "text", "text": "what is it?"}]},
        {"role": "assistant", "content": "You said: what is it?"},
        {"role": "user", "content": "sure?"},
    ]


def test_the_history_names_what_was_attached(cli: Cli, server: ScriptedServer, files: Path) -> None:
    cli.run("-a", str(files / "photo.png"), "-a", str(files / "report.pdf"), "what is it?")

    question, answer = cli.json("history", "show", "what is it?")["messages"]
    assert question["attachments"] == [
        {"name": "photo.png", "media_type": "image/png", "bytes": len(PNG)},
        {"name": "report.pdf", "media_type": "application/pdf", "bytes": len(PDF)},
    ]
    assert answer["attachments"] == []
    shown = cli.run("history", "show", "what is it?").stdout.decode()
    assert f"[photo.png, image/png, {len(PNG)} bytes]\n[report.pdf, application/pdf, {len(PDF)} bytes]\n" in shown


def test_nothing_is_kept_of_an_image_where_nothing_is_to_be_kept(cli: Cli, server: ScriptedServer, files: Path) -> None:
    assert cli.run("-n", "-a", str(files / "photo.png"), "what is it?").returncode == 0

    assert IMAGE_PART in sent(server)[0]["content"]
    assert cli.rows("SELECT count(*) FROM blobs") == [(0,)]


def test_a_deleted_conversation_takes_its_files_along(cli: Cli, server: ScriptedServer, files: Path) -> None:
    cli.run("-a", str(files / "photo.png"), "what is it?")
    assert cli.rows("SELECT count(*) FROM blobs") == [(1,)]
    cli.run("history", "rm", "--yes", "what is it?")

    assert cli.rows("SELECT (SELECT count(*) FROM blobs), (SELECT count(*) FROM attachments)") == [(0, 0)]


def test_text_files_stand_between_what_is_piped_in_and_the_question(
    cli: Cli, server: ScriptedServer, files: Path
) -> None:
    notes, old = files / "notes.txt", files / "old.txt"
    done = cli.run("-f", str(notes), "--file", str(old), "sum", "up", stdin="piped\n")

    assert done.returncode == 0, done.stderr.decode()
    assert sent(server)[0]["content"] == (
        f'piped\n\n<file name="{notes}">\nGrüße\r\n</file>\n\n<file name="{old}">\nGrüße\n</file>\n\nsum up'
    )
    assert cli.json("history", "list")[0]["title"] == "sum up"


def test_a_file_alone_is_the_prompt_and_names_the_conversation(cli: Cli, server: ScriptedServer, files: Path) -> None:
    with cli.start("-f", "wide.txt", cwd=files) as process:
        process.communicate(timeout=30)

    assert sent(server)[0]["content"] == '<file name="wide.txt">\nGrüße\n</file>'
    assert cli.json("history", "list")[0]["title"] == "wide.txt"


def test_text_given_to_a_is_put_in_the_prompt_and_that_is_said(cli: Cli, server: ScriptedServer, files: Path) -> None:
    notes = files / "notes.txt"
    done = cli.run("-a", str(notes), "sum up")

    assert sent(server)[0]["content"] == f'<file name="{notes}">\nGrüße\r\n</file>\n\nsum up'
    assert done.stderr.decode() == f"{notes} is text: it is put in the prompt, as -f does.\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["-a", "nowhere.png", "what?"], 1, 'There is no file "nowhere.png".'),
        (["-a", ".", "what?"], 2, ". is a folder."),
        (["-f", "pipe", "what?"], 2, "pipe is a pipe, not a file."),
        (["-f", "http://127.0.0.1:9/", "what?"], 1, "is in a private network. To allow it: aichat config set"),
        (["-f", "file:///etc/passwd", "what?"], 1, "only http and https are fetched, not file."),
        (["-a", "pipe", "what?"], 2, "pipe is a pipe, not a file."),
        (["-a", "/dev/zero", "what?"], 2, "/dev/zero is a device, not a file."),
        (["-a", "empty", "what?"], 2, "empty is empty."),
        (["-f", "empty", "what?"], 2, "empty is empty."),
        (["-a", "program", "what?"], 2, "program cannot be put in a prompt: it is a program."),
        (["-a", "https://example.com/a.png", "what?"], 2, "https://example.com/a.png is a URL, not a file."),
        (["-f", "photo.png", "what?"], 2, "photo.png is no text but image/png. To attach it: -a photo.png"),
        (["-f", "program", "what?"], 2, "program cannot be put in a prompt: it is a program."),
        (["-a", "photo.png"], 2, "There is no prompt to go with photo.png."),
        (["-m", "gpt-3.5-turbo", "-a", "photo.png", "what?"], 2, "gpt-3.5-turbo cannot read images (photo.png). Models"),
        (["-m", "smollm2", "-a", "photo.png", "what?"], 2, "-m gpt-4o-mini or -m claude-haiku-4-5"),
        (["-m", "claude-haiku-4-5", "-a", "talk.wav", "what?"], 2, "claude-haiku-4-5 cannot read audio (talk.wav)."),
        (["-m", "o3-mini", "-a", "report.pdf", "what?"], 2, "o3-mini cannot read PDF files (report.pdf)."),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_refused_in_one_line_before_anything_is_sent_or_stored(
    cli: Cli, server: ScriptedServer, files: Path, arguments: list[str], code: int, said: str
) -> None:
    with cli.start(*arguments, cwd=files) as process:
        _, errors = process.communicate(timeout=30)

    assert (process.returncode, errors.count(b"\n")) == (code, 1)
    assert said in errors.decode()
    assert server.requests == []
    assert cli.json("history", "list") == []


def test_the_size_of_a_file_is_limited_by_a_setting(cli: Cli, server: ScriptedServer, files: Path) -> None:
    (files / "photo.png").write_bytes(PNG + bytes(1_500_000))
    refused = cli.run("-a", str(files / "photo.png"), "what?", environ={"AICHAT_ATTACHMENTS_MAX_MB": "1"})

    assert refused.returncode == 2
    assert "photo.png has 1.5 MB; at most 1 MB are taken. To take it: aichat config set" in refused.stderr.decode()
    assert cli.run("-a", str(files / "photo.png"), "what?").returncode == 0


def test_a_model_of_which_nothing_is_known_is_sent_the_image(cli: Cli, server: ScriptedServer, files: Path) -> None:
    done = cli.run("-m", "my-own-model", "-a", str(files / "photo.png"), "what?")

    assert done.returncode == 0, done.stderr.decode()
    assert IMAGE_PART in sent(server)[0]["content"]


def test_earlier_images_are_named_to_a_model_that_cannot_read_them_and_that_is_said(
    cli: Cli, server: ScriptedServer, files: Path
) -> None:
    cli.run("-a", str(files / "photo.png"), "what is it?")
    done = cli.run("-c", "-m", "gpt-3.5-turbo", "sure?")

    assert done.returncode == 0
    assert done.stderr.decode() == "Earlier files that gpt-3.5-turbo is not shown: photo.png.\n"
    assert sent(server)[0]["content"] == "[photo.png, image/png, cannot be shown to you]\n\nwhat is it?"


def test_a_fallback_that_cannot_read_the_image_is_passed_over_aloud(
    cli: Cli, server: ScriptedServer, files: Path
) -> None:
    server.script = [{"status": 400, "error": {"message": "no"}}, {"text": "a dot"}]
    photo = str(files / "photo.png")
    done = cli.run("-a", photo, "--fallback", "gpt-3.5-turbo", "--fallback", "claude-haiku-4-5", "what?")

    assert done.stdout == b"a dot"
    assert "gpt-3.5-turbo cannot read images (photo.png)." in done.stderr.decode()
    assert [request.body["model"] for request in server.requests] == ["gpt-4o-mini", "claude-haiku-4-5"]


def test_a_file_of_more_than_half_the_window_is_worth_a_word(cli: Cli, server: ScriptedServer, files: Path) -> None:
    (files / "long.txt").write_text("word " * 80_000)
    done = cli.run("-m", "gpt-4o-mini", "-f", str(files / "long.txt"), "sum up")

    assert done.returncode == 0
    assert "long.txt: about 97," in done.stderr.decode()
    assert "% of the window of gpt-4o-mini." in done.stderr.decode()


def test_an_answer_that_is_stopped_is_charged_for_its_image_too(cli: Cli, server: ScriptedServer, files: Path) -> None:
    server.script = {"deltas": ["a", "b"], "done": False, "finish": None, "usage": None, "framing": "close"}
    cli.run("-a", str(files / "photo.png"), "what?")

    [(tokens,)] = cli.rows("SELECT input_tokens FROM usage")
    assert 1600 < tokens < 1700


def test_a_folder_and_a_page_stand_in_front_of_the_question_and_their_size_is_told(
    cli: Cli, server: ScriptedServer, tmp_path: Path
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("print('@notes')\n")
    (tmp_path / "src" / "photo.png").write_bytes(PNG)
    with PageServer({"/bees": page("<h1>Bees</h1><p>They make honey.</p>", "Content-Type: text/html")}) as web:
        cli.environ["AICHAT_DOCUMENTS_PRIVATE_ADDRESSES"] = "true"
        with cli.start("-f", "src", "-f", web.url("/bees"), "sum up", cwd=tmp_path) as process:
            _, errors = process.communicate(timeout=30)

    assert process.returncode == 0, errors.decode()
    assert sent(server)[0]["content"] == (
        "<file name=\"src/a.py\">\nprint('@notes')\n</file>\n\n"
        f'<file name="{web.url("/bees")}">\n# Bees\n\nThey make honey.\n</file>\n\nsum up'
    )
    folder_note, left_out, page_note = errors.decode().splitlines()
    assert re.fullmatch(r"src: 1 file, about \d+ tokens, 1% of the window of gpt-4o-mini\.", folder_note)
    assert left_out == "Left out of src, 1 file: 1 binary."
    assert page_note.startswith(f"{web.url('/bees')}: about ")


def test_what_has_no_room_is_refused_before_anything_is_stored_or_sent(
    cli: Cli, server: ScriptedServer, files: Path
) -> None:
    (files / "long.txt").write_text("word " * 300_000)
    done = cli.run("-f", str(files), "sum up")

    assert done.returncode == 6
    said = done.stderr.decode()
    assert f"{files} is about 36" in said
    assert "The biggest: files/long.txt (36" in said
    assert f'Search it instead: aichat ingest {files}, then aichat --docs "your question"' in said
    assert server.requests == []
    assert cli.json("history", "list") == []
