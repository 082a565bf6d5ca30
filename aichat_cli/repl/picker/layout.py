"""How a picker is drawn: which parts there is room for, and their lines. Colours are the terminal's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from prompt_toolkit.application import get_app
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.layout import (
    AnyContainer,
    BufferControl,
    ConditionalContainer,
    Dimension,
    DynamicContainer,
    HSplit,
    Layout,
    UIContent,
    UIControl,
    VSplit,
    Window,
)
from prompt_toolkit.styles import Style

from aichat_cli.repl.picker import keys
from aichat_cli.repl.picker.cells import (
    DIM,
    MATCH,
    Fragments,
    clipped,
    cut,
    fitted,
    padded,
    plain,
    width_of,
    width_of_line,
    wrapped,
)
from aichat_cli.repl.picker.rows import window

if TYPE_CHECKING:
    from aichat_cli.repl.picker.screen import Picker

SIDE_BY_SIDE = 100
"""From so many columns on the preview stands beside the list."""

LEAST_ROWS_WITH_RULE = 10
LEAST_COLUMNS_WITH_COUNT = 50
COUNT_WIDTH = 16
FEWEST_LIST_ROWS = 4
BRIEF_PREVIEW_ROWS = 3
LEAST_PREVIEW_ROWS = 6
MOST_MESSAGE_ROWS = 3
FRAME_ROWS = 3
"""The entry line, the rule below it and the line of keys."""

STYLE = Style.from_dict(
    {
        "dim": "fg:ansibrightblack",
        "match": "bold underline",
        "heading": "fg:ansibrightblack bold",
        "selected": "reverse",
        "title": "bold",
        "key": "bold",
        "message": "bold",
    }
)

Place = Literal["beside", "below"]


def preview_place(picker: Picker[Any]) -> Place | None:
    """Where the preview is; None where the user or the size of the screen leaves it out."""
    size = get_app().output.get_size()
    if picker.wants_preview is False:
        return None
    if size.columns >= SIDE_BY_SIDE and not picker.is_preview_brief:
        return "beside"
    rows = _rows_below(picker)
    room = size.rows - FRAME_ROWS - 1 - rows
    # Nobody asked for it where it would take half of a small screen.
    least = FEWEST_LIST_ROWS if picker.wants_preview or picker.is_preview_brief else rows
    return "below" if room >= least else None


def build(picker: Picker[Any]) -> Layout:
    """The picker's windows, the cursor in the entry line."""
    entry = BufferControl(picker.entry, include_default_input_processors=False)
    # Widths are given: left to itself, the layout finds them by trying, cell by cell, at every key.
    listing = Window(
        _Lines(lambda width, height: _list_lines(picker, width, height)),
        width=lambda: _share(picker, is_left=True),
        always_hide_cursor=True,
    )
    preview = Window(
        _Lines(lambda width, height: _preview_lines(picker, width, height)),
        width=lambda: _share(picker, is_left=False),
        always_hide_cursor=True,
    )
    below = HSplit([_rule(), preview], height=lambda: _rows_below(picker) + 1)
    bodies: dict[Place | None, AnyContainer] = {
        None: listing,
        "beside": VSplit([listing, Window(width=1, char="│", style=DIM), preview]),
        "below": HSplit([listing, below]),
    }
    has_rule = Condition(lambda: get_app().output.get_size().rows >= LEAST_ROWS_WITH_RULE)
    count = Window(
        _Lines(lambda width, _: [[(DIM, padded(picker.count_text, width, is_right=True))]]),
        width=lambda: Dimension.exact(_count_width()),
        height=1,
    )
    top = VSplit(
        [
            Window(_Lines(lambda width, _: [_label(picker, width)]), width=lambda: _label_width(picker), height=1),
            Window(entry, width=lambda: _entry_width(picker), height=1),
            count,
        ],
        height=1,
    )
    bottom = Window(
        _Lines(lambda width, _: _bottom(picker, width)),
        height=lambda: len(_bottom(picker, _columns())),
        always_hide_cursor=True,
    )
    root = HSplit(
        [top, ConditionalContainer(_rule(), has_rule), DynamicContainer(lambda: bodies[preview_place(picker)]), bottom]
    )
    return Layout(root, focused_element=entry)


class _Lines(UIControl):
    """A window whose lines are made for its size."""

    def __init__(self, lines: Callable[[int, int], list[Fragments]]) -> None:
        self._lines = lines

    def create_content(self, width: int, height: int) -> UIContent:
        """The lines, cut to the window. They are not filled: drawing a blank costs as much as a letter."""
        drawn = self._lines(width, height)[:height]
        lines: list[StyleAndTextTuples] = [[*clipped(line, width)] for line in drawn]
        return UIContent(get_line=lambda number: lines[number], line_count=len(lines), show_cursor=False)


def _rule() -> Window:
    return Window(height=1, char="─", style=DIM)


def _rows_below(picker: Picker[Any]) -> int:
    """The height of a preview below the list: a third of the screen where there is much to show."""
    if picker.is_preview_brief:
        return BRIEF_PREVIEW_ROWS
    return max(LEAST_PREVIEW_ROWS, (get_app().output.get_size().rows - FRAME_ROWS) // 3)


def _label(picker: Picker[Any], width: int) -> Fragments:
    return [("", " "), ("class:title", cut(picker.label, max(width - 4, 0))), (DIM, " › ")]  # noqa: RUF001 (an arrow to what is typed)


def _label_width(picker: Picker[Any]) -> Dimension:
    return Dimension.exact(min(width_of(picker.label) + 4, max(_columns() // 2, 1)))


def _count_width() -> int:
    return COUNT_WIDTH if _columns() >= LEAST_COLUMNS_WITH_COUNT else 0


def _entry_width(picker: Picker[Any]) -> Dimension:
    return Dimension.exact(max(_columns() - _label_width(picker).preferred - _count_width(), 1))


def _share(picker: Picker[Any], *, is_left: bool) -> Dimension:
    columns = _columns()
    if preview_place(picker) != "beside":
        return Dimension.exact(columns)
    half = (columns - 1) // 2
    return Dimension.exact(columns - 1 - half if is_left else half)


def _columns() -> int:
    return get_app().output.get_size().columns


def _list_lines(picker: Picker[Any], width: int, height: int) -> list[Fragments]:
    picker.page = max(height - 2, 1)
    if picker.is_help:
        return _help_lines(picker)
    if not len(picker.rows):
        return [[(DIM, f"  {picker.no_rows}")]]
    shown = window(picker.rows, picker.top, picker.selected, height)
    picker.top = shown.top
    lines: list[Fragments] = []
    for line in shown.lines:
        if line.position is None:
            names = "" if lines else picker.columns(width)
            lines.append([*fitted([("class:heading", f" {plain(line.heading)}")], width - len(names)), (DIM, names)])
            continue
        drawn = picker.rows[line.position].draw(width)
        lines.append(_selected(drawn, width) if line.position == picker.selected else drawn)
    return lines


def _selected(line: Fragments, width: int) -> Fragments:
    """One bar over the whole line: reversed colours of its parts would be patches."""
    return [
        (f"class:selected {MATCH}" if style == MATCH else "class:selected", text) for style, text in fitted(line, width)
    ]


def _preview_lines(picker: Picker[Any], width: int, height: int) -> list[Fragments]:
    return [[("", " "), *line] for line in picker.preview_lines(max(width - 2, 1), height)[:height]]


def _help_lines(picker: Picker[Any]) -> list[Fragments]:
    entries = [(action.shown, action.help) for action in picker.actions]
    entries += [entry for entry in keys.HELP if picker.has_preview or "preview" not in entry[1]]
    column = max(width_of(shown) for shown, _ in entries) + 2
    return [[("class:key", f"  {padded(shown, column)}"), ("", text)] for shown, text in entries]


def _bottom(picker: Picker[Any], width: int) -> list[Fragments]:
    """A message in place of the keys, until the next key."""
    if picker.message:
        lines = wrapped(picker.message, width - 2)[:MOST_MESSAGE_ROWS]
        return [[("class:message", f" {line}")] for line in lines]
    return [_key_line(picker, width)]


def _key_line(picker: Picker[Any], width: int) -> Fragments:
    last = _hint("F1", "keys")
    line: Fragments = [("", " ")]
    for action in picker.actions:
        hint = _hint(action.shown.replace("Ctrl+", "^").replace("Enter", "↵"), action.label)
        if width_of_line([*line, *hint, *last]) > width + 2:  # the blanks at its end may be cut
            break
        line += hint if action.label else []
    return [*line, *last]


def _hint(key: str, label: str) -> Fragments:
    return [("class:key", key), (DIM, f" {label}  ")]
