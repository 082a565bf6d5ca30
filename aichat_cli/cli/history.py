"""`aichat history`: what was said, found and kept in order."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from aichat_cli.cli import history_archive
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
from aichat_cli.core.errors import UsageError
from aichat_cli.render import json_shapes, search_view, tables
from aichat_cli.render.answer import print_text
from aichat_cli.render.sinks import answer_theme
from aichat_cli.render.transcript import transcript
from aichat_cli.storage import conversations, messages, search

app = command_group("Earlier conversations.")

Reference = Annotated[str, typer.Argument(help="Id, the beginning of one, or title.", metavar="ID")]


@app.command("list")
def list_(
    limit: LimitOption = LISTING_LIMIT, everything: AllFlag = False, as_json: JsonFlag = False, debug: DebugFlag = False
) -> None:
    """List conversations, newest first."""
    with opened(as_json=as_json, debug=debug) as (house, diagnostics):
        listed = conversations.listing(house.readable_database, limit=None if everything else limit)
        if as_json:
            print_text(json_shapes.dumps(json_shapes.conversation_rows(listed)))
        elif listed:
            tables.conversations(listed)
        else:
            diagnostics.notice('There are no conversations yet. Run: aichat "your question"')


@app.command()
def show(reference: Reference, as_json: JsonFlag = False, debug: DebugFlag = False) -> None:
    """Show a conversation; --json shows every branch of it."""
    with opened(as_json=as_json, debug=debug) as (house, _):
        database = house.readable_database
        conversation = conversations.find(database, reference)
        if as_json:
            every = messages.of_conversation(database, conversation.id)
            print_text(json_shapes.dumps(json_shapes.conversation(conversation, every)))
            return
        branch = messages.branch(database, conversation.head_id) if conversation.head_id else []
        transcript(conversation, branch, answer_theme(house.settings))


@app.command("search")
def search_(
    query: Annotated[list[str], typer.Argument(help='Words, all of which must occur; "a phrase" in quotes.')],
    limit: LimitOption = LISTING_LIMIT,
    everything: AllFlag = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Search what was asked, answered and titled; best first."""
    with opened(as_json=as_json, debug=debug) as (house, diagnostics):
        marks = search_view.Marks() if sys.stdout.isatty() and not as_json else None
        hits = search.search(
            house.readable_database,
            " ".join(query),
            limit=None if everything else limit,
            mark_open=marks.open if marks else "",
            mark_close=marks.close if marks else "",
        )
        if as_json:
            print_text(json_shapes.dumps(json_shapes.search_hits(hits)))
        elif hits and marks:
            search_view.print_hits(hits, marks)
        elif hits:
            tables.search_hits(hits)
        else:
            diagnostics.notice("Nothing found.")


@app.command()
def rename(
    reference: Reference,
    title: Annotated[list[str], typer.Argument(help="The new title.")],
    debug: DebugFlag = False,
) -> None:
    """Give a conversation another title."""
    with opened(debug=debug) as (house, diagnostics):
        new_title = " ".join(" ".join(title).split())
        if not new_title:
            raise UsageError("A title cannot be empty.")
        conversation = conversations.find(house.database, reference)
        conversations.rename(house.database, conversation.id, new_title)
        diagnostics.notice(f'"{conversation.title}" is now "{new_title}".')


@app.command()
def rm(
    references: Annotated[list[str], typer.Argument(help="Ids or titles.", metavar="ID...")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    debug: DebugFlag = False,
) -> None:
    """Delete conversations for good; what they cost stays in the usage."""
    with opened(debug=debug) as (house, diagnostics):
        found = [conversations.find(house.database, reference) for reference in references]
        for conversation in {conversation.id: conversation for conversation in found}.values():
            question = f'Delete "{conversation.title}" with {conversation.message_count} messages?'
            if not confirmed(question, yes=yes):
                raise UsageError("Nothing was deleted.", hint="To delete without being asked: --yes")
            conversations.delete(house.database, conversation.id)
            diagnostics.notice(f'Deleted "{conversation.title}".')


app.command("export")(history_archive.export)
app.command("import")(history_archive.import_)
