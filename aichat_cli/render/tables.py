"""Listings: Rich tables for a terminal, tab-separated lines for a pipe. Every cell is made safe."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime

from aichat_cli.config.roles import ChatRole
from aichat_cli.config.secrets import KeyLocation
from aichat_cli.config.settings import Effective, as_text
from aichat_cli.core.credits import credits_text
from aichat_cli.core.documents import Collection, Document
from aichat_cli.core.messages import Conversation
from aichat_cli.core.models import Model
from aichat_cli.core.money import NANO_PER_DOLLAR
from aichat_cli.core.sync import TrashEntry
from aichat_cli.render.answer import print_text, write_all
from aichat_cli.render.diagnostics import wants_color
from aichat_cli.render.sanitize import safe_line
from aichat_cli.storage.accounts import Entry
from aichat_cli.storage.search import SearchHit

NARROW = 90
ROLE_BEGINNING = 200
SHORT_ID = 13
"""The first 48 bits of a UUIDv7 and its dash: the millisecond, which tells conversations apart."""


def conversations(listed: Sequence[Conversation]) -> None:
    """`history list`."""
    rows = [
        (
            conversation.id[:SHORT_ID],
            local_time(conversation.updated_at),
            str(conversation.message_count),
            conversation.model or "",
            conversation.title,
        )
        for conversation in listed
    ]
    _table(("id", "updated", "messages", "model", "title"), rows, flexible={3: 1, 4: 2}, numbers={2}, narrow_drops={3})


def search_hits(hits: Sequence[SearchHit]) -> None:
    """`history search` in a pipe; `search_view` draws it on a terminal."""
    rows = [
        (hit.conversation_id[:SHORT_ID], local_time(hit.created_at), hit.title, hit.role or "title", hit.snippet)
        for hit in hits
    ]
    _table(("id", "when", "title", "role", "found"), rows, flexible={2: 1, 4: 2})


def documents(listed: Sequence[Document]) -> None:
    """`docs list`."""
    rows = [
        (
            document.name,
            local_time(document.updated_at),
            str(document.chunk_count),
            document.collection,
            document.path,
        )
        for document in listed
    ]
    headings = ("name", "updated", "chunks", "collection", "path")
    _table(headings, rows, flexible={0: 2, 4: 2}, numbers={2}, narrow_drops={3, 4})


def collections(listed: Sequence[Collection]) -> None:
    """`docs collections`."""
    rows = [
        (
            collection.name,
            str(collection.document_count),
            str(collection.chunk_count),
            collection.embedding_model or "words alone",
            local_time(collection.updated_at),
        )
        for collection in listed
    ]
    _table(("name", "documents", "chunks", "model", "updated"), rows, flexible={0: 1, 3: 1}, numbers={1, 2})


def models(listed: Sequence[Model]) -> None:
    """`models list`: prices in dollars per million tokens."""
    rows = [
        (
            f"{model.name} (retired)" if model.retired else model.name,
            model.provider,
            _per_mtok(model, output=False),
            _per_mtok(model, output=True),
            f"{model.context_tokens:,}" if model.context_tokens else "?",
        )
        for model in listed
    ]
    _table(
        ("model", "provider", "$/Mtok in", "out", "context"), rows, flexible={0: 1}, numbers={2, 3, 4}, narrow_drops={1}
    )


def credit_entries(listed: Sequence[Entry]) -> None:
    """`credits history`, with the balance after each entry."""
    rows = [
        (
            local_time(entry.created_at),
            entry.kind.replace("_", " "),
            f"{'+' if entry.amount_nano > 0 else ''}{credits_text(entry.amount_nano)}",
            credits_text(entry.uncovered_nano) if entry.uncovered_nano else "",
            credits_text(entry.balance_nano),
            entry.ref.partition(":")[0],
        )
        for entry in listed
    ]
    headings = ("when", "what", "credits", "uncovered", "balance", "for")
    _table(headings, rows, flexible={5: 1}, numbers={2, 3, 4}, narrow_drops={5})


def keys(locations: Sequence[KeyLocation]) -> None:
    """`keys list`: where, never what."""
    _table(("name", "kept in"), [(location.name, location.source) for location in locations], flexible={1: 1})


def devices(rows: Sequence[tuple[str, str, str]]) -> None:
    """The devices of `sync status`: name, when it was last seen, how far behind it is."""
    _table(("device", "seen", "how far"), rows, flexible={0: 1})


def users(rows: Sequence[tuple[str, ...]]) -> None:
    """`users list`."""
    headings = ("name", "plan", "credits", "keys", "state", "email", "created")
    _table(headings, rows, flexible={0: 2, 5: 2}, numbers={2, 3}, narrow_drops={5, 6})


def api_keys(rows: Sequence[tuple[str, ...]]) -> None:
    """`api-keys list`."""
    headings = ("key", "user", "name", "state", "used", "limits", "created")
    _table(headings, rows, flexible={1: 2, 2: 2, 5: 2}, narrow_drops={5, 6})


def audit(rows: Sequence[tuple[str, ...]]) -> None:
    """`users audit`."""
    headings = ("when", "who", "what", "user", "key", "details")
    _table(headings, rows, flexible={1: 1, 3: 1, 5: 2}, narrow_drops={4, 5})


def sync_trash(listed: Sequence[TrashEntry]) -> None:
    """`sync trash`."""
    rows = [
        (entry.id[:18], local_time(entry.created_at), entry.kind.replace("_", " "), entry.title) for entry in listed
    ]
    _table(("id", "kept", "what", "title"), rows, flexible={3: 1})


def settings(listed: Sequence[Effective]) -> None:
    """`config list`."""
    rows = [(item.setting.name, as_text(item.value), item.source, item.setting.help) for item in listed]
    _table(("setting", "value", "from", "what it does"), rows, flexible={1: 2, 2: 2, 3: 3})


def roles(listed: Sequence[ChatRole]) -> None:
    """`roles list`."""
    rows = [(role.name, role.model or "", " ".join(role.prompt.split())[:ROLE_BEGINNING]) for role in listed]
    _table(("role", "model", "system prompt"), rows, flexible={2: 1}, narrow_drops={1})


def pairs(rows: Sequence[tuple[str, str]]) -> None:
    """Names and values, as `models info` and `doctor` print them."""
    width = max((len(name) for name, _ in rows), default=0)
    print_text("".join(f"{name.ljust(width)}  {safe_line(value)}\n" for name, value in rows))


def local_time(stored: str) -> str:
    """A stored UTC time in the user's own zone, to the minute."""
    return datetime.fromisoformat(stored).astimezone().strftime("%Y-%m-%d %H:%M")


def size_text(size: int) -> str:
    """A number of bytes in its largest unit, such as `34.2 kB`."""
    for unit, bytes_in_it in (("MB", 1_000_000), ("kB", 1_000)):
        if size >= bytes_in_it:
            return f"{size / bytes_in_it:,.1f} {unit}"
    return f"{size} bytes"


def _per_mtok(model: Model, *, output: bool) -> str:
    if model.price is None:
        return "?"
    rates = model.price.rates
    return f"{(rates.output if output else rates.input) / NANO_PER_DOLLAR:.6g}"


def _table(
    headings: tuple[str, ...],
    rows: Sequence[tuple[str, ...]],
    *,
    flexible: Mapping[int, int],
    numbers: AbstractSet[int] = frozenset(),
    narrow_drops: AbstractSet[int] = frozenset(),
) -> None:
    """Print a table. `flexible` columns (position to share) fold into the room that the others leave; below 90
    columns those in `narrow_drops` are left out. Pipes get every column, tab-separated.
    """
    safe_rows = [tuple(safe_line(cell) for cell in row) for row in rows]
    if not sys.stdout.isatty():
        print_text("".join("\t".join(row) + "\n" for row in safe_rows))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    width = shutil.get_terminal_size().columns
    shown = [position for position in range(len(headings)) if width >= NARROW or position not in narrow_drops]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for position in shown:
        share = flexible.get(position)
        table.add_column(
            headings[position],
            justify="right" if position in numbers else "left",
            no_wrap=share is None,
            overflow="fold",
            ratio=share,
            min_width=None if share else max(map(len, [headings[position], *(row[position] for row in safe_rows)])),
        )
    for row in safe_rows:
        table.add_row(*(Text(row[position]) for position in shown))
    # Rich writes into a string, so that a terminal whose encoding is not UTF-8 cannot make it fail.
    drawn = io.StringIO()
    # Rich takes a terminal whose TERM is dumb for 80 columns wide, unless it is given both sizes.
    console = Console(file=drawn, width=width, height=25, force_terminal=True, no_color=not wants_color(sys.stdout))
    console.print(table)
    write_all(sys.stdout.buffer, drawn.getvalue().encode())
