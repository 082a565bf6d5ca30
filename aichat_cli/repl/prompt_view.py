"""What the prompt looks like: the open lines of an answer, what waits, the input, the status line. Draws nothing."""

from __future__ import annotations

from collections.abc import Sequence

from prompt_toolkit.formatted_text import ANSI, FormattedText, StyleAndTextTuples, to_formatted_text
from prompt_toolkit.styles import Style

from aichat_cli.render.sanitize import safe_line, safe_text
from aichat_cli.repl.output import without_links
from aichat_cli.repl.picker.cells import cut, width_of

QUEUED_SHOWN = 3
_SEPARATOR = " | "
BOLD, RESET = "\x1b[1m", "\x1b[0m"

STYLE = Style.from_dict(
    {
        "bottom-toolbar": "noreverse fg:ansibrightblack",
        "input-mark": "bold",
        "queued": "fg:ansibrightblack",
        "completion-menu": "bg:default",
        "completion-menu.completion": "bg:default fg:default",
        "completion-menu.completion.current": "noreverse bold fg:ansicyan bg:default",
        "completion-menu.meta.completion": "bg:default fg:ansibrightblack",
        "completion-menu.meta.completion.current": "bg:default fg:ansibrightblack",
        "scrollbar.background": "bg:default",
        "scrollbar.button": "bg:ansibrightblack",
    }
)


def prompt_text(
    open_lines: Sequence[str], queue: Sequence[str], carried: Sequence[str], *, columns: int, rows: int, typed_rows: int
) -> StyleAndTextTuples:
    """Everything down to the `> ` that the input follows. Of an answer as much is shown as the screen has room for,
    its end rather than its beginning.
    """
    room = rows - 3 - min(len(queue), QUEUED_SHOWN) - min(typed_rows, rows // 2)
    above = open_lines[-max(room, 1) :]
    fragments = to_formatted_text(ANSI("".join(f"{without_links(line)}{RESET}\n" for line in above)))
    told = [f"queued: {safe_line(text)}" for text in queue]
    if len(told) > QUEUED_SHOWN:
        told[QUEUED_SHOWN - 1 :] = [f"queued: {len(told) - QUEUED_SHOWN + 1} more"]
    if carried:
        told.append("with: " + ", ".join(carried))
    waiting = [("class:queued", cut(text, columns - 1) + "\n") for text in told]
    return FormattedText([*fragments, *waiting, ("class:input-mark", "> ")])


def status_line(parts: Sequence[str], doing: str, columns: int) -> StyleAndTextTuples:
    """One line. Where it is too long its last parts give way to what is being done, which is shown whole."""
    shown = list(parts)
    while len(shown) > 1 and width_of(_SEPARATOR.join([*shown, doing])) > columns - 1:
        shown.pop()
    return FormattedText([("class:bottom-toolbar", cut(_SEPARATOR.join(filter(None, [*shown, doing])), columns - 1))])


def echo(text: str) -> tuple[str, ...]:
    """What was submitted, as it stays in the scrollback."""
    first, *rest = safe_text(text).split("\n")
    return tuple(f"{BOLD}{line}{RESET}" for line in (f"> {first}", *(f"  {line}" for line in rest)))
