"""`aichat integrations`: how each service fares, as a table, as lines for a pipe and as JSON."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from aichat_cli.core.struct import Struct
from aichat_cli.render.answer import print_text
from aichat_cli.render.columns import Column, table
from aichat_cli.render.diagnostics import DIM, wants_color
from aichat_cli.render.sanitize import safe_line
from aichat_cli.render.tables import local_time
from aichat_cli.storage.deliveries import Fate


class IntegrationState(Struct, frozen=True):
    """One integration as it is now.

    Attributes:
        key_source: where its key is, None where there is none; never the key.
        fate: of what it is told, None where nothing is delivered to it or that cannot be read.
        retry_at: before which nothing is tried, UTC text.
    """

    name: str
    purpose: str
    is_on: bool
    key_source: str | None
    fate: Fate | None
    retry_at: str | None


def show(states: Sequence[IntegrationState]) -> None:
    """`integrations list`. On a terminal a problem has lines of its own below the table, as it says what to do."""
    cells = [tuple(safe_line(cell) for cell in _cells(state)) for state in states]
    if not sys.stdout.isatty():
        rows = zip(cells, states, strict=True)
        print_text("".join("\t".join((*row, safe_line(_problem(state)))) + "\n" for row, state in rows))
        return
    is_ascii = os.environ.get("TERM") == "dumb"
    name, purpose, on, key, last, waiting = (list(column) for column in zip(*cells, strict=True))
    columns = [
        Column("name", name),
        Column("state", on),
        Column("for", purpose, is_flexible=True, leaves=1),
        Column("key", key, leaves=2),
        Column("delivered", last, short=[each[:10] for each in last], leaves=3),
        Column("waiting", waiting, is_number=True, leaves=4),
    ]
    style = DIM if wants_color(sys.stdout) else ""
    width = shutil.get_terminal_size().columns
    lines = table(columns, width, heading_style=style, is_ascii=is_ascii)
    problems = [f"{state.name}: {safe_line(_problem(state))}" for state in states if _problem(state)]
    print_text("\n".join([*lines, *([""] if problems else []), *problems]) + "\n")


def shape(states: Sequence[IntegrationState]) -> list[dict[str, Any]]:
    """`integrations list --json`."""
    return [
        {
            "name": state.name,
            "purpose": state.purpose,
            "enabled": state.is_on,
            "key": state.key_source,
            "last_delivered_at": state.fate.last_delivered_at if state.fate else None,
            "waiting": state.fate.waiting if state.fate else None,
            "dropped": state.fate.dropped if state.fate else None,
            "problem": state.fate.problem if state.fate else None,
            "last_failed_at": state.fate.last_failed_at if state.fate else None,
            "retry_at": state.retry_at,
        }
        for state in states
    ]


def last_delivery(fate: Fate | None) -> str:
    """When something last arrived, and what waits."""
    if fate is None:
        return ""
    last = f"last delivery {local_time(fate.last_delivered_at)}" if fate.last_delivered_at else "nothing delivered yet"
    return f"{last}, {fate.waiting:,} waiting" if fate.waiting else last


def _cells(state: IntegrationState) -> tuple[str, ...]:
    fate = state.fate
    last = local_time(fate.last_delivered_at) if fate and fate.last_delivered_at else ""
    waiting = f"{fate.waiting:,}" if fate and fate.waiting else ""
    return (state.name, state.purpose, "on" if state.is_on else "off", state.key_source or "none", last, waiting)


def _problem(state: IntegrationState) -> str:
    fate = state.fate
    if fate is None:
        return ""
    told = fate.problem or ""
    if told and state.retry_at:
        told += f" It is tried again after {local_time(state.retry_at)}."
    if fate.dropped:
        told += f" Given up: {fate.dropped:,}."
    return told.strip()
