from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest

from aichat_cli.chat.inclusion_sizes import is_noteworthy, size_note
from aichat_cli.chat.inclusions import Included, included_file, included_text, with_files
from aichat_cli.core.errors import AichatError, NotFound, UsageError
from aichat_cli.core.messages import Attachment
from aichat_cli.core.models import Model
from tests.chat.files import EXECUTABLE, PNG
from tests.chat.readers import MB, readers

MODEL = Model("m", "m", "openai", "openai", context_tokens=1000)


def test_an_image_is_attached_under_its_base_name(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "photo").write_bytes(PNG)

    file = included_file("sub/photo", readers(), folder=tmp_path)

    assert file.attachment == Attachment("photo", "image/png", PNG)
    assert (file.name, file.text, file.block) == ("sub/photo", None, "")


def test_a_text_is_put_in_the_prompt_exactly(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"x = 1\r\n\ty\n")

    file = included_text("a.py", readers(), folder=tmp_path)

    assert isinstance(file, Included)
    assert file.text == "x = 1\r\n\ty\n"
    assert with_files("explain", [file]) == '<file name="a.py">\nx = 1\r\n\ty\n</file>\n\nexplain'
    assert with_files("", [file, file]) == f"{file.block}\n\n{file.block}"
    assert with_files("as it is \n", []) == "as it is \n"


def test_the_home_folder_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.txt").write_text("at home")

    assert included_file("~/a.txt", readers(), folder=Path("/")).text == "at home"


def refused(path: str, folder: Path, said: str, kind: type[AichatError] = UsageError) -> None:
    with pytest.raises(kind, match=re.escape(said)):
        included_file(path, readers(), folder=folder)


def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "empty").touch()
    (tmp_path / "program").write_bytes(EXECUTABLE)
    (tmp_path / "link to the pipe").symlink_to("fifo")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(tmp_path)  # a socket's path may be 107 characters long
        try:
            server.bind("socket")
        finally:
            os.chdir(here)
        refused("socket", tmp_path, "socket is a socket, not a file.")

    refused("fifo", tmp_path, "fifo is a pipe, not a file.")
    refused("link to the pipe", tmp_path, "link to the pipe is a pipe, not a file.")
    refused(".", tmp_path, ". is a folder.")
    refused("/dev/zero", tmp_path, "/dev/zero is a device, not a file.")
    refused("empty", tmp_path, "empty is empty.")
    refused("program", tmp_path, "program cannot be put in a prompt: it is a program.")
    refused("https://example.com/a.png", tmp_path, "https://example.com/a.png is a URL, not a file.")


@pytest.mark.parametrize("path", ["nowhere", "a\0b", "sub/\ud800", "-", "", "x" * 5000])
def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path, path: str) -> None:
    with pytest.raises(AichatError):
        included_file(path, readers(), folder=tmp_path)
    refused("nowhere", tmp_path, 'There is no file "nowhere".', NotFound)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0)

    refused("secret", tmp_path, "Cannot read secret: Permission denied.", AichatError)


def test_a_file_over_the_limit_is_refused_with_both_sizes_and_the_setting(tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(3 * MB + 1)

    with pytest.raises(UsageError, match=re.escape("big has 3.0 MB; at most 1 MB are taken.")) as error:
        included_file("big", readers(), folder=tmp_path)
    assert error.value.hint == "To take it: aichat config set attachments.max_mb 4"


def test_an_image_where_text_is_asked_for_points_to_the_flag_for_it(tmp_path: Path) -> None:
    (tmp_path / "photo").write_bytes(PNG)

    with pytest.raises(UsageError, match="photo is no text but image/png") as error:
        included_text("photo", readers(), folder=tmp_path)
    assert error.value.hint == "To attach it: -a photo"


def test_the_size_is_told_in_tokens_against_the_window(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("word " * 500)
    (tmp_path / "p").write_bytes(PNG)
    text, image = (included_file(name, readers(), folder=tmp_path) for name in ("a", "p"))

    assert re.fullmatch(r"a: about 6\d\d tokens, 6\d% of the window of m", size_note(text, MODEL))
    assert is_noteworthy(text, MODEL)
    assert size_note(image, MODEL) == "p: about 1,600 tokens, 160% of the window of m"
    unknown = Model("u", "u", "openai", "openai")
    assert not is_noteworthy(text, unknown)
    assert re.fullmatch(r"a: about 6\d\d tokens", size_note(text, unknown))
