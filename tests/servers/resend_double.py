"""A loopback double of what mail is sent with at Resend: POST /emails and GET /domains, spoken to by its own client too.

    with ResendDouble() as resend:
        resend.mails                    # each that was sent
        resend.a_day_passes()           # after which an idempotency key is new again

Refusals are those of Resend's table of errors. An idempotency key is good for 24 hours: with the same words it is answered as
before, with others it is an error.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from tests.servers.scripted import RecordedRequest
from tests.servers.service import Reply, Service

KEY = "re_8TqNw3Zk_5vLxPnR2dYb7cMh9sJf4"
SENDING_KEY = "re_Sending1_2kFq7VbXw9ZtLmRnPdJh"
DOMAIN = "example.org"
_TEST_DOMAIN = "resend.dev"
_MAILBOX = re.compile(r"(?:[^<>]*<)?[^\s<>@,]+@([^\s<>@,]+\.[^\s<>@,]+?)>?")
_FIELDS = {"from", "to", "subject", "html", "text", "cc", "bcc", "reply_to", "headers", "tags", "attachments"}


@dataclass(frozen=True)
class Mail:
    """One that was sent."""

    id: str
    key: str | None
    body: dict[str, Any] = field(default_factory=dict)


class _Refused(Exception):
    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(message)
        self.reply = Reply(status, {"statusCode": status, "name": name, "message": message})


class ResendDouble(Service):
    """One account, with one domain. While `is_busy`, every idempotency key is in use by a request under way."""

    def __init__(self) -> None:
        super().__init__()
        self.mails: list[Mail] = []
        self.is_busy = False
        self.statuses = {DOMAIN: "verified", "pending.example": "pending"}
        self._answered: dict[str, tuple[bytes, str]] = {}

    def clear(self) -> None:
        """Be as new."""
        super().clear()
        self.mails.clear()
        self.is_busy = False
        self._answered.clear()

    def a_day_passes(self) -> None:
        """Idempotency keys are forgotten."""
        self._answered.clear()

    def reply(self, request: RecordedRequest) -> Reply:
        """Send a mail, or tell the domains."""
        try:
            if not request.headers.get("user-agent"):
                raise _Refused(403, "validation_error", "A User-Agent header is required.")
            key = request.headers.get("authorization", "").removeprefix("Bearer ")
            if not key:
                raise _Refused(401, "missing_api_key", "Missing API key in the authorization header.")
            if (request.method, request.path) == ("POST", "/emails"):
                return self._send(request, key)
            if (request.method, request.path) == ("GET", "/domains"):
                return self._domains(key)
            raise _Refused(404, "not_found", "The requested endpoint does not exist.")
        except _Refused as exc:
            return exc.reply

    def _domains(self, key: str) -> Reply:
        if key == SENDING_KEY:
            raise _Refused(401, "restricted_api_key", "This API key is restricted to only send emails.")
        if key != KEY:
            raise _Refused(400, "validation_error", "API key is invalid")
        data = [{"id": str(uuid4()), "name": name, "status": status} for name, status in self.statuses.items()]
        return Reply(200, {"object": "list", "has_more": False, "data": data})

    def _send(self, request: RecordedRequest, key: str) -> Reply:
        if key not in {KEY, SENDING_KEY}:
            raise _Refused(401, "validation_error", "API key is invalid")
        assert request.headers.get("content-type", "").startswith("application/json")
        idempotency = request.headers.get("idempotency-key")
        if idempotency is not None and not 1 <= len(idempotency) <= 256:
            raise _Refused(400, "invalid_idempotency_key", "The key must be between 1-256 chars.")
        if idempotency is not None and self.is_busy:
            raise _Refused(
                409,
                "concurrent_idempotent_requests",
                "Same idempotency key used while original request is in progress.",
            )
        self._require_sendable(request.body)
        canonical = json.dumps(request.body, sort_keys=True).encode()
        known = self._answered.get(idempotency) if idempotency is not None else None
        if known is not None and known[0] != canonical:
            raise _Refused(
                409, "invalid_idempotent_request", "Same idempotency key used with a different request payload."
            )
        if known is not None:
            return Reply(200, {"id": known[1]})
        mail = Mail(str(uuid4()), idempotency, request.body)
        self.mails.append(mail)
        if idempotency is not None:
            self._answered[idempotency] = (canonical, mail.id)
        return Reply(200, {"id": mail.id})

    def _require_sendable(self, body: dict[str, Any]) -> None:
        missing = [name for name in ("from", "to", "subject") if not body.get(name)]
        if missing or not (body.get("html") or body.get("text")):
            raise _Refused(422, "missing_required_field", f"Missing `{(missing or ['html'])[0]}` field.")
        if set(body) - _FIELDS:
            raise _Refused(422, "validation_error", f"Unknown fields: {sorted(set(body) - _FIELDS)}")
        sender = _MAILBOX.fullmatch(body["from"])
        recipients = [body["to"]] if isinstance(body["to"], str) else body["to"]
        for name, mailbox in (("from", sender), *(("to", _MAILBOX.fullmatch(each)) for each in recipients)):
            if mailbox is None:
                raise _Refused(
                    422, "validation_error", f"Invalid `{name}` field. The email address needs to follow the format."
                )
        assert sender is not None
        if len(recipients) > 50:
            raise _Refused(422, "validation_error", "The `to` field has more than 50 recipients.")
        if sender[1] != _TEST_DOMAIN and self.statuses.get(sender[1]) != "verified":
            raise _Refused(403, "validation_error", f"The {sender[1]} domain is not verified.")
