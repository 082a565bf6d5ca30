"""From what an operator names to the accounts kept there: a file, or the address of a Postgres database."""

from __future__ import annotations

from pathlib import Path

from aichat_cli.accounts.protocol import AccountStore
from aichat_cli.core.secret import Secret


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
