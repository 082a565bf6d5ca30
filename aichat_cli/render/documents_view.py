"""What an ingest did and what a search found, in words and as JSON."""

from __future__ import annotations

import io
import re
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aichat_cli.core.documents import Collection, Document, Hit, Passage, SearchResult
from aichat_cli.core.ingest import IngestPreview, IngestSummary
from aichat_cli.core.money import usd_text
from aichat_cli.render.answer import print_text, write_all
from aichat_cli.render.diagnostics import wants_color
from aichat_cli.render.sanitize import safe_line, safe_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from aichat_cli.documents.moving import Moved

MOST_LINES = 20
SNIPPET_LINES = 4
INDENT = "    "
FOUND = "bold yellow"


def summary_text(summary: IngestSummary, *, is_rehearsal: bool) -> str:
    """The counts of an ingest."""
    kinds = {
        "added": summary.added,
        "updated": summary.updated,
        "renamed": summary.renamed,
        "unchanged": summary.unchanged,
        "removed": summary.removed,
        "failed": summary.failure_count,
    }
    told = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count) or "none"
    lines = [f"{'Would ingest' if is_rehearsal else 'Documents'}: {told}"]
    if summary.chunks:
        rate = summary.bytes / max(summary.seconds, 0.001)
        chunks = "1 chunk" if summary.chunks == 1 else f"{summary.chunks:,} chunks"
        lines.append(f"{chunks} of {_size(summary.bytes)} in {summary.seconds:.1f} s, {_size(rate)}/s")
    if summary.gone:
        lines.append(f"{summary.gone:,} kept whose file is gone; --prune removes them")
    lines.extend(f"Skipped: {count:,} {reason}" for reason, count in sorted(summary.skipped.items()))
    return "".join(f"{safe_line(line)}\n" for line in lines)


def amount_text(preview: IngestPreview) -> str:
    """What embedding costs."""
    return usd_text(preview.cost_nano) if preview.cost_nano is not None else "an unknown amount"


def failure_lines(summary: IngestSummary) -> list[str]:
    """What could not be taken in, one line each."""
    lines = [f"{failure.name}: {failure.reason}" for failure in summary.failures[:MOST_LINES]]
    left = summary.failure_count - len(lines)
    return [*lines, f"... and {left:,} more; --json lists up to 1,000."] if left > 0 else lines


def note_lines(summary: IngestSummary) -> list[str]:
    """What is to be said of single documents."""
    left = len(summary.notes) - MOST_LINES
    return (
        [*summary.notes[:MOST_LINES], f"... and {left:,} more notes; --json lists them."] if left > 0 else summary.notes
    )


def summary_json(summary: IngestSummary, *, is_rehearsal: bool) -> dict[str, Any]:
    """`ingest --json`."""
    return {
        "dry_run": is_rehearsal,
        "added": summary.added,
        "updated": summary.updated,
        "renamed": summary.renamed,
        "unchanged": summary.unchanged,
        "removed": summary.removed,
        "gone": summary.gone,
        "failed": summary.failure_count,
        "chunks": summary.chunks,
        "tokens": summary.tokens,
        "bytes": summary.bytes,
        "seconds": round(summary.seconds, 3),
        "skipped": [{"reason": reason, "count": count} for reason, count in sorted(summary.skipped.items())],
        "failures": [{"name": failure.name, "reason": failure.reason} for failure in summary.failures],
        "notes": summary.notes,
    }


def hit_rows(result: SearchResult, *, explain: bool) -> list[dict[str, Any]]:
    """`search --json`."""
    rows = []
    for hit in result.hits:
        row: dict[str, Any] = {**passage_row(hit.passage), "score": round(hit.score, 6)}
        if explain:
            row |= {
                "similarity": None if hit.similarity is None else round(hit.similarity, 4),
                "text_rank": hit.text_rank,
                "vector_rank": hit.vector_rank,
                "rerank_rank": hit.rerank_rank,
                "terms": list(hit.terms),
            }
        rows.append(row)
    return rows


def passage_row(passage: Passage) -> dict[str, Any]:
    """A passage with its place."""
    return {
        "document": passage.document,
        "path": passage.path,
        "heading": passage.heading,
        "page": passage.page,
        "line": passage.line,
        "start": passage.start,
        "end": passage.end,
        "text": passage.text,
    }


def document_rows(listed: Sequence[Document]) -> list[dict[str, Any]]:
    """`docs list --json`."""
    return [
        {
            "id": document.id,
            "name": document.name,
            "path": document.path,
            "collection": document.collection,
            "title": document.title,
            "media_type": document.media_type,
            "chunks": document.chunk_count,
            "bytes": document.size,
            "model": document.embedding_model,
            "updated_at": document.updated_at,
        }
        for document in listed
    ]


def collection_rows(listed: Sequence[Collection]) -> list[dict[str, Any]]:
    """`docs collections --json`."""
    return [
        {
            "name": collection.name,
            "documents": collection.document_count,
            "chunks": collection.chunk_count,
            "model": collection.embedding_model,
            "dimensions": collection.dimensions,
            "searched_in": collection.searched_in,
            "updated_at": collection.updated_at,
        }
        for collection in listed
    ]


def where(place: str) -> str:
    """A place that vectors are searched at, as the end of a sentence has it."""
    ours = {"local": "on this device", "pinecone": "at Pinecone", "hosted": "on the hosted database"}
    return ours.get(place, f'in the vector store "{place}"')


def moved_lines(collection: Collection, place: str, moved: Moved) -> list[str]:
    """What `docs migrate` tells of a move."""
    there = where(place)
    what = f"{moved.count:,} {'chunks' if place == 'hosted' else 'vectors'}"
    if moved.was_there:
        done = [f'"{collection.name}" is searched {there} already: all {what} are there.']
        return [*done, "The move elsewhere that was under way is given up."] if moved.given_up else done
    lines = [f'"{collection.name}" is searched {there} now: all {what} are there.']
    if moved.made_index:
        lines.insert(0, f"Made the index {moved.made_index} at Pinecone.")
    if moved.resumed_after:
        lines.insert(0, f"Went on after the {moved.resumed_after:,} vectors that were there.")
    if place != "local" and collection.searched_in == "local":
        lines.append("The index on this device was removed; the text and the vectors themselves stay in the database.")
    return lines


def print_hits(result: SearchResult, *, explain: bool) -> None:
    """`search`: a line that says where, and below it what it says there; in a pipe one line for each hit."""
    if not sys.stdout.isatty():
        print_text("".join(f"{_plain_line(hit)}\n" for hit in result.hits))
        return
    from rich.console import Console

    drawn = io.StringIO()
    columns, rows = shutil.get_terminal_size()
    has_color = wants_color(sys.stdout)
    # Rich takes a terminal whose TERM is dumb for 80 columns wide, unless it is given both sizes.
    console = Console(
        file=drawn, width=columns, height=rows, force_terminal=True, no_color=not has_color, highlight=False
    )
    for number, hit in enumerate(result.hits, 1):
        if number > 1:
            console.print()
        for line in _hit_lines(number, hit, console, explain=explain):
            if has_color:
                console.print(line, no_wrap=True, crop=False, overflow="ignore")
            else:
                drawn.write(f"{line.plain}\n")
    write_all(sys.stdout.buffer, drawn.getvalue().encode())


def explained(hit: Hit) -> str:
    """Why a hit is where it is."""
    parts = [
        f"words #{hit.text_rank}" if hit.text_rank else "",
        f"meaning #{hit.vector_rank}" if hit.vector_rank else "",
        f"cosine {hit.similarity:.3f}" if hit.similarity is not None else "",
        f"reranked #{hit.rerank_rank}" if hit.rerank_rank else "",
        f"score {hit.score:.4f}",
        f"terms: {', '.join(hit.terms)}" if hit.terms else "",
    ]
    return safe_line(", ".join(part for part in parts if part))


def _plain_line(hit: Hit) -> str:
    passage = hit.passage
    return "\t".join((safe_line(passage.place), f"{hit.score:.4f}", safe_line(" ".join(passage.text.split()))))


def _hit_lines(number: int, hit: Hit, console: Console, *, explain: bool) -> list[Text]:
    from rich.text import Text

    passage = hit.passage
    first = Text.assemble(f"{number}. ", (safe_line(passage.place), "bold"), ("  " + safe_line(passage.heading), "dim"))
    first.truncate(console.width, overflow="ellipsis")
    lines = [first]
    width = max(1, console.width - len(INDENT))
    if explain:
        lines += [Text.assemble(INDENT, line) for line in Text(explained(hit), "dim").wrap(console, width)]
    text = Text(" ".join(safe_text(_around(passage.text, hit.terms)).split()))
    for term in hit.terms:
        text.highlight_regex(_word(term), FOUND)
    shown = text.wrap(console, width)
    if len(shown) > SNIPPET_LINES:
        shown[SNIPPET_LINES - 1].truncate(width - 2)
        shown[SNIPPET_LINES - 1].append(" …")
    lines += [Text.assemble(INDENT, line) for line in shown[:SNIPPET_LINES]]
    for line in lines:
        line.rstrip()
    return lines


def _around(text: str, terms: Sequence[str]) -> str:
    """The part of a text where the first of the words is, from the beginning of its sentence."""
    place = min((found.start() for term in terms if (found := _word(term).search(text))), default=0)
    begin = max(text.rfind(mark, 0, place) for mark in ("\n\n", ". ", "。"))
    return text if place < 200 else "… " + text[max(begin + 1, place - 200) :].lstrip()


def _word(term: str) -> re.Pattern[str]:
    return re.compile(rf"\b{re.escape(term)}\w*", re.IGNORECASE)


def _size(size: float) -> str:
    for unit in ("bytes", "KB", "MB"):
        if size < 1000:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} GB"


def nothing_found(result: SearchResult) -> str:
    """Why there is no result, and how to see what there is."""
    if result.best_similarity is not None and result.considered:
        needed = f", and {result.threshold:.2f} is needed" if result.threshold is not None else ""
        return (
            f"Nothing relevant found: the nearest passage has a cosine of {result.best_similarity:.2f}{needed}."
            " --threshold 0 shows it."
        )
    return "Nothing found."


def heading_of(document: Document, passages: Sequence[Passage]) -> str:
    """What is shown, above it."""
    if len(passages) == document.chunk_count or not passages:
        return f"{document.name}: {document.path}"
    heading = f"  {passages[0].heading}" if passages[0].heading else ""
    return f"{passages[0].place}{heading}: {document.path}"
