"""`aichat ingest`: files, folders, pages and what is piped in, made searchable."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from typing import Annotated

import typer

from aichat_cli.app import App
from aichat_cli.cli.common import DebugFlag, JsonFlag, MaxCostOption, confirmed, opened, single_command
from aichat_cli.core.documents import Collection
from aichat_cli.core.errors import UsageError
from aichat_cli.core.exits import EXIT_ERROR
from aichat_cli.core.ingest import GivenText, IngestOptions, IngestPreview, IngestSource, IngestSummary
from aichat_cli.core.interrupts import Interrupted
from aichat_cli.render import documents_view, json_shapes
from aichat_cli.render.answer import print_text
from aichat_cli.render.diagnostics import Diagnostics
from aichat_cli.render.progress import file_progress

WATCH_SECONDS = 2.0
MOST_WARMED = 20_000
"""Chunks that are embedded in the background unasked: about half an hour of one core."""

app = single_command()


@app.command()
def ingest(
    sources: Annotated[
        list[str], typer.Argument(help="Files, folders, URLs, or - for what is piped in.", metavar="PATH|URL|-...")
    ],
    collection: Annotated[
        str | None, typer.Option("--collection", help="Collection to put them in.", metavar="NAME")
    ] = None,
    embedding_model: Annotated[
        str | None, typer.Option("--embedding-model", help="Of a new collection; none for words alone.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="What to call the text that is piped in.")] = "stdin",
    prune: Annotated[bool, typer.Option("--prune", help="Remove documents whose file is gone.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Read also what did not change.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and count everything, store nothing.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, and take in what changes, until Ctrl+C.")] = False,
    max_cost: MaxCostOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before a paid model embeds.")] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Make documents searchable. A second time reads only what changed."""
    with opened(as_json=as_json, debug=debug, max_cost=max_cost) as (house, diagnostics):
        given = _given(sources, name)
        options = IngestOptions(prune=prune, is_rehearsal=dry_run, again=again)
        target = house.library.opened(collection or house.settings.text("documents.collection"), embedding_model)
        summary = ingested(house, diagnostics, target, given, options, yes=yes, as_json=as_json)
        if target.embedding_model is None and not as_json:
            diagnostics.notice(f'"{target.name}" is searched by its words alone.')
        if summary.chunks and not dry_run:
            _warm_in_background(house, target, diagnostics)
        while watch and not dry_run:
            summary = _watched(house, diagnostics, target, given, options, yes=yes, as_json=as_json)
        if summary.failure_count:
            raise typer.Exit(EXIT_ERROR)


def _given(sources: list[str], name: str) -> list[IngestSource]:
    """The sources, with `-` read from stdin."""
    given: list[IngestSource] = []
    for source in dict.fromkeys(sources):
        if not source:
            raise UsageError("The name of a file is empty.")
        if source != "-":
            given.append(source)
            continue
        if sys.stdin.isatty():
            raise UsageError("- takes what is piped in, and nothing is.", hint="As in: cat notes.txt | aichat ingest -")
        given.append(GivenText(name, sys.stdin.buffer.read()))
    return given


def ingested(
    house: App,
    diagnostics: Diagnostics,
    target: Collection,
    given: Sequence[IngestSource],
    options: IngestOptions,
    *,
    yes: bool,
    as_json: bool,
) -> IngestSummary:
    """Ingest once, and tell what was done, also of one that was stopped."""
    summary = IngestSummary()
    try:
        with file_progress("Ingesting") as bar:
            house.library.ingest(
                target,
                given,
                options,
                summary,
                progress=bar.update,
                confirm=lambda preview: bar.paused(lambda: agreed(preview, house, diagnostics, yes=yes)),
            )
    except Interrupted:
        diagnostics.warning("Stopped. What was ingested is whole; the same ingest again adds the rest.")
        _tell(summary, diagnostics, options, as_json=as_json)
        raise
    _tell(summary, diagnostics, options, as_json=as_json)
    return summary


def _warm_in_background(house: App, target: Collection, diagnostics: Diagnostics) -> None:
    """Have what was ingested ranked better soon, by a process of its own that gives way to others."""
    if house.documents.reranker() is None and house.settings.flag("documents.rerank") and not target.document_count:
        diagnostics.notice("A small model ranks results better, once it is fetched (91 MB): aichat models pull minilm")
    missing = house.library.unranked(target)
    if not 0 < missing <= MOST_WARMED:
        if missing:
            diagnostics.notice(f"To rank results better: aichat docs warm --collection {shlex.quote(target.name)}")
        return
    import subprocess

    subprocess.Popen(
        [sys.executable, "-m", "aichat_cli", "docs", "warm", "--collection", target.name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    diagnostics.notice(f"{missing:,} chunks are searchable now; ranking them better goes on in the background.")


def _watched(
    house: App,
    diagnostics: Diagnostics,
    target: Collection,
    given: list[IngestSource],
    options: IngestOptions,
    *,
    yes: bool,
    as_json: bool,
) -> IngestSummary:
    """Wait a little, and take in what changed meanwhile; silent where nothing did."""
    time.sleep(WATCH_SECONDS)
    summary = IngestSummary()
    paths = [source for source in given if isinstance(source, str)]
    once = IngestOptions(prune=options.prune)
    house.library.ingest(
        target,
        paths,
        once,
        summary,
        progress=lambda _: None,
        confirm=lambda preview: agreed(preview, house, diagnostics, yes=yes),
    )
    if summary.changed:
        _tell(summary, diagnostics, once, as_json=as_json)
    return summary


def agreed(preview: IngestPreview, house: App, diagnostics: Diagnostics, *, yes: bool) -> bool:
    """Ask before embedding costs more than the setting allows, or an amount nobody knows; what goes over a limit is refused."""
    house.require_room(preview.model, preview.cost_nano)
    amount = documents_view.amount_text(preview)
    what = f"{preview.documents:,} documents, {preview.tokens:,} tokens by {preview.model}: {amount}"
    if preview.is_within(house.settings.number("documents.confirm_usd")):
        diagnostics.notice(f"Embedding {what}.")
        return True
    if confirmed(f"Embed {what}?", yes=yes):
        return True
    raise UsageError(f"Embedding {what}: nothing was ingested.", hint="To agree without being asked: --yes")


def _tell(summary: IngestSummary, diagnostics: Diagnostics, options: IngestOptions, *, as_json: bool) -> None:
    if as_json:
        print_text(json_shapes.dumps(documents_view.summary_json(summary, is_rehearsal=options.is_rehearsal)))
        return
    print_text(documents_view.summary_text(summary, is_rehearsal=options.is_rehearsal))
    for note in documents_view.note_lines(summary):
        diagnostics.notice(note)
    for line in documents_view.failure_lines(summary):
        diagnostics.warning(line)
