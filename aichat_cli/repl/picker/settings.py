"""The settings, changed in place and stored in the settings file."""

from __future__ import annotations

from collections.abc import Callable

from prompt_toolkit.input import Input
from prompt_toolkit.output import Output

from aichat_cli.app import App
from aichat_cli.config import settings_file
from aichat_cli.config.settings import Effective, as_text, parse
from aichat_cli.config.settings_table import TABLE, Setting, Value
from aichat_cli.core.errors import ConfigError, UsageError
from aichat_cli.core.struct import Struct
from aichat_cli.repl.picker.cells import DIM, Fragments, cut, fitted, padded, plain, with_words_marked, wrapped
from aichat_cli.repl.picker.rows import FixedRows, Row
from aichat_cli.repl.picker.screen import Action, Picker

SOURCE_WIDTH = 12
LEAST_WIDTH_WITH_SOURCE = 50


class SettingsResult(Struct, frozen=True):
    """The names of the settings that were changed; the house reads the new values."""

    changed: tuple[str, ...] = ()


def pick_settings(
    house: App, *, terminal_input: Input | None = None, terminal_output: Output | None = None
) -> SettingsResult:
    """Show every setting and let the user change some. Runs in the main thread.

    Raises:
        Interrupted: SIGTERM or SIGHUP came.
    """
    return _Settings(house, (terminal_input, terminal_output)).run()


def next_value(setting: Setting, value: Value) -> Value | None:
    """What Enter makes of a value that is one of a few; None where it is to be typed."""
    if isinstance(setting.default, bool):
        return not value
    if not setting.choices:
        return None
    place = setting.choices.index(as_text(value)) if as_text(value) in setting.choices else -1
    return parse(setting, setting.choices[(place + 1) % len(setting.choices)])


class _Settings:
    def __init__(self, house: App, terminal: tuple[Input | None, Output | None]) -> None:
        self._house = house
        self._changed: dict[str, None] = {}
        self._by_name = {setting.name: setting for setting in TABLE}
        self._picker: Picker[None] = Picker(
            "Settings",
            [
                Action((), "Enter", "change", "change it: switch, or type another value", self._change),
                Action(("c-r",), "Ctrl+R", "reset", "go back to the default", self._reset),
            ],
            self._filter,
            preview=self._preview,
            is_preview_brief=True,
            terminal=terminal,
        )

    def run(self) -> SettingsResult:
        """Show it to the end."""
        self._show(reset=True)
        self._picker.run()
        return SettingsResult(tuple(self._changed))

    @property
    def _selected(self) -> Setting:
        row = self._picker.row
        assert row is not None
        return self._by_name[row.key]

    def _effective(self, setting: Setting) -> Effective | str:
        """The setting's value, or what is wrong with it."""
        try:
            return self._house.settings.effective(setting.name)
        except ConfigError as error:
            return error.message

    def _change(self) -> None:
        setting = self._selected
        now = self._effective(setting)
        value = setting.default if isinstance(now, str) else now.value
        following = next_value(setting, value)
        text = as_text(value)
        if following is not None:
            self._store(setting, lambda: settings_file.set_value(self._house.settings.path, setting, following))
        elif "\n" in text:
            self._picker.say("It has several lines. Run: aichat config edit")
        else:
            self._picker.edit(setting.name, text, lambda typed: self._accepted(setting, typed))

    def _accepted(self, setting: Setting, typed: str) -> str | None:
        try:
            value = parse(setting, typed)
        except UsageError as error:
            return error.message
        self._store(setting, lambda: settings_file.set_value(self._house.settings.path, setting, value))
        return None

    def _reset(self) -> None:
        setting = self._selected
        self._store(setting, lambda: settings_file.unset_value(self._house.settings.path, setting))

    def _store(self, setting: Setting, write: Callable[[], object]) -> None:
        write()
        self._house.reload_settings()
        self._changed[setting.name] = None
        self._show(reset=False)
        now = self._effective(setting)
        if isinstance(now, str):
            self._picker.say(now)
        elif now.source == setting.variable:
            self._picker.say(f"Stored, but {setting.variable} is set and comes first.")

    def _filter(self, text: str) -> None:
        del text
        self._show(reset=True)

    def _show(self, *, reset: bool) -> None:
        words = self._picker.filter_text.split()
        rows = [
            self._row(setting, words)
            for setting in TABLE
            if all(word.casefold() in f"{setting.name} {setting.help}".casefold() for word in words)
        ]
        self._picker.count_text = f"{len(rows)} "
        self._picker.show(FixedRows(rows), reset=reset)

    def _row(self, setting: Setting, words: list[str]) -> Row:
        now = self._effective(setting)
        value = plain(now) if isinstance(now, str) else plain(as_text(now.value)) or "(empty)"
        style = DIM if not isinstance(now, str) and now.source == "default" else ""
        source = self._source(now)
        column = max(len(each.name) for each in TABLE) + 2

        def draw(width: int) -> Fragments:
            name = with_words_marked(padded(setting.name, min(column, max(width // 2, 1))), words)
            line: Fragments = [("", " "), *name, (style, value)]
            if width < LEAST_WIDTH_WITH_SOURCE:
                return line
            return [*fitted(line, width - SOURCE_WIDTH - 2), (DIM, f" {padded(source, SOURCE_WIDTH, is_right=True)} ")]

        return Row(setting.name, draw)

    def _source(self, now: Effective | str) -> str:
        if isinstance(now, str):
            return "not usable"
        if now.source in {"default", now.setting.variable}:
            return {"default": "default"}.get(now.source, "environment")
        return "file"

    def _preview(self, row: Row, width: int, _: int) -> list[Fragments]:
        setting = self._by_name[row.key]
        now = self._effective(setting)
        lines: list[Fragments] = [[("", line)] for line in wrapped(setting.help, width)]
        default = as_text(setting.default) or "empty"
        told = f"default {default} · ${setting.variable}"
        if setting.choices:
            told += f" · one of {', '.join(setting.choices)}"
        lines += [[(DIM, line)] for line in wrapped(told, width)]
        if isinstance(now, str):
            lines += [[("", line)] for line in wrapped(now, width)]
        elif now.source not in {"default", setting.variable}:
            lines.append([(DIM, cut(plain(f"set in {now.source}"), width))])
        elif now.source == setting.variable:
            lines.append([(DIM, cut(f"set by the environment: ${setting.variable}", width))])
        return lines
