"""Sync in words a person understands, and as JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from aichat_cli.core.struct import asdict
from aichat_cli.core.sync import Device, SyncReport, TrashEntry
from aichat_cli.render import tables
from aichat_cli.render.answer import print_text
from aichat_cli.render.sanitize import safe_line
from aichat_cli.sync.overview import Overview, Plan

TRASH_COMMAND = "aichat sync trash"
NAMES_SHOWN = 3
_NOUNS = {
    "conversation": ("conversation", "conversations"),
    "changed": ("changed conversation", "changed conversations"),
    "message": ("message", "messages"),
    "usage": ("usage record", "usage records"),
    "document": ("document", "documents"),
    "file": ("attached file", "attached files"),
}
_RESYNCS = {
    "first": "",
    "copied": "This database is a copy of another device's: it is a device of its own from now on.",
    "purged": "This device was away for long: everything was read again.",
    "restored": "The other side was set back to an older state: everything here was compared with it, and sent where it was"
    " missing.",
}
_SPANS = ((86_400, "day"), (3600, "hour"), (60, "minute"))
_KEPT = {
    "conversation": 'the conversation "{title}", deleted on another device',
    "title": 'the title "{title}"',
    "system_prompt": 'the system prompt of "{title}"',
    "document": 'the document "{title}"',
}


def report_text(report: SyncReport) -> str:
    """What one sync did, in a sentence or two."""
    sentences = [said] if (said := _RESYNCS.get(report.resync, "")) else []
    parts = []
    if report.sent:
        parts.append(f"sent {counted(report.sent)}")
    if report.received:
        parts.append(f"received {counted(report.received)}")
    if report.deleted_there:
        parts.append(f"passed {_things(report.deleted_there, 'deletion')} on")
    if report.deleted_here:
        parts.append(f"deleted {report.deleted_here:,} here that {_was(report.deleted_here)} deleted elsewhere")
    sentences.append(_sentence(parts) if parts else "Nothing to do: both sides are alike.")
    if report.waiting:
        sentences.append("An answer that is still being written is sent when it is complete.")
    return " ".join(sentences)


def report_notes(report: SyncReport) -> list[str]:
    """What somebody should know besides: conflicts, and what stayed where it was."""
    notes = []
    if report.kept:
        listed = named([_KEPT[entry.kind].format(title=entry.title) for entry in report.kept])
        notes.append(f"A later change of another device won; kept here: {listed}. See: {TRASH_COMMAND}")
    if report.left_here:
        names = list(dict.fromkeys(report.left_here))
        verb = "is" if len(names) == 1 else "are"
        notes.append(f"{named(names)} {verb} larger than sync.attachments_max_mb, or never arrived: not synced.")
    return notes


def report(done: SyncReport, made: Mapping[str, int]) -> dict[str, Any]:
    """`sync now --json`."""
    return {
        "sent": done.sent,
        "received": done.received,
        "deleted_there": done.deleted_there,
        "deleted_here": done.deleted_here,
        "kept": [trash_row(entry) for entry in done.kept],
        "resync": done.resync or None,
        "left_here": done.left_here,
        "without_vectors": sorted(done.without_vectors - set(made)),
        "waiting": done.waiting,
    }


def plan_text(planned: Plan) -> str:
    """What a sync would do."""
    if planned.is_everything:
        here = counted(planned.sent) or "nothing"
        there = counted(planned.received) or "nothing"
        return f"Everything would be compared: here {here}; there {there}. What one side lacks, it would get."
    if planned.is_nothing:
        return "Nothing would be done: both sides are alike."
    parts = []
    if planned.sent:
        parts.append(f"send {counted(planned.sent)}")
    if planned.received:
        parts.append(f"receive {counted(planned.received)}")
    if planned.deleted_there:
        parts.append(f"pass {_things(planned.deleted_there, 'deletion')} on")
    if planned.deleted_here:
        parts.append(f"delete {planned.deleted_here:,} here that {_was(planned.deleted_here)} deleted elsewhere")
    lines = [f"Would {_joined(parts)}."]
    lines += [f"  {safe_line(title)}" for title in [*planned.titles, *planned.documents]]
    return "\n".join(lines)


def plan(planned: Plan) -> dict[str, Any]:
    """`sync now --dry-run --json`."""
    return {
        "send": planned.sent,
        "receive": planned.received,
        "delete_there": planned.deleted_there,
        "delete_here": planned.deleted_here,
        "titles": planned.titles,
        "documents": planned.documents,
        "resync": planned.resync or None,
        "waiting": planned.writing,
    }


def print_overview(shown: Overview) -> None:
    """`aichat sync status`."""
    tables.pairs(status_rows(shown))
    if shown.devices is not None:
        # On a terminal the table brings a blank line of its own.
        print_text("" if sys.stdout.isatty() else "\n")
        tables.devices([(device.name, ago(device.seen_at), device_mark(device)) for device in shown.devices])


def status_rows(shown: Overview) -> list[tuple[str, str]]:
    """How things stand, line by line."""
    status = shown.status
    rows = [("with", shown.place), ("last sync", ago(status.synced_at) if status.synced_at else "never")]
    if status.problem:
        rows.append(("problem", f"{status.problem} ({ago(status.tried_at)})"))
    pending, deletions = _split(status.pending)
    waits = [counted(pending)] if pending else []
    waits += [_things(deletions, "deletion")] if deletions else []
    if status.resync and not status.synced_at:
        rows.append(("to send", "everything: the first sync is not complete yet"))
    else:
        rows.append(("to send", _joined(waits) or "nothing"))
    if shown.writing:
        rows.append(("waits", "an answer that is still being written"))
    if status.trash:
        rows.append(
            ("kept", f"{_things(len(status.trash), 'thing')} that lost to another device; see: {TRASH_COMMAND}")
        )
    rows.append(("documents", "synced" if status.with_documents else "not synced"))
    rows.append(("in a chat", "syncs by itself" if shown.is_background else "only by /sync"))
    if shown.trouble:
        rows.append(("devices", f"unknown: {shown.trouble}"))
    return rows


def overview(shown: Overview) -> dict[str, Any]:
    """`sync status --json`."""
    status = shown.status
    return {
        "database": shown.place,
        "device_id": status.device_id,
        "synced_at": status.synced_at,
        "tried_at": status.tried_at,
        "problem": status.problem,
        "pending": status.pending,
        "waiting": shown.writing,
        "resync": status.resync or None,
        "documents": status.with_documents,
        "background": shown.is_background,
        "trash": len(status.trash),
        "devices": None if shown.devices is None else [asdict(device) for device in shown.devices],
        "unreachable": shown.trouble,
    }


def trash_row(entry: TrashEntry) -> dict[str, Any]:
    """One entry of `sync trash --json`."""
    return {
        "id": entry.id,
        "kind": entry.kind,
        "conversation_id": entry.conversation_id,
        "title": entry.title,
        "created_at": entry.created_at,
    }


def trash_text(entry: TrashEntry, kept: Mapping[str, Any]) -> str:
    """What is kept of an entry: the text as it is, or a conversation message by message."""
    if entry.kind != "conversation":
        return str(kept["value"] or "")
    parts = [f"# {safe_line(entry.title)}\n"]
    if kept["system_prompt"]:
        parts.append(f"system: {kept['system_prompt'].rstrip()}\n")
    for message in kept["messages"]:
        name = "you" if message["role"] == "user" else safe_line(message["model"] or message["role"])
        files = "".join(f"[{safe_line(file['name'])}]\n" for file in message["files"])
        parts.append(
            f"## {name} ({tables.local_time(message['created_at'])})\n\n{files}{message['content'].rstrip()}\n"
        )
    return "\n".join(parts)


def counted(counts: Mapping[str, int]) -> str:
    """Such as `3 conversations, 12 messages and 1 document`. What only concerns the books comes last."""
    return _joined([_number(count, *_NOUNS[kind]) for kind in _NOUNS if (count := counts.get(kind, 0))])


def ago(stored: str | None, now: datetime | None = None) -> str:
    """How long ago a stored time was, such as `2 minutes ago`."""
    if stored is None:
        return "never"
    seconds = ((now or datetime.now(UTC)) - datetime.fromisoformat(stored)).total_seconds()
    if seconds < 60:
        return "just now"
    if seconds > 30 * 86_400:
        return tables.local_time(stored)
    size, name = next((size, name) for size, name in _SPANS if seconds >= size)
    return f"{_things(int(seconds // size), name)} ago"


def short_ago(seconds: float) -> str:
    """As the status line has it: `now`, `2m ago`, `3h ago`."""
    found = next(((size, name) for size, name in _SPANS if seconds >= size), None)
    return f"{int(seconds // found[0])}{found[1][0]} ago" if found else "now"


def named(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    shown = [safe_line(name) for name in names[:NAMES_SHOWN]]
    if len(names) > NAMES_SHOWN:
        shown.append(f"{len(names) - NAMES_SHOWN:,} more")
    return _joined(shown)


def device_mark(device: Device) -> str:
    """How far behind a device is."""
    if device.is_this:
        return "this device"
    return "up to date" if device.unseen <= 0 else f"{_things(device.unseen, 'change')} behind"


def _split(pending: Mapping[str, int]) -> tuple[dict[str, int], int]:
    changes = {kind: count for kind, count in pending.items() if not kind.endswith("_delete")}
    return changes, sum(count for kind, count in pending.items() if kind.endswith("_delete"))


def _sentence(parts: Sequence[str]) -> str:
    text = _joined(parts)
    return f"{text[:1].upper()}{text[1:]}."


def _joined(parts: Iterable[str]) -> str:
    *first, last = [*parts] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def _number(count: int, one: str, several: str) -> str:
    return f"{count:,} {one if count == 1 else several}"


def _things(count: int, name: str) -> str:
    return _number(count, name, f"{name}s")


def _was(count: int) -> str:
    return "was" if count == 1 else "were"
