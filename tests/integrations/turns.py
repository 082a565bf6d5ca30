"""Finished turns for observers, and what observers are made from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aichat_cli.billing.limits import NO_LIMITS, Limits
from aichat_cli.chat.observing import FinishedTurn, TurnContent
from aichat_cli.config.settings import Settings
from aichat_cli.core.ids import RequestId, new_id
from aichat_cli.core.secret import Secret
from aichat_cli.integrations.observer import Surroundings
from aichat_cli.storage.database import Database


def surroundings(
    name: str, settings: Mapping[str, str], key: str | None = None, profile: str = "somebody"
) -> Surroundings:
    """Those of an observer whose settings are these."""
    environ = {f"AICHAT_{setting.upper().replace('.', '_')}": value for setting, value in settings.items()}
    found = None if key is None else Secret(key, "the test")
    return Surroundings(name, Settings(Path("/nonexistent"), environ), lambda _: found, find_profile=lambda: profile)


def a_turn(books: Database | None = None, limits: Limits = NO_LIMITS, **changes: Any) -> FinishedTurn:
    """A turn that ended well, changed as told."""
    fields: dict[str, Any] = {
        "id": RequestId(new_id()),
        "type": "chat",
        "model": "gpt-4o-mini",
        "provider": "openai",
        "status": "complete",
        "started_at": 1_796_000_000.0,
        "first_at": 1_796_000_000.25,
        "ended_at": 1_796_000_001.5,
        "content": TurnContent(system=None, messages=(), answer="yes", reasoning=""),
    }
    return FinishedTurn(**{**fields, **changes}, books=books, limits=limits)
