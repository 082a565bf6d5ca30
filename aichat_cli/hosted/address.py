"""The address of a hosted Postgres as it is kept: one word, whatever way it was typed."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, urlencode

from aichat_cli.core.secret import Secret
from aichat_cli.hosted.connection import Place, parsed


def one_word(typed: Secret) -> tuple[Secret, Place]:
    """The address without blanks, which keyrings and files take, and where it leads.

    Raises:
        UsageError: it is no address. The message does not repeat it.
        ConfigError: psycopg is not installed.
    """
    text = typed.reveal().strip()
    place, parts = parsed(Secret(text, typed.source))
    if not text.startswith(("postgresql://", "postgres://")) or any(each.isspace() for each in text):
        text = "postgresql:///?" + urlencode({name: str(value) for name, value in parts.items()}, quote_via=quote)
    return Secret(text, typed.source), place


def guarded(typed: str, source: str, hide: Callable[..., None]) -> tuple[Secret, Place]:
    """An address as `one_word` makes it; from here on `hide` has all of it taken out of every message.

    Raises:
        UsageError, ConfigError: as `one_word` does.
    """
    hide(typed.strip())
    secret, place = one_word(Secret(typed, source))
    hide(*secrets_in(secret))
    return secret, place


def secrets_in(address: Secret) -> list[str]:
    """What of an address may not be shown: all of it, and its password, as it is typed and as it is meant."""
    _, parts = parsed(address)
    found = [address.reveal()]
    for name in ("password", "sslpassword"):
        if parts.get(name):
            meant = str(parts[name])
            found += [meant, quote(meant, safe=""), quote(meant)]
    return list(dict.fromkeys(found))


def has_password(address: Secret) -> bool:
    """Whether somebody who reads it can sign in."""
    return len(secrets_in(address)) > 1
