"""The files and folders of one user. Nothing is created here."""

from __future__ import annotations

from pathlib import Path

from aichat_cli.core.struct import Struct

APP_NAME = "aichat"


class Paths(Struct, frozen=True):
    """Every place aichat keeps something, by the conventions of the platform (XDG on Linux)."""

    config_file: Path
    keys_file: Path
    role_dir: Path
    database: Path
    model_dir: Path
    input_history: Path
    account_file: Path


def user_paths() -> Paths:
    """The places for the current user and environment."""
    from platformdirs import PlatformDirs

    dirs = PlatformDirs(APP_NAME, appauthor=False)
    config = Path(dirs.user_config_dir)
    data = Path(dirs.user_data_dir)
    state = Path(dirs.user_state_dir)
    return Paths(
        config_file=config / "config.toml",
        keys_file=config / "keys.toml",
        role_dir=config / "roles",
        database=data / "aichat.db",
        model_dir=data / "models",
        input_history=state / "input_history",
        account_file=state / "account.json",
    )
