"""What an import did, in words and as JSON."""

from __future__ import annotations

from typing import Any

from aichat_cli.core.archive import ImportSummary
from aichat_cli.render.sanitize import safe_line

MOST_LINES = 20


def summary_text(summary: ImportSummary, *, is_rehearsal: bool) -> str:
    """The counts, and below them whatever was not taken over."""
    kinds = {
        "new": summary.new,
        "updated": summary.updated,
        "unchanged": summary.unchanged,
        "in the trash and left there": summary.in_trash,
    }
    told = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count) or "none"
    lines = [
        f"{'Would import' if is_rehearsal else 'Conversations'}: {told}",
        f"Messages: {summary.messages_new:,} new, {summary.messages_known:,} were here",
    ]
    if summary.messages_kept:
        lines.append(f"Messages that say something else here, kept as they are: {summary.messages_kept:,}")
    if summary.branches:
        lines.append(f"Branches beside the first: {summary.branches:,}")
    if summary.files_stored or summary.files_missing:
        lines.append(f"Attachments: {summary.files_stored:,} stored, {summary.files_missing:,} not in the archive")
    lines.extend(_named("  missing: ", summary.missing, summary.files_missing))
    lines.extend(f"Left out: {count:,} {reason}" for reason, count in sorted(summary.skipped.items()))
    return "".join(f"{safe_line(line) if line[0] != ' ' else '  ' + safe_line(line)}\n" for line in lines)


def failure_lines(summary: ImportSummary) -> list[str]:
    """What could not be taken over, one line each."""
    lines = [
        f'{failure.source}: "{failure.conversation}": {failure.reason}'
        if failure.conversation
        else f"{failure.source}: {failure.reason}"
        for failure in summary.failures[:MOST_LINES]
    ]
    left = summary.failure_count - len(lines)
    return [*lines, f"... and {left:,} more; --json lists up to 1,000."] if left > 0 else lines


def summary_json(summary: ImportSummary, *, is_rehearsal: bool) -> dict[str, Any]:
    """`history import --json`."""
    return {
        "dry_run": is_rehearsal,
        "conversations": {
            "new": summary.new,
            "updated": summary.updated,
            "unchanged": summary.unchanged,
            "in_trash": summary.in_trash,
            "failed": summary.failure_count,
        },
        "messages": {
            "new": summary.messages_new,
            "known": summary.messages_known,
            "kept": summary.messages_kept,
        },
        "branches": summary.branches,
        "attachments": {
            "stored": summary.files_stored,
            "missing": summary.files_missing,
            "missing_names": summary.missing,
        },
        "skipped": [{"reason": reason, "count": count} for reason, count in sorted(summary.skipped.items())],
        "failures": [
            {"source": failure.source, "conversation": failure.conversation, "reason": failure.reason}
            for failure in summary.failures
        ],
    }


def _named(prefix: str, names: list[str], count: int) -> list[str]:
    if not names:
        return []
    shown = sorted(set(names))[:MOST_LINES]
    more = f", and others ({count:,} in all)" if count > len(shown) else ""
    return [prefix + ", ".join(map(safe_line, shown)) + more]
