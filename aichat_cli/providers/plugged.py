"""Providers that other packages add: what one is made of, which models it offers, and its calls, kept from breaking ours."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from decimal import Decimal
from functools import cache
from typing import Literal, TypeVar

from aichat_cli.config import plugins
from aichat_cli.config.plugins import PROVIDERS, Plugin
from aichat_cli.core.errors import AichatError, BadResponse, ConfigError, ProviderError
from aichat_cli.core.events import Finished, Notice, ProviderEvent, ReasoningDelta, TextDelta, Usage
from aichat_cli.core.models import Model
from aichat_cli.core.money import TokenUsage
from aichat_cli.core.struct import Struct
from aichat_cli.providers.base import ChatRequest, Provider, Timeouts
from aichat_cli.providers.pricing import PRICE_FIELDS, price_from

_T = TypeVar("_T")


class OfferedModel(Struct, frozen=True):
    """A model of another package's provider.

    Prices are US dollars per million tokens: of input and output both, or none, where nobody knows what it costs.

    Attributes:
        name: without the provider, which stands in front of it where it is asked for.
        reads_images, reads_pdf, reads_audio: whether it takes such files; None where unknown.
    """

    name: str
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    input_usd_per_mtok: Decimal | float | str | None = None
    output_usd_per_mtok: Decimal | float | str | None = None
    cached_usd_per_mtok: Decimal | float | str | None = None
    cache_write_usd_per_mtok: Decimal | float | str | None = None
    reasoning_usd_per_mtok: Decimal | float | str | None = None
    free: bool = False
    takes_sampling: bool = True
    reads_images: bool | None = None
    reads_pdf: bool | None = None
    reads_audio: bool | None = None


class ProviderPlugin(Struct, frozen=True):
    """What an entry point of the group `aichat.providers` names.

    Attributes:
        open: makes a provider; each is used by one thread at a time.
        models: those that listings show; any other name is passed on, and its price is not known.
        key: whether it is given the key that `aichat keys set NAME` keeps.
    """

    open: Callable[[], Provider]
    models: tuple[OfferedModel, ...] = ()
    key: Literal["none", "optional", "required"] = "none"


def model_at(name: str) -> Model | None:
    """The model that `provider/model` stands for, None where no package adds that provider.

    Raises:
        ConfigError: the package is broken, or two add it.
    """
    prefix, _, rest = name.partition("/")
    plugin = plugins.find(PROVIDERS, prefix) if rest else None
    if plugin is None:
        return None
    offer = _offer(plugin)
    offered = next((each for each in offer.models if each.name == rest), OfferedModel(rest))
    return Model(
        name=name,
        wire_name=rest,
        provider=prefix,
        wire="plugin",
        key_name=None if offer.key == "none" else prefix,
        key_required=offer.key == "required",
        context_tokens=offered.context_tokens,
        max_output_tokens=offered.max_output_tokens,
        price=price_from(name, {field: getattr(offered, field) for field in (*PRICE_FIELDS, "free")}),
        takes_sampling=offered.takes_sampling,
        reads_images=offered.reads_images,
        reads_pdf=offered.reads_pdf,
        reads_audio=offered.reads_audio,
    )


def model_names() -> list[str]:
    """The models that other packages offer; their providers are loaded for it, and `problems` tells of those that fail."""
    return _offered()[0]


def problems() -> list[AichatError]:
    """Why the models of a provider are not in a listing."""
    return _offered()[1]


def opened(provider: str) -> Provider:
    """A provider that another package adds, by its name; for any number of threads.

    Raises:
        ConfigError: there is none, or it is broken.
    """
    plugin = plugins.find(PROVIDERS, provider)
    if plugin is None:
        raise ConfigError(f'No package adds a provider "{provider}".', hint="Run: aichat doctor")
    return _Plugged(plugin, _offer(plugin).open)


@cache
def _offered() -> tuple[list[str], list[AichatError]]:
    found: list[str] = []
    failures: list[AichatError] = []
    for name in plugins.names(PROVIDERS):
        try:
            plugin = plugins.find(PROVIDERS, name)
            if plugin is not None:
                found += [f"{name}/{offered.name}" for offered in _offer(plugin).models]
        except AichatError as error:
            failures.append(error)
    return found, failures


def _offer(plugin: Plugin) -> ProviderPlugin:
    loaded = plugins.load(plugin)
    if not isinstance(loaded, ProviderPlugin):
        raise plugins.wrong(plugin, "ProviderPlugin", loaded)
    for offered in loaded.models:
        if not isinstance(offered, OfferedModel):
            raise plugins.wrong(plugin, "list of OfferedModel", offered)
    return loaded


class _Plugged:
    """A provider of another package: each thread has an instance of its own, and whatever one raises or gives is checked."""

    def __init__(self, plugin: Plugin, open_one: Callable[[], Provider]) -> None:
        self._plugin = plugin
        self._open_one = open_one
        self._idle: list[Provider] = []
        self._lock = threading.Lock()

    def stream(self, request: ChatRequest) -> Iterator[ProviderEvent]:
        """As `base.Provider.stream`."""
        from aichat_cli.providers.wire import broken_after_content

        return broken_after_content(self._answer(request))

    def warm(self, request_model: Model, timeouts: Timeouts) -> None:
        """Have an instance warm itself; failures are silent."""
        with suppress(Exception):
            instance = self._taken()
            with plugins.failing(self._plugin):
                instance.warm(request_model, timeouts)
            self._keep(instance)

    def close(self) -> None:
        """Close the instances that are not at work."""
        with self._lock:
            idle, self._idle = self._idle, []
        for instance in idle:
            with suppress(Exception), plugins.failing(self._plugin):
                instance.close()

    def _answer(self, request: ChatRequest) -> Generator[ProviderEvent, None, None]:
        instance = self._taken()
        events: Iterator[ProviderEvent] | None = None
        is_finished = False
        try:
            events = self._called(lambda: iter(instance.stream(request)))
            ended = object()
            while not is_finished:
                event = self._called(lambda: next(events, ended))
                if event is ended:
                    raise BadResponse(f"{self._plugin.title} ended its answer without Finished.")
                checked = self._checked(event)
                is_finished = isinstance(checked, Finished)
                yield checked
        finally:
            with suppress(Exception), plugins.failing(self._plugin):
                getattr(events, "close", lambda: None)()
                if not is_finished:
                    instance.close()
            if is_finished:
                self._keep(instance)

    def _called(self, call: Callable[[], _T]) -> _T:
        try:
            with plugins.failing(self._plugin):
                return call()
        except ConfigError as exc:
            raise ProviderError(exc.message, hint=exc.hint) from None

    def _checked(self, event: object) -> ProviderEvent:
        """An event that is what it says."""
        if isinstance(event, TextDelta | ReasoningDelta | Notice) and isinstance(event.text, str):
            return event if event.text.isascii() else type(event)(event.text.encode("utf-8", "replace").decode())
        if isinstance(event, Usage) and isinstance(event.tokens, TokenUsage):
            counts = (getattr(event.tokens, name) for name in TokenUsage.__struct_fields__ if name != "raw")
            if all(isinstance(count, int) and count >= 0 for count in counts):
                return event
        if isinstance(event, Finished) and isinstance(event.reason, str):
            return event
        raise BadResponse(f"{self._plugin.title} gave no event, but {type(event).__name__}.")

    def _taken(self) -> Provider:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._called(self._open_one)

    def _keep(self, instance: Provider) -> None:
        with self._lock:
            self._idle.append(instance)
