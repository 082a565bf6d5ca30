"""The table of all settings: what each is called, what it is without being set, and which values it takes."""

from __future__ import annotations

from collections.abc import Callable

from aichat_cli.core.struct import Struct

Value = str | int | float | bool | tuple[str, ...]


HELICONE_PROVIDERS = (
    "anthropic",
    "cerebras",
    "deepinfra",
    "deepseek",
    "fireworks",
    "groq",
    "moonshot",
    "openai",
    "openrouter",
    "together",
    "xai",
)
"""Those that are spoken to directly, at an address of their own on the internet."""


class Setting(Struct, frozen=True):
    """One row of the table. `parse` turns text into the value or raises ValueError with what is allowed.

    `choices` holds the texts to choose from where there are only a few.
    """

    name: str
    default: Value
    help: str
    parse: Callable[[str], Value]
    choices: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        """The environment variable that overrides it."""
        return "AICHAT_" + self.name.upper().replace(".", "_")


def _text(raw: str) -> str:
    return raw


def _boolean(raw: str) -> bool:
    lowered = raw.strip().lower()
    if lowered in {"1", "true", "yes", "on"}:
        return True
    if lowered in {"0", "false", "no", "off"}:
        return False
    raise ValueError("true or false")


def _names(raw: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in raw.split(",") if part.strip())


def _some_of(*choices: str) -> Callable[[str], tuple[str, ...]]:
    """Names out of a few."""

    def parse(raw: str) -> tuple[str, ...]:
        names = _names(raw.lower())
        if not set(names) <= set(choices):
            raise ValueError(f"names out of {', '.join(choices)}")
        return names

    return parse


def _header(raw: str) -> str:
    """A text that can stand in a header."""
    if not raw.isascii() or not raw.isprintable():
        raise ValueError("plain letters, digits and signs (ASCII)")
    return raw.strip()


def _seconds(raw: str) -> float:
    try:
        seconds = float(raw)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86_400:
        raise ValueError("a number of seconds above 0 and up to 86400")
    return seconds


def _amount(raw: str) -> float:
    try:
        amount = float(raw)
    except ValueError:
        amount = -1.0
    if not 0 <= amount <= 1_000_000:
        raise ValueError("an amount of dollars, 0 or more")
    return amount


def _cap(raw: str) -> float | str:
    """An amount of dollars, or none: no cap."""
    if raw.strip().lower() in {"", "none", "off"}:
        return ""
    try:
        return _amount(raw)
    except ValueError:
        raise ValueError("an amount of dollars, 0 or more, or none") from None


def _file(raw: str) -> str:
    if "://" in raw:
        raise ValueError("a file; the address of a database is kept with: aichat keys set server")
    return raw


def _url(raw: str) -> str:
    if raw and not raw.startswith(("http://", "https://")):
        raise ValueError("an address that begins with http:// or https://")
    return raw.rstrip("/")


def _address(raw: str) -> str:
    """Where a gateway is, without the /v1 that clients of OpenAI's are given; empty for nowhere."""
    from urllib.parse import urlsplit

    raw = raw.strip().rstrip("/").removesuffix("/v1").rstrip("/")
    try:
        parts = urlsplit(raw)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    is_plain = not any(character.isspace() or not character.isprintable() or character in "@?#" for character in raw)
    if raw and not (is_usable and is_plain):
        raise ValueError("an address such as https://chat.example.org")
    return raw


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        try:
            number = int(raw)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return number

    return parse


def _choice(name: str, help_text: str, *choices: str) -> Setting:
    """A setting that takes one of a few words; the first is the default."""

    def parse(raw: str) -> str:
        if raw.strip().lower() not in choices:
            raise ValueError(f"{', '.join(choices[:-1])} or {choices[-1]}")
        return raw.strip().lower()

    return Setting(name, choices[0], help_text, parse, choices)


TABLE: tuple[Setting, ...] = (
    Setting("model", "", "Model to use when -m is not given.", _text),
    Setting("system_prompt", "", "System prompt of new conversations when -s is not given.", _text),
    Setting("role", "", "Role of new conversations when neither --role nor -s is given.", _text),
    Setting("fallback", (), "Models to ask, in order, when the first one fails.", _names),
    Setting("markdown", True, "Render the Markdown of answers, on a terminal.", _boolean),
    _choice("theme", "Colors for a dark or a light background: auto, dark or light.", "auto", "dark", "light"),
    Setting("code_theme", "", "Pygments style for code, e.g. monokai; empty for colors that go with the theme.", _text),
    Setting("pager", False, "Page answers on a terminal, as --pager does.", _boolean),
    Setting("show_reasoning", True, "Show what a model thinks, on a terminal.", _boolean),
    Setting("show_usage", False, "Print tokens and cost after each answer, as -u does.", _boolean),
    _choice("keys", "Keys of the prompt: emacs or vi.", "emacs", "vi"),
    Setting("titles.model", "", "Model that names new chats; without one they are named after what was said.", _text),
    Setting("key_command", "", "Command that prints a key; {name} is the provider, e.g. 'pass show {name}'.", _text),
    Setting("database", "", "File that holds conversations and usage.", _text),
    Setting("attachments.max_mb", 20, "Largest file to attach or put in a prompt, in megabytes.", _whole(1, 1000)),
    Setting("documents.collection", "default", "Collection that ingest, search and --docs use.", _text),
    Setting(
        "documents.embedding_model", "wordllama", "Embedding model of new collections; none for words alone.", _text
    ),
    Setting("documents.chunk_tokens", 400, "Most tokens of a chunk of new documents.", _whole(32, 8000)),
    Setting("documents.limit", 5, "How many passages search and --docs find.", _whole(1, 100)),
    Setting("documents.max_mb", 50, "Largest file or page to ingest, in megabytes.", _whole(1, 2000)),
    Setting("documents.ignore", (), "Patterns, as in .gitignore, of files that ingest leaves out.", _names),
    Setting("documents.confirm_usd", 0.05, "Ask before embedding costs more than this, in dollars.", _amount),
    Setting("documents.rerank", True, "Rank the best results again, where the local model is there.", _boolean),
    _choice(
        "documents.search_in",
        "What search and --docs look through: the documents on this device, or all on the hosted database.",
        "local",
        "hosted",
    ),
    Setting("documents.private_addresses", False, "Whether pages of private networks may be fetched.", _boolean),
    Setting("pinecone.index", "", "Index at Pinecone for vectors; empty for aichat-DIMENSIONS.", _text),
    Setting("pinecone.cloud", "aws", "Cloud that an index at Pinecone is made in: aws, gcp or azure.", _text),
    Setting("pinecone.region", "us-east-1", "Region of that cloud.", _text),
    Setting("pinecone.url", "https://api.pinecone.io", "Where Pinecone, or a program like it, is reached.", _url),
    Setting("sync.background", True, "Sync by itself while you chat, where sync is on.", _boolean),
    Setting("sync.every_minutes", 5, "Minutes from one sync to the next while a chat is open.", _whole(1, 1440)),
    Setting("sync.documents", True, "Sync documents too; false keeps them on each device.", _boolean),
    Setting("sync.attachments_max_mb", 10, "Largest attached file to sync, in megabytes.", _whole(0, 1000)),
    Setting(
        "integrations",
        (),
        "Services that are told of turns: langsmith, posthog, resend or others of aichat integrations list.",
        _names,
    ),
    Setting("langsmith.project", "aichat", "Project of LangSmith that traces go to.", _text),
    Setting("langsmith.content", False, "Whether LangSmith is told what was said, or only how it went.", _boolean),
    Setting("langsmith.workspace", "", "Workspace of LangSmith, by its id, for a key of a whole organisation.", _text),
    Setting("langsmith.url", "https://api.smith.langchain.com", "Where LangSmith is.", _url),
    Setting("posthog.url", "https://us.i.posthog.com", "Where PostHog is.", _url),
    Setting("resend.from", "", "Sender of mail about usage, at a domain that Resend has verified.", _text),
    Setting("resend.to", "", "Who is sent mail about usage.", _text),
    Setting("resend.url", "https://api.resend.com", "Where Resend is.", _url),
    Setting("gateway.url", "", "Gateway that you have an account on; aichat login sets it.", _address),
    _choice(
        "billing.mode", "Who pays for calls: your own keys, or the credits of your profile.", "own-keys", "credits"
    ),
    Setting("limits.daily_usd", "", "Most dollars to spend in a day; none for no cap.", _cap),
    Setting("limits.monthly_usd", "", "Most dollars to spend in a month; none for no cap.", _cap),
    Setting("limits.confirm_usd", 0.5, "Ask before a prompt costs more than this to be read; none never asks.", _cap),
    Setting("server.file", "", "File that holds the accounts of aichat serve.", _file),
    Setting("server.host", "127.0.0.1", "Address aichat serve listens at.", _text),
    Setting("server.port", 8088, "Port aichat serve listens at; 0 takes a free one.", _whole(0, 65_535)),
    Setting("server.public_url", "", "Where clients and browsers reach the gateway.", _url),
    Setting("server.tls_cert", "", "Certificate of the gateway, with its chain, as PEM.", _text),
    Setting("server.tls_key", "", "Key of that certificate, as PEM.", _text),
    Setting("server.behind_proxy", (), "Networks of proxies whose word on who calls is believed.", _names),
    Setting("server.models", (), "Models to serve, by name or pattern; none for all that can be asked.", _names),
    Setting("server.max_body_mb", 20, "Largest request to a model, in megabytes.", _whole(1, 1000)),
    Setting("server.max_connections", 1000, "Most connections at a time.", _whole(1, 100_000)),
    Setting("server.shutdown_seconds", 30, "Seconds that calls under way have to end.", _whole(0, 3600)),
    _choice("server.log_level", "What aichat serve logs.", "info", "debug", "warning", "error"),
    Setting(
        "helicone.providers",
        (),
        "Providers to ask through Helicone, by name; none for none.",
        _some_of(*HELICONE_PROVIDERS),
    ),
    Setting("helicone.url", "", "Helicone of your own, e.g. http://localhost:8585/v1/gateway.", _address),
    Setting("helicone.user", "", "User that Helicone files your calls under; empty for none.", _header),
    Setting("helicone.session", True, "Have Helicone file the calls of a conversation together.", _boolean),
    Setting("helicone.content", False, "Let Helicone keep prompts and answers.", _boolean),
    Setting(
        "helicone.cache_seconds",
        0,
        "Seconds that Helicone keeps answers, and gives them again to the same prompt; 0 for none.",
        _whole(0, 31_536_000),
    ),
    Setting("timeouts.connect", 10.0, "Seconds to wait for a connection.", _seconds),
    Setting("timeouts.first_byte", 120.0, "Seconds to wait for an answer to begin.", _seconds),
    Setting("timeouts.idle", 60.0, "Seconds to wait for the next piece of an answer.", _seconds),
    Setting("retry.attempts", 3, "How often a request is sent before its first byte arrives.", _whole(1, 10)),
    Setting(
        "local.threads", 0, "Threads of the embedded model; 0 is one less than the physical cores.", _whole(0, 512)
    ),
)
BY_NAME = {setting.name: setting for setting in TABLE}
