"""What a provider said, in its own words."""

from __future__ import annotations

import re

from aichat_cli.core.struct import Struct

_STATUS_OF_KIND = {
    "authentication_error": 401,
    "invalid_api_key": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "invalid_request_error": 400,
    "context_length_exceeded": 400,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "api_error": 500,
    "server_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


class Said(Struct, frozen=True):
    """A provider's own words: its message, one clean line, and the kinds and codes it gave. `is_structured` is False
    where the body was not an error object, such as a proxy's page.
    """

    message: str
    kinds: tuple[str, ...] = ()
    is_structured: bool = True

    @property
    def status(self) -> int:
        """The HTTP status these words stand for where they came in a stream; 500 where they do not tell."""
        for kind in self.kinds:
            if kind.isdecimal() and 400 <= int(kind) < 600:
                return int(kind)
            if kind in _STATUS_OF_KIND:
                return _STATUS_OF_KIND[kind]
        return 500

    def matches(self, pattern: re.Pattern[str]) -> bool:
        """Whether the words or a code say so."""
        return any(pattern.search(text) for text in (self.message, *self.kinds))
