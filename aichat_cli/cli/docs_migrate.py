"""`aichat docs migrate`: where the vectors of a collection are searched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from aichat_cli.app import App
from aichat_cli.cli.common import DebugFlag, opened
from aichat_cli.core.documents import Collection
from aichat_cli.core.errors import UsageError
from aichat_cli.core.ingest import IngestProgress
from aichat_cli.core.interrupts import Interrupted
from aichat_cli.render import documents_view
from aichat_cli.render.diagnostics import Diagnostics
from aichat_cli.render.progress import file_progress
from aichat_cli.render.sync_progress import sync_progress
from aichat_cli.storage import collections, vectors

if TYPE_CHECKING:
    from aichat_cli.documents.moving import Moved

PLACES = ("local", "pinecone", "hosted")


def _places() -> list[str]:
    from aichat_cli.config import plugins

    return [*PLACES, *(name for name in plugins.names(plugins.VECTOR_STORES) if name not in PLACES)]


def migrate(
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="local, pinecone, hosted, or the name of another package's vector store.",
            metavar="PLACE",
            autocompletion=_places,
        ),
    ],
    collection: Annotated[str | None, typer.Option("--collection", help="Of this collection.", metavar="NAME")] = None,
    debug: DebugFlag = False,
) -> None:
    """Have the vectors of a collection searched elsewhere; it is switched when all of them are there."""
    with opened(debug=debug) as (house, diagnostics):
        if to not in PLACES and to not in _places():
            raise UsageError(f"There is no place {to!r} for vectors.", hint=f"One of: {', '.join(_places())}")
        target = collections.get(house.database, collection or house.settings.text("documents.collection"))
        try:
            moved = _moved(house, target, to)
        except Interrupted:
            diagnostics.warning("Stopped. It is searched where it was; the same command again goes on from there.")
            raise
        for line in documents_view.moved_lines(target, to, moved):
            diagnostics.notice(line)
        tell_what_is_left(house, diagnostics)


def _moved(house: App, target: Collection, to: str) -> Moved:
    if to == "hosted":
        with sync_progress() as update:
            return house.sync.move_to_hosted(house.database, target.name, update)
    total = vectors.stored_count(house.database, target.seq)
    with file_progress("Moving") as bar:
        return house.documents.move(
            house.database, target, to, lambda done: bar.update(IngestProgress(min(done, total), total, 0, ""))
        )


def tell_what_is_left(house: App, diagnostics: Diagnostics) -> None:
    """Delete elsewhere what is not searched any more, and tell what keeps it there."""
    for place, error in house.documents.clear_away(house.database).items():
        diagnostics.warning(
            f"Vectors that are not searched any more are still {documents_view.where(place)}; the next aichat docs migrate deletes them."
            f" {error.message} {error.hint or ''}".rstrip()
        )
