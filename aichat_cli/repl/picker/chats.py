"""The chats sidebar: every conversation, filtered as you type, with what can be done with one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from prompt_toolkit.input import Input
from prompt_toolkit.output import Output

from aichat_cli.app import App
from aichat_cli.core.errors import AichatError, NotFound
from aichat_cli.core.ids import ConversationId
from aichat_cli.core.struct import Struct
from aichat_cli.render.sanitize import safe_line
from aichat_cli.repl.picker import chat_rows
from aichat_cli.repl.picker.cells import Fragments, plain
from aichat_cli.repl.picker.chat_rows import NewestRows
from aichat_cli.repl.picker.chat_search import MOST_TITLES, ChatSearch, Found
from aichat_cli.repl.picker.rows import FixedRows, Row, Rows
from aichat_cli.repl.picker.screen import Action, Picker
from aichat_cli.storage import conversations, forks, sidebar
from aichat_cli.storage.database import Database
from aichat_cli.storage.search import SearchHit
from aichat_cli.storage.sidebar import Summary

FIRST_PAGE = 200
PATIENCE_SECONDS = 0.03


class ChatsResult(Struct, frozen=True):
    """What the session must know of it.

    Attributes:
        opened: the conversation to go on with, None where none was chosen; `is_fork` when it was made just now.
        deleted: what is in the trash by this session, the last at the end; given back to the next picker, so that it
            can take those back too, and to `chat.trash.purge` at the session's end.
        renamed: conversations that have another title now.
    """

    opened: ConversationId | None = None
    is_fork: bool = False
    deleted: tuple[ConversationId, ...] = ()
    renamed: tuple[ConversationId, ...] = ()


def pick_conversation(
    house: App,
    current: ConversationId | None,
    *,
    deleted: Sequence[ConversationId] = (),
    export: Callable[[ConversationId], str] | None = None,
    terminal_input: Input | None = None,
    terminal_output: Output | None = None,
) -> ChatsResult:
    """Let the user choose a conversation, and rename, fork, export and delete some. Runs in the main thread.

    Args:
        current: the one the session is in; it is marked, and selected first.
        deleted: what earlier pickers of this session put in the trash.
        export: writes a conversation to a file and returns the sentence that says where; without it there is no such key.

    Raises:
        Interrupted: SIGTERM or SIGHUP came.
    """
    return _Chats(house, current, deleted, export, (terminal_input, terminal_output)).run()


class _Chats:
    def __init__(
        self,
        house: App,
        current: ConversationId | None,
        deleted: Sequence[ConversationId],
        export: Callable[[ConversationId], str] | None,
        terminal: tuple[Input | None, Output | None],
    ) -> None:
        self._house = house
        self._current = current
        self._deleted = list(deleted)
        self._renamed: dict[ConversationId, None] = {}
        self._export = export
        self._now = datetime.now().astimezone()
        self._newest = self._rows_of([])
        self._hits: dict[str, SearchHit] = {}
        self._total: int | None = None
        self._question = 0
        self._shown_question = 0
        self._answered = 0
        self._search = ChatSearch(
            self._second_connection,
            self._deliver,
            lambda ids: self._picker.later(lambda: self._received_ids(ids)),
        )
        self._picker: Picker[ChatsResult] = Picker(
            "Chats",
            self._actions(),
            self._filter,
            preview=self._preview,
            no_rows="No conversations.",
            terminal=terminal,
        )

    def run(self) -> ChatsResult:
        """Show it to the end."""
        try:
            self._newest = self._rows_of(sidebar.newest_ids(self._house.readable_database, limit=FIRST_PAGE))
        except AichatError as error:
            self._picker.say(error.message)
            return self._picker.run() or self._result()
        self._show(self._newest)
        if self._current is not None:
            self._picker.select(self._current)
        self._search.start()
        try:
            return self._picker.run() or self._result()
        finally:
            self._search.close()

    def _actions(self) -> list[Action]:
        actions = [
            Action((), "Enter", "open", "go on with the conversation", self._open),
            Action(("c-r",), "Ctrl+R", "rename", "give it another title", self._rename),
            Action(("c-f",), "Ctrl+F", "fork", "copy it into a new conversation and go on there", self._fork),
        ]
        if self._export is not None:
            actions.append(Action(("c-e",), "Ctrl+E", "export", "write it to a file", self._write_file))
        return [
            *actions,
            Action(("c-d",), "Ctrl+D", "delete", "delete it", self._delete),
            Action(("c-z",), "Ctrl+Z", "undo", "take the last deletion back", self._take_back, needs_row=False),
            Action(("f2",), "F2", "", "close", self._close, needs_row=False),
        ]

    @property
    def _selected(self) -> ConversationId:
        row = self._picker.row
        assert row is not None
        return ConversationId(row.key)

    def _result(self, opened: ConversationId | None = None, *, is_fork: bool = False) -> ChatsResult:
        return ChatsResult(opened, is_fork, tuple(self._deleted), tuple(self._renamed))

    def _deliver(self, found: Found) -> None:
        # Drawing is what takes longest: titles alone are shown where the rest keeps them waiting.
        self._picker.later(lambda: self._received(found), delay=0.0 if found.is_final else PATIENCE_SECONDS)

    def _second_connection(self) -> Database:
        return self._house.readable_database.reopen()

    def _close(self) -> None:
        self._picker.close()

    def _open(self) -> None:
        chosen = conversations.get(self._house.readable_database, self._selected)
        self._picker.close(self._result(chosen.id))

    def _rename(self) -> None:
        chosen = self._selected
        title = conversations.get(self._house.readable_database, chosen).title

        def accept(text: str) -> str | None:
            wanted = safe_line(text)
            if not wanted:
                return "A title cannot be empty."
            if wanted != title:
                conversations.rename(self._house.database, chosen, wanted)
                self._renamed[chosen] = None
                self._reload()
            return None

        self._picker.edit("New title", safe_line(title), accept)

    def _fork(self) -> None:
        self._picker.close(self._result(forks.fork(self._house.database, self._selected), is_fork=True))

    def _write_file(self) -> None:
        assert self._export is not None
        self._picker.say(self._export(self._selected))

    def _delete(self) -> None:
        chosen = conversations.get(self._house.readable_database, self._selected)
        conversations.move_to_trash(self._house.database, chosen.id)
        self._deleted.append(chosen.id)
        self._reload()
        self._picker.say(f"Deleted “{plain(chosen.title)[:30]}”. Ctrl+Z takes it back.")

    def _take_back(self) -> None:
        if not self._deleted:
            self._picker.say("Nothing was deleted.")
            return
        chosen = self._deleted[-1]
        try:
            conversations.restore(self._house.database, chosen)
        except NotFound:
            del self._deleted[-1]  # purged meanwhile: the next key is for the one before it
            raise
        del self._deleted[-1]
        self._reload()
        self._picker.select(chosen)
        self._picker.say(f"“{plain(conversations.get(self._house.database, chosen).title)[:40]}” is back.")

    def _reload(self) -> None:
        """After a change of ours: the list anew, the selection where it was."""
        self._newest = self._rows_of(sidebar.newest_ids(self._house.readable_database, limit=None))
        self._total = len(self._newest)
        if self._picker.filter_text.strip():
            self._ask(self._picker.filter_text, is_same=True)
        else:
            self._show(self._newest)

    def _filter(self, text: str) -> None:
        if text.strip():
            self._ask(text)
            return
        self._question = self._search.ask(None)
        self._hits = {}
        self._show(self._newest, reset=True)

    def _ask(self, text: str, *, is_same: bool = False) -> None:
        self._picker.wait()
        self._picker.count_text = "… "
        self._question = self._search.ask(text, is_changed=is_same)
        if is_same:
            self._shown_question = self._question

    def _received_ids(self, ids: list[ConversationId]) -> None:
        self._total = len(ids)
        self._newest = self._rows_of(ids)
        if not self._picker.filter_text.strip():
            self._show(self._newest)
            if self._current is not None and not self._picker.has_moved:
                self._picker.select(self._current)

    def _received(self, found: Found) -> None:
        if found.error is not None:
            self._picker.say(found.error.message)
        if found.number != self._question or found.number == self._answered:
            return
        self._answered = found.number if found.is_final else 0
        is_new = self._shown_question != found.number
        self._shown_question = found.number
        words = found.text.split()
        self._hits = {summary.id: hit for summary, hit in found.by_text}
        rows = [self._row(summary, group="In titles", words=words) for summary in found.by_title]
        rows += [self._row(summary, group="In messages", snippet=hit.snippet) for summary, hit in found.by_text]
        more = "+" if len(found.by_title) >= MOST_TITLES else ""
        self._picker.count_text = f"{len(rows):,}{more} found " if found.is_final else "… "
        self._picker.show(FixedRows(rows), reset=is_new, is_final=found.is_final)

    def _show(self, rows: Rows, *, reset: bool = False) -> None:
        self._picker.count_text = "" if self._total is None else f"{self._total:,} "
        self._picker.show(rows, reset=reset)

    def _rows_of(self, ids: list[ConversationId]) -> NewestRows:
        return NewestRows(ids, lambda some: sidebar.summaries(self._house.readable_database, some), self._row)

    def _row(self, summary: Summary, *, group: str | None = None, words: Sequence[str] = (), snippet: str = "") -> Row:
        is_current = summary.id == self._current
        return chat_rows.row_of(summary, self._now, is_current=is_current, group=group, words=words, snippet=snippet)

    def _preview(self, row: Row, width: int, height: int) -> list[Fragments]:
        talk = ConversationId(row.key)
        return chat_rows.preview(self._house.readable_database, talk, self._hits.get(row.key), width, height)
