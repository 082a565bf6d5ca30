from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.config import roles
from aichat_cli.config.roles import ChatRole
from aichat_cli.core.errors import ConfigError, NotFound, UsageError


def write(folder: Path, name: str, text: str | bytes) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.md").write_bytes(text.encode() if isinstance(text, str) else text)


def test_the_whole_file_is_the_system_prompt(tmp_path: Path) -> None:
    write(tmp_path, "poet", "You are a poet.\n\n  Rhyme.\n")

    assert roles.load(tmp_path, "poet") == ChatRole("poet", "You are a poet.\n\n  Rhyme.")


def test_first_lines_of_toml_may_name_a_model_and_options(tmp_path: Path) -> None:
    write(tmp_path, "r", '+++\nmodel = "gpt-4o"\n[options]\ntemperature = 0\nstop = ["a"]\n+++\n\nReview.\n')

    assert roles.load(tmp_path, "r") == ChatRole("r", "Review.", "gpt-4o", {"temperature": 0, "stop": ["a"]})


def test_a_role_may_be_a_model_alone_and_come_from_another_editor(tmp_path: Path) -> None:
    write(tmp_path, "r", b'\xef\xbb\xbf+++\r\nmodel = "gpt-4o"\r\n+++\r\n')

    assert roles.load(tmp_path, "r") == ChatRole("r", "", "gpt-4o")


def test_a_line_of_plusses_further_down_is_text(tmp_path: Path) -> None:
    write(tmp_path, "r", "Read diffs:\n+++\n---\n")

    assert roles.load(tmp_path, "r").prompt == "Read diffs:\n+++\n---"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ('+++\nmodel = "a"\n', "the line +++ that ends the first lines is missing"),
        ("+++\nmodel = a\n+++\n", "the first lines are not valid TOML"),
        ("+++\ntemperature = 0\n+++\n", '"temperature" is neither model nor options'),
        ("+++\nmodel = 1\n+++\n", "model is a text"),
        ("+++\noptions = 1\n+++\n", "options a table of texts and numbers"),
        ("+++\noptions = {a = 2020-01-01}\n+++\n", "options a table of texts and numbers"),
        ("+++\noptions = {a = nan}\n+++\n", "options a table of texts and numbers"),
        (b"\xff\xfe", "Cannot read the role"),
    ],
)
def test_a_file_that_is_no_role_says_why(tmp_path: Path, text: str | bytes, said: str) -> None:
    write(tmp_path, "r", text)

    with pytest.raises(ConfigError, match=re.escape(said)):
        roles.load(tmp_path, "r")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a.b", "a b", "-a", "a\0", "x" * 65, "a\n", "\\"])
def test_a_name_that_is_no_plain_word_is_refused(tmp_path: Path, name: str) -> None:
    for function in (roles.load, roles.file_of, roles.remove):
        with pytest.raises(UsageError, match="A role cannot be called"):
            function(tmp_path, name)


@given(name=st.text(max_size=20))
def test_no_name_leads_out_of_the_folder(name: str) -> None:
    folder = Path("/roles")
    try:
        assert roles.file_of(folder, name).parent == folder
    except UsageError:
        return
    assert roles.file_of(folder, name).name == f"{name}.md"


def test_a_missing_role_names_a_near_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r'There is no role "poet"\.$') as error:
        roles.load(tmp_path / "nothing yet", "poet")
    assert error.value.hint == "To write it: aichat roles edit poet"
    write(tmp_path, "poet", "x")
    with pytest.raises(NotFound, match=re.escape('There is no role "pote". Did you mean "poet"?')):
        roles.load(tmp_path, "pote")


def test_roles_are_listed_in_order_and_other_files_are_left_alone(tmp_path: Path) -> None:
    for name in ("b", "a", "über"):
        write(tmp_path, name, f"I am {name}.")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "bad name.md").write_text("x")
    (tmp_path / "folder.md").mkdir()

    assert roles.names(tmp_path) == ["a", "b", "über"]
    assert [role.prompt for role in roles.listing(tmp_path)] == ["I am a.", "I am b.", "I am über."]
    roles.remove(tmp_path, "a")
    assert roles.names(tmp_path) == ["b", "über"]
