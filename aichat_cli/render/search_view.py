"""What `history search` found, on a terminal: a line that says where, and below it the words around what was found.

The marks that the search puts around words are made up anew in each process, so that no text that was ever stored can
hold one; they are ordinary characters to the sanitizer, and become a style, or brackets where there is no colour.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aichat_cli.core.struct import Struct, field
from aichat_cli.render.answer import write_all
from aichat_cli.render.diagnostics import wants_color
from aichat_cli.render.sanitize import safe_line
from aichat_cli.render.tables import SHORT_ID, local_time
from aichat_cli.storage.search import SearchHit

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

INDENT = "  "
MOST_SNIPPET_LINES = 3
SHORTEST_TITLE = 24
FOUND = "bold yellow"


def _secret() -> str:
    # A mark is part of a word to the wrapping of lines: it must not hold a space.
    return f"\ue000{os.urandom(8).hex()}\ue001"


class Marks(Struct, frozen=True):
    """What the search puts before and after a word it found."""

    open: str = field(default_factory=_secret)
    close: str = field(default_factory=_secret)

    def pieces(self, marked: str) -> list[tuple[str, bool]]:
        """A safe text in pieces, each with whether it was found. Marks that lost their other half end there."""
        pieces: list[tuple[str, bool]] = []
        is_found = False
        for piece in re.split(f"({self.open}|{self.close})", safe_line(marked)):
            if piece in (self.open, self.close):
                is_found = piece == self.open
            elif piece:
                pieces.append((piece, is_found))
        return pieces


def print_hits(hits: Sequence[SearchHit], marks: Marks) -> None:
    """Draw what was found, best first."""
    from rich.console import Console

    has_color = wants_color(sys.stdout)
    drawn = io.StringIO()
    # Rich takes a terminal whose TERM is dumb for 80 columns wide, unless it is given both sizes.
    columns, rows = shutil.get_terminal_size()
    console = Console(file=drawn, width=columns, height=rows, force_terminal=True, highlight=False)
    for number, hit in enumerate(hits):
        if number:
            console.print()
        for line in _lines(hit, marks, console, has_color=has_color):
            if has_color:
                console.print(line, no_wrap=True, crop=False, overflow="ignore")
            else:
                drawn.write(f"{line.plain}\n")
    write_all(sys.stdout.buffer, drawn.getvalue().encode())


def _lines(hit: SearchHit, marks: Marks, console: Console, *, has_color: bool) -> list[Text]:
    """The title with where it is, and the words that were found."""
    from rich.text import Text

    is_title = hit.message_id is None
    place = f"  {local_time(hit.created_at)[:10]}  {hit.conversation_id[:SHORT_ID]}"
    title = _marked(hit.snippet if is_title else hit.title, marks, "bold", has_color=has_color)
    if console.width - len(place) >= SHORTEST_TITLE:
        title.truncate(console.width - len(place), overflow="ellipsis")
        lines = [Text.assemble(title, (place, "dim"))]
    else:
        title.truncate(console.width, overflow="ellipsis")
        lines = [title, Text(place, "dim")]
    if not is_title:
        speaker = "you" if hit.role == "user" else hit.role or ""
        snippet = Text.assemble((f"{speaker}: ", "dim"), _marked(hit.snippet, marks, "", has_color=has_color))
        wrapped = snippet.wrap(console, max(1, console.width - len(INDENT)))
        lines.extend(Text.assemble(INDENT, line) for line in wrapped[:MOST_SNIPPET_LINES])
    for line in lines:
        line.rstrip()
    return lines


def _marked(text: str, marks: Marks, style: str, *, has_color: bool) -> Text:
    from rich.text import Text

    marked = Text(style=style)
    for piece, is_found in marks.pieces(text):
        if has_color:
            marked.append(piece, FOUND if is_found else None)
        else:
            marked.append(f"[{piece}]" if is_found else piece)
    return marked
