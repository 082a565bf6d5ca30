"""Every refusal and failure as the clients know it: OpenAI's shape, or Anthropic's under /v1/messages.

What a provider said to the gateway's own key is never told as if it had been said to the caller's.
"""

from __future__ import annotations

import math
import time

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from aichat_cli.core.errors import (
    AccountError,
    AichatError,
    ApiKeyError,
    HostedError,
    KeyRefused,
    NotFound,
    PaymentRequired,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    StorageError,
    UsageError,
)
from aichat_cli.core.struct import to_json

ANTHROPIC_PATH = "/v1/messages"

_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_OPENAI_TYPES = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    429: "rate_limit_error",
}


class BadRequest(AichatError):
    """A request that cannot be understood or served as it is.

    Args:
        param: the field it is about, such as `messages[0].role`, None for the whole.
    """

    code = "bad_request"

    def __init__(
        self, message: str, *, status: int = 400, param: str | None = None, code: str = "", hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.http_status = status
        self.param = param
        self.code = code or self.code


class UpstreamLimited(ProviderUnavailable):
    """A provider says not now, to the gateway, not to the caller."""

    code = "upstream_rate_limited"


def of_provider(error: AichatError) -> AichatError:
    """What a provider or the gateway's own key for it did wrong, as the caller is told."""
    if isinstance(error, RateLimited):
        return UpstreamLimited(error.message, retry_after=error.retry_after)
    if is_the_operators(error):
        return ProviderError("The gateway cannot use this provider now. Its operator has to mend that.")
    return error


def is_the_operators(error: AichatError) -> bool:
    """Whether a provider refused the gateway itself: its key, its account without money, its certificate or set-up."""
    return isinstance(error, ApiKeyError) or type(error) is ProviderError


def status_of(error: AichatError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, StorageError | HostedError):
        return 503
    return error.http_status


def error_response(request: Request, error: AichatError) -> Response:
    """The answer to a request that failed before anything of an answer was sent."""
    status = status_of(error)
    return Response(
        to_json(error_body(request.url.path, error, request_id_of(request))),
        status,
        _headers(error, status),
        media_type="application/json",
    )


def error_body(path: str, error: AichatError, request_id: str) -> dict[str, object]:
    """The JSON of an error, in the shape that belongs to the path."""
    status = status_of(error)
    message = _told(error)
    if path.startswith(ANTHROPIC_PATH):
        kind = _ANTHROPIC_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}
    kind = _OPENAI_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    param = error.param if isinstance(error, BadRequest) else None
    return {"error": {"message": message, "type": kind, "param": param, "code": error.code}}


def request_id_of(request: Request) -> str:
    """The id of a request, which the middleware has given it."""
    return str(request.scope.get("state", {}).get("request_id", ""))


def of_http(error: HTTPException) -> AichatError:
    """What Starlette itself refuses: no such path, no such method."""
    messages = {404: "There is nothing at this path.", 405: "This path does not take that method."}
    return BadRequest(messages.get(error.status_code, str(error.detail)), status=error.status_code, code="http")


def _told(error: AichatError) -> str:
    if isinstance(error, StorageError | HostedError):
        return "The gateway's database does not answer. Nothing was charged; try again."
    shows_hint = isinstance(error, AccountError | PaymentRequired | BadRequest | UsageError | NotFound) and error.hint
    return f"{error.message} {error.hint}." if shows_hint else error.message


def _headers(error: AichatError, status: int) -> dict[str, str]:
    headers: dict[str, str] = {}
    if isinstance(error, KeyRefused):
        headers["WWW-Authenticate"] = "Bearer"
    wait = getattr(error, "retry_after", None)
    if wait is not None:
        headers["Retry-After"] = str(max(1, math.ceil(wait)))
    elif status == 503:
        headers["Retry-After"] = "2"
    limit = getattr(error, "limit", None)
    if status == 429 and limit is not None:
        headers |= {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": str(math.ceil(time.time() + (wait or 0))),
        }
    return headers
