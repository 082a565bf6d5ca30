"""An observer that appends a line of JSON for each turn: `aichat config set integrations jsonl`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from aichat_cli.plugins import ConfigError, Delivery, FinishedTurn, Observer, Surroundings


class JsonLines(Observer):
    """Writes to the file that `[plugins.jsonl]` names as `path`."""

    def __init__(self, surroundings: Surroundings) -> None:
        path = surroundings.options.get("path")
        if not isinstance(path, str):
            raise ConfigError("jsonl is on, but has no path.", hint="Give it one under [plugins.jsonl]")
        self._path = Path(path)

    def deliveries(self, turn: FinishedTurn) -> Sequence[Delivery]:
        """What happened, not what was said. It is kept until `deliver` has returned without an error."""
        told = {"id": turn.id, "model": turn.model, "status": turn.status, "cost_nano": turn.cost_nano}
        return [Delivery(turn.id, json.dumps(told).encode())]

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """In a thread of its own. The same delivery may come twice; its id tells."""
        with self._path.open("ab") as file:
            file.writelines(delivery.payload + b"\n" for delivery in deliveries)

    def check(self) -> str:
        """For `aichat integrations test jsonl`."""
        return f"writes to {self._path}"
