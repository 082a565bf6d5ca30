"""What the prompt completes: commands, and what they take."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from aichat_cli.app import App
from aichat_cli.config.settings_table import TABLE
from aichat_cli.render.sanitize import safe_line
from aichat_cli.repl.commands import COMMANDS
from aichat_cli.storage import collections, conversations
from aichat_cli.storage.database import Database

MOST_OFFERED = 50

PATH_COMMANDS = frozenset({"/file", "/attach", "/save", "/export", "/ingest"})

_MENTION = re.compile(r"""(?:^|\s)@((?:"[^"]*|'[^']*|(?:\\.|[^\s"'\\])*))$""")
"""An `@` before the cursor that a path may follow."""

Offer = tuple[str, str]
"""What is inserted, and the word beside it."""


class SessionCompleter(Completer):
    """Completes in the prompt's thread, with a connection of its own."""

    def __init__(self, house: App) -> None:
        self._house = house
        self._database: Database | None = None
        self._offers: dict[str, Callable[[], Iterable[Offer]]] = {
            "/model": self._models,
            "/retry": self._models,
            "/resume": self._titles,
            "/set": lambda: ((setting.name, setting.help) for setting in TABLE),
            "/role": self._roles,
            "/docs": self._collections,
            "/theme": lambda: (("auto", ""), ("dark", ""), ("light", "")),
            "/copy": lambda: (("code", "the last code block"), ("all", "the whole conversation")),
            "/delete": lambda: (("undo", "take the last one back"),),
        }

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:  # noqa: ARG002
        """What fits the text before the cursor."""
        typed = document.text_before_cursor
        if typed.startswith("/") and "\n" not in typed:
            command, blank, argument = typed.partition(" ")
            if blank and command in PATH_COMMANDS:
                yield from _paths(argument.split(" ")[-1] if command == "/save" else argument)
            else:
                yield from _arguments(self._offers.get(command), argument) if blank else _commands(typed)
        elif mention := _MENTION.search(typed):
            yield from _paths(mention[1])

    def _models(self) -> Iterator[Offer]:
        for model in self._house.registry.listing(all=True):
            yield model.name, model.provider

    def _roles(self) -> Iterator[Offer]:
        from aichat_cli.config import roles

        for name in roles.names(self._house.paths.role_dir):
            yield name, ""

    def _collections(self) -> Iterator[Offer]:
        for collection in collections.listing(self._readable()):
            yield collection.name, f"{collection.document_count:,} documents"
        yield "off", "answer without documents"

    def _readable(self) -> Database:
        if self._database is None:
            self._database = self._house.readable_database.reopen()
        return self._database

    def _titles(self) -> Iterator[Offer]:
        for conversation in conversations.listing(self._readable(), limit=MOST_OFFERED):
            yield safe_line(conversation.title), conversation.updated_at[:10]


def _paths(typed: str) -> Iterator[Completion]:
    from aichat_cli.chat.mentions import mention_completions

    for found in mention_completions(typed, Path.cwd()):
        yield Completion(found.text, start_position=-len(typed), display=found.name)


def _commands(typed: str) -> Iterator[Completion]:
    for command in COMMANDS:
        if f"/{command.name}".startswith(typed):
            yield Completion(f"/{command.name}", start_position=-len(typed), display_meta=command.help)


def _arguments(offers: Callable[[], Iterable[Offer]] | None, typed: str) -> Iterator[Completion]:
    if offers is None:
        return
    wanted = typed.lstrip().casefold()
    count = 0
    for text, meta in offers():
        if wanted in text.casefold() and text != typed:
            yield Completion(text, start_position=-len(typed.lstrip()), display_meta=meta)
            count += 1
            if count == MOST_OFFERED:
                return
