"""Helicone between us and a provider: where calls go then, with which headers, and whether Helicone can be used.

A provider is asked through Helicone at its own address only: an address that somebody set for it is where its calls go. The
provider's key goes to Helicone with every call, which is what a proxy is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from aichat_cli.config.secrets import KeyStore
from aichat_cli.config.settings import Settings
from aichat_cli.core.errors import ConfigError
from aichat_cli.core.models import Model
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import Struct, replace, to_json
from aichat_cli.providers.base import Timeouts
from aichat_cli.providers.endpoints import (
    ANTHROPIC,
    DIRECT,
    HELICONE,
    OPENAI,
    Endpoint,
    key_missing,
    sendable,
    url_from_environment,
)
from aichat_cli.providers.failures import ERROR_BODY_BYTES, retry_after, said_in
from aichat_cli.providers.helicone_refusals import NAME, refused
from aichat_cli.providers.http import HttpTransport

if TYPE_CHECKING:
    from aichat_cli.providers.base import ChatRequest, EmbeddingRequest

_HOSTS = {"openai": "https://oai.helicone.ai/v1", "anthropic": "https://anthropic.helicone.ai"}
_GATEWAY = "https://gateway.helicone.ai"
"""Passes calls on to the address in their `Helicone-Target-URL`."""
_API = "https://api.helicone.ai"
_API_EU = "https://eu.api.helicone.ai"
_EU_KEY = "-helicone-eu-"
_WRITE_ONLY_KEY = "pk-"
_OWN_PATHS = {"openai": "/oai/v1", "anthropic": "/anthropic"}
"""A Helicone of one's own passes on to no others."""
_BRIEF = Timeouts(connect=2.0, first_byte=5.0, idle=5.0)


AnyRequest = TypeVar("AnyRequest", "ChatRequest", "EmbeddingRequest")


class Helicone(Struct, frozen=True):
    """What is set of it.

    Attributes:
        providers: those to ask through it.
        url: a Helicone of one's own, empty for its makers'.
        user: whom calls are filed under, where a call does not say whose it is; empty for nobody.
        session: whether calls of one conversation are filed together.
        content: whether it may keep prompts and answers.
        cache_seconds: how long it keeps an answer to give it again, 0 for not at all.
        find_key: looks for the key for it, None where there is none; raises ConfigError where it cannot be read.
    """

    providers: tuple[str, ...]
    url: str = ""
    user: str = ""
    session: bool = True
    content: bool = False
    cache_seconds: int = 0
    find_key: Callable[[], Secret | None] = lambda: None

    def is_for(self, model: Model) -> bool:
        """Whether calls to the model go through it."""
        endpoint = DIRECT.get(model.provider)
        return (
            endpoint is not None
            and model.provider in self.providers
            and model.wire == endpoint.wire
            and model.base_url == endpoint.base_url
        )

    def keys_for(self, model: Model, key: Secret | None) -> Secret | None:
        """The provider's key, with Helicone's beside it where the model is asked through Helicone.

        Raises:
            KeyMissing, ConfigError: there is none for Helicone, or it cannot be read.
        """
        if key is None or not self.is_for(model):
            return key
        return Secret(key.reveal(), key.source, beside=self.required_key())

    def required_key(self) -> Secret:
        """The key for it; raises as `keys_for` does."""
        key = self.find_key()
        if key is None:
            asked = ", ".join(self.providers)
            raise key_missing(f'No API key for "{HELICONE}", through which {asked} is to be asked.', HELICONE)
        return key

    def placed(self, model: Model) -> Model:
        """The model where it is asked: through Helicone, or as it was."""
        if not self.is_for(model):
            return model
        return replace(model, base_url=self._base_url(DIRECT[model.provider]), via=NAME)

    def routed(self, request: AnyRequest) -> AnyRequest:
        """The call with its model `placed`; as it was where its key has none of Helicone's beside it."""
        if request.key is None or request.key.beside is None:
            return request
        return replace(request, model=self.placed(request.model))

    def headers(self, request: ChatRequest | EmbeddingRequest, conversation_id: str | None = None) -> dict[str, str]:
        """What Helicone is told with a call that is routed."""
        if request.key is None or request.key.beside is None or request.model.via is None:
            return {}
        told = {"Helicone-Auth": f"Bearer {sendable(request.key.beside, HELICONE)}"}
        if not self.url and request.model.provider not in _HOSTS:
            told["Helicone-Target-URL"] = _origin(DIRECT[request.model.provider].base_url)
        if request.request_id:
            told["Helicone-Request-Id"] = request.request_id
        if user := request.user_id or self.user:
            told["Helicone-User-Id"] = user
        if conversation_id and self.session:
            told |= {
                "Helicone-Session-Id": conversation_id,
                "Helicone-Session-Name": "aichat",
                "Helicone-Session-Path": "/chat",
            }
        if not self.content:
            told |= {"Helicone-Omit-Request": "true", "Helicone-Omit-Response": "true"}
        return told | self._cache_headers(request.user_id)

    def _cache_headers(self, user_id: str | None) -> dict[str, str]:
        if not self.cache_seconds:
            return {}
        told = {"Helicone-Cache-Enabled": "true", "Cache-Control": f"max-age={self.cache_seconds}"}
        # What one user of a gateway was answered is nothing another is given.
        return told | ({"Helicone-Cache-Seed": user_id} if user_id else {})

    def _base_url(self, endpoint: Endpoint) -> str:
        if self.url:
            return self.url + _OWN_PATHS[endpoint.provider]
        return _HOSTS.get(endpoint.provider) or _GATEWAY + urlsplit(endpoint.base_url).path

    def api_url(self, key: Secret) -> str:
        """Where its own API is, which no call to a provider goes to; an account's region is in its key."""
        if self.url:
            return self.url.removesuffix("/gateway").removesuffix("/v1")
        return _API_EU if _EU_KEY in key.reveal() else _API


def configured(settings: Settings, keys: KeyStore) -> Helicone:
    """What is set; raises ConfigError where that cannot be used."""
    providers, url = settings.names("helicone.providers"), settings.text("helicone.url")
    if url and (others := [name for name in providers if name not in _OWN_PATHS]):
        raise ConfigError(
            f"helicone.providers names {', '.join(others)}, but a Helicone of your own (helicone.url) passes on to"
            f" {OPENAI.provider} and {ANTHROPIC.provider} only.",
            hint="Run: aichat config set helicone.providers openai,anthropic",
        )
    return Helicone(
        providers,
        url,
        settings.text("helicone.user"),
        settings.flag("helicone.session"),
        settings.flag("helicone.content"),
        int(settings.number("helicone.cache_seconds")),
        lambda: keys.find(HELICONE, by_flag=False),
    )


def check(
    settings: Settings, keys: KeyStore, environ: Mapping[str, str] = os.environ, timeouts: Timeouts = _BRIEF
) -> str:
    """Ask Helicone's own API, which costs nothing and leaves nothing, and say in one line what was found.

    Raises:
        AichatError: it is not set up, cannot be reached, or refuses the key.
    """
    if not settings.names("helicone.providers"):
        raise ConfigError("Helicone is off.", hint="Run: aichat config set helicone.providers openai")
    helicone = configured(settings, keys)
    key = helicone.required_key()
    url = helicone.api_url(key)
    found = [f"{url} {_asked(url, key, timeouts)}", f"asked: {', '.join(helicone.providers)}"]
    elsewhere = [name for name in helicone.providers if url_from_environment(DIRECT[name], environ)]
    if elsewhere:
        found.append(f"past it, at the address you set: {', '.join(elsewhere)}")
    return "; ".join(found)


def _asked(url: str, key: Secret, timeouts: Timeouts) -> str:
    """What became of a request that nothing is read of but its status."""
    revealed = sendable(key, HELICONE)
    headers = {"Authorization": f"Bearer {revealed}", "Accept": "application/json"}
    body = to_json({"filter": "all", "limit": 1, "offset": 0})
    with closing(HttpTransport()) as transport:
        answer = transport.post_json(f"{url}/v1/request/query-clickhouse", headers, body, timeouts)
        with closing(answer):
            if answer.status < 400:
                return "accepts the key"
            if answer.status in (401, 403) and revealed.startswith(_WRITE_ONLY_KEY):
                return "is reached; a key that may only write is first tried by a call"
            said = said_in(answer.read_limited(ERROR_BODY_BYTES), key)
            raise refused(answer.status, said, retry_after(answer.headers.get))


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
