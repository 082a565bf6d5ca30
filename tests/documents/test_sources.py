"""Which files of a folder are found, which are told of and why, on real folders."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from aichat_cli.core.errors import DocumentError, NotFound
from aichat_cli.documents.sources import FoundFile, SkippedFile, read_file, walk
from tests.documents import samples

MB = 1_000_000


def names(folder: Path, ignore: Sequence[str] = (), max_bytes: int = MB) -> list[str]:
    return [item.name for item in walk(folder, ignore=ignore, max_bytes=max_bytes) if isinstance(item, FoundFile)]


def skipped(folder: Path, max_bytes: int = MB) -> dict[str, str]:
    found = walk(folder, ignore=(), max_bytes=max_bytes)
    return {item.name: item.reason for item in found if isinstance(item, SkippedFile)}


def write(folder: Path, *files: str, text: str = "text") -> None:
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_folder_of_documents_is_found_in_order_with_a_word_for_what_is_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    samples.write_folder(folder)
    assert names(folder) == [
        "birds.ipynb",
        "core.dump",
        "garden/tomatoes.html",
        "mail/plan.eml",
        "manual.md",
        "old/latin.txt",
        "old/wide.txt",
        "people.csv",
        "reports/ferry.pdf",
        "reports/offsite.docx",
        "reports/secret.pdf",
        "src/tides.py",
    ]
    assert skipped(folder) == {
        "dead": "a link to nothing",
        "empty.txt": "empty",
        "lamp.png": "binary",
        "loop": "a link to a folder that it is in",
        "out": "a link out of the folder",
    }


def test_a_found_file_has_its_place_size_and_time(tmp_path: Path) -> None:
    write(tmp_path / "real", "sub/a.md", text="hello")
    (tmp_path / "alias").symlink_to(tmp_path / "real")
    (found,) = walk(tmp_path / "alias", ignore=(), max_bytes=MB)
    path = (tmp_path / "real/sub/a.md").resolve()
    assert found == FoundFile(str(path), "sub/a.md", 5, path.stat().st_mtime_ns)


def test_ignore_files_are_honoured_where_they_stand(tmp_path: Path) -> None:
    write(tmp_path, ".gitignore", text="*.log\n/build/\n!keep.log\n# comment\n\\#odd\n[broken\ndocs/**/draft*\n")
    write(tmp_path, "sub/.gitignore", text="!wanted.log\nlocal.md\n")
    write(tmp_path, "sub/.aichatignore", text="private/\n!local.md\n")
    write(tmp_path, "a.log", "keep.log", "#odd", "build/x.md", "sub/build/y.md", "docs/a/b/draft1.md", "docs/final.md")
    write(tmp_path, "sub/b.log", "sub/wanted.log", "sub/local.md", "sub/private/z.md", "other/private/z.md", "local.md")
    assert names(tmp_path) == [
        "docs/final.md",
        "keep.log",
        "local.md",
        "other/private/z.md",
        "sub/build/y.md",
        "sub/local.md",
        "sub/wanted.log",
    ]


def test_the_ignore_setting_comes_before_all_ignore_files(tmp_path: Path) -> None:
    write(tmp_path, ".gitignore", text="*.log\n")
    write(tmp_path, "sub/.gitignore", text="!*.md\n")
    write(tmp_path, "a.log", "a.md", "sub/b.md", "sub/c.txt", "drafts/d.txt")
    assert names(tmp_path, ["*.md", "drafts/", "!a.log"]) == ["a.log", "sub/c.txt"]


def test_ignore_files_up_to_the_top_of_the_repository_count(tmp_path: Path) -> None:
    write(tmp_path, ".gitignore", text="*.txt\n")
    repository = tmp_path / "repository"
    (repository / ".git").mkdir(parents=True)
    write(repository, ".gitignore", text="*.log\n/docs/deep/secret.md\nmade/\n")
    write(repository, "docs/.aichatignore", text="draft.md\n")
    write(repository, "docs/deep/a.log", "docs/deep/secret.md", "docs/deep/draft.md", "docs/deep/a.txt")
    write(repository, "docs/deep/made/b.md", "made/on/demand.md", "made/b.log")
    assert names(repository / "docs/deep") == ["a.txt"]
    assert names(repository) == ["docs/deep/a.txt"]
    assert names(repository / "made") == ["b.log", "on/demand.md"], "who names an ignored folder wants what is in it"


def test_hidden_files_and_caches_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, ".hidden.md", ".git/config", "node_modules/x/readme.md", "env/pyvenv.cfg", "env/lib/a.md", "a.md")
    write(tmp_path, "cache/CACHEDIR.TAG", "cache/b.md", "src/__pycache__/c.md", "CACHEDIR.TAG")
    assert names(tmp_path) == ["CACHEDIR.TAG", "a.md"]
    assert skipped(tmp_path) == {}


def test_large_files_and_what_is_no_file_are_told_of(tmp_path: Path) -> None:
    write(tmp_path, "large.md", text="x" * 2_000_001)
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        assert skipped(tmp_path, 2 * MB) == {"large.md": "larger than 2 MB", "pipe": "a pipe", "s": "a socket"}


def test_links_are_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    write(folder, "a.md", "sub/b.md")
    write(tmp_path, "outside.md", "folder2/c.md")
    for name, target in {
        "one": "two",
        "two": "one",
        "again.md": "a.md",
        "sub/up": "..",
        "out.md": "../outside.md",
        "out": "../folder2",
    }.items():
        (folder / name).symlink_to(target)
    assert names(folder) == ["a.md", "sub/b.md"]
    assert skipped(folder) == {
        "again.md": "a link into the same folder",
        "one": "a link that leads to itself",
        "out": "a link out of the folder",
        "out.md": "a link out of the folder",
        "sub/up": "a link to a folder that it is in",
        "two": "a link that leads to itself",
    }


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take UTF-8 names only")
def test_names_that_are_not_text_are_shown_as_text(tmp_path: Path) -> None:
    write(tmp_path, "a\nb\x1b[31m.md", "grüße 漢字.md")
    for name in (b"bad\xff.md", b"bad-folder\xfe"):
        path = os.fsencode(tmp_path) + b"/" + name
        if name.endswith(b".md"):
            Path(os.fsdecode(path)).write_text("x")
        else:
            Path(os.fsdecode(path)).mkdir()
    assert names(tmp_path) == ["a\\nb\\x1b[31m.md", "grüße 漢字.md"]
    assert skipped(tmp_path) == {
        "bad\\xff.md": "a name that is not UTF-8",
        "bad-folder\\xfe/": "a name that is not UTF-8",
    }
    (first, *_) = walk(tmp_path, ignore=(), max_bytes=MB)
    assert isinstance(first, FoundFile)
    assert read_file(first.path, max_bytes=MB) == b"text"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_stops_nothing(tmp_path: Path) -> None:
    write(tmp_path, "closed/a.md", "open/b.md")
    (tmp_path / "closed").chmod(0)
    try:
        assert names(tmp_path) == ["open/b.md"]
        assert skipped(tmp_path) == {"closed/": "cannot be read"}
    finally:
        (tmp_path / "closed").chmod(0o700)


def test_a_folder_that_goes_away_below_the_root_stops_nothing(tmp_path: Path) -> None:
    write(tmp_path, "a/1.md", "b/2.md", "c/3.md")
    found = []
    for item in walk(tmp_path, ignore=(), max_bytes=MB):
        found.append((item.name, isinstance(item, FoundFile)))
        if item.name == "a/1.md":
            shutil.rmtree(tmp_path / "b")
    assert found == [("a/1.md", True), ("b/", False), ("c/3.md", True)]


def test_a_root_that_is_not_there_is_an_error_at_once_and_later(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r'There is no folder ".*gone"'):
        walk(tmp_path / "gone", ignore=(), max_bytes=MB)
    write(tmp_path, "file.md", "root/a.md", "root/b.md", "other/a.md")
    with pytest.raises(DocumentError, match="is not a folder"):
        walk(tmp_path / "file.md", ignore=(), max_bytes=MB)
    for replaced in (False, True):
        walking = walk(tmp_path / "root", ignore=(), max_bytes=MB)
        next(walking)
        (tmp_path / "root").rename(tmp_path / "moved")
        if replaced:
            (tmp_path / "root").mkdir()
        with pytest.raises(NotFound, match="went away while it was read"):
            list(walking)
        shutil.rmtree(tmp_path / "root", ignore_errors=True)
        (tmp_path / "moved").rename(tmp_path / "root")


def test_deep_folders_do_not_exhaust_anything(tmp_path: Path) -> None:
    deep = tmp_path / "/".join(["d"] * 400)
    deep.mkdir(parents=True)
    (deep / "a.md").write_text("x")
    assert len(names(tmp_path)) == 1


def test_thousands_of_files_are_found_in_well_under_a_second(tmp_path: Path) -> None:
    write(tmp_path, ".gitignore", text="".join(f"*.{suffix}\nmade{suffix}/\n" for suffix in "abcdefghij"))
    for number in range(2000):
        path = tmp_path / f"folder{number // 100}" / f"{number}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    start = time.monotonic()
    assert len(names(tmp_path, ["*.bak"])) == 2000
    assert time.monotonic() - start < 1


def test_only_regular_files_of_the_size_allowed_are_read(tmp_path: Path) -> None:
    write(tmp_path, "a.md", text="x" * 1001)
    os.mkfifo(tmp_path / "pipe")
    assert read_file(tmp_path / "a.md", max_bytes=1001) == b"x" * 1001
    for path, reason in {
        "a.md": "It is larger than 0.001 MB.",
        "pipe": "It is a pipe, not a file.",
        ".": "It is a folder.",
        "gone": "It is no longer there.",
        "a\0b": "Its name is none that a file can have.",
        "a.md/b": "It cannot be read: Not a directory.",
    }.items():
        with pytest.raises(DocumentError) as caught:
            read_file(tmp_path / path, max_bytes=1000)
        assert caught.value.message == reason
    with pytest.raises(DocumentError, match="It is a device"):
        read_file(Path("/dev/zero"), max_bytes=1000)
