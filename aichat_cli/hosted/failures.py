"""Every failure of a hosted Postgres as one of aichat's own errors: what failed, where, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aichat_cli.core.errors import HostedError, HostedFull, HostedLogin, HostedSchema, HostedUnavailable

_REFUSED = ("AI", "22", "23", "54")
"""How the states of schema.sql begin, and those of what a table cannot hold."""
_SCHEMA = ("42P01", "42883", "3F000", "42703")
"""No such table, function, schema or column."""
_FULL = ("53100",)
_GONE = ("57P01", "57P02", "57P03", "57014", "53300", "40001", "40P01")
"""Shut down, crashed, starting up, cancelled, too many connections, deadlock."""


class Refused(HostedError):
    """A function of schema.sql said no, or what it was given cannot be written down; nothing of it was done.

    Args:
        said: in the words of the database.
        state: why, such as `AI402`, which schema.sql tells, or `23502`, which is Postgres's.
        detail: what comes with it, such as what is left, or how long to wait.
        remark: what it is about where there are several, such as `cap`.
    """

    def __init__(self, message: str, *, said: str, state: str, detail: str | None, remark: str | None) -> None:
        super().__init__(message)
        self.said = said
        self.state = state
        self.detail = detail
        self.remark = remark


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Turn psycopg's errors into HostedErrors that say what failed at `place`."""
    import psycopg

    try:
        yield
    except psycopg.Error as exc:
        raise _translated(exc, place) from None
    except (UnicodeError, ValueError) as exc:
        raise HostedError(f"The database {place} cannot be asked that: {exc}.") from None


def _translated(error: Exception, place: str) -> HostedError:
    import psycopg

    state = getattr(error, "sqlstate", None) or ""
    said = _first_line(error)
    known = _login(state, said, place) or _unusable(state, said, place)
    if known is not None:
        return known
    if state in _GONE or state.startswith("08") or isinstance(error, psycopg.OperationalError):
        why = f": {said}" if said else ""
        return HostedUnavailable(
            f"The database {place} cannot be reached, or the connection was lost{why}.",
            hint="Nothing is lost. Try again: aichat sync now",
        )
    message = f"The database {place} failed: {said} ({state or type(error).__name__})."
    if isinstance(error, psycopg.Error) and state.startswith(_REFUSED):
        diagnostic = error.diag
        return Refused(
            message, said=said, state=state, detail=diagnostic.message_detail, remark=diagnostic.message_hint
        )
    return HostedError(message)


def _unusable(state: str, said: str, place: str) -> HostedError | None:
    """What has to be changed there, or in the address, before it can go on."""
    if "does not support SSL" in said:
        return HostedUnavailable(
            f"The database {place} does not encrypt its connections.",
            hint="Turn TLS on there; on a network that is yours alone, add ?sslmode=disable to the address",
        )
    if state in _SCHEMA:
        return HostedSchema(
            f"The database {place} is not set up for aichat, or by an older one: {said}.", hint="Run: aichat sync init"
        )
    if state == "P0002":
        return HostedSchema(
            f"The database {place} was set up anew, and knows nothing of this device.",
            hint="Turn sync off and on again: aichat sync off; aichat sync init",
        )
    if state in _FULL:
        return HostedFull(f"No space left in the database {place}.", hint="Free some there; nothing here is lost")
    if state == "25006":
        return HostedError(
            f"The database {place} can only be read.", hint="Use the address of the primary server, not of a copy"
        )
    return None


def _login(state: str, said: str, place: str) -> HostedLogin | None:
    """A connection that is refused has no SQLSTATE: then what was said tells."""
    if state in {"28000", "28P01"} or (not state and "authentication failed" in said):
        return HostedLogin(
            f"The database {place} refused the user or the password.", hint="Run: aichat sync init, with a new address"
        )
    if state == "3D000" or (not state and 'database "' in said and "does not exist" in said):
        return HostedLogin(f"There is no database {place}.", hint="Create it first, or check the address")
    if state == "42501":
        return HostedLogin(
            f"The database {place} does not permit this: {said}.", hint="Connect as the owner of the database"
        )
    return None


def _first_line(error: Exception) -> str:
    """What was said, without the addresses psycopg repeats and without what libpq adds on further lines."""
    diagnostic = getattr(error, "diag", None)
    text = (getattr(diagnostic, "message_primary", None) or str(error)).strip()
    line = text.splitlines()[0] if text else ""
    return line.rsplit(" failed: ", 1)[-1].removeprefix("connection is bad: ").rstrip(".")
