"""`aichat search`: passages of documents, best first."""

from __future__ import annotations

from typing import Annotated

import typer

from aichat_cli.cli.common import DebugFlag, JsonFlag, opened, single_command
from aichat_cli.render import documents_view, json_shapes
from aichat_cli.render.answer import print_text

app = single_command()


@app.command()
def search(
    query: Annotated[list[str], typer.Argument(help="A question, or words.")],
    collection: Annotated[
        str | None, typer.Option("--collection", help="Collection to search.", metavar="NAME")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, max=1000, help="Find at most so many.")] = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", min=-1, max=1, help="Cosine the best must reach; 0 always finds something."),
    ] = None,
    no_rerank: Annotated[bool, typer.Option("--no-rerank", help="Do not rank the best again.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Say why each is where it is.")] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Find passages of your documents by words and by meaning."""
    with opened(as_json=as_json, debug=debug) as (house, diagnostics):
        result = house.library_on(house.readable_database).search(
            collection or house.settings.text("documents.collection"),
            " ".join(query),
            limit=limit or int(house.settings.number("documents.limit")),
            threshold=threshold,
            rerank=not no_rerank,
        )
        for notice in result.notices:
            diagnostics.notice(notice)
        if as_json:
            print_text(json_shapes.dumps(documents_view.hit_rows(result, explain=explain)))
        elif result.hits:
            documents_view.print_hits(result, explain=explain)
        else:
            diagnostics.notice(documents_view.nothing_found(result))
