"""Sync through a gateway: its endpoints as a `Transport`, with the key of the user's account there."""

from __future__ import annotations

import hashlib
import socket
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

from aichat_cli.core.errors import (
    AichatError,
    ConnectFailed,
    HostedError,
    HostedFull,
    HostedLogin,
    HostedSchema,
    HostedUnavailable,
    ProviderError,
    TimedOut,
)
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import from_json, to_json
from aichat_cli.core.sync import Device
from aichat_cli.providers.base import Timeouts
from aichat_cli.providers.http import HttpResponse, HttpTransport
from aichat_cli.sync.protocol import Page, Receipt

MOST_ANSWER = 64_000_000
"""Of JSON, unpacked; a page is at most half of it, but for a single row that is larger."""
MOST_FILE = 100_000_000
"""As a gateway has it."""
WORTH_PACKING = 1024
_PIECE = 65_536
_GZIP = 31
_AGAIN = "Nothing is lost. Try again: aichat sync now"


class GatewayTransport:
    """A `Transport` over HTTP, on a connection that is kept.

    Args:
        url: of the gateway, without `/v1`.
        user_id: whose account this device syncs with; None for whoever's key it is. A key of another's is refused.
    """

    def __init__(
        self,
        url: str,
        key: Secret,
        *,
        user_id: str | None = None,
        device_name: str | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._key = key
        self._user_id = user_id
        name = "".join(each for each in device_name or socket.gethostname() if each.isprintable())
        self._device_name = name[:100] or "unnamed"
        self._timeouts = timeouts or Timeouts()
        self._http = HttpTransport()
        self._round_trips = 0

    @property
    def round_trips(self) -> int:
        """`Transport.round_trips`."""
        return self._round_trips

    @property
    def largest_file(self) -> int:
        """`Transport.largest_file`."""
        return MOST_FILE

    def pull(self, device: str, after: int, *, most: int, most_bytes: int, horizon: int = -1) -> Page:
        """`Transport.pull`."""
        size = {"most": most, "most_bytes": most_bytes}
        answer = self._asked("pull", self._of_device(device) | {"after": after, "horizon": horizon} | size)
        return Page(**self._known(Page, answer))

    def push(self, device: str, seen: int, changes: Sequence[dict[str, Any]]) -> Receipt:
        """`Transport.push`."""
        answer = self._asked("push", self._of_device(device) | {"seen": seen, "changes": changes})
        return Receipt(**self._known(Receipt, answer))

    def stage_chunks(self, document_id: str, version: str, chunks: Sequence[dict[str, Any]]) -> None:
        """`Transport.stage_chunks`."""
        self._asked("stage", {"document": document_id, "version": version, "chunks": chunks})

    def chunks(
        self, document_id: str, stamp: str, after: int, *, most: int, most_bytes: int
    ) -> Sequence[dict[str, Any]]:
        """`Transport.chunks`."""
        size = {"most": most, "most_bytes": most_bytes}
        return self._listed(self._asked("chunks", {"document": document_id, "stamp": stamp, "after": after} | size))

    def missing_files(self, hashes: Sequence[str]) -> list[str]:
        """`Transport.missing_files`."""
        return self._listed(self._asked("missing-files", {"hashes": hashes}))

    def put_file(self, sha256: str, content: bytes) -> None:
        """`Transport.put_file`."""
        headers = {"Content-Type": "application/octet-stream"}
        self._sent(f"files/{sha256}", headers, content, most=MOST_ANSWER, puts=True)

    def file(self, sha256: str) -> bytes | None:
        """`Transport.file`."""
        try:
            content = self._sent(f"files/{sha256}", {}, None, most=MOST_FILE)
        except _NoSuchFile:
            return None
        if hashlib.sha256(content).hexdigest() != sha256:
            raise self._lost("a file came as something else than it is.")
        return content

    def devices(self) -> list[Device]:
        """`Transport.devices`."""
        return [Device(**self._known(Device, each)) for each in self._listed(self._asked("devices", {}))]

    def forget(self, device: str) -> None:
        """`Transport.forget`."""
        self._asked("forget", {"device": device})

    def close(self) -> None:
        """`Transport.close`."""
        self._http.close()

    def _of_device(self, device: str) -> dict[str, Any]:
        return {"device": device, "device_name": self._device_name}

    def _known(self, kind: type[Any], answer: Any) -> dict[str, Any]:
        """The fields of an answer that this program knows; a newer gateway may tell more."""
        if not isinstance(answer, dict):
            raise self._no_gateway()
        return {name: answer[name] for name in kind.__struct_fields__ if name in answer}

    def _listed(self, answer: Any) -> list[Any]:
        if not isinstance(answer, list):
            raise self._no_gateway()
        return answer

    def _asked(self, name: str, fields: dict[str, Any]) -> Any:
        body, headers = to_json(fields), {}
        if len(body) > WORTH_PACKING:
            packer = zlib.compressobj(1, wbits=_GZIP)
            body = packer.compress(body) + packer.flush()
            headers["Content-Encoding"] = "gzip"
        try:
            return from_json(self._sent(name, headers, body, most=MOST_ANSWER))
        except (ValueError, RecursionError):
            raise self._no_gateway() from None

    def _sent(self, name: str, headers: dict[str, str], body: bytes | None, *, most: int, puts: bool = False) -> bytes:
        """What a request is answered, unpacked; raises HostedError, and _NoSuchFile."""
        self._round_trips += 1
        url = f"{self._url}/v1/sync/{name}"
        sent = {"Authorization": f"Bearer {self._key.reveal()}", "Accept-Encoding": "gzip", **headers}
        if self._user_id:
            sent["X-Aichat-User"] = self._user_id
        try:
            if body is None:
                response = self._http.get(url, sent, self._timeouts)
            else:
                send = self._http.put if puts else self._http.post_json
                response = send(url, sent, body, self._timeouts)
            with closing(response):
                if not _has_an_end(response):
                    raise self._lost("what it answered is not complete.")
                content = self._content(response, most)
        except (ConnectFailed, TimedOut) as exc:
            raise self._lost(exc.message) from exc
        except ProviderError as exc:
            raise HostedUnavailable(exc.message, hint=exc.hint) from exc
        if response.status >= 300:
            raise self._failure(response.status, content)
        return content

    def _lost(self, why: str) -> HostedUnavailable:
        return HostedUnavailable(
            f"The gateway {self._url} cannot be reached, or the connection was lost: {why}", hint=_AGAIN
        )

    def _content(self, response: HttpResponse, most: int) -> bytes:
        content = bytearray()
        for piece in _unpacked(response):
            content += piece
            if len(content) > most:
                raise HostedError(f"The gateway {self._url} answered with more than {most:,} bytes.")
        return bytes(content)

    def _failure(self, status: int, content: bytes) -> AichatError:
        """What an answer that is none tells, in the words of this side."""
        said, code = _error_of(content)
        place, told = f"The gateway {self._url}", said or f"HTTP {status}."
        if code in {"sync_no_file", "sync_other_user", "sync_unavailable", "hosted_full"}:
            return self._of_sync(code)
        if status == 401:
            return HostedLogin(f"{place} refused the key: {told}", hint=f"Run: aichat login {self._url}")
        if status == 403:
            return HostedLogin(f"{place} does not permit this: {told}", hint="Ask its operator")
        if status in {408, 429} or status >= 500:
            return HostedUnavailable(f"{place} cannot do it now: {told}", hint=_AGAIN)
        return HostedError(f"{place} refused what was sent: {told}") if code else self._no_gateway()

    def _of_sync(self, code: str) -> HostedError:
        if code == "sync_no_file":
            return _NoSuchFile("It was never sent.")
        if code == "sync_other_user":
            return HostedLogin(
                f"The key for {self._url} belongs to another account than the one this device syncs with.",
                hint=f"Run: aichat login {self._url} with a key of that account; or begin anew: aichat sync off",
            )
        if code == "sync_unavailable":
            return HostedSchema(
                f"The gateway {self._url} has no sync.", hint="Ask its operator, or sync with a Postgres of your own"
            )
        return HostedFull(f"No space left at the gateway {self._url}.", hint="Tell its operator; nothing here is lost")

    def _no_gateway(self) -> HostedSchema:
        return HostedSchema(
            f"What answers at {self._url} is no gateway of aichat, or an older one.",
            hint="Check: aichat config get gateway.url",
        )


class _NoSuchFile(HostedError):
    """A file that was never sent."""


def _error_of(content: bytes) -> tuple[str, str]:
    """The message and the code of an error, empty where it is not written as a gateway does."""
    try:
        error = from_json(content)["error"]
        return str(error["message"]), str(error["code"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return "", ""


def _has_an_end(response: HttpResponse) -> bool:
    """Whether the head says where the body ends, as every answer of a gateway does: one that was cut off within its head looks
    like one without.
    """
    return response.status == 204 or "Content-Length" in response.headers or "Transfer-Encoding" in response.headers


def _unpacked(response: HttpResponse) -> Iterator[bytes]:
    """The body in pieces of a size, however much a packed one unpacks to."""
    if response.headers.get("Content-Encoding", "").lower() != "gzip":
        yield from response.chunks()
        return
    unpacker = zlib.decompressobj(_GZIP)
    try:
        for chunk in response.chunks():
            rest = chunk
            while rest:
                yield unpacker.decompress(rest, 16 * _PIECE)
                rest = unpacker.unconsumed_tail
    except zlib.error as exc:
        raise ConnectFailed(f"{response.origin} sent what cannot be unpacked.") from exc
    if not unpacker.eof:
        raise ConnectFailed(f"{response.origin} closed the connection before the answer was complete.")
