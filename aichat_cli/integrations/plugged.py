"""Observers that other packages add: made in a thread of their own, and kept from slowing or breaking a turn."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from aichat_cli.chat.observing import FinishedTurn
from aichat_cli.config import plugins
from aichat_cli.config.plugins import OBSERVERS, Plugin
from aichat_cli.core.errors import AichatError, ConfigError
from aichat_cli.core.struct import replace
from aichat_cli.integrations.observer import Delivery, Observer, Surroundings

TURN_SECONDS = 1.0
"""The most that one may take to say what is to be delivered of a turn, with what it takes to load it."""


def observer(surroundings: Surroundings) -> Observer:
    """The observer of that name that another package adds. Nothing is loaded yet."""
    return PluggedObserver(surroundings)


class PluggedObserver(Observer):
    """An observer of another package. It is loaded when it is first used: while a turn is under way, `warm` does that."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._made: tuple[Plugin, Observer] | None = None
        self._problem: AichatError | None = None
        self._is_given_up = False
        self._making = threading.Lock()

    def deliveries(self, turn: FinishedTurn) -> Sequence[Delivery]:
        """What it says is to be delivered, said in another thread, without the database, which is the calling one's.

        Raises:
            ConfigError: it is broken, or takes too long: then it is not asked again.
        """
        if self._is_given_up:
            return ()
        told: list[Sequence[Delivery] | AichatError] = []

        def ask() -> None:
            try:
                told.append(self._called(lambda each: tuple(each.deliveries(replace(turn, books=None)))))
            except AichatError as exc:
                told.append(exc)

        thread = threading.Thread(target=ask, name=f"ask {self._surroundings.name}", daemon=True)
        thread.start()
        thread.join(TURN_SECONDS)
        if not told:
            self._is_given_up = True
            raise ConfigError(
                f'The observer "{self._surroundings.name}" took longer than {TURN_SECONDS:g} s for a turn, and is told of '
                "no more.",
                hint="Take it out of the setting integrations, or update it",
            )
        if isinstance(told[0], AichatError):
            raise told[0]
        return self._checked(told[0])

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Have it deliver them; raises AichatError."""
        self._called(lambda each: each.deliver(deliveries))

    def warm(self) -> None:
        """Load it, and have it open what it needs; raises AichatError."""
        self._called(lambda each: each.warm())

    def check(self) -> str:
        """What it says of itself; raises AichatError."""
        return str(self._called(lambda each: each.check()))

    def close(self) -> None:
        """Close it, where it was made; raises AichatError."""
        if self._made is not None:
            self._called(lambda each: each.close())

    def _called(self, call: Callable[[Observer], Any]) -> Any:
        plugin, made = self._observer()
        with plugins.failing(plugin):
            return call(made)

    def _observer(self) -> tuple[Plugin, Observer]:
        with self._making:
            if self._problem is not None:
                raise self._problem
            if self._made is None:
                try:
                    self._made = self._new()
                except AichatError as exc:
                    self._problem = exc
                    raise
            return self._made

    def _new(self) -> tuple[Plugin, Observer]:
        name = self._surroundings.name
        plugin = plugins.find(OBSERVERS, name)
        if plugin is None:
            raise ConfigError(
                f'There is no integration "{name}", which the setting integrations names.',
                hint="Run: aichat integrations list",
            )
        make = plugins.load(plugin)
        if not callable(make):
            raise plugins.wrong(plugin, "function that makes an Observer", make)
        with plugins.failing(plugin, "cannot be made"):
            made = make(self._surroundings)
        if not isinstance(made, Observer):
            raise plugins.wrong(plugin, "Observer", made)
        if isinstance(made.batch_size, int) and made.batch_size > 0:
            self.batch_size = made.batch_size
        self.keeps_ids = bool(made.keeps_ids)
        return plugin, made

    def _checked(self, given: Sequence[Delivery]) -> Sequence[Delivery]:
        for each in given:
            if not isinstance(each, Delivery) or not isinstance(each.id, str) or not isinstance(each.payload, bytes):
                plugin, _ = self._observer()
                raise plugins.wrong(plugin, "observer: what it gives is no Delivery", each)
        return given
