from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aichat_cli.config.secrets import KeyStore
from aichat_cli.core.errors import ConfigError, NotFound, UsageError

KEY = "sk-test-0123456789abcdef"
OTHER = "sk-other-fedcba9876543210"


def variables_of(name: str) -> tuple[str, ...]:
    return (f"{name.upper()}_API_KEY",)


@pytest.fixture
def encrypted_keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """keyrings.alt's encrypted file, in this test's own folder."""
    import keyring
    from keyring.util import platform_

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "tests.keyring_backend.UnlockedKeyring")
    previous = keyring.get_keyring()
    from tests.keyring_backend import UnlockedKeyring

    keyring.set_keyring(UnlockedKeyring())
    assert tmp_path in platform_.data_root().parents
    yield tmp_path / "share"
    keyring.set_keyring(previous)


@pytest.fixture
def no_keyring() -> Iterator[None]:
    import keyring
    from keyring.backends.fail import Keyring

    previous = keyring.get_keyring()
    keyring.set_keyring(Keyring())  # type: ignore[no-untyped-call]
    yield
    keyring.set_keyring(previous)


def key_store(tmp_path: Path, environ: dict[str, str] | None = None, **extra: object) -> KeyStore:
    return KeyStore(tmp_path / "keys.toml", variables_of, environ=environ or {}, **extra)  # type: ignore[arg-type]


def everything_under(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_key_goes_into_the_keyring_and_comes_back(tmp_path: Path, encrypted_keyring: Path) -> None:
    keys = key_store(tmp_path)

    assert keys.store("openai", f" {KEY}\n").source == "keyring"

    found = key_store(tmp_path).find("openai")
    assert found is not None
    assert (found.reveal(), found.source) == (KEY, "keyring")


def test_a_stored_key_is_nowhere_on_disk_in_the_clear(tmp_path: Path, encrypted_keyring: Path) -> None:
    key_store(tmp_path).store("openai", KEY)

    assert encrypted_keyring.exists()
    assert KEY.encode() not in everything_under(tmp_path)


def test_the_environment_comes_before_the_keyring_and_the_flag_before_both(
    tmp_path: Path, encrypted_keyring: Path
) -> None:
    key_store(tmp_path).store("openai", KEY)

    from_environment = key_store(tmp_path, {"OPENAI_API_KEY": OTHER}).find("openai")
    from_flag = key_store(tmp_path, {"OPENAI_API_KEY": OTHER}, flag="sk-flag").find("openai")

    assert from_environment is not None
    assert from_flag is not None
    assert (from_environment.reveal(), from_environment.source) == (OTHER, "$OPENAI_API_KEY")
    assert (from_flag.reveal(), from_flag.source) == ("sk-flag", "--key")


def test_an_empty_variable_is_no_key(tmp_path: Path, no_keyring: None) -> None:
    keys = key_store(tmp_path, {"OPENAI_API_KEY": "  "})

    assert keys.find("openai") is None
    assert not keys.is_in_environment("openai")


def test_without_a_keyring_keys_go_into_a_file_only_the_owner_reads(tmp_path: Path, no_keyring: None) -> None:
    keys = key_store(tmp_path)

    location = keys.store("openai", KEY)
    keys.store("anthropic", OTHER)

    path = tmp_path / "keys.toml"
    assert location.source == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = key_store(tmp_path).find("openai")
    assert found is not None
    assert (found.reveal(), found.source) == (KEY, str(path))


def test_key_command_is_asked_for_the_provider_by_name(tmp_path: Path, no_keyring: None) -> None:
    keys = key_store(tmp_path, command=lambda: "printf 'sk-for-%s\\nmore' {name}")

    found = keys.find("groq")

    assert found is not None
    assert (found.reveal(), found.source) == ("sk-for-groq", "key_command")


@pytest.mark.parametrize("command", ["false", "true", "/no/such/program {name}", "unclosed 'quote"])
def test_a_key_command_that_gives_nothing_is_an_error_that_names_the_setting(
    tmp_path: Path, no_keyring: None, command: str
) -> None:
    with pytest.raises(ConfigError, match="key_command") as caught:
        key_store(tmp_path, command=lambda: command).find("openai")
    assert caught.value.hint == "Run: aichat config get key_command"


@pytest.mark.parametrize("bad", ["", "  ", "two words", "with\nline", "nul\x00", "bell\x07"])
def test_what_cannot_be_a_key_is_not_stored(tmp_path: Path, no_keyring: None, bad: str) -> None:
    with pytest.raises(UsageError):
        key_store(tmp_path).store("openai", bad)
    assert not (tmp_path / "keys.toml").exists()


def test_removing_forgets_the_key_in_the_keyring_and_in_the_file(tmp_path: Path, encrypted_keyring: Path) -> None:
    keys = key_store(tmp_path)
    keys.store("openai", KEY)
    (tmp_path / "keys.toml").write_text(f'openai = "{OTHER}"\n')

    removed = keys.remove("openai")

    assert [location.source for location in removed] == ["keyring", str(tmp_path / "keys.toml")]
    assert keys.find("openai") is None
    assert keys.locations(["openai"]) == []


def test_removing_what_only_the_environment_holds_says_where_it_is(tmp_path: Path, no_keyring: None) -> None:
    with pytest.raises(NotFound, match=r"\$OPENAI_API_KEY: unset that"):
        key_store(tmp_path, {"OPENAI_API_KEY": KEY}).remove("openai")


def test_locations_lists_stored_names_nobody_asked_for(tmp_path: Path, encrypted_keyring: Path) -> None:
    keys = key_store(tmp_path, {"OPENAI_API_KEY": KEY})
    keys.store("my-server", OTHER)
    (tmp_path / "keys.toml").write_text('kept-in-file = "x"\n')

    assert [(location.name, location.source) for location in keys.locations(["openai", "anthropic"])] == [
        ("openai", "$OPENAI_API_KEY"),
        ("my-server", "keyring"),
        ("kept-in-file", str(tmp_path / "keys.toml")),
    ]


def test_every_key_that_was_seen_is_redacted(tmp_path: Path, no_keyring: None) -> None:
    keys = key_store(tmp_path, {"OPENAI_API_KEY": KEY}, command=lambda: f"echo {OTHER}")
    keys.find("openai")
    keys.find("groq")
    keys.store("more", "sk-third")

    assert keys.redact(f"bad keys {KEY}, {OTHER} and sk-third") == "bad keys ***, *** and ***"


def test_a_broken_keys_file_is_reported_without_its_content(tmp_path: Path, no_keyring: None) -> None:
    (tmp_path / "keys.toml").write_text(f"openai = {KEY}\n")

    with pytest.raises(ConfigError) as caught:
        key_store(tmp_path).find("openai")

    assert KEY not in str(caught.value)


def test_a_keyring_that_cannot_be_opened_is_one_clear_error(tmp_path: Path, encrypted_keyring: Path) -> None:
    keys = key_store(tmp_path)
    keys.store("openai", KEY)
    damaged = next(path for path in encrypted_keyring.rglob("*") if path.is_file())
    damaged.write_text(damaged.read_text().replace("openai = ", "openai = AAAA"))

    with pytest.raises(ConfigError, match="keyring could not be read"):
        keys.find("openai")


def test_a_plain_text_keyring_is_not_used_unless_it_was_chosen(tmp_path: Path) -> None:
    # keyrings.alt is installed in the test environment, and with it a backend that writes keys in the clear.
    code = "from aichat_cli.config.secrets import keyring_backend; print(keyring_backend())"
    environ = {**os.environ, "HOME": str(tmp_path), "DBUS_SESSION_BUS_ADDRESS": "disabled:"}
    environ.pop("PYTHON_KEYRING_BACKEND", None)
    by_default = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    environ["PYTHON_KEYRING_BACKEND"] = "keyrings.alt.file.PlaintextKeyring"
    chosen = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)

    assert "Plaintext" not in by_default.stdout
    assert "Plaintext" in chosen.stdout


@pytest.mark.parametrize("name", ["_names", "", " ", "two words", "bell\x07", "-x"])
def test_a_name_that_cannot_be_one_is_refused(tmp_path: Path, encrypted_keyring: Path, name: str) -> None:
    keys = key_store(tmp_path)
    keys.store("openai", KEY)

    with pytest.raises(UsageError):
        keys.store(name, OTHER)
    assert [location.name for location in keys.locations([])] == ["openai"]


def test_a_short_word_in_the_place_of_a_key_does_not_mangle_messages(tmp_path: Path, no_keyring: None) -> None:
    assert key_store(tmp_path, flag="k").redact("no code block") == "no code block"
