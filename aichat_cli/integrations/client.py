"""What observers speak HTTP with: JSON both ways, one wording per failure, no key in any of them."""

from __future__ import annotations

from collections.abc import Mapping

from aichat_cli.core.errors import (
    BadResponse,
    ConfigError,
    ConnectFailed,
    KeyRejected,
    ProviderError,
    ProviderUnavailable,
    RequestRejected,
    TimedOut,
)
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import from_json
from aichat_cli.providers.base import Timeouts
from aichat_cli.providers.failures import said_in
from aichat_cli.providers.http import HttpResponse, HttpTransport

_ANSWER_BYTES = 1_000_000
_REJECTIONS = frozenset({400, 413, 422})


class Answer:
    """What a service said: its status and its body, of at most a megabyte."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.body = body


class ServiceClient:
    """Calls one service; for one thread at a time but for `warm`.

    Args:
        service: what messages call it, such as `LangSmith`.
        url: of it, without a trailing slash.
        key: under which it knows us, and `key_name` what `aichat keys set` calls it.
    """

    def __init__(self, service: str, url: str, key: Secret, key_name: str, timeouts: Timeouts) -> None:
        self.service = service
        self.url = url
        self._key = key
        self._key_name = key_name
        self._timeouts = timeouts
        self._transport = HttpTransport()

    def warm(self) -> None:
        """Open the connection that the next call will need. Failures are silent."""
        self._transport.warm(self.url, self._timeouts)

    def post(self, path: str, headers: Mapping[str, str], body: bytes, *, accepts: tuple[int, ...] = ()) -> Answer:
        """Send JSON; an answer of 2xx is returned, and one that `accepts` names.

        Raises:
            KeyRejected: 401 or 403.
            RequestRejected: 400, 413 or 422, which say that the same will never be taken. Any other 4xx speaks of an
                account or an address, and so of all that could be sent.
            ProviderError: it could not be reached, did not answer, or not so that it can be understood.
            ConfigError: the address is none.
        """
        try:
            return self._answer(self._transport.post_json(self.url + path, headers, body, self._timeouts), accepts)
        except ProviderError as exc:
            raise self._told(exc) from None
        except ConfigError as exc:
            raise self._misconfigured(exc) from None

    def get(self, path: str, headers: Mapping[str, str], *, accepts: tuple[int, ...] = ()) -> Answer:
        """Ask for something; as `post` otherwise."""
        try:
            return self._answer(self._transport.get(self.url + path, headers, self._timeouts), accepts)
        except ProviderError as exc:
            raise self._told(exc) from None
        except ConfigError as exc:
            raise self._misconfigured(exc) from None

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def _answer(self, response: HttpResponse, accepts: tuple[int, ...]) -> Answer:
        try:
            status, body = response.status, response.read_limited(_ANSWER_BYTES)
        finally:
            response.close()
        if status in accepts or (200 <= status < 300 and _is_json(body)):
            return Answer(status, body)
        if 200 <= status < 300:
            # So says whoever stands in between, such as the page to log in to a network with.
            raise BadResponse(f"{self.service} does not answer in JSON.", hint="Check its address in the settings")
        said = said_in(body, self._key).message.rstrip(".")
        reason = f"{self.service} answered {status}" + (f": {said}" if said else "")
        if status in {401, 403}:
            raise KeyRejected(
                f"{self.service} refuses the key from {self._key.source} ({status}).",
                hint=f"Run: aichat keys set {self._key_name}",
            )
        if status in _REJECTIONS:
            raise RequestRejected(f"{reason}.")
        if status in {408, 425, 429} or status >= 500:
            raise ProviderUnavailable(f"{reason}.")
        raise BadResponse(f"{reason}.")

    def _told(self, error: ProviderError) -> ProviderError:
        """The hints of the transport speak of the timeouts of turns, which are not those here."""
        if isinstance(error, TimedOut):
            return TimedOut(f"{self.service} did not answer in time.")
        if isinstance(error, ConnectFailed | BadResponse) and not error.message.startswith(self.service):
            return type(error)(f"{self.service}: {error.message}")
        return error

    def _misconfigured(self, error: ConfigError) -> ConfigError:
        return ConfigError(f"{self.service} cannot be called: {error.message}", hint=error.hint)


def _is_json(body: bytes) -> bool:
    try:
        from_json(body or b"null")
    except ValueError:
        return False
    return True
