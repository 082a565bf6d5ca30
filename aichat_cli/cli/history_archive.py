"""`aichat history export` and `import`: conversations to and from files."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from aichat_cli.cli.common import DebugFlag, JsonFlag, opened
from aichat_cli.core.archive import ArchiveFormat, ImportSummary
from aichat_cli.core.errors import NotFound, UsageError
from aichat_cli.core.exits import EXIT_ERROR
from aichat_cli.core.export import ExportFormat
from aichat_cli.core.interrupts import Interrupted
from aichat_cli.core.messages import Conversation
from aichat_cli.render import json_shapes
from aichat_cli.render.answer import print_text, stdout_sink
from aichat_cli.render.diagnostics import Diagnostics
from aichat_cli.storage import conversations
from aichat_cli.storage.database import Database


def export(
    references: Annotated[
        list[str] | None, typer.Argument(help="Ids or titles; none is the last one.", metavar="ID...")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every conversation.")] = False,
    export_format: Annotated[
        ExportFormat | None, typer.Option("--format", help="Else what the file's name says, or Markdown.")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="A file, or a folder for one file each; else stdout.", metavar="PATH"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    debug: DebugFlag = False,
) -> None:
    """Write conversations as Markdown, as JSON that can be imported, or as one HTML page."""
    from aichat_cli.render import export as exporting

    with opened(debug=debug) as (house, diagnostics):
        listed = _chosen(house.readable_database, references or [], everything=everything)
        if output is None or output == "-":
            sink = stdout_sink()
            for piece in exporting.render_export(house.readable_database, listed, export_format or "markdown"):
                sink.write(piece)
            sink.end()
            return
        path = Path(output)
        if output.endswith("/") and not path.is_dir():
            raise NotFound(f"There is no folder {path}.", hint=f"Make it: mkdir {shlex.quote(str(path))}")
        written = exporting.write_export(house.readable_database, listed, path, export_format, overwrite=force)
        count = f"{len(listed):,} conversation{'s' if len(listed) != 1 else ''}"
        diagnostics.notice(f"Wrote {count} to {path if len(written) != 1 else written[0]}.")


def _chosen(database: Database, references: list[str], *, everything: bool) -> list[Conversation]:
    """The conversations that are meant, each once; in order of time where it is all of them."""
    if everything:
        if references:
            raise UsageError("Name conversations, or give --all, not both.")
        found = conversations.listing(database, limit=None)[::-1]
    elif references:
        found = [conversations.find(database, reference) for reference in references]
    else:
        found = conversations.listing(database, limit=1)
    if not found:
        raise NotFound("There are no conversations yet.", hint='Run: aichat "your question"')
    return list({conversation.id: conversation for conversation in found}.values())


def import_(
    files: Annotated[
        list[str],
        typer.Argument(help="A .zip, conversations.json, logs.db or JSON export, or a folder.", metavar="FILE..."),
    ],
    archive_format: Annotated[
        ArchiveFormat, typer.Option("--format", help="What it is; found out by itself.")
    ] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and count everything, store nothing.")] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Import what ChatGPT, Claude, llm or aichat exported. A second time adds only what is new."""
    from aichat_cli.chat.importing import import_archives
    from aichat_cli.render.progress import import_progress

    with opened(as_json=as_json, debug=debug) as (house, diagnostics):
        if "" in files:
            raise UsageError("The name of a file is empty.")  # as a path it would be the current folder
        paths = [Path(file) for file in files]
        for path in paths:
            if not path.exists():
                raise NotFound(f"There is no file {path}.")
        summary = ImportSummary()
        try:
            with import_progress("Importing") as progress:
                import_archives(
                    house.database,
                    paths,
                    summary,
                    archive_format=archive_format,
                    is_rehearsal=dry_run,
                    progress=progress,
                )
        except Interrupted:
            diagnostics.warning("Stopped. What was imported is whole; the same import again adds the rest.")
            _tell(summary, diagnostics, dry_run=dry_run, as_json=as_json)
            raise
        _tell(summary, diagnostics, dry_run=dry_run, as_json=as_json)
        if summary.failure_count:
            raise typer.Exit(EXIT_ERROR)


def _tell(summary: ImportSummary, diagnostics: Diagnostics, *, dry_run: bool, as_json: bool) -> None:
    from aichat_cli.render import import_view

    if as_json:
        print_text(json_shapes.dumps(import_view.summary_json(summary, is_rehearsal=dry_run)))
        return
    print_text(import_view.summary_text(summary, is_rehearsal=dry_run))
    for line in import_view.failure_lines(summary):
        diagnostics.warning(line)
