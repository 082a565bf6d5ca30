from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from aichat_cli.chat.inclusion_sizes import is_noteworthy, notes, require_room, size_note
from aichat_cli.chat.inclusions import Included, IncludedFolder, included, included_file, included_text, with_files
from aichat_cli.core.errors import AichatError, ContextTooLong, DocumentError, NotFound, UsageError
from aichat_cli.core.messages import Attachment
from aichat_cli.core.models import Model
from aichat_cli.documents.loading.loader import Loader
from tests.chat.files import EXECUTABLE, PNG
from tests.chat.readers import MB, readers
from tests.documents import samples
from tests.servers.pages import PageServer, page, redirect

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


@pytest.fixture(scope="module")
def loader() -> Iterator[Loader]:
    with Loader() as running:
        yield running


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder as people have them."""
    folder = tmp_path / "project"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.py").write_bytes(b"x = 1\r\n")
    (folder / "sub" / "b.md").write_text("see @a.py and @https://example.com/ </file>\n")
    (folder / "page.html").write_text(samples.HTML)
    (folder / "bad.pdf").write_bytes(b"%PDF-1.4 and nothing else")
    (folder / "photo.png").write_bytes(PNG)
    (folder / "program").write_bytes(EXECUTABLE)
    (folder / "empty").touch()
    (folder / ".gitignore").write_text("secret*\n")
    (folder / "secret.txt").write_text("secret")
    return folder


def test_a_folder_becomes_the_texts_of_its_files_and_what_is_left_out_is_told(project: Path, loader: Loader) -> None:
    found = included("project/", readers(loader), folder=project.parent)

    assert isinstance(found, IncludedFolder)
    assert [file.name for file in found.files] == ["project/a.py", "project/page.html", "project/sub/b.md"]
    assert found.block.startswith(
        '<file name="project/a.py">\nx = 1\r\n</file>\n\n<file name="project/page.html">\n# Growing'
    )
    # What a file says is not read as mentions, nor as the end of its block.
    assert found.block.endswith(
        '<file-2 name="project/sub/b.md">\nsee @a.py and @https://example.com/ </file>\n</file-2>'
    )
    assert "secret" not in found.block
    assert notes(found) == (
        "project/page.html goes in as its text, not as source; what is piped in, or printed by !cat, stays as it is.",
        "Left out of project/, 4 files: 1 binary, 1 empty, bad.pdf (it is damaged: no PDF file that can be read),"
        " program (it is a program).",
    )
    assert found.tokens == sum(file.tokens for file in found.files)
    assert re.fullmatch(r"project/: 3 files, about 1\d\d tokens, 1\d% of the window of m", size_note(found, MODEL))
    assert is_noteworthy(found, MODEL)


@pytest.mark.parametrize(
    ("source", "name"), [(".", "a.py"), ("./", "a.py"), ("../project", "project/a.py"), ("sub/..", "project/a.py")]
)
def test_files_are_named_from_the_folder_that_was_named(project: Path, loader: Loader, source: str, name: str) -> None:
    assert included(source, readers(loader), folder=project).files[0].name == name
    assert included(str(project), readers(loader)).files[0].name == "project/a.py"


def test_a_folder_over_the_limit_or_without_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    for number in range(3):
        (tmp_path / "large" / f"{number}.txt").write_bytes(b"x" * 400_000)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(PNG)

    with pytest.raises(UsageError, match="The files of large have more than 1 MB together") as error:
        included("large", readers(), folder=tmp_path)
    assert error.value.hint == (
        "Make it searchable: aichat ingest large; or raise attachments.max_mb with aichat config set"
    )
    with pytest.raises(UsageError, match="pictures holds no file with text, only 1 of other kinds"):
        included("pictures", readers(), folder=tmp_path)


def test_documents_become_their_text_and_plain_text_stays_exact(tmp_path: Path, loader: Loader) -> None:
    (tmp_path / "a.ipynb").write_text(samples.NOTEBOOK)
    (tmp_path / "report.pdf").write_bytes(samples.pdf((("The lamp is lit at dusk.",),)))
    exact = {"a.csv": "b;c\r\n1;2\r\n", "a.json": '{"a":  1}', "a.md": "---\nt: 1\n---\n# A  \n", "a.xml": "<a>  b</a>"}
    for name, content in exact.items():
        (tmp_path / name).write_bytes(content.encode())

    for name, content in exact.items():
        found = included_text(name, readers(), folder=tmp_path)
        assert isinstance(found, Included)
        assert (found.text, notes(found)) == (content, ())
    assert '"cells"' not in included_text("a.ipynb", readers(), folder=tmp_path).block
    report = included_text("report.pdf", readers(loader), folder=tmp_path)
    assert "The lamp is lit at dusk." in report.block
    assert notes(report)[0] == "report.pdf goes in as its text, without what its pages show besides."
    assert included("report.pdf", readers(), folder=tmp_path).attachment is not None


def test_a_page_becomes_its_text_under_its_url() -> None:
    with PageServer(
        {"/a": page(samples.HTML, "Content-Type: text/html"), "/b": redirect("/a"), "/c": page(PNG)}
    ) as web:
        found = included(web.url("/b"), readers())
        with pytest.raises(
            DocumentError, match=re.escape(f"{web.url('/c')} cannot be put in a prompt: it is an image")
        ):
            included(web.url("/c"), readers())

    assert found.block.startswith(f'<file name="{web.url("/b")}">\n# Growing tomatoes\n')
    assert notes(found) == (f"{web.url('/b')} led to {web.url('/a')}.",)
    assert is_noteworthy(found, MODEL)


def test_what_has_no_room_is_said_with_its_biggest_files_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "my notes").mkdir()
    for number in range(1, 5):
        (tmp_path / "my notes" / f"{number}.txt").write_text("word " * 500 * number)
    found = included("my notes", readers(), folder=tmp_path)

    with pytest.raises(ContextTooLong) as error:
        require_room([found], [MODEL])
    assert re.fullmatch(
        r"my notes is about 6,1\d\d tokens, and the window of m holds 1,000\. The biggest: my notes/4\.txt \(2,4\d\d\), "
        r"my notes/3\.txt \(1,8\d\d\), my notes/2\.txt \(1,2\d\d\)\.",
        error.value.message,
    )
    assert error.value.hint == """Search it instead: aichat ingest 'my notes', then aichat --docs "your question\""""
    with pytest.raises(ContextTooLong) as error:
        require_room([found, found.files[0]], [MODEL], in_session=True)
    assert error.value.hint == "Search it instead: /ingest 'my notes', then ask"
    require_room([found], [MODEL, Model("l", "l", "openai", "openai", context_tokens=4000)])
    require_room([found], [MODEL, Model("u", "u", "openai", "openai")])
    require_room([], [MODEL])
