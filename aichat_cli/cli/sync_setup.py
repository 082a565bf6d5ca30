"""The steps of `aichat sync init` that are the same whatever this device is to sync with."""

from __future__ import annotations

import sys

import typer

from aichat_cli.app import App
from aichat_cli.cli.common import confirmed, confirmed_on_terminal
from aichat_cli.cli.sync_run import synced
from aichat_cli.config import settings_file
from aichat_cli.config.settings import known
from aichat_cli.core.errors import AichatError, SyncError, UsageError
from aichat_cli.render import sync_view
from aichat_cli.render.diagnostics import Diagnostics
from aichat_cli.storage import sync_overview, sync_state


def agreed(
    house: App, diagnostics: Diagnostics, question: str | None, *, hint: str = "", no_documents: bool, yes: bool
) -> None:
    """Tell what there is here, and ask, where there is a question.

    Raises:
        UsageError: the answer is no. `hint` is what there is instead.
    """
    here = sync_overview.contents(house.database)
    counts = {"conversation": here.conversations, "message": here.messages}
    is_with_documents = house.sync.with_documents and not no_documents
    if is_with_documents:
        counts["document"] = here.documents
    listed = sync_view.counted(counts) or "nothing yet"
    kept = "" if is_with_documents or not here.documents else " Documents stay on this device."
    diagnostics.notice(f"Here: {listed}. What one side lacks, it gets.{kept}")
    if question and not (
        yes or (confirmed(question, yes=False) if sys.stdin.isatty() else confirmed_on_terminal(question))
    ):
        other = f". With a database of your own: {hint}" if hint else ""
        raise UsageError("Nothing was changed.", hint=f"To sync without being asked: --yes{other}")


def keep_documents_here(house: App) -> None:
    """Leave documents out of sync from now on."""
    settings_file.set_value(house.paths.config_file, known("sync.documents"), False)
    house.reload_settings()


def begin(house: App, account: str) -> None:
    """Turn sync on; where that fails, no address is kept."""
    try:
        sync_state.begin(house.database, account, with_documents=house.sync.with_documents)
    except AichatError:
        house.sync.drop()
        raise


def first_sync(house: App, diagnostics: Diagnostics) -> None:
    """Sync once; what fails is told, and sync stays on."""
    try:
        synced(house, diagnostics, house.sync)
    except SyncError:
        raise
    except AichatError as exc:
        diagnostics.error(exc, consequence="Sync is on, but its first run is not complete. ")
        raise typer.Exit(exc.exit_code) from None
    diagnostics.notice("From now on, chats sync by themselves; aichat sync now does it at once.")
