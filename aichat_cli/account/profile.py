"""What this machine remembers of an account on a gateway: whose it is, its balance and the models, each with its time.

One file that only its owner can read, written whole or not at all. The key is not in it, and nothing in it is believed by
the gateway.
"""

from __future__ import annotations

from pathlib import Path

from aichat_cli.config.settings_file import write_private
from aichat_cli.core.clock import now_ms, utc_text
from aichat_cli.core.errors import ConfigError
from aichat_cli.core.struct import Struct, json_reader, to_json
from aichat_cli.providers.gateway import ListedModel, Listing

FRESH_MS = 86_400_000
"""For so long the list of models is good enough to choose from."""


class Window(Struct, frozen=True):
    """The gateway's sliding window: how many calls an hour may hold, how many are left, when the oldest leaves it (UTC)."""

    limit: int
    remaining: int
    reset_at: str | None


class Account(Struct, frozen=True):
    """An account as its gateway told it at the moment `as_of`.

    Attributes:
        balance_nano, held_nano: credits in nano-dollars; what is held belongs to calls under way.
        key_prefix: the part of the key that may be shown.
        default_model: what the gateway would choose, by its own name for it.
        syncs: whether conversations can be kept alike through it.
    """

    url: str
    user_id: str
    user_name: str
    plan: str
    balance_nano: int
    held_nano: int
    window: Window
    as_of: str
    key_prefix: str = ""
    key_name: str = ""
    scopes: tuple[str, ...] = ()
    expires_at: str | None = None
    default_model: str | None = None
    syncs: bool = False

    @property
    def available_nano(self) -> int:
        """What a call can still spend."""
        return self.balance_nano - self.held_nano


class Profile(Struct, frozen=True):
    """An account and the models it can ask, which were told at `models_at`; `purchases` are those that were open."""

    account: Account
    models: tuple[ListedModel, ...]
    models_at: str
    purchases: tuple[str, ...] = ()

    @property
    def listing(self) -> Listing:
        """The models, for the registry."""
        chat = [each.name for each in self.models if not each.is_embedding]
        default = self.account.default_model
        first = default if default in chat else chat[0] if chat else None
        return Listing(self.account.url, self.models, first)

    @property
    def is_fresh(self) -> bool:
        """Whether the models were told within a day; a time that lies ahead is of a clock that went wrong."""
        now = now_ms()
        return utc_text(now - FRESH_MS) < self.models_at <= utc_text(now + FRESH_MS)


def load(path: Path) -> Profile | None:
    """What is remembered, None where nothing is.

    Raises:
        ConfigError: the file cannot be read, or is damaged.
    """
    try:
        return json_reader(Profile)(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise ConfigError(f"Cannot read {path}: {exc.strerror}.") from exc
    except ValueError as exc:
        raise ConfigError(
            f"{path}, which remembers your account, is damaged.", hint="Run: aichat models list --refresh"
        ) from exc


def save(path: Path, profile: Profile) -> None:
    """Remember this in place of what was.

    Raises:
        ConfigError: it cannot be written.
    """
    write_private(path, to_json(profile).decode())


def forget(path: Path) -> None:
    """Remember nothing.

    Raises:
        ConfigError: the file cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as exc:
        raise ConfigError(f"Cannot remove {path}: {exc.strerror}.") from exc
