"""Trying again: when, how often and how long after."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import Protocol, TypeVar

from aichat_cli.core.errors import AichatError, is_transient
from aichat_cli.core.events import Finished, Notice, ProviderEvent, ReasoningDelta, Retrying, TextDelta
from aichat_cli.core.struct import Struct
from aichat_cli.providers.base import ChatRequest, Provider


class RetryPolicy(Struct, frozen=True):
    """`attempts` in all. The wait before attempt n+1 is random, up to `base_delay` * 2**(n-1) and `max_delay`; where the
    provider names a time it is that, up to `max_wait`. Seconds.
    """

    attempts: int = 3
    base_delay: float = 0.5
    max_delay: float = 8.0
    max_wait: float = 30.0


def _random() -> float:
    from random import random

    return random()  # noqa: S311 - spreads clients over time, guards nothing


def stream_with_retries(
    provider: Provider,
    request: ChatRequest,
    policy: RetryPolicy,
    sleep: Callable[[float], None] = time.sleep,
    random: Callable[[], float] = _random,
) -> Generator[ProviderEvent | Retrying, None, None]:
    """Stream a request, and again after a transient error that came before any content. A notice is passed on once.

    Raises:
        AichatError: the last attempt's, one that is not transient, or one whose wait is longer than `policy.max_wait`.
    """
    noticed: set[Notice] = set()
    attempt = 1
    while True:
        has_content = False
        with ExitStack() as stack:
            events = provider.stream(request)
            stack.callback(getattr(events, "close", lambda: None))
            try:
                for event in events:
                    has_content = has_content or isinstance(event, TextDelta | ReasoningDelta | Finished)
                    if isinstance(event, Notice):
                        if event in noticed:
                            continue
                        noticed.add(event)
                    yield event
                return
            except AichatError as exc:
                if has_content or attempt >= policy.attempts or not is_transient(exc):
                    raise
                error = exc
        delay = delay_before_next(error, attempt, policy, random)
        if delay is None:
            raise error
        yield Retrying(error, attempt, delay)
        sleep(delay)
        attempt += 1


class Attempt(Protocol):
    """One try of a call that gives its result at once."""

    @property
    def error(self) -> AichatError | None: ...


AnyAttempt = TypeVar("AnyAttempt", bound=Attempt)


def attempts(
    attempt: Callable[[], AnyAttempt],
    policy: RetryPolicy,
    sleep: Callable[[float], object] = time.sleep,
    random: Callable[[], float] = _random,
) -> Iterator[AnyAttempt]:
    """Try until it succeeds, fails for good, or the policy has had enough; yields every try, the last is what counts.

    Args:
        sleep: waits that many seconds; true means that nobody wants the result any more.
    """
    number = 1
    while True:
        tried = attempt()
        yield tried
        if tried.error is None or number >= policy.attempts or not is_transient(tried.error):
            return
        delay = delay_before_next(tried.error, number, policy, random)
        if delay is None:
            return
        if sleep(delay):
            return
        number += 1


def delay_before_next(
    error: AichatError, attempt: int, policy: RetryPolicy, random: Callable[[], float] = _random
) -> float | None:
    """Seconds to wait after the attempt of that number, None where the provider asks for more than we would."""
    named: float | None = getattr(error, "retry_after", None)
    if named is not None:
        return named if named <= policy.max_wait else None
    return random() * min(policy.max_delay, policy.base_delay * 2.0 ** (attempt - 1))
