"""What Pinecone's client raises, as errors of ours."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from aichat_cli.core.errors import (
    AichatError,
    BadResponse,
    ConfigError,
    ConnectFailed,
    KeyRejected,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
    TimedOut,
)

Result = TypeVar("Result")

MOST_SHOWN = 200
"""Characters of what Pinecone says of an error."""


def require_package() -> None:
    """Load the client; raises ConfigError where it is not installed."""
    try:
        import pinecone  # noqa: F401
    except ImportError as exc:
        raise ConfigError(
            "Pinecone needs its client, which is not installed.", hint="Run: pip install 'aichat-terminal[pinecone]'"
        ) from exc
    # Without a handler its warnings would go to the terminal as they are.
    logging.getLogger("pinecone").addHandler(logging.NullHandler())
    logging.getLogger("pinecone").propagate = False


def unless_missing(question: Callable[[], Result]) -> Result | None:
    """The answer, None where Pinecone says that there is no such thing."""
    from pinecone import NotFoundError

    try:
        return question()
    except NotFoundError:
        return None


@contextmanager
def translated(place: str, key: str) -> Iterator[None]:
    """Errors of the client as ours, which never hold the key.

    Raises:
        KeyRejected, RateLimited, ConfigError: Pinecone refused the key, is busy, or has no such index.
        ProviderError: it cannot be reached, or does not answer as it should.
    """
    try:
        yield
    except AichatError:
        raise
    except Exception as exc:  # noqa: BLE001 (nothing of the client's, or of what it is made of, gets out)
        raise _ours(exc, place, key) from None


def _ours(error: Exception, place: str, key: str) -> AichatError:  # noqa: PLR0911 (one for each kind)
    import pinecone

    said = _said(error, key)
    if isinstance(error, pinecone.UnauthorizedError):
        return KeyRejected(f"{place} refused the API key.", hint="Give another: aichat keys set pinecone")
    if isinstance(error, pinecone.RateLimitError):
        after = error.retry_after
        when = "in a moment" if after is None else f"in {after:.0f} s"
        return RateLimited(f"{place} takes no more requests now{said}", retry_after=after, hint=f"Try again {when}")
    if isinstance(error, pinecone.NotFoundError):
        return ConfigError(
            f"{place} has no such index any more{said}", hint="Move the vectors anew: aichat docs migrate --to pinecone"
        )
    if isinstance(error, pinecone.PineconeTimeoutError | TimeoutError):
        return TimedOut(f"{place} did not answer in time.")
    if isinstance(error, pinecone.PineconeConnectionError):
        return ConnectFailed(f"{place} cannot be reached{said}", hint="Is the network there?")
    if isinstance(error, pinecone.ServiceError):
        return ProviderUnavailable(f"{place} failed ({error.status_code}){said}")
    if isinstance(error, pinecone.ApiError):
        return RequestRejected(f"{place} refused the request ({error.status_code}){said}")
    return BadResponse(f"{place} did not answer as Pinecone does{said}")


def _said(error: Exception, key: str) -> str:
    """What the client says of an error, as the end of a sentence."""
    text = " ".join(str(getattr(error, "message", "") or error).split()).replace(key, "***")
    shown = text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "..."
    return f": {shown.rstrip('.')}." if shown else "."
