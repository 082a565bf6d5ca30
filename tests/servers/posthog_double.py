"""A loopback double of what PostHog takes events with: POST /batch/ and POST /flags/, spoken to by its own client too.

    with PostHogDouble() as posthog:
        Client(posthog.key, host=posthog.url, sync_mode=True).capture("it happened", distinct_id="somebody")
        posthog.events

As PostHog does, it looks at a key only for its shape where events come in, and drops those of no project without a word; one
asked for flags says that there is no such project. Events of the same uuid, name, day and person are one.
"""

from __future__ import annotations

import gzip
import json
import re
from datetime import datetime
from typing import Any
from uuid import UUID

from tests.servers.scripted import RecordedRequest
from tests.servers.service import Reply, Service

KEY = "phc_5rTq81LmZxVw2BnJd7Kc9HsYf3Ga6EuP"
_MOST_KEY_CHARS = 64
_EVENT_FIELDS = {"uuid", "event", "distinct_id", "timestamp", "properties", "type", "context"}


class _Refused(Exception):
    """An answer in words, as PostHog's refusals of events are."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class PostHogDouble(Service):
    """One project. `arrived` holds every event as it came, `events` each once."""

    def __init__(self, key: str = KEY) -> None:
        super().__init__()
        self.key = key
        self.arrived: list[dict[str, Any]] = []

    @property
    def events(self) -> list[dict[str, Any]]:
        """What was counted: the last of those that are one."""
        kept = {
            (each["uuid"], each["event"], each["timestamp"][:10], each["distinct_id"]): each for each in self.arrived
        }
        return list(kept.values())

    def clear(self) -> None:
        """Be as new."""
        super().clear()
        self.arrived.clear()

    def reply(self, request: RecordedRequest) -> Reply:
        """Take events, or tell flags."""
        try:
            body = _read(request)
            path, _, query = request.path.partition("?")
            if request.method != "POST" or path.rstrip("/") not in {"/batch", "/flags"}:
                raise _Refused(404, "not found")
            key = _shaped(body.get("api_key", body.get("token")))
            if path.startswith("/flags"):
                return self._flags(key, body, query)
            events = body.get("batch")
            if not isinstance(events, list) or not events:
                raise _Refused(400, "request holds no event")
            checked = [_checked(each) for each in events]
        except _Refused as exc:
            return Reply(exc.status, {"type": "validation_error", "detail": exc.message})
        if key == self.key:
            self.arrived += checked
        return Reply(200, {"status": "Ok"})

    def _flags(self, key: str, body: dict[str, Any], query: str) -> Reply:
        if key != self.key:
            raise _Refused(
                401, "The provided API key is invalid or has expired. Please check your API key and try again."
            )
        if not body.get("distinct_id"):
            raise _Refused(400, "The distinct_id field is missing from the request.")
        assert re.search(r"(^|&)v=\d", query), query
        return Reply(200, {"errorsWhileComputingFlags": False, "flags": {}, "requestId": str(UUID(int=1))})


def _read(request: RecordedRequest) -> dict[str, Any]:
    raw = request.raw_body
    if request.headers.get("content-encoding") == "gzip":
        raw = gzip.decompress(raw)
    assert request.headers.get("content-type", "").startswith("application/json")
    try:
        body = json.loads(raw)
    except ValueError as exc:
        raise _Refused(400, f"failed to parse request: {exc}") from exc
    if not isinstance(body, dict):
        raise _Refused(400, "failed to parse request")
    return body


def _shaped(key: object) -> str:
    if key is None:
        raise _Refused(401, "event submitted without an api_key")
    text = str(key).strip()
    reasons = {
        "empty": not text,
        "too_long": len(text) > _MOST_KEY_CHARS,
        "not_ascii": not text.isascii(),
        "personal_api_key": text.startswith("phx_"),
    }
    for reason, applies in reasons.items():
        if applies:
            raise _Refused(401, f"API key is not valid: {reason}")
    return text


def _checked(event: object) -> dict[str, Any]:
    """An event that PostHog takes; stricter than it, as to fields that it would pass over."""
    if not isinstance(event, dict) or not event.get("event"):
        raise _Refused(400, "event submitted with an empty event name")
    if not event.get("distinct_id"):
        raise _Refused(400, "event submitted without a distinct_id")
    if set(event) - _EVENT_FIELDS:
        raise _Refused(400, f"unknown fields: {sorted(set(event) - _EVENT_FIELDS)}")
    try:
        UUID(event["uuid"])
        moment = datetime.fromisoformat(event["timestamp"])
    except (KeyError, ValueError, TypeError) as exc:
        raise _Refused(400, "an event needs a uuid and a timestamp") from exc
    if moment.tzinfo is None or not isinstance(event.get("properties"), dict):
        raise _Refused(400, "a timestamp needs a zone, and an event properties")
    return event
