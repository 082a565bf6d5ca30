"""From what an operator names to the accounts kept there: a file, or the address of a Postgres database."""

from __future__ import annotations

from pathlib import Path

from aichat_cli.accounts.protocol import AccountStore
from aichat_cli.config.paths import Paths
from aichat_cli.config.secrets import KeyStore
from aichat_cli.config.settings import Settings
from aichat_cli.core.secret import Secret

KEY_NAME = "server"
"""What the address of the accounts is called among the keys."""
FILE_NAME = "gateway.db"


def place(typed: str | None, keys: KeyStore, settings: Settings, paths: Paths) -> Secret:
    """Where the accounts are: as it was typed, else from the environment or the keyring, else the file that is set, else the
    usual one. An address is taken out of every message from here on.

    Raises:
        UsageError: it is an address that cannot be read.
        ConfigError: psycopg is not installed, or the keyring cannot be read.
    """
    kept = None if typed else keys.find(KEY_NAME, by_flag=False, by_command=False)
    if typed or kept is not None:
        text, source = (typed, "--database") if typed else (kept.reveal(), kept.source) if kept else ("", "")
        if not is_address(text):
            return Secret(text, source)
        from aichat_cli.hosted import address

        return address.guarded(text, source, keys.hide)[0]
    configured = settings.text("server.file")
    return Secret(configured or str(paths.database.parent / FILE_NAME), "server.file" if configured else "default")


def is_address(text: str) -> bool:
    """Whether it is the address of a Postgres database, and not a file."""
    return text.startswith(("postgresql://", "postgres://"))


def opened(place: Secret) -> AccountStore:
    """The accounts at a place; nothing is connected to yet.

    Raises:
        UsageError: it is an address that cannot be read.
        ConfigError: psycopg is not installed.
    """
    text = place.reveal()
    if is_address(text):
        from aichat_cli.accounts.postgres import PostgresAccounts

        return PostgresAccounts(place)
    from aichat_cli.accounts.sqlite import SqliteAccounts

    return SqliteAccounts(Path(text).expanduser())
