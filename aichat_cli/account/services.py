"""The account that a user is logged in to: its key, what is remembered of it, and what its gateway says now."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from aichat_cli.account import profile as profiles
from aichat_cli.account.profile import Account, Profile
from aichat_cli.config.secrets import KeyStore
from aichat_cli.config.settings import Settings
from aichat_cli.core.errors import AichatError, ConfigError, KeyMissing, ProviderError
from aichat_cli.core.models import GATEWAY
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import replace
from aichat_cli.providers.base import Timeouts
from aichat_cli.providers.gateway import Listing

if TYPE_CHECKING:
    from aichat_cli.account.client import GatewayClient

URL_SETTING = "gateway.url"


class AccountServices:
    """One account, or none. What it remembers may be read and written by several threads.

    Args:
        settings: the settings as they are now.
        path: where it is remembered.

    Attributes:
        problem: why what is remembered cannot be read or written, None where it can.
    """

    def __init__(self, keys: KeyStore, settings: Callable[[], Settings], path: Path) -> None:
        self.keys = keys
        self.path = path
        self.problem: ConfigError | None = None
        self._settings = settings
        self._lock = threading.Lock()
        self._profile: Profile | None = None
        self._is_read = False
        self._was_asked = False

    @property
    def url(self) -> str:
        """The gateway's address; empty where the user is logged in to none."""
        return self._settings().text(URL_SETTING)

    @property
    def profile(self) -> Profile | None:
        """What is remembered of the account at this address; None where nothing is, or it is damaged."""
        with self._lock:
            if not self._is_read:
                self._is_read = True
                try:
                    self._profile = profiles.load(self.path)
                except ConfigError as error:
                    self.problem = error
            return self._profile if self._profile and self._profile.account.url == self.url else None

    @property
    def user_id(self) -> str:
        """Who the user is there, as far as that is remembered; empty where they are logged in to none."""
        return self.profile.account.user_id if self.url and self.profile else ""

    def listing(self) -> Listing | None:
        """The models to choose from, as far as they are known; None where the user is logged in to no gateway.

        Where nothing is remembered the gateway is asked, once, and not waited for long.
        """
        if not self.url:
            return None
        if self.profile is None and not self._was_asked:
            from aichat_cli.account.client import BRIEF

            with suppress(AichatError):
                self.refresh(BRIEF)
        return self.profile.listing if self.profile else Listing(self.url)

    def key(self) -> Secret:
        """The account's key.

        Raises:
            KeyMissing: the user is not logged in, or the key is gone.
        """
        if not self.url:
            raise KeyMissing("You are not logged in to a gateway.", hint="Run: aichat login URL")
        key = self.keys.find(GATEWAY, by_flag=False)
        if key is None:
            raise KeyMissing(
                f"The key of your account on {self.url} is not here.", hint=f"Run: aichat login {self.url}"
            )
        return key

    @contextmanager
    def client(self, timeouts: Timeouts | None = None) -> Iterator[GatewayClient]:
        """The gateway, asked with the account's key; raises as `key` does."""
        from aichat_cli.account.client import PATIENCE, GatewayClient

        with closing(GatewayClient(self.url, self.key(), timeouts or PATIENCE)) as client:
            yield client

    def look(self, timeouts: Timeouts | None = None) -> Account:
        """The account as it is now, which is remembered; raises as `GatewayClient.account` and `key` do."""
        with self.client(timeouts) as client:
            account = client.account()
        known = self.profile
        self.remember(replace(known, account=account) if known else Profile(account, (), ""))
        return account

    def current(self) -> tuple[Account, AichatError | None]:
        """The account as it is now, or, with the failure, as it was when its gateway could last be reached.

        Raises:
            AichatError: it cannot be reached, and nothing is remembered; or it refuses the key.
        """
        try:
            return self.look(), None
        except ProviderError as error:
            if self.profile is None:
                raise
            return self.profile.account, error

    def refresh(self, timeouts: Timeouts | None = None) -> Profile:
        """The account and its models as they are now, which are remembered; raises as `look` does."""
        self._was_asked = True
        with self.client(timeouts) as client:
            account = client.account()
            known = self.profile
            fresh = Profile(account, client.models(), account.as_of, known.purchases if known else ())
        self.remember(fresh)
        return fresh

    def remember(self, profile: Profile) -> None:
        """Keep this for the time without a network; what cannot be written is known to this process alone."""
        with self._lock:
            self._is_read, self._profile, self.problem = True, profile, None
            try:
                profiles.save(self.path, profile)
            except ConfigError as error:
                self.problem = error

    def forget(self) -> None:
        """Forget what is remembered; raises ConfigError."""
        with self._lock:
            self._is_read, self._profile, self.problem = True, None, None
            profiles.forget(self.path)
