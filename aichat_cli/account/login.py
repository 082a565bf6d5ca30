"""Logging in to a gateway and out again: the key is checked there before anything is kept."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

from aichat_cli.account.client import GatewayClient
from aichat_cli.account.profile import Profile
from aichat_cli.account.services import URL_SETTING, AccountServices
from aichat_cli.accounts.keys import is_key
from aichat_cli.config import settings_file
from aichat_cli.config.secrets import KeyLocation
from aichat_cli.config.settings import known, parse
from aichat_cli.core.errors import KeyRefused, NotFound, UsageError
from aichat_cli.core.models import GATEWAY
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import Struct


class LoggedIn(Struct, frozen=True):
    """Somebody is logged in. `before` is the account that this one takes the place of, None where there was none."""

    profile: Profile
    key: KeyLocation
    before: Profile | None


class LoggedOut(Struct, frozen=True):
    """Nothing is kept of an account any more; `keys` are the places its key was removed from."""

    url: str
    keys: tuple[KeyLocation, ...]


def checked_address(typed: str, *, insecure: bool) -> str:
    """The gateway's address as it is kept.

    Raises:
        UsageError: it is none, or the key would cross a network in the clear, and that was not asked for.
    """
    typed = typed.strip()
    address = parse(known(URL_SETTING), typed if "://" in typed else f"https://{typed}")
    assert isinstance(address, str)
    parts = urlsplit(address)
    if parts.scheme == "http" and not insecure and not _is_this_machine(parts.hostname or ""):
        raise UsageError(
            f"{address} is not encrypted: your key and all you ask could be read on the way.",
            hint=f"Use https://{parts.netloc}{parts.path}, or --insecure in a network that you trust",
        )
    return address


def log_in(account: AccountServices, config_file: Path, address: str, key_text: str) -> LoggedIn:
    """Check a key with the gateway, and keep both.

    Raises:
        KeyRefused: it is no key of a gateway, which is told without sending it anywhere; or the gateway refuses it.
        AccountError, ProviderError: as `GatewayClient.account` says; nothing was kept.
        ConfigError: there is no place to keep it.
    """
    key_text = key_text.strip()
    if not is_key(key_text):
        raise KeyRefused(
            "This is not a key of a gateway, which begin with aichat-; it was not sent.",
            hint="Ask the operator of the gateway for one",
        )
    before = account.profile
    account.keys.hide(key_text)
    with closing(GatewayClient(address, Secret(key_text, "login"))) as client:
        told = client.account()
        profile = Profile(told, client.models(), told.as_of)
    location = account.keys.store(GATEWAY, key_text)
    settings_file.set_value(config_file, known(URL_SETTING), address)
    account.remember(profile)
    return LoggedIn(profile, location, before)


def log_out(account: AccountServices, config_file: Path) -> LoggedOut:
    """Forget the key, the address and what is remembered. The gateway is not asked.

    Raises:
        ConfigError: something of it cannot be removed.
    """
    url = account.url
    removed: tuple[KeyLocation, ...] = ()
    with suppress(NotFound):
        removed = tuple(account.keys.remove(GATEWAY))
    if config_file.exists():
        settings_file.unset_value(config_file, known(URL_SETTING))
    account.forget()
    return LoggedOut(url, removed)


def _is_this_machine(host: str) -> bool:
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
