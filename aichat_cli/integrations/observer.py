"""What an observer of finished turns is: it turns each into deliveries, and makes them.

The two are apart: a delivery is kept in the user's database from the moment it is made until it has arrived, so neither a
dead network nor the end of the program loses it, and the same one may be made twice: services know it by its id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aichat_cli.chat.observing import FinishedTurn
from aichat_cli.config.settings import Settings
from aichat_cli.core.errors import ConfigError
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import Struct, field
from aichat_cli.providers.base import Timeouts
from aichat_cli.storage.deliveries import Delivery

__all__ = ["Delivery", "Observer", "Surroundings"]

TIMEOUTS = Timeouts(connect=5.0, first_byte=10.0, idle=5.0)
"""Seconds: an observer works in a thread of its own, and nobody waits for it this long at the end of the program."""


class Surroundings(Struct, frozen=True):
    """What an observer is made from.

    Attributes:
        name: of the integration, as it stands in the setting `integrations`.
        settings: all settings.
        find_key: the key of a name, None where there is none; raises ConfigError where it cannot be read.
        options: the table `[plugins.NAME]` of the settings file, for observers that come with other packages.
        find_profile: whose turns these are: the user's id on the hosted database where they sync, at their gateway where
            they are logged in, else one of this database. Called in the thread that makes the observer.
    """

    name: str
    settings: Settings
    find_key: Callable[[str], Secret | None]
    options: Mapping[str, Any] = field(default_factory=dict)
    find_profile: Callable[[], str] = str

    def key(self, name: str) -> Secret:
        """The key of a name; raises ConfigError where there is none."""
        found = self.find_key(name)
        if found is None:
            raise ConfigError(f"{self.name} is on, but has no key.", hint=f"Run: aichat keys set {name}")
        return found


class Observer:
    """An observer; the methods that do nothing here may be left as they are.

    `deliveries` is called in the thread of the turn, everything else in a thread of the observer's own.

    Attributes:
        batch_size: how many deliveries may be made together.
        keeps_ids: whether a delivery, once made, is never made again, by whoever asks for it.
        hears_refusals: whether it is told of turns that were refused for what they might cost, before anything was sent.
    """

    batch_size = 100
    keeps_ids = False
    hears_refusals = False

    def deliveries(self, turn: FinishedTurn) -> Sequence[Delivery]:
        """What is to be delivered of a turn; takes milliseconds, and sends nothing."""
        raise NotImplementedError

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Deliver them, all or none.

        Raises:
            AichatError: they did not arrive.
        """
        raise NotImplementedError

    def warm(self) -> None:
        """Open what a delivery will need, while the turn is still under way.

        Raises:
            AichatError: nothing will be delivered, as there is no key, for one.
        """

    def check(self) -> str:
        """Whether the service is reachable and takes us, in a few words; changes nothing there.

        Raises:
            AichatError: it is not, or does not.
        """
        return "nothing to check"

    def sample(self) -> Sequence[Delivery]:
        """Something marked as a test, to be delivered when somebody asks for it; none where a check tells as much."""
        return ()

    def close(self) -> None:
        """Close what is open."""
