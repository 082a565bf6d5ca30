"""An observer that writes down what it is told and what it delivers; `tests.gateway.diary` as an integration's module."""

from __future__ import annotations

from collections.abc import Sequence

from aichat_cli.chat.observing import FinishedTurn
from aichat_cli.integrations.observer import Delivery, Observer, Surroundings

seen: list[FinishedTurn] = []
delivered: list[str] = []


class Diary(Observer):
    def deliveries(self, turn: FinishedTurn) -> Sequence[Delivery]:
        seen.append(turn)
        return [Delivery(turn.id, turn.model.encode())]

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        delivered.extend(each.id for each in deliveries)


def observer(_: Surroundings) -> Observer:
    return Diary()
