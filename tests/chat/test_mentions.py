from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aichat_cli.chat.mentions import (
    Expanded,
    expand_mentions,
    mention_completions,
    mention_of,
    path_argument,
)
from aichat_cli.core.errors import DocumentError, UsageError
from tests.chat.files import EXECUTABLE, PNG
from tests.chat.readers import readers
from tests.servers.pages import PageServer, page

READERS = readers()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        made = Path(name)
        (made / "notes.txt").write_text("some notes\n")
        (made / "my notes.txt").write_text("mine\n")
        (made / "it's").write_text("its\n")
        (made / "photo.png").write_bytes(PNG)
        (made / "program").write_bytes(EXECUTABLE)
        (made / ".hidden").write_text("hidden\n")
        (made / "src").mkdir()
        (made / "src" / "app.py").write_text("x = 1\n")
        (made / "my dir").mkdir()
        (made / "my dir" / "a.txt").write_text("a\n")
        yield made


def mentioned(text: str, folder: Path) -> list[str]:
    """The files read, in order; the text must come out as it went in."""
    expanded = expand_mentions(text, folder, READERS)
    assert expanded.prompt.endswith(text)
    return [file.name for file in expanded.inclusions]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("@notes.txt", ["notes.txt"]),
        ("sum up @notes.txt please", ["notes.txt"]),
        ("see @notes.txt, and @src/app.py.", ["notes.txt", "src/app.py"]),
        ("(@notes.txt) [@src/app.py]", ["notes.txt", "src/app.py"]),
        ("is it in @notes.txt?!", ["notes.txt"]),
        ("@\"my notes.txt\" and @'my dir/a.txt'", ["my notes.txt", "my dir/a.txt"]),
        (r"@my\ notes.txt", ["my notes.txt"]),
        ("@it's", ["it's"]),
        ("first line\n@notes.txt\nlast", ["notes.txt"]),
        ("@notes.txt @notes.txt", ["notes.txt"]),
        ("@./notes.txt", ["./notes.txt"]),
        ("要約 @notes.txt。", ["notes.txt"]),
        ("@.hidden", [".hidden"]),
    ],
)
def test_a_path_after_an_at_sign_is_read(text: str, names: list[str], folder: Path) -> None:
    assert mentioned(text, folder) == names


@pytest.mark.parametrize(
    "text",
    [
        "write to me@notes.txt",
        "jan@example.com, @example",
        "@property\ndef x(self): ...",
        "    @app.route('/')",
        "`@notes.txt`",
        "@",
        "@ notes.txt",
        "a @... b @. c @..",
        "@notes .txt",
        '@"no such file"',
        "@" + "x" * 10_000,
        "@\0",
        "@@notes.txt",
        "@/ and @// are aliases",
        "@https:// @http://. @https:///x",
        "@ftp://example.com/a @file:///etc/passwd @javascript:x",
        "@type/node and npm i @scope/name",
    ],
)
def test_what_names_no_file_stays_as_it_is(text: str, folder: Path) -> None:
    assert expand_mentions(text, folder, READERS) == Expanded(text)


def test_text_comes_first_and_images_go_along(folder: Path) -> None:
    expanded = expand_mentions("compare @notes.txt with @photo.png", folder, READERS)

    assert expanded.prompt == '<file name="notes.txt">\nsome notes\n</file>\n\ncompare @notes.txt with @photo.png'
    assert [attachment.media_type for attachment in expanded.attachments] == ["image/png"]


def test_a_folder_becomes_the_texts_of_its_files(folder: Path) -> None:
    expanded = expand_mentions("what is in @src/ and @notes.txt?", folder, READERS)

    assert [each.name for each in expanded.inclusions] == ["src/", "notes.txt"]
    assert expanded.prompt.startswith('<file name="src/app.py">\nx = 1\n</file>\n\n<file name="notes.txt">\n')


def test_a_file_that_cannot_be_taken_stops_the_prompt(folder: Path) -> None:
    with pytest.raises(UsageError, match="program cannot be put in a prompt: it is a program"):
        expand_mentions("run @program", folder, READERS)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("see @{0}/a, and @{0}/b?c=1.", ["/a", "/b?c=1"]),
        ("(@{0}/a) [@{0}/b]", ["/a", "/b"]),
        ("@{0}/w_(x) and (@{0}/w_(x)).", ["/w_(x)"]),
        ("is it @{0}/a?", ["/a"]),
        ("@{0}/a_ @{0}/a_", ["/a_"]),
        ('@"{0}/a b"', ["/a%20b"]),
        ("me@{0}/a `@{0}/a`", []),
    ],
)
def test_a_url_after_an_at_sign_is_fetched_once(text: str, paths: list[str], folder: Path) -> None:
    with PageServer() as web:
        web.pages = {path: page("a page") for path in paths}
        typed = text.format(web.url(""))
        expanded = expand_mentions(typed, folder, READERS)

    assert expanded.prompt == "\n\n".join([*(each.block for each in expanded.inclusions), typed])
    assert [urlsplit(each.name).path for each in expanded.inclusions] == [
        path.partition("?")[0].replace("%20", " ") for path in paths
    ]
    assert web.paths == paths


def test_what_a_page_or_a_file_mentions_is_not_read(folder: Path) -> None:
    with PageServer() as web:
        web.pages["/a"] = page(f"read @notes.txt and @{web.url('/b')} and @src/")
        expanded = expand_mentions(f"@{web.url('/a')}", folder, READERS)

    assert len(expanded.inclusions) == 1
    assert "some notes" not in expanded.prompt
    assert web.paths == ["/a"]


def test_a_page_that_cannot_be_had_stops_the_prompt(folder: Path) -> None:
    with PageServer() as web, pytest.raises(DocumentError, match="no such page"):
        expand_mentions(f"see @{web.url('/none')}", folder, READERS)


@settings(deadline=None)
@given(text=st.text(max_size=200))
def test_any_text_comes_out_as_it_went_in(text: str, folder: Path) -> None:
    assert expand_mentions(text, folder, READERS).prompt.endswith(text)


@settings(deadline=None)
@given(text=st.lists(st.sampled_from(["@", "notes.txt", "my notes.txt", '"', "'", "\\", " ", ".", "src/", "x"])))
def test_any_text_of_mentions_and_quotes_comes_out_as_it_went_in(text: list[str], folder: Path) -> None:
    assert expand_mentions("".join(text), folder, READERS).prompt.endswith("".join(text))


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=30)


@given(name=NAMES.filter(lambda name: name.strip(".") and len(name.encode()) < 200))
@example(name="\\")
def test_a_completed_name_is_read_again_whatever_it_is(name: str) -> None:
    with tempfile.TemporaryDirectory() as made:
        (Path(made) / name).write_text("x")
        for completion in mention_completions(name[0] if name[0] == "." else "", Path(made)):
            assert completion.name == name
            assert mentioned(f"see @{completion.text} now", Path(made)) == [name]


def completed(typed: str, folder: Path) -> list[str]:
    return [completion.text for completion in mention_completions(typed, folder)]


def test_names_are_completed_in_order_with_folders_marked_and_hidden_ones_only_when_asked(folder: Path) -> None:
    assert completed("", folder) == ["it's", "my\\ dir/", "my\\ notes.txt", "notes.txt", "photo.png", "program", "src/"]
    assert completed("N", folder) == ["notes.txt"]
    assert completed(".", folder) == [".hidden"]
    assert completed("src/", folder) == ["src/app.py"]
    assert completed("my\\ d", folder) == ["my\\ dir/"]
    assert completed("my\\ dir/", folder) == ["my\\ dir/a.txt"]
    assert completed('"my', folder) == ['"my dir/', '"my notes.txt"']
    assert completed('"my dir/', folder) == ['"my dir/a.txt"']
    assert completed("nowhere/", folder) == []
    assert completed("\0", folder) == []
    assert [completion.is_folder for completion in mention_completions("s", folder)] == [True]


def test_the_home_folder_is_completed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder / "src"))

    assert completed("~/", folder) == ["~/app.py"]


def test_a_folder_of_many_files_is_completed_at_once_and_not_whole(tmp_path: Path) -> None:
    for number in range(3000):
        (tmp_path / f"file{number:05}").touch()

    began = time.perf_counter()
    found = completed("file", tmp_path)
    assert time.perf_counter() - began < 1
    assert len(found) == 50
    assert found[0] == "file00000"


def test_a_long_paste_of_at_signs_is_read_at_once(folder: Path) -> None:
    for text in ("@" * 500_000, "@." * 250_000, "@a" + "!" * 500_000, "x@y.z " * 100_000, '@"' * 250_000):
        began = time.perf_counter()
        assert expand_mentions(text, folder, READERS).inclusions == ()
        assert time.perf_counter() - began < 2


@pytest.mark.parametrize(
    ("argument", "path"),
    [
        ("notes.txt", "notes.txt"),
        (" my notes.txt ", "my notes.txt"),
        ('"my notes.txt"', "my notes.txt"),
        ("'my notes.txt'", "my notes.txt"),
        (r"my\ notes.txt", "my notes.txt"),
        ("@notes.txt", "notes.txt"),
        ('"', '"'),
        ("", ""),
    ],
)
def test_the_path_of_a_command_is_read_with_and_without_quotes(argument: str, path: str) -> None:
    assert path_argument(argument) == path


def test_a_name_that_cannot_be_mentioned_is_not_offered() -> None:
    assert mention_of("a\nb") is None
    assert mention_of("a b") == r"a\ b"
    assert mention_of("'a'") == "\"'a'\""
