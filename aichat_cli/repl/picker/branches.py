"""A picture of a conversation's branches, from which one goes on."""

from __future__ import annotations

from datetime import datetime

from prompt_toolkit.input import Input
from prompt_toolkit.output import Output

from aichat_cli.chat import tree
from aichat_cli.chat.tree import Node, TreeLine
from aichat_cli.core.errors import AichatError
from aichat_cli.core.ids import ConversationId, MessageId
from aichat_cli.core.money import usd_text
from aichat_cli.repl.picker.cells import (
    DIM,
    Fragments,
    cut,
    fitted,
    padded,
    plain,
    width_of,
    with_words_marked,
    wrapped,
)
from aichat_cli.repl.picker.chat_rows import DATE_WIDTH, ROOMY, date_of, speaker
from aichat_cli.repl.picker.rows import FixedRows, Row
from aichat_cli.repl.picker.screen import Action, Picker
from aichat_cli.storage import messages
from aichat_cli.storage.database import Database
from aichat_cli.storage.messages import Excerpt

EXCERPT = 300
"""Characters of a message its line is made of, and the filter looks at."""

DEEPEST = 8
"""Branches within branches are drawn so many steps to the right; deeper ones stay there, for the text needs room."""

LEAST_WIDTH_WITH_FACTS = 72
PREVIEW_CHARACTERS = 20_000

_ROLES = {"user": "you", "assistant": "ai", "system": "sys", "tool": "tool"}


def pick_branch(
    database: Database,
    conversation_id: ConversationId,
    head_id: MessageId | None,
    *,
    terminal_input: Input | None = None,
    terminal_output: Output | None = None,
) -> MessageId | None:
    """Let the user choose a message to go on from; None where they do not. Moving the head is the caller's.

    A question that is chosen stands for its last answer: going on from the question itself would leave it unanswered.

    Args:
        database: where the conversation is kept, which for one that is not logged is in memory.

    Raises:
        StorageError: the conversation cannot be read.
        Interrupted: SIGTERM or SIGHUP came.
    """
    return _Branches(database, conversation_id, head_id, (terminal_input, terminal_output)).run()


class _Branches:
    def __init__(
        self,
        database: Database,
        conversation_id: ConversationId,
        head_id: MessageId | None,
        terminal: tuple[Input | None, Output | None],
    ) -> None:
        self._database = database
        self._now = datetime.now().astimezone()
        self._excerpts = {
            excerpt.id: excerpt for excerpt in messages.outline(database, conversation_id, longest=EXCERPT)
        }
        self._nodes = [Node(each.id, each.parent_id, each.role) for each in self._excerpts.values()]
        self._texts = {each.id: plain(each.text) for each in self._excerpts.values()}
        self._folded = {identifier: text.casefold() for identifier, text in self._texts.items()}
        self._picture = tree.lines(self._nodes, head_id)
        self._head_id = head_id
        self._picker: Picker[MessageId] = Picker(
            "Branches",
            [
                Action((), "Enter", "go on from here", "go on from this message", self._choose),
                Action(("c-t",), "Ctrl+T", "next branch", "go to where the next branch begins", self._next_branch),
            ],
            self._filter,
            preview=self._preview,
            no_rows="No messages.",
            terminal=terminal,
        )

    def run(self) -> MessageId | None:
        """Show it to the end."""
        self._filter("")
        if self._head_id is not None:
            self._picker.select(self._head_id)
        return self._picker.run()

    def _filter(self, text: str) -> None:
        words = text.casefold().split()
        shown = [line for line in self._picture if all(word in self._folded[line.id] for word in words)]
        is_first = len(shown) == len(self._picture)
        rows = [self._row(line, number, text.split()) for number, line in enumerate(shown)]
        self._picker.count_text = f"{len(rows):,} " if is_first else f"{len(rows):,} found "
        self._picker.show(FixedRows(rows), reset=not is_first)

    def _row(self, line: TreeLine, number: int, words: list[str]) -> Row:
        excerpt = self._excerpts[line.id]
        rails = _rails(line, is_first=number == 0)

        def draw(width: int) -> Fragments:
            facts = self._facts(excerpt) if width >= LEAST_WIDTH_WITH_FACTS else ""
            mark = "◆" if line.id == self._head_id else "●" if line.is_in_use else "○"
            name = padded(_ROLES[excerpt.role], 5)
            text = self._texts[line.id] or "(empty)"
            drawn: Fragments = [("", " "), (DIM, rails), ("", f"{mark} "), (DIM, name)]
            drawn += with_words_marked(text, words)
            room = width - width_of(facts) - (2 if facts else 0)
            return [*fitted(drawn, room), (DIM, f" {facts} " if facts else "")]

        return Row(line.id, draw)

    def _facts(self, excerpt: Excerpt) -> str:
        model = cut(plain(excerpt.model or ""), 18) if excerpt.role == "assistant" else ""
        return f"{model} {padded(date_of(excerpt.created_at, self._now), DATE_WIDTH, is_right=True)}"

    def _choose(self) -> None:
        row = self._picker.row
        assert row is not None
        self._picker.close(tree.resting_point(self._nodes, MessageId(row.key)))

    def _next_branch(self) -> None:
        starts = {line.id for line in self._picture if line.begins_branch}
        count = len(self._picker.rows)
        for step in range(1, count + 1):
            place = (self._picker.selected + step) % count
            if self._picker.rows[place].key in starts:
                self._picker.move(place - self._picker.selected)
                return
        self._picker.say("There are no branches.")

    def _preview(self, row: Row, width: int, height: int) -> list[Fragments]:
        try:
            message = messages.get(self._database, MessageId(row.key))
        except AichatError as error:
            return [[("", line)] for line in wrapped(error.message, width)]
        when = datetime.fromisoformat(message.created_at).astimezone()
        told = [f"{when:%Y-%m-%d %H:%M}"]
        if message.status != "complete":
            told.append(message.status)
        if message.cost_nano is not None:
            told.append(usd_text(message.cost_nano))
        head: list[Fragments] = [
            [("class:title", cut(f"{speaker(message.role, message.model)}  ", width)), (DIM, " · ".join(told))],
            [],
        ]
        return [
            *head[: 1 if height < ROOMY else 2],
            *([("", line)] for line in wrapped(message.content[:PREVIEW_CHARACTERS].strip(), width)),
        ]


def _rails(line: TreeLine, *, is_first: bool) -> str:
    """What stands left of a message: the branches that go on below it, and where its own leaves its parent."""
    depth = min(line.depth, DEEPEST)
    if not line.begins_branch:
        return "│ " * depth
    corner = "╭─" if is_first else "├─"
    return "│ " * (depth - 1) + corner
