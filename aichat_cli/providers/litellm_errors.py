"""litellm's exceptions as ours. It wraps what it caught, so the whole chain of causes is read, by the names of classes."""

from __future__ import annotations

import re

from aichat_cli.core.errors import AichatError, BadResponse, ConnectFailed, ProviderError, TimedOut
from aichat_cli.core.struct import replace
from aichat_cli.providers.base import Call
from aichat_cli.providers.failures import clean_line, retry_after, said_by, said_in, status_error, who
from aichat_cli.providers.said import Said

_WRAPPINGS = re.compile(r"^(?:litellm\.\w+: |\w+ ?(?:Error|Exception): |\w*(?:Error|Exception) - )+")
_ADVICE = re.compile(r"\.? Handle with `litellm\.\w+`\.?$")
_NO_KEY = re.compile(
    r"missing credentials|missing .*api[_ ]key|api[_ ]key .*(not set|must be set|required)", re.IGNORECASE
)
_LONGEST_CHAIN = 12


def provider_error(request: Call, error: Exception) -> AichatError:
    """The error for whatever a call of litellm raised."""
    chain = _chain(error)
    names = {name for link in chain for name in _class_names(link)}
    said = _said(request, chain)
    if {"TimeoutException", "TransportError", "ConnectionError"} & names:
        return _transport_error(request, said, is_timeout="TimeoutException" in names)
    if "ContextWindowExceededError" in names:
        return status_error(request, 400, replace(said, kinds=(*said.kinds, "context_length_exceeded")))
    if "ImportError" in names:
        return ProviderError(f"{request.model.name} needs a package that is not installed: {said.message}")
    if request.key is None and said.matches(_NO_KEY):
        return status_error(request, 401, said)
    status = _status(chain, said)
    if status is None:
        return BadResponse(f"{who(request)} answered what litellm cannot read: {said.message}")
    return status_error(request, status, said, _retry_after(chain))


def _transport_error(request: Call, said: Said, *, is_timeout: bool) -> AichatError:
    if is_timeout:
        return TimedOut(f"{who(request)} did not answer in time.", hint="Raise it: aichat config set timeouts.idle 300")
    return ConnectFailed(f"Could not reach {who(request)}, or it closed the connection: {said.message}")


def _chain(error: BaseException) -> list[BaseException]:
    """The error, the one it was made from, and so on down to the first."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and len(chain) < _LONGEST_CHAIN and link not in chain:
        chain.append(link)
        original = getattr(link, "original_exception", None)
        link = original if isinstance(original, BaseException) else link.__cause__ or link.__context__
    return chain


def _class_names(error: BaseException) -> set[str]:
    return {cls.__name__ for cls in type(error).__mro__}


def _status(chain: list[BaseException], said: Said) -> int | None:
    """The status the provider answered with, or that its words stand for; None where it said neither."""
    names = {type(link).__name__ for link in chain}
    if "APIConnectionError" in names:
        return said.status if said.kinds else None
    for link in chain:
        status = getattr(link, "status_code", None)
        if isinstance(status, int) and status >= 400:
            return status
    return None


def _retry_after(chain: list[BaseException]) -> float | None:
    for link in chain:
        response = getattr(link, "response", None)
        for headers in (getattr(link, "litellm_response_headers", None), getattr(response, "headers", None)):
            if headers and (wait := retry_after(headers.get)) is not None:
                return wait
    return None


def _said(request: Call, chain: list[BaseException]) -> Said:
    """The provider's words: the body of its error where the chain holds it, else the text without its wrapping."""
    for link in chain:
        body = getattr(link, "body", None)
        if isinstance(body, dict):
            return said_by(body, request.key)
    text = _WRAPPINGS.sub("", str(getattr(chain[0], "message", None) or chain[0])).strip()
    text = _ADVICE.sub("", text.split("\n", maxsplit=1)[0])
    text = text[2:].removesuffix("'") if text.startswith("b'") else text
    if text.startswith("{"):
        return said_in(text[: text.rfind("}") + 1].encode(), request.key)
    return Said(clean_line(text, request.key))
