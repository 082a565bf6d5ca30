"""Events for PostHog: one for each turn, over POST /batch/, of the properties of an allowlist and nothing else.

No property holds a text that a user, a model or a file could have written: each is a number, a yes or no, or a word out of a
list that ships with aichat. Whose events they are is a random id, which names nobody.

An event is known by its uuid, name, day and id of the install, which are the same whenever it is sent: one that arrives twice
counts once. So no `sent_at` goes with it, by which PostHog would move its time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from aichat_cli import __version__
from aichat_cli.chat.observing import FinishedTurn
from aichat_cli.core import errors
from aichat_cli.core.errors import AichatError, BadResponse, ConfigError, StorageError
from aichat_cli.core.models import GATEWAY
from aichat_cli.core.money import usd_number
from aichat_cli.core.struct import from_json, to_json
from aichat_cli.integrations.client import Answer, ServiceClient
from aichat_cli.integrations.observer import TIMEOUTS, Delivery, Observer, Surroundings
from aichat_cli.providers import catalog, shipped
from aichat_cli.providers.endpoints import DIRECT, endpoint_of
from aichat_cli.providers.pullable import CHAT_MODELS
from aichat_cli.storage import deliveries as kept

KEY_NAME = "posthog"
EVENT = "turn finished"
"""An object and what happened to it, as PostHog names events."""
CUSTOM = "custom"
"""What every name is called that does not ship with aichat."""
OTHER = "other"

_PERSONAL_KEY = "phx_"
_HEADERS: Mapping[str, str] = {}


def observer(surroundings: Surroundings) -> Observer:
    """PostHog, as it is set."""
    return PostHog(surroundings)


class PostHog(Observer):
    """Counts turns."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._url = surroundings.settings.text("posthog.url").rstrip("/")
        self._client: ServiceClient | None = None
        self._key = b""
        self._install = ""
        self._run = str(uuid4())

    def deliveries(self, turn: FinishedTurn) -> Sequence[Delivery]:
        """The event of a turn; none of one that the user did not want kept."""
        if not turn.is_kept:
            return []
        return [Delivery(turn.id, to_json(event_of(turn, self._install_of(turn))))]

    def warm(self) -> None:
        """Find the key, and open the connection."""
        self._opened().warm()

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Send events. The key is a part of the request, and joins them here."""
        client = self._opened()
        body = b'{"api_key":' + self._key + b',"batch":[' + b",".join(each.payload for each in deliveries) + b"]}"
        _understood(client.post("/batch/", _HEADERS, body), "status")

    def check(self) -> str:
        """Whether PostHog has a project with this key: asked for its flags, of which none is evaluated. Counts no event.

        Where events go, keys are only looked at for their shape; one of no project is accepted, and its events are dropped.
        """
        client = self._opened()
        asked = to_json({"distinct_id": self._run, "disable_flags": True, "geoip_disable": True})
        body = b'{"api_key":' + self._key + b"," + asked[1:]
        _understood(client.post("/flags/?v=2", _HEADERS, body), None)
        return "events go to the project of the key, without content"

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()

    def _opened(self) -> ServiceClient:
        if self._client is None:
            key = self._surroundings.key(KEY_NAME)
            if key.reveal().startswith(_PERSONAL_KEY):
                raise ConfigError(
                    f"The key from {key.source} is a personal key of PostHog (phx_); events take that of a project (phc_).",
                    hint=f"Run: aichat keys set {KEY_NAME}",
                )
            self._key = to_json(key.reveal())
            self._client = ServiceClient("PostHog", self._url, key, KEY_NAME, TIMEOUTS)
        return self._client

    def _install_of(self, turn: FinishedTurn) -> str:
        """The random id of this install; of this run alone where there is no database to keep one in."""
        if not self._install:
            try:
                is_kept = turn.books is not None and turn.books.is_persistent
                self._install = kept.install_id(turn.books) if is_kept and turn.books is not None else self._run
            except StorageError:
                return self._run
        return self._install


def event_of(turn: FinishedTurn, install: str) -> dict[str, Any]:
    """A turn as PostHog is told of it."""
    return {
        "uuid": str(uuid5(_namespace(install), turn.id)),
        "event": EVENT,
        "distinct_id": install,
        "timestamp": datetime.fromtimestamp(turn.ended_at, UTC).isoformat(timespec="milliseconds"),
        "properties": {name: value(turn) for name, value in PROPERTIES.items()} | dict(PROCESSING),
    }


def _namespace(install: str) -> UUID:
    return uuid5(NAMESPACE_URL, f"aichat:{install}")


def _provider(turn: FinishedTurn) -> str:
    """The provider's name if it ships with aichat, or is one of litellm's map."""
    name = turn.provider
    is_known = name in DIRECT or name in {"local", GATEWAY} or (name != "" and catalog.installed().has_provider(name))
    return name if is_known else CUSTOM


def _model(turn: FinishedTurn) -> str:
    """The model's name if it ships with aichat, alone or behind a provider that does."""
    name = turn.model
    if name in CHAT_MODELS or name in shipped.MODELS or _is_listed(name):
        return name
    prefix, _, rest = name.partition("/")
    endpoint = endpoint_of(prefix)
    if endpoint is not None:
        is_known = _is_listed(f"{endpoint.catalog_provider}/{rest}") or _is_listed(rest)
    else:
        is_known = prefix == GATEWAY and (rest in shipped.MODELS or _is_listed(rest))
    return name if is_known else CUSTOM


def _is_listed(name: str) -> bool:
    entry = catalog.installed().lookup(name)
    return entry is not None and entry.mode in catalog.CHAT_MODES


def _error(turn: FinishedTurn) -> str | None:
    return turn.error if turn.error is None or turn.error in _codes() else OTHER


def _tokens(count: Callable[[Any], int]) -> Callable[[FinishedTurn], int | None]:
    return lambda turn: None if turn.tokens is None else count(turn.tokens)


def _milliseconds(began: float, ended: float | None) -> int | None:
    return None if ended is None else max(round((ended - began) * 1000), 0)


PROPERTIES: Mapping[str, Callable[[FinishedTurn], Any]] = {
    "provider": _provider,
    "model": _model,
    "type": lambda turn: turn.type,
    "status": lambda turn: turn.status,
    "error": _error,
    "streamed": lambda turn: turn.is_streamed,
    "documents_used": lambda turn: any(span.kind == "retrieval" for span in turn.spans),
    "attempts": lambda turn: sum(span.kind == "model" for span in turn.spans),
    "duration_ms": lambda turn: _milliseconds(turn.started_at, turn.ended_at),
    "first_token_ms": lambda turn: _milliseconds(turn.started_at, turn.first_at),
    "input_tokens": _tokens(lambda tokens: tokens.input_tokens),
    "output_tokens": _tokens(lambda tokens: tokens.output_tokens),
    "cost_usd": lambda turn: usd_number(turn.cost_nano),
    "aichat_version": lambda _: __version__,
    "python_version": lambda _: f"{sys.version_info.major}.{sys.version_info.minor}",
    "platform": lambda _: sys.platform,
}
"""All that is told of a turn; docs/reference/telemetry.md lists the same."""

PROCESSING: Mapping[str, Any] = {
    "$process_person_profile": False,
    "$geoip_disable": True,
    # Present but empty: PostHog adds the address that a request came from only where this is absent.
    "$ip": None,
    "$lib": "aichat",
}
"""How PostHog is to treat an event: no profile of a person, no place, no address."""


@lru_cache(maxsize=1)
def _codes() -> frozenset[str]:
    """The codes of all errors that ship with aichat."""
    known = (each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, AichatError))
    return frozenset(each.code for each in known)


def _understood(answer: Answer, field: str | None) -> None:
    """What answers 200 may be a proxy, or the page of a hotel."""
    try:
        said = from_json(answer.body)
    except ValueError:
        said = None
    if not isinstance(said, dict) or (field is not None and field not in said):
        raise BadResponse("PostHog: the answer is not one of PostHog's. Is posthog.url its address?")
