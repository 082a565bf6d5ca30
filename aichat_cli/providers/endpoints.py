"""Where providers are served: the table of endpoints spoken to directly, and the variables that hold keys and URLs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from aichat_cli.core.errors import ConfigError, KeyMissing, KeyRejected
from aichat_cli.core.models import GATEWAY
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import Struct


class Endpoint(Struct, frozen=True):
    """One provider with a direct wire.

    `catalog_provider` is what litellm's map calls it. `key_name` is None where the endpoint takes no key.
    `url_variables` replace `base_url`, the first that is set; the key is then used but not demanded.
    """

    provider: str
    base_url: str
    key_name: str | None
    catalog_provider: str
    wire: Literal["openai", "anthropic"] = "openai"
    url_variables: tuple[str, ...] = ()

    @property
    def is_local(self) -> bool:
        """Whether it is a program on the user's own machine, which takes no key and no money."""
        return self.key_name is None


HELICONE = "helicone"
"""The name that the key for Helicone is kept under."""


def _direct(provider: str, base_url: str, catalog_provider: str = "") -> Endpoint:
    return Endpoint(provider, base_url, provider, catalog_provider or provider)


OPENAI = Endpoint(
    "openai", "https://api.openai.com/v1", "openai", "openai", url_variables=("OPENAI_BASE_URL", "OPENAI_API_BASE")
)
ANTHROPIC = Endpoint(
    "anthropic",
    "https://api.anthropic.com",
    "anthropic",
    "anthropic",
    wire="anthropic",
    url_variables=("ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE"),
)
OLLAMA = Endpoint("ollama", "http://127.0.0.1:11434/v1", None, "ollama")

DIRECT: Mapping[str, Endpoint] = {
    endpoint.provider: endpoint
    for endpoint in (
        OPENAI,
        ANTHROPIC,
        OLLAMA,
        _direct("openrouter", "https://openrouter.ai/api/v1"),
        _direct("groq", "https://api.groq.com/openai/v1"),
        _direct("deepseek", "https://api.deepseek.com/v1"),
        _direct("together", "https://api.together.ai/v1", "together_ai"),
        _direct("xai", "https://api.x.ai/v1"),
        _direct("fireworks", "https://api.fireworks.ai/inference/v1", "fireworks_ai"),
        _direct("cerebras", "https://api.cerebras.ai/v1"),
        _direct("deepinfra", "https://api.deepinfra.com/v1/openai"),
        _direct("moonshot", "https://api.moonshot.ai/v1"),
        Endpoint("lm_studio", "http://127.0.0.1:1234/v1", None, "lm_studio", url_variables=("LM_STUDIO_API_BASE",)),
    )
}
"""OpenAI-compatible endpoints that take `stream_options`, and Anthropic's. Others go through litellm: Mistral's, for
one, refuses a request that holds a field it does not know."""

BY_CATALOG_PROVIDER: Mapping[str, Endpoint] = {endpoint.catalog_provider: endpoint for endpoint in DIRECT.values()}

KEY_NAMES = (
    *dict.fromkeys(endpoint.key_name for endpoint in DIRECT.values() if endpoint.key_name),
    "gemini",
    "mistral",
    "cohere",
    "perplexity",
    "pinecone",
    "stripe",
    "stripe_webhook",
    "langsmith",
    "posthog",
    "resend",
    HELICONE,
    GATEWAY,
)
"""The names under which keys are usually kept."""

_KEY_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "together": ("TOGETHER_API_KEY", "TOGETHERAI_API_KEY", "TOGETHER_AI_API_KEY"),
    "fireworks": ("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY"),
    "perplexity": ("PERPLEXITY_API_KEY", "PERPLEXITYAI_API_KEY"),
    "cohere": ("COHERE_API_KEY", "CO_API_KEY"),
    "huggingface": ("HUGGINGFACE_API_KEY", "HF_TOKEN"),
    "stripe": ("STRIPE_API_KEY", "STRIPE_SECRET_KEY"),
    "stripe_webhook": ("STRIPE_WEBHOOK_SECRET",),
    "langsmith": ("LANGSMITH_API_KEY", "LANGCHAIN_API_KEY"),
    "posthog": ("POSTHOG_API_KEY", "POSTHOG_PROJECT_API_KEY"),
    "sync": ("AICHAT_SYNC_DSN",),
    "server": ("AICHAT_SERVER_DATABASE",),
    "metrics": ("AICHAT_METRICS_TOKEN",),
    GATEWAY: ("AICHAT_GATEWAY_KEY",),
}
_KEY_NAME_OF_PROVIDER: Mapping[str, str | None] = {
    "cohere_chat": "cohere",
    "bedrock": None,
    "bedrock_mantle": None,
    "sagemaker": None,
    "vertex_ai": None,
    "oci": None,
    "watsonx": None,
    "github_copilot": None,
    "chatgpt": None,
    "gigachat": None,
    "snowflake": None,
    "cloudflare": None,
    "databricks": None,
}
"""Providers served through litellm whose key has another name, or None: litellm finds their credentials, which are more
than one key, in the environment."""


def endpoint_of(prefix: str) -> Endpoint | None:
    """The direct endpoint a prefix such as `groq` or `together_ai` stands for, or None."""
    return DIRECT.get(prefix) or BY_CATALOG_PROVIDER.get(prefix)


def key_name_of(provider: str) -> str | None:
    """The name a provider's key is kept under where litellm serves it; None where no single key opens it."""
    return _KEY_NAME_OF_PROVIDER.get(provider, provider)


def key_environment_variables(key_name: str) -> tuple[str, ...]:
    """The variables that may hold a key, in the order they are looked up."""
    generic = "".join(char if char.isalnum() else "_" for char in key_name).upper() + "_API_KEY"
    return _KEY_VARIABLES.get(key_name, (generic,))


def key_missing(message: str, key_name: str) -> KeyMissing:
    """The error where there is no key of that name."""
    if key_name == GATEWAY:
        return KeyMissing(message, hint="Run: aichat login")
    variable = key_environment_variables(key_name)[0]
    return KeyMissing(message, hint=f"Run: aichat keys set {key_name}, or set {variable}")


def url_from_environment(endpoint: Endpoint, environ: Mapping[str, str]) -> str | None:
    """The endpoint's URL where a variable replaces the usual one.

    Raises:
        ConfigError: the variable does not hold a URL.
    """
    if endpoint is OLLAMA:
        host = environ.get("OLLAMA_HOST", "").strip()
        return _ollama_url(host) if host else None
    for variable in endpoint.url_variables:
        if value := environ.get(variable, "").strip():
            return checked_url(value, f"${variable}")
    return None


def checked_url(url: str, where: str) -> str:
    """The URL without a trailing slash.

    Raises:
        ConfigError: it is not an http or https URL; names `where` it stands.
    """
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid or any(char.isspace() or not char.isprintable() for char in url):
        raise ConfigError(
            f'{where} is not a URL: "{shown_url(url)}".', hint="Give one such as http://127.0.0.1:8080/v1"
        )
    return url.rstrip("/")


def shown_url(url: str) -> str:
    """The URL as it may be shown: without the name and password it may hold."""
    scheme, mark, rest = url.partition("://")
    if not mark or "@" not in rest:
        return url
    return f"{scheme}://***@{rest.rpartition('@')[2]}"


def _ollama_url(host: str) -> str:
    """OLLAMA_HOST as Ollama reads it (host, host:port or a URL), as the base URL of its OpenAI endpoint."""
    from urllib.parse import urlsplit

    url = checked_url(host if "://" in host else f"http://{host}", "$OLLAMA_HOST")
    parts = urlsplit(url)
    hostname = "127.0.0.1" if parts.hostname in {"0.0.0.0", "::"} else parts.hostname or ""  # noqa: S104 - what a server listens on
    if ":" in hostname:
        hostname = f"[{hostname}]"
    default_port = 11434 if "://" not in host else {"http": 80, "https": 443}[parts.scheme]
    path = parts.path.removesuffix("/v1")
    return f"{parts.scheme}://{hostname}:{parts.port or default_port}{path}/v1"


def sendable(key: Secret, key_name: str | None) -> str:
    """The key for a header; raises KeyRejected where it has characters that no key has."""
    value = key.reveal()
    if not value.isascii() or not value.isprintable() or " " in value:
        raise KeyRejected(
            f"The API key from {key.source} holds characters that no key has.",
            hint=f"Run: aichat keys set {key_name}" if key_name else None,
        )
    return value
