"""The model selector: what can be asked, what it costs, and for what there is a key."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from prompt_toolkit.input import Input
from prompt_toolkit.output import Output

from aichat_cli.app import App
from aichat_cli.core.errors import AichatError
from aichat_cli.core.interrupts import leave_signals_to_the_main_thread
from aichat_cli.core.models import Model
from aichat_cli.core.money import NANO_PER_DOLLAR
from aichat_cli.repl.picker.cells import DIM, Fragments, cut, fitted, padded, plain, with_words_marked, wrapped
from aichat_cli.repl.picker.rows import FixedRows, Row
from aichat_cli.repl.picker.screen import Action, Picker

READY, NEEDS_KEY, OTHERS = "Ready to use", "Need a key", "All others"

PRICE_WIDTH = 8
CONTEXT_WIDTH = 8
PROVIDER_WIDTH = 14
LEAST_WIDTH_WITH_PRICES = 48
LEAST_WIDTH_WITH_PROVIDER = 72


def pick_model(
    house: App,
    current: Model,
    *,
    terminal_input: Input | None = None,
    terminal_output: Output | None = None,
) -> Model | None:
    """Let the user choose a model; None where they do not. Runs in the main thread.

    A name that is in no list is taken as `registry.resolve` takes it.

    Raises:
        Interrupted: SIGTERM or SIGHUP came.
    """
    return _Models(house, current, (terminal_input, terminal_output)).run()


class _Models:
    def __init__(self, house: App, current: Model, terminal: tuple[Input | None, Output | None]) -> None:
        self._house = house
        self._current = current
        self._registry = house.registry
        self._common: list[Model] = []
        self._all: list[Model] = []
        self._stored_keys: frozenset[str] = frozenset()
        self._rows: list[tuple[str, Row]] = []
        self._models: dict[str, Model] = {}
        self._words: list[str] = []
        self._is_closed = False
        self._picker: Picker[Model] = Picker(
            "Model",
            [Action((), "Enter", "use it", "use the model from now on", self._choose, needs_row=False),
             Action(("f3",), "F3", "", "close", self._close, needs_row=False)],
            self._filter,
            preview=self._preview,
            is_preview_brief=True,
            columns=_column_names,
            no_rows="Nothing matches. Enter asks for a model of exactly this name.",
            terminal=terminal,
        )  # fmt: skip

    def run(self) -> Model | None:
        """Show it to the end."""
        self._common = [self._current]
        self._list()
        reader = threading.Thread(target=self._read_slowly, name="models", daemon=True)
        reader.start()
        try:
            return self._picker.run()
        finally:
            self._is_closed = True

    def _read_slowly(self) -> None:
        """What takes longer than a key may: the map of models, and the keyring."""
        leave_signals_to_the_main_thread()
        common = self._registry.listing(all=False)
        self._picker.later(lambda: self._received(common, []))
        every = self._registry.listing(all=True)
        self._picker.later(lambda: self._received(common, every))
        if self._is_closed:
            return
        try:
            # Not `find`: key_command may ask for a passphrase, on the screen that is taken.
            stored = frozenset(location.name for location in self._house.keys.locations(()))
        except AichatError as error:
            message = error.message
            self._picker.later(lambda: self._picker.say(message))
            return
        self._picker.later(lambda: self._received_keys(stored))

    def _received(self, common: list[Model], every: list[Model]) -> None:
        is_listed = any(model.name == self._current.name for model in common)
        self._common = common if is_listed else [self._current, *common]
        self._all = every
        self._list()
        if not self._picker.has_moved and not self._picker.filter_text:
            self._picker.select(self._current.name)

    def _received_keys(self, stored: frozenset[str]) -> None:
        if stored:
            self._stored_keys = stored
            self._list()

    def _list(self) -> None:
        common = {model.name: model for model in self._common}
        others = [model for model in self._all if model.name not in common]
        ready = {model.name for model in (*self._common, *others) if self._is_ready(model)}
        groups: list[tuple[str, Iterable[Model]]] = [
            (READY, (model for model in self._common if model.name in ready)),
            (NEEDS_KEY, (model for model in self._common if model.name not in ready)),
            (OTHERS, (model for model in others if model.name in ready)),
            (OTHERS, (model for model in others if model.name not in ready)),
        ]
        self._models, self._rows = {}, []
        for group, models in groups:
            for model in models:
                self._models[model.name] = model
                row = _row(
                    model, group, self, is_ready=model.name in ready, is_current=model.name == self._current.name
                )
                self._rows.append((f"{model.name} {model.provider}".casefold(), row))
        self._show(reset=False)

    @property
    def words(self) -> Sequence[str]:
        """What the filter marks."""
        return self._words

    def _is_ready(self, model: Model) -> bool:
        """Whether it can be asked at once, as far as this can be told without asking anybody."""
        if model.retired:
            return False
        if model.wire == "local" or (model.base_url is not None and not model.key_required):
            return True
        name = model.key_name
        return name is not None and (name in self._stored_keys or self._house.keys.is_in_environment(name))

    def _filter(self, text: str) -> None:
        self._words = text.split()
        self._show(reset=True)

    def _show(self, *, reset: bool) -> None:
        words = [word.casefold() for word in self._words]
        shown = [row for haystack, row in self._rows if all(word in haystack for word in words)]
        self._picker.count_text = f"{len(shown):,} " if not words else f"{len(shown):,} found "
        self._picker.show(FixedRows(shown), reset=reset, is_final=bool(self._all))

    def _choose(self) -> None:
        row = self._picker.row
        chosen = self._models[row.key] if row else self._registry.resolve(self._picker.filter_text)
        self._picker.close(chosen)

    def _close(self) -> None:
        self._picker.close()

    def _preview(self, row: Row, width: int, _: int) -> list[Fragments]:
        model = self._models[row.key]
        facts = [
            f"{_tokens(model.context_tokens)} tokens of context",
            f"answers up to {_tokens(model.max_output_tokens)}",
        ]
        if model.price is not None and not model.price.is_free:
            facts.append(f"${_dollars(model, output=False)} in and ${_dollars(model, output=True)} out per Mtok")
        elif model.price is not None:
            facts.append("free")
        lines: list[Fragments] = [[("class:title", line)] for line in wrapped(plain(model.name), width)]
        lines += [[(DIM, line)] for line in wrapped(f"{plain(model.provider)} · {' · '.join(facts)}", width)]
        if model.retired:
            lines += [[("", line)] for line in wrapped(f"Retired; its successor is {plain(model.retired)}.", width)]
        elif not self._is_ready(model) and model.key_name:
            lines += [[("", line)] for line in wrapped(f"Set a key: aichat keys set {plain(model.key_name)}", width)]
        return lines


def _row(model: Model, group: str, models: _Models, *, is_ready: bool, is_current: bool) -> Row:
    name, provider = plain(model.name), plain(model.provider)
    mark = " • " if is_current else "   "

    def draw(width: int) -> Fragments:
        tail = _facts(model, width)
        if width >= LEAST_WIDTH_WITH_PROVIDER:
            tail = f"{padded(provider, PROVIDER_WIDTH)} {tail}"
        room = max(width - len(tail) - 5, 1) if tail else width - 4
        told = f"  retired: use {plain(model.retired)}" if model.retired else ""
        line = [("", mark), ("", "✓ " if is_ready else "  "), *with_words_marked(cut(name, room), models.words)]
        return [*fitted([*line, (DIM, told)], room + 4), (DIM, tail)]

    return Row(model.name, draw, group)


def _facts(model: Model, width: int) -> str:
    """Prices and window, in columns of their own; the number of cells is that of the characters."""
    if width < LEAST_WIDTH_WITH_PRICES:
        return ""
    price = f"{_dollars(model, output=False):>{PRICE_WIDTH}}{_dollars(model, output=True):>{PRICE_WIDTH}}"
    return f"{price}{_tokens(model.context_tokens):>{CONTEXT_WIDTH}} "


def _column_names(width: int) -> str:
    if width < LEAST_WIDTH_WITH_PRICES:
        return ""
    return f"{'$/Mtok in':>{PRICE_WIDTH + 1}}{'out':>{PRICE_WIDTH}}{'context':>{CONTEXT_WIDTH}} "


def _dollars(model: Model, *, output: bool) -> str:
    if model.price is None:
        return "?"
    if model.price.is_free:
        return "free" if not output else ""
    rates = model.price.rates
    return f"{(rates.output if output else rates.input) / NANO_PER_DOLLAR:.4g}"


def _tokens(number: int | None) -> str:
    if number is None:
        return "?"
    if number >= 1_000_000:
        return f"{number / 1_000_000:.3g}M"
    return f"{number / 1000:.3g}k" if number >= 1000 else str(number)
