"""One sync by a command: with a bar while it runs, then what it did, and the vectors that are missing after it."""

from __future__ import annotations

import shlex

from aichat_cli.app import App
from aichat_cli.core.errors import AichatError
from aichat_cli.core.interrupts import Interrupted
from aichat_cli.core.sync import SyncReport
from aichat_cli.render import json_shapes, sync_view
from aichat_cli.render.answer import print_text
from aichat_cli.render.diagnostics import Diagnostics
from aichat_cli.render.progress import file_progress
from aichat_cli.render.sync_progress import sync_progress
from aichat_cli.sync_services import SyncServices, is_free


def synced(
    house: App, diagnostics: Diagnostics, services: SyncServices, *, as_json: bool = False, is_quiet: bool = False
) -> None:
    """Sync once, and tell what was done."""
    try:
        with sync_progress(is_quiet=is_quiet or as_json) as update:
            report = services.run(house.database, update)
    except Interrupted:
        diagnostics.warning("Stopped. What was confirmed is kept; the next sync goes on from there.")
        raise
    made = _completed(house, diagnostics, services, report, is_quiet=is_quiet or as_json)
    if as_json:
        print_text(json_shapes.dumps(sync_view.report(report, made)))
        return
    if not is_quiet:
        print_text(sync_view.report_text(report) + "\n")
        for note in sync_view.report_notes(report):
            diagnostics.notice(note)


def _completed(
    house: App, diagnostics: Diagnostics, services: SyncServices, report: SyncReport, *, is_quiet: bool
) -> dict[str, int]:
    """Make the vectors of what came, where they cost nothing; else say how. By collection, how many were made."""
    made = {}
    for name in sorted(report.without_vectors):
        try:
            if is_free(house.database, name):
                with file_progress("Embedding") as bar:
                    made[name] = services.complete(house.database, name, bar.update)
                continue
        except AichatError as exc:
            diagnostics.error(exc)
        if not is_quiet:
            diagnostics.notice(
                f'New documents in "{name}" are found by their words until their vectors are made. Run: aichat docs'
                f" reindex --embed-only --collection {shlex.quote(name)}"
            )
    return made
