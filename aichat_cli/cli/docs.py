"""`aichat docs`: what was ingested: listed, shown, removed, read again, embedded anew."""

from __future__ import annotations

import os
import re
import shlex
import sys
from typing import Annotated

import typer

from aichat_cli.app import App
from aichat_cli.cli import docs_migrate
from aichat_cli.cli.common import (
    LISTING_LIMIT,
    AllFlag,
    DebugFlag,
    JsonFlag,
    LimitOption,
    command_group,
    confirmed,
    opened,
)
from aichat_cli.cli.docs_migrate import tell_what_is_left
from aichat_cli.cli.ingest import agreed, ingested
from aichat_cli.core.documents import Document, Passage
from aichat_cli.core.errors import EmbeddingError, NotFound, UsageError
from aichat_cli.core.exits import EXIT_ERROR
from aichat_cli.core.ingest import IngestOptions
from aichat_cli.render import documents_view, json_shapes, tables
from aichat_cli.render.answer import print_text, stdout_sink
from aichat_cli.render.progress import file_progress
from aichat_cli.storage import chunks, collections, documents

app = command_group("Documents that were ingested.")
app.command("migrate")(docs_migrate.migrate)

CollectionOption = Annotated[str | None, typer.Option("--collection", help="Of this collection.", metavar="NAME")]

BACKGROUND_NICENESS = 15
_LINE = re.compile(r"(?P<name>.+):(?P<number>[0-9]{1,9})")
_PAGE = re.compile(r"(?P<name>.+?)(?: p\.|:p)(?P<number>[0-9]{1,9})")


@app.command("list")
def list_(
    collection: CollectionOption = None,
    limit: LimitOption = LISTING_LIMIT,
    everything: AllFlag = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """List documents, the last changed first."""
    with opened(as_json=as_json, debug=debug) as (house, diagnostics):
        if collection is not None:
            collections.get(house.readable_database, collection)
        listed = documents.listing(house.readable_database, collection=collection, limit=None if everything else limit)
        if as_json:
            print_text(json_shapes.dumps(documents_view.document_rows(listed)))
        elif listed:
            tables.documents(listed)
        else:
            diagnostics.notice("There are no documents yet. Run: aichat ingest FOLDER")


@app.command("collections")
def collections_(as_json: JsonFlag = False, debug: DebugFlag = False) -> None:
    """List collections."""
    with opened(as_json=as_json, debug=debug) as (house, diagnostics):
        listed = collections.listing(house.readable_database)
        if as_json:
            print_text(json_shapes.dumps(documents_view.collection_rows(listed)))
        elif listed:
            tables.collections(listed)
        else:
            diagnostics.notice("There are no documents yet. Run: aichat ingest FOLDER")


@app.command()
def show(
    reference: Annotated[
        list[str], typer.Argument(help='A document, or a place in one: notes.md:12, "report.pdf p.3".', metavar="PLACE")
    ],
    collection: CollectionOption = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Show the text of a document, or the passage at a place of it."""
    with opened(as_json=as_json, debug=debug) as (house, diagnostics):
        document, passages = _meant(house, " ".join(reference), collection)
        if as_json:
            shown = documents_view.document_rows([document])[0]
            shown["passages"] = [documents_view.passage_row(passage) for passage in passages]
            print_text(json_shapes.dumps(shown))
            return
        if sys.stdout.isatty():
            diagnostics.notice(documents_view.heading_of(document, passages))
        sink = stdout_sink()
        for passage in passages:
            sink.write(passage.text)
        sink.end()


@app.command()
def rm(
    references: Annotated[
        list[str] | None, typer.Argument(help="Names, ids, paths or folders.", metavar="DOCUMENT...")
    ] = None,
    collection: CollectionOption = None,
    everything: Annotated[bool, typer.Option("--all", help="The whole collection.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    debug: DebugFlag = False,
) -> None:
    """Remove documents from the index; the files stay where they are."""
    with opened(debug=debug) as (house, diagnostics):
        if everything == bool(references):
            raise UsageError("Name documents, or give --all and --collection.")
        if everything:
            whole = collections.get(house.database, collection or house.settings.text("documents.collection"))
            question = f'Remove the collection "{whole.name}" with {whole.document_count:,} documents?'
            if not confirmed(question, yes=yes):
                raise UsageError("Nothing was removed.", hint="To remove without being asked: --yes")
            collections.remove(house.database, whole)
            diagnostics.notice(f'Removed the collection "{whole.name}".')
            tell_what_is_left(house, diagnostics)
            return
        found = [each for name in references or [] for each in house.library.of_reference(name, collection)]
        removed = list({document.seq: document for document in found}.values())
        what = f'"{removed[0].name}"' if len(removed) == 1 else f"{len(removed):,} documents"
        if not confirmed(f"Remove {what}?", yes=yes):
            raise UsageError("Nothing was removed.", hint="To remove without being asked: --yes")
        house.library.remove(removed)
        diagnostics.notice(f"Removed {what}.")
        if problem := house.library.settled({document.collection for document in removed}):
            diagnostics.warning(problem)


@app.command()
def refresh(
    references: Annotated[
        list[str] | None, typer.Argument(help="Documents or folders; none is all of them.", metavar="DOCUMENT...")
    ] = None,
    collection: CollectionOption = None,
    prune: Annotated[bool, typer.Option("--prune", help="Remove documents whose file is gone.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before a paid model embeds.")] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Read again what changed since it was ingested."""
    with opened(as_json=as_json, debug=debug) as (house, diagnostics):
        name = collection or house.settings.text("documents.collection")
        target = collections.get(house.database, name)
        sources = house.library.sources(name, references or [])
        for source in sources.absent:
            diagnostics.warning(f"{source} is not there; what was ingested of it is kept.")
        options = IngestOptions(prune=prune)
        summary = ingested(house, diagnostics, target, sources.present, options, yes=yes, as_json=as_json)
        if summary.failure_count or sources.absent:
            raise typer.Exit(EXIT_ERROR)


@app.command()
def reindex(
    collection: CollectionOption = None,
    embedding_model: Annotated[
        str | None, typer.Option("--embedding-model", help="Change to this model; none for words alone.")
    ] = None,
    embed_only: Annotated[bool, typer.Option("--embed-only", help="Make only vectors that are missing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before a paid model embeds.")] = False,
    debug: DebugFlag = False,
) -> None:
    """Make the indexes anew from what is stored; nothing is read again. Until it is done the old ones are searched."""
    with opened(debug=debug) as (house, diagnostics):
        target = collections.get(house.database, collection or house.settings.text("documents.collection"))
        with file_progress("Embedding") as bar:
            count = house.library.reindex(
                target,
                embedding_model,
                embed_only=embed_only,
                progress=bar.update,
                confirm=lambda preview: bar.paused(lambda: agreed(preview, house, diagnostics, yes=yes)),
            )
        now = collections.get(house.database, target.name)
        diagnostics.notice(
            f'"{now.name}": {count:,} vectors made, by {now.embedding_model or "no model: words alone"}.'
        )
        if problem := house.library.settled([now.name]):
            diagnostics.warning(problem)
        if target.searched_in != "local" and now.searched_in == "local":
            again = f"aichat docs migrate --to {shlex.quote(target.searched_in)} --collection {shlex.quote(now.name)}"
            diagnostics.notice(f"The new vectors are searched on this device. To move them as well: {again}")
            tell_what_is_left(house, diagnostics)


@app.command()
def warm(collection: CollectionOption = None, debug: DebugFlag = False) -> None:
    """Make the vectors that the best results are ranked again by; ingest does it in the background."""
    with opened(debug=debug) as (house, diagnostics):
        if hasattr(os, "nice"):
            os.nice(BACKGROUND_NICENESS)
        target = collections.get(house.database, collection or house.settings.text("documents.collection"))
        if house.documents.reranker() is None:
            raise EmbeddingError("There is no model to rank again by.", hint="Run: aichat models pull minilm")
        with file_progress("Embedding") as bar:
            count = house.library.warm(target, progress=bar.update)
        diagnostics.notice(f'"{target.name}": {count:,} vectors made.')


def _meant(house: App, reference: str, collection: str | None) -> tuple[Document, list[Passage]]:
    """The document, and its passages at the place that is meant, all of them where none is."""
    database = house.readable_database
    try:
        document = _only(documents.find(database, reference, collection=collection), reference)
        return document, list(chunks.of_document(database, document.seq))
    except NotFound:
        place = _PAGE.fullmatch(reference) or _LINE.fullmatch(reference)
        if place is None:
            raise
    document = _only(documents.find(database, place["name"], collection=collection), reference)
    by_page = place.re is _PAGE
    number = int(place["number"])
    before = [
        (passage.page if by_page else passage.line, passage)
        for passage in chunks.of_document(database, document.seq)
        if ((passage.page if by_page else passage.line) or number + 1) <= number
    ]
    if not before:
        raise NotFound(f"{document.name} has no such place.", hint=f'Run: aichat docs show "{document.name}"')
    # A passage goes on to where the next begins.
    return document, [passage for at, passage in before if at == before[-1][0]]


def _only(found: list[Document], reference: str) -> Document:
    if len(found) > 1:
        paths = ", ".join(document.path for document in found[:5])
        raise UsageError(f'"{reference}" is more than one document: {paths}.', hint="Name one by its path")
    return found[0]
