"""From what a user types to a model: aliases, custom endpoints, the embedded model, providers, and what they can.

Nothing is looked up over the network, so a name that looks right is passed on and the provider has the last word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aichat_cli.core.errors import ConfigError, UnknownModel
from aichat_cli.core.models import GATEWAY, Model
from aichat_cli.core.money import FREE
from aichat_cli.core.struct import replace
from aichat_cli.providers import catalog as catalogs
from aichat_cli.providers import shipped
from aichat_cli.providers.catalog import CHAT_MODES, EMBEDDING_MODE, Catalog, CatalogEntry
from aichat_cli.providers.custom import CustomModel
from aichat_cli.providers.endpoints import (
    ANTHROPIC,
    BY_CATALOG_PROVIDER,
    DIRECT,
    OPENAI,
    Endpoint,
    endpoint_of,
    key_name_of,
    url_from_environment,
)
from aichat_cli.providers.pricing import price_from
from aichat_cli.providers.pullable import CHAT_MODELS, PULLABLE

if TYPE_CHECKING:
    from aichat_cli.providers.gateway import Listing

_LOOKS_LIKE = {
    "openai": re.compile(r"(gpt-|chatgpt-|o\d(-|$)|ft:(gpt|o\d))[^/]*$"),
    "anthropic": re.compile(r"claude-[^/]*$"),
}
_OPENAI_REASONING = re.compile(r"(ft:)?(o\d(-|$)|gpt-([5-9]|\d\d))")
_CLAUDE_WITHOUT_SAMPLING = re.compile(r"claude-(opus-4-[7-9]|[a-z]+-([5-9]|\d\d)(-|$))")
_OPENAI_CHAT_VARIANT = re.compile(r"gpt-5-chat")
_DATED = re.compile(r"-(\d{8}|\d{4}-\d\d-\d\d|\d{4}|preview)$")


class Registry:
    """All models there are for one user: theirs, ours, and those of litellm's map."""

    def __init__(
        self,
        custom: Mapping[str, CustomModel],
        aliases: Mapping[str, str],
        environ: Mapping[str, str],
        model_dir: Path,
        *,
        prices: Mapping[str, Mapping[str, Any]] | None = None,
        catalog: Catalog | None = None,
        gateway: Callable[[], Listing | None] = lambda: None,
    ) -> None:
        self._gateway = gateway
        self._prices = prices or {}
        self._custom = custom
        self._aliases = aliases
        self._environ = environ
        self._model_dir = model_dir
        self._catalog = catalog or catalogs.installed()

    @property
    def shipped_aliases(self) -> Mapping[str, str]:
        """Short names that come with aichat, and what each stands for."""
        return shipped.ALIASES

    def resolve(self, typed: str) -> Model:
        """The model a name stands for. Resolving the result's name gives the same model again.

        Raises:
            UnknownModel: nothing answers to the name; names near ones.
            ConfigError: an alias leads back to itself, or a variable that should hold a URL does not.
        """
        return self._priced(self._resolved(typed.strip()), is_embedding=False)

    def _resolved(self, typed: str) -> Model:
        name = self._without_aliases(typed)
        if own := self._own(name):
            return own
        if classic := shipped.MODELS.get(name.removeprefix("anthropic/")):
            return self._at(ANTHROPIC, classic)
        found = self._embedded(name) or (self._prefixed(name) if "/" in name else self._bare(name))
        if found is None:
            from aichat_cli.providers.plugged import model_at

            found = model_at(name) or self._own_endpoint(name)
        return found or self._unknown(name)

    def embedding_model(self, typed: str) -> Model:
        """The embedding model a name stands for; a provider's prefix is taken at its word, as in `resolve`.

        Raises:
            UnknownModel: nothing answers to the name; names near ones.
            ConfigError: as `resolve` does.
        """
        return self._priced(self._resolved_embedding(typed.strip()), is_embedding=True)

    def _resolved_embedding(self, typed: str) -> Model:
        name = self._without_aliases(typed)
        if own := self._own(name):
            return own
        prefix, _, rest = name.partition("/")
        endpoint = endpoint_of(prefix) if rest else None
        if endpoint and endpoint.wire == "openai":
            return self._embedding_at(endpoint, rest)
        entry = self._catalog.lookup(name)
        if entry and entry.mode == EMBEDDING_MODE:
            endpoint = BY_CATALOG_PROVIDER.get(entry.provider)
            return (
                self._embedding_at(endpoint, name) if endpoint else self._through_litellm(_litellm_name(entry), entry)
            )
        if rest and entry is None and endpoint is None and self._catalog.has_provider(prefix):
            return self._through_litellm(name, self._embedding_entry(rest))
        if name and entry is None and not rest and url_from_environment(OPENAI, self._environ):
            return replace(self._embedding_at(OPENAI, name), name=name)
        return self._unknown_embedding(name)

    def default_model(self, configured: str | None, has_key: Callable[[str], bool]) -> Model:
        """The model to use when none was named: the setting, the gateway's, the first provider with a key, or ours."""
        if named := configured or self._default_at_gateway():
            return self.resolve(named)
        if url_from_environment(OPENAI, self._environ) or has_key("openai"):
            return self.resolve(shipped.DEFAULT_OPENAI)
        if url_from_environment(ANTHROPIC, self._environ) or has_key("anthropic"):
            return self.resolve(shipped.DEFAULT_ANTHROPIC)
        return self.resolve(shipped.DEFAULT_LOCAL)

    def listing(self, *, all: bool) -> list[Model]:  # noqa: A002 - the flag's name
        """Models to choose from: the user's own, their gateway's, ours, those that other packages add, then those of OpenAI
        and Anthropic that are current. With `all`, every model of litellm's map too.
        """
        from aichat_cli.providers.plugged import model_names

        hosted = listing.names() if (listing := self._gateway()) else []
        names = dict.fromkeys([*self._custom, *self._aliases, *hosted, *shipped.NAMES, *self._model_files()])
        names.update(dict.fromkeys(model_names()))
        names.update(dict.fromkeys(entry.name for entry in self._catalog.entries() if all or _is_current(entry)))
        return _each(names, self.resolve)

    def embedding_listing(self) -> list[Model]:
        """The embedding models of litellm's map."""
        return _each(self._catalog.names_of(EMBEDDING_MODE), self.embedding_model)

    def is_custom(self, name: str) -> bool:
        """Whether the user added this model themselves."""
        return name in self._custom

    def _priced(self, model: Model, *, is_embedding: bool) -> Model:
        """The model with the price that the user gave it, if they did."""
        given = self._prices.get(model.name)
        price = None if given is None else price_from(model.name, given, is_embedding=is_embedding)
        return model if price is None else replace(model, price=price)

    def _without_aliases(self, typed: str) -> str:
        name = typed
        seen: list[str] = []
        while name not in self._custom:
            target = self._aliases.get(name, name)
            if target == name:
                return shipped.ALIASES.get(name, name)
            seen.append(name)
            if target in seen:
                chain = " -> ".join([*seen, target])
                raise ConfigError(f"An alias leads back to itself: {chain}.", hint="Run: aichat models alias --help")
            name = target
        return name

    def _own(self, name: str) -> Model | None:
        """A model that the user added, or one of their gateway."""
        return self._custom[name].as_model() if name in self._custom else self._at_gateway(name)

    def _default_at_gateway(self) -> str | None:
        listing = self._gateway()
        return listing.model(listing.default).name if listing and listing.default else None

    def _at_gateway(self, name: str) -> Model | None:
        """`gateway/` and what the gateway calls it."""
        prefix, _, rest = name.partition("/")
        if prefix != GATEWAY:
            return None
        listing = self._gateway()
        if listing is None:
            raise UnknownModel(
                f'"{name}" is asked through a gateway, and you are logged in to none.', hint="Run: aichat login URL"
            )
        return listing.model(rest) if rest else None

    def _embedded(self, name: str) -> Model | None:
        """A pulled model, or a GGUF file: a path, or `local/` and the name of one in the models folder."""
        plain = name.removeprefix("local/")
        if plain in CHAT_MODELS:
            return shipped.local_model(plain, plain)
        if plain.lower().endswith(".gguf"):
            path = Path(plain).expanduser().absolute()
            return shipped.local_model(str(path), str(path))
        if plain == name:
            return None
        return shipped.local_model(name, str(self._model_dir / f"{plain}.gguf"))

    def _model_files(self) -> Iterator[str]:
        pulled = {file.name for pullable in PULLABLE.values() for file in pullable.files}
        for path in sorted(self._model_dir.glob("*.gguf")):
            if path.name not in pulled:
                yield f"local/{path.stem}"

    def _prefixed(self, name: str) -> Model | None:
        """`provider/model`."""
        prefix, rest = name.split("/", 1)
        if prefix == "litellm" and rest:
            return self._through_litellm(rest, self._catalog.lookup(rest), name=name)
        endpoint = endpoint_of(prefix)
        if endpoint and rest:
            return self._direct(endpoint, rest)
        entry = self._catalog.lookup(name) or self._catalog.lookup(rest)
        if entry and entry.mode in CHAT_MODES and (entry.name == name or _litellm_name(entry) == name):
            return self._through_litellm(_litellm_name(entry), entry)
        return self._through_litellm(name, None) if rest and self._catalog.has_provider(prefix) else None

    def _bare(self, name: str) -> Model | None:
        entry = self._catalog.lookup(name)
        if entry and entry.mode in CHAT_MODES:
            endpoint = BY_CATALOG_PROVIDER.get(entry.provider)
            if endpoint:
                return self._direct(endpoint, name)
            better = self._catalog.lookup(f"gemini/{name}") if entry.provider.startswith("vertex_ai") else None
            return self._through_litellm(_litellm_name(better or entry), better or entry)
        if entry and entry.mode:
            raise UnknownModel(
                f'"{name}" is not a model to chat with but one for {entry.mode}.', hint="Run: aichat models list"
            )
        for provider, pattern in _LOOKS_LIKE.items():
            if pattern.match(name):
                return self._direct(DIRECT[provider], name)
        return None

    def _own_endpoint(self, name: str) -> Model | None:
        """Any name at all, as typed, where the user has an OpenAI-compatible endpoint of their own."""
        if not name or url_from_environment(OPENAI, self._environ) is None:
            return None
        return replace(self._direct(OPENAI, name), name=name)

    def _unknown(self, name: str) -> Model:
        import difflib

        names = [*self._custom, *self._aliases, *shipped.NAMES, *shipped.ALIASES]
        names += (entry.name for entry in self._catalog.entries())
        near = difflib.get_close_matches(name, dict.fromkeys(names), n=3, cutoff=0.75)
        meant = f" Did you mean {' or '.join(near)}?" if near else ""
        raise UnknownModel(f'No model "{name}".{meant}', hint="Run: aichat models list")

    def _embedding_at(self, endpoint: Endpoint, wire_name: str) -> Model:
        entry = self._entry_at(endpoint, wire_name)
        is_bare = endpoint is OPENAI and entry is not None and entry.name == wire_name
        model = Model(
            name=wire_name if is_bare else f"{endpoint.provider}/{wire_name}",
            wire_name=wire_name,
            provider=endpoint.provider,
            wire=endpoint.wire,
            price=FREE if endpoint.is_local and not wire_name.endswith("-cloud") else None,
        )
        return self._at(endpoint, _with_entry(model, entry))

    def _embedding_entry(self, name: str) -> CatalogEntry | None:
        entry = self._catalog.lookup(name)
        return entry if entry and entry.mode == EMBEDDING_MODE else None

    def _unknown_embedding(self, name: str) -> Model:
        import difflib

        known = self._catalog.names_of(EMBEDDING_MODE)
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
        meant = f" Did you mean {' or '.join(near)}?" if near else ""
        raise UnknownModel(
            f'No embedding model "{name}".{meant}',
            hint="Use wordllama, which needs no key, or one such as text-embedding-3-small",
        )

    def _direct(self, endpoint: Endpoint, wire_name: str) -> Model:
        entry = self._entry_at(endpoint, wire_name)
        name = wire_name if self._goes_bare(endpoint, wire_name, entry) else f"{endpoint.provider}/{wire_name}"
        own_url = url_from_environment(endpoint, self._environ)
        if endpoint is OPENAI and entry and entry.mode == "responses" and own_url is None:
            return self._through_litellm(f"openai/{wire_name}", entry, name=name)
        is_openai = endpoint is OPENAI and (own_url is None or entry is not None)
        model = Model(
            name=name,
            wire_name=wire_name,
            provider=endpoint.provider,
            wire=endpoint.wire,
            price=FREE if endpoint.is_local and not wire_name.endswith("-cloud") else None,
            takes_sampling=not _refuses_sampling(endpoint.provider, wire_name, entry),
            output_limit_field="max_completion_tokens" if is_openai else "max_tokens",
            reads_audio=False if endpoint.wire == "anthropic" else None,
        )
        return self._at(endpoint, _with_entry(model, entry))

    def _entry_at(self, endpoint: Endpoint, wire_name: str) -> CatalogEntry | None:
        """What the map knows of a model at this endpoint; some maps put the provider in front of the name."""
        prefixed = f"{endpoint.catalog_provider}/{wire_name}"
        order = (wire_name, prefixed) if endpoint in (OPENAI, ANTHROPIC) else (prefixed, wire_name)
        for name in order:
            entry = self._catalog.lookup(name)
            if entry and entry.provider == endpoint.catalog_provider:
                return entry
        return None

    def _goes_bare(self, endpoint: Endpoint, wire_name: str, entry: CatalogEntry | None) -> bool:
        """Whether the name alone, without its provider, resolves to this model."""
        is_shadowed = wire_name in self._custom or self._aliases.get(wire_name, wire_name) != wire_name
        if endpoint not in (OPENAI, ANTHROPIC) or is_shadowed:
            return False
        known = entry is not None and entry.name == wire_name and "/" not in wire_name
        return known or _LOOKS_LIKE[endpoint.provider].match(wire_name) is not None

    def _at(self, endpoint: Endpoint, model: Model) -> Model:
        """The model, served where the environment says, or where the endpoint usually is."""
        own_url = url_from_environment(endpoint, self._environ)
        return replace(
            model,
            base_url=own_url or endpoint.base_url,
            key_name=endpoint.key_name,
            key_required=endpoint.key_name is not None and own_url is None,
        )

    def _through_litellm(self, litellm_name: str, entry: CatalogEntry | None, *, name: str | None = None) -> Model:
        provider = litellm_name.split("/", 1)[0]
        endpoint = endpoint_of(provider)
        key_name = endpoint.key_name if endpoint else key_name_of(provider)
        own_url = url_from_environment(endpoint, self._environ) if endpoint else None
        return _with_entry(
            Model(
                name=name or litellm_name,
                wire_name=litellm_name,
                provider=endpoint.provider if endpoint else provider,
                wire="litellm",
                base_url=own_url,
                key_name=key_name,
                key_required=key_name is not None and own_url is None,
                takes_sampling=not _refuses_sampling(provider, litellm_name.rpartition("/")[2], entry),
            ),
            entry,
        )


def _each(names: Iterable[str], resolve: Callable[[str], Model]) -> list[Model]:
    """The models that these names lead to, each once; a name that leads nowhere is left out."""
    models: dict[str, Model] = {}
    for name in names:
        try:
            model = resolve(name)
        except (UnknownModel, ConfigError):
            continue
        models.setdefault(model.name, model)
    return list(models.values())


def _with_entry(model: Model, entry: CatalogEntry | None) -> Model:
    if entry is None:
        return model
    return replace(
        model,
        context_tokens=entry.context_tokens,
        max_output_tokens=entry.max_output_tokens,
        price=entry.price,
        dimensions=entry.dimensions,
        takes_sampling=model.takes_sampling and entry.takes_sampling,
        reads_images=entry.reads_images,
        reads_pdf=entry.reads_pdf,
        reads_audio=entry.reads_audio,
    )


def _refuses_sampling(provider: str, name: str, entry: CatalogEntry | None) -> bool:
    """Whether temperature and top_p are refused: by OpenAI's models while they reason, by Claude from 4.7 on."""
    if provider == "anthropic":
        return entry is None and _CLAUDE_WITHOUT_SAMPLING.match(name) is not None
    if provider not in {"openai", "azure"} or _OPENAI_CHAT_VARIANT.match(name):
        return False
    return entry.reasons_unasked if entry else _OPENAI_REASONING.match(name) is not None


def _litellm_name(entry: CatalogEntry) -> str:
    """The name litellm routes by: with its provider in front."""
    provider = entry.provider.split("-", 1)[0] if entry.provider.startswith("vertex_ai-") else entry.provider
    provider = "bedrock" if provider == "bedrock_converse" else provider
    return entry.name if entry.name.startswith(f"{provider}/") else f"{provider}/{entry.name}"


def _is_current(entry: CatalogEntry) -> bool:
    """Whether to show it without being asked for all: a model of the two main providers, undated and not yet retired."""
    if entry.provider not in (OPENAI.catalog_provider, ANTHROPIC.catalog_provider) or _DATED.search(entry.name):
        return False
    return entry.deprecation_date is None and not entry.name.startswith("ft:") and "/" not in entry.name
