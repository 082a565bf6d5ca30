"""The keys of every picker; what else a key does is an `Action` of the one that is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys

if TYPE_CHECKING:
    from aichat_cli.repl.picker.screen import Action, Picker

HELP = (
    ("↑ ↓ PgUp PgDn Home End", "move"),
    ("Tab", "show or hide the preview"),
    ("Ctrl+↑ Ctrl+↓", "scroll the preview"),
    ("Esc", "clear the filter, then close"),
    ("Ctrl+C", "close"),
)
"""What these keys do, for the help."""

LONGEST_PASTE = 1000
FAR = 1 << 40


def bindings(picker: Picker[Any]) -> KeyBindings:
    """Everything that is not typed into the entry line."""
    table = KeyBindings()

    def on(call: Callable[[], object], *names: str, eager: bool = False) -> None:
        def pressed(_: KeyPressEvent) -> None:
            call()

        for name in names:
            table.add(name, eager=eager)(pressed)

    on(picker.enter, "enter")
    on(picker.step_back, "escape", eager=True)
    on(picker.cancel, "c-c", "<sigint>")
    on(lambda: picker.move(-1), "up", "c-p")
    on(lambda: picker.move(1), "down", "c-n")
    on(lambda: picker.move(-picker.page), "pageup")
    on(lambda: picker.move(picker.page), "pagedown")
    on(lambda: picker.move(-FAR), "home")
    on(lambda: picker.move(FAR), "end")
    on(picker.toggle_help, "f1")
    on(picker.toggle_preview, "tab")
    on(lambda: picker.scroll_preview(-1), "c-up")
    on(lambda: picker.scroll_preview(1), "c-down")
    for action in picker.actions:
        on(_performed(picker, action), *action.keys, eager=True)

    @table.add(Keys.Vt100MouseEvent)
    def _ignore(_: KeyPressEvent) -> None:
        """Colours in a paste look like a mouse, and prompt_toolkit's own binding fails over them."""

    @table.add(Keys.BracketedPaste)
    def _paste(event: KeyPressEvent) -> None:
        # One line, whatever is pasted: a line feed must not choose anything.
        picker.entry.insert_text(" ".join(event.data[:LONGEST_PASTE].split()))

    return table


def _performed(picker: Picker[Any], action: Action) -> Callable[[], None]:
    return lambda: picker.perform(action)
