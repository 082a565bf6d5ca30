from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.config import settings_file
from aichat_cli.config.settings import Settings, as_text, known, parse
from aichat_cli.config.settings_table import TABLE
from aichat_cli.core.errors import ConfigError, NotFound, UsageError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config" / "config.toml"


def test_the_environment_comes_before_the_file_and_the_file_before_the_default(path: Path) -> None:
    settings_file.set_value(path, known("model"), "gpt-4o")

    assert Settings(path, {}).effective("model").value == "gpt-4o"
    assert Settings(path, {}).effective("model").source == str(path)
    in_environment = Settings(path, {"AICHAT_MODEL": "haiku"}).effective("model")
    assert (in_environment.value, in_environment.source) == ("haiku", "AICHAT_MODEL")
    untouched = Settings(path, {}).effective("retry.attempts")
    assert (untouched.value, untouched.source) == (3, "default")


def test_a_dotted_setting_has_its_variable_and_its_place_in_the_file(path: Path) -> None:
    settings_file.set_value(path, known("timeouts.first_byte"), 7.5)

    assert Settings(path, {}).number("timeouts.first_byte") == 7.5
    assert Settings(path, {"AICHAT_TIMEOUTS_FIRST_BYTE": "9"}).number("timeouts.first_byte") == 9
    assert "[timeouts]" in path.read_text()


def test_comments_and_other_values_survive_a_change(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('# mine\nmodel = "gpt-4o" # the good one\n\n[timeouts]\nidle = 5\n')

    settings_file.set_value(path, known("show_usage"), True)
    settings_file.set_value(path, known("timeouts.connect"), 3.0)

    text = path.read_text()
    assert "# mine" in text
    assert "# the good one" in text
    assert Settings(path, {}).number("timeouts.idle") == 5
    assert Settings(path, {}).number("timeouts.connect") == 3
    assert Settings(path, {}).flag("show_usage") is True


def test_the_file_is_readable_by_its_owner_alone(path: Path) -> None:
    settings_file.set_value(path, known("model"), "gpt-4o")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_unset_brings_the_default_back_and_tells_whether_there_was_anything(path: Path) -> None:
    settings_file.set_value(path, known("fallback"), ("a", "b"))
    assert Settings(path, {}).names("fallback") == ("a", "b")

    assert settings_file.unset_value(path, known("fallback")) is True
    assert settings_file.unset_value(path, known("fallback")) is False
    assert Settings(path, {}).names("fallback") == ()


def test_an_entry_is_stored_in_its_section_and_removed_again(path: Path) -> None:
    settings_file.set_entry(path, "aliases", "fast", "gpt-4o-mini")
    settings_file.set_entry(path, "models", "mine", {"base_url": "http://localhost:1/v1", "model_id": "x"})

    assert Settings(path, {}).aliases() == {"fast": "gpt-4o-mini"}
    assert Settings(path, {}).custom_models() == {"mine": {"base_url": "http://localhost:1/v1", "model_id": "x"}}

    settings_file.remove_entry(path, "models", "mine")
    assert Settings(path, {}).custom_models() == {}
    with pytest.raises(NotFound, match="mine"):
        settings_file.remove_entry(path, "models", "mine")


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("timeouts.connect", "0"),
        ("timeouts.connect", "soon"),
        ("timeouts.idle", "nan"),
        ("timeouts.idle", "inf"),
        ("retry.attempts", "0"),
        ("retry.attempts", "1.5"),
        ("show_usage", "perhaps"),
        ("local.threads", "-1"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_with_what_is(path: Path, name: str, raw: str) -> None:
    with pytest.raises(UsageError, match="it takes"):
        parse(known(name), raw)
    with pytest.raises(ConfigError, match="it takes") as caught:
        Settings(path, {known(name).variable: raw}).effective(name)
    assert known(name).variable in caught.value.message


def test_an_unknown_setting_names_the_one_that_was_meant(path: Path) -> None:
    with pytest.raises(NotFound, match='Did you mean "model"'):
        Settings(path, {}).effective("modle")


def test_a_typing_error_in_the_file_is_found(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('modle = "x"\n[timeouts]\nidel = 3\n[aliases]\na = "b"\n')

    assert Settings(path, {}).unknown_names() == ["modle", "timeouts.idel"]


@pytest.mark.parametrize("content", [b"model = ", b"\xff\xfe", b"[a\n"])
def test_a_broken_file_is_one_error_that_names_it_and_is_never_overwritten(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)

    with pytest.raises(ConfigError, match=r"config\.toml is not valid TOML"):
        Settings(path, {})
    with pytest.raises(ConfigError):
        settings_file.set_value(path, known("model"), "x")
    assert path.read_bytes() == content


@pytest.mark.parametrize("section", ["aliases", "models"])
def test_a_section_that_is_not_a_table_is_an_error(path: Path, section: str) -> None:
    path.parent.mkdir()
    path.write_text(f"{section} = 3\n")
    settings = Settings(path, {})

    with pytest.raises(ConfigError, match="is not a table"):
        (settings.aliases if section == "aliases" else settings.custom_models)()


def test_a_custom_model_that_is_not_a_table_is_an_error(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('[models]\nmine = "http://x"\n')

    with pytest.raises(ConfigError, match=r"models\.mine"):
        Settings(path, {}).custom_models()


def test_a_folder_in_the_place_of_the_file_is_an_error(path: Path) -> None:
    path.mkdir(parents=True)

    with pytest.raises(ConfigError, match="Cannot read"):
        Settings(path, {})


def test_a_place_that_cannot_be_written_is_an_error_and_leaves_nothing_behind(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("x")

    with pytest.raises(ConfigError, match="Cannot write"):
        settings_file.write_private(blocked / "config.toml", "x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@given(st.data())
def test_every_value_that_parses_is_read_back_as_it_was_written(tmp_path_factory, data: st.DataObject) -> None:  # type: ignore[no-untyped-def]
    setting = data.draw(
        st.sampled_from([row for row in TABLE if row.name in {"model", "system_prompt", "key_command"}])
    )
    text = data.draw(st.text(st.characters(exclude_categories=["Cs"])))
    path = tmp_path_factory.mktemp("settings") / "config.toml"

    settings_file.set_value(path, setting, parse(setting, text))

    assert Settings(path, {}).text(setting.name) == text


def test_every_setting_shows_its_default_as_a_text_that_parses_to_it() -> None:
    for setting in TABLE:
        assert setting.parse(as_text(setting.default)) == setting.default
        assert setting.help.endswith(".")
