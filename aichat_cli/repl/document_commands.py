"""Slash commands of documents: answer from them, take them in, and see what an answer drew on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aichat_cli.core.documents import Source, digest_of
from aichat_cli.core.errors import NotFound, UsageError
from aichat_cli.core.ingest import IngestOptions, IngestPreview, IngestSummary
from aichat_cli.core.interrupts import Interrupted
from aichat_cli.core.struct import replace
from aichat_cli.render import documents_view, sources_view
from aichat_cli.render.sanitize import safe_line
from aichat_cli.storage import collections, documents

if TYPE_CHECKING:
    from aichat_cli.app import App
    from aichat_cli.repl.session import Session


def docs(session: Session, name: str) -> None:
    """Answer from a collection, or no longer; alone, the other of the two."""
    if name == "off" or (not name and session.template.docs is not None):
        session.template = replace(session.template, docs=None)
        session.diagnostics.notice("Answers without documents from now on.")
        return
    chosen = name or session.house.settings.text("documents.collection")
    if session.house.settings.text("documents.search_in") == "hosted":
        session.template = replace(session.template, docs=chosen)
        session.diagnostics.notice(
            f'Answers from the documents of "{chosen}" on the hosted database from now on; /docs off ends it.'
        )
        return
    collection = collections.get(session.house.readable_database, chosen)
    session.template = replace(session.template, docs=collection.name)
    session.diagnostics.notice(
        f'Answers from the {collection.document_count:,} documents of "{collection.name}" from now on; /docs off ends it.'
    )


def ingest(session: Session, argument: str) -> None:
    """Make a file, a folder or a page searchable, and answer from it."""
    from aichat_cli.chat.mentions import path_argument
    from aichat_cli.render.progress import file_progress

    if not argument:
        raise UsageError("/ingest needs a path or a URL.", hint="As in: /ingest notes/")
    house = session.house
    name = session.template.docs or house.settings.text("documents.collection")
    collection = house.library.opened(name, None)
    summary = IngestSummary()
    try:
        with session.terminal.suspended(for_program=True), file_progress("Ingesting") as bar:
            house.library.ingest(
                collection,
                [path_argument(argument)],
                IngestOptions(),
                summary,
                progress=bar.update,
                confirm=lambda preview: _is_cheap(preview, house),
            )
    except Interrupted:
        session.diagnostics.notice("Stopped. What was ingested is whole; the same again adds the rest.")
        raise
    finally:
        session.say(documents_view.summary_text(summary, is_rehearsal=False))
    for line in [*documents_view.note_lines(summary), *documents_view.failure_lines(summary)]:
        session.diagnostics.notice(line)
    if collections.get(house.readable_database, collection.name).document_count:
        session.template = replace(session.template, docs=collection.name)


def sources(session: Session, argument: str) -> None:
    """List what the last answer was given, or show one passage of it."""
    given = _last_sources(session)
    if not argument:
        cited = "\n".join(sources_view.stored_lines(given))
        session.say(f"{cited}\n/sources N shows a passage.")
        return
    found = [source for source in given if str(source.number) == argument.strip("[]")]
    if not found:
        numbers = f"1 to {len(given)}" if len(given) > 1 else "1"
        raise UsageError(f'There is no source "{argument}".', hint=f"The last answer has {numbers}")
    [source] = found
    text = _text(session, source)
    session.say(f"{source.place}  {source.heading}".rstrip())
    session.say(text)


def _text(session: Session, source: Source) -> str:
    """The passage, where the document still holds it at its place.

    Raises:
        NotFound: the document is gone, or says something else there now.
    """
    database = session.house.readable_database
    document = documents.by_id(database, source.document_id)
    text = documents.text(database, document)[source.start : source.end]
    if digest_of(text) != source.digest:
        raise NotFound(
            f"{safe_line(source.document)} changed after this answer, and says something else there now.",
            hint=f'Run: aichat docs show "{safe_line(source.place)}"',
        )
    return text


def _last_sources(session: Session) -> tuple[Source, ...]:
    for message in reversed(session.branch()):
        if message.sources:
            return message.sources
    raise UsageError("No answer here drew on documents.", hint="/docs turns answering from documents on")


def _is_cheap(preview: IngestPreview, house: App) -> bool:
    house.require_room(preview.model, preview.cost_nano)
    if preview.is_within(house.settings.number("documents.confirm_usd")):
        return True
    raise UsageError(
        f"Embedding {preview.tokens:,} tokens by {preview.model} costs {documents_view.amount_text(preview)}; nothing was ingested.",
        hint="In a shell, aichat ingest asks before it does so",
    )
