"""Conversations as rows: the headings by day, the lines, and the preview. Draws; stores nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from aichat_cli.core.errors import StorageError
from aichat_cli.core.ids import ConversationId
from aichat_cli.core.money import usd_text
from aichat_cli.repl.picker.cells import (
    DIM,
    MARK_CLOSE,
    MARK_OPEN,
    Fragments,
    cut,
    fitted,
    padded,
    plain,
    with_marks,
    with_words_marked,
    wrapped,
)
from aichat_cli.repl.picker.rows import Row, Rows
from aichat_cli.storage import conversations, messages, usage
from aichat_cli.storage.database import Database
from aichat_cli.storage.search import SearchHit
from aichat_cli.storage.sidebar import Summary

DATE_WIDTH = 11
LEAST_WIDTH_WITH_DATE = 36
LEAST_SNIPPET = 12
PREVIEW_MESSAGES = 6
PREVIEW_CHARACTERS = 1_500
MATCH_CHARACTERS = 4_000
PREVIEW_BEFORE = 300
ROOMY = 12
"""From so many lines on a preview has room for a title and blank lines."""

# strftime's depend on the locale
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def group_of(updated_at: str, now: datetime) -> str:
    """The heading for a stored time, in the zone of `now`."""
    moment = datetime.fromisoformat(updated_at).astimezone(now.tzinfo)
    days = (now.date() - moment.date()).days
    if days <= 0:
        return "Today"
    if days == 1:
        return "Yesterday"
    if days <= 7:
        return "Previous 7 days"
    if days <= 30:
        return "Previous 30 days"
    return f"{_MONTHS[moment.month - 1]} {moment.year}"


def date_of(stored: str, now: datetime) -> str:
    """A stored time, as short as its distance allows: `14:05`, `Mon 14:05`, `12 Oct`, `12 Oct 2025`."""
    moment = datetime.fromisoformat(stored).astimezone(now.tzinfo)
    days = (now.date() - moment.date()).days
    if days <= 1:
        return f"{moment:%H:%M}"
    if days < 7:
        return f"{_DAYS[moment.weekday()]} {moment:%H:%M}"
    month = _MONTHS[moment.month - 1][:3]
    return f"{moment.day} {month}" if moment.year == now.year else f"{moment.day} {month} {moment.year}"


def row_of(
    summary: Summary,
    now: datetime,
    *,
    is_current: bool,
    group: str | None = None,
    words: Sequence[str] = (),
    snippet: str = "",
) -> Row:
    """The row of a conversation; `words` are marked in its title, `snippet` is what was found in its text."""

    def draw(width: int) -> Fragments:
        # Made here, for there are more rows than are ever drawn.
        title = plain(summary.title) or "Untitled"
        found = with_marks(plain(snippet), DIM) if snippet else []
        date = date_of(summary.updated_at, now)
        room = width - 3 - (DATE_WIDTH + 2 if width >= LEAST_WIDTH_WITH_DATE else 0)
        has_snippet = bool(found) and room >= 2 * LEAST_SNIPPET
        shown = cut(title, room - LEAST_SNIPPET - 2 if has_snippet else room)
        line: Fragments = [("", " • " if is_current else "   "), *with_words_marked(shown, words)]
        if has_snippet:
            line += [("", "  "), *found]
        if width < LEAST_WIDTH_WITH_DATE:
            return line
        return [*fitted(line, room + 3), (DIM, f" {padded(date, DATE_WIDTH, is_right=True)} ")]

    return Row(summary.id, draw, group_of(summary.updated_at, now) if group is None else group)


class NewestRows(Rows):
    """All conversations by their ids; the rest is read for those that come on the screen.

    Args:
        read: the lines of some conversations.
    """

    PAGE = 100

    def __init__(
        self,
        ids: list[ConversationId],
        read: Callable[[Sequence[ConversationId]], Mapping[ConversationId, Summary]],
        draw: Callable[[Summary], Row],
    ) -> None:
        self.ids = ids
        self._read = read
        self._draw = draw
        self._rows: dict[int, Row] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, position: int) -> Row:
        if position not in self._rows:
            self._load(position - position % self.PAGE)
        return self._rows[position]

    def position(self, key: str) -> int | None:
        """Where a conversation is, None where it is not."""
        try:
            return self.ids.index(ConversationId(key))
        except ValueError:
            return None

    def _load(self, start: int) -> None:
        ids = self.ids[start : start + self.PAGE]
        reason = "deleted meanwhile"
        found: Mapping[ConversationId, Summary] = {}
        try:
            found = self._read(ids)
        except StorageError as error:
            reason = error.message
        for place, identifier in enumerate(ids, start):
            summary = found.get(identifier)
            self._rows[place] = self._draw(summary) if summary else _missing(identifier, reason)


def preview(
    db: Database, conversation_id: ConversationId, hit: SearchHit | None, width: int, height: int
) -> list[Fragments]:
    """The facts about a conversation, then the place of a match, or else its last messages; in few lines the last two."""
    talk = conversations.get(db, conversation_id)
    when = datetime.fromisoformat(talk.updated_at).astimezone()
    cost = usd_text(usage.conversation_cost(db, conversation_id))
    facts = plain(f"{when:%Y-%m-%d %H:%M} · {talk.model or 'no model'} · {talk.message_count} messages · {cost}")
    is_roomy = height >= ROOMY
    lines: list[Fragments] = [[(DIM, line)] for line in wrapped(facts, width)]
    if is_roomy:
        title: list[Fragments] = [[("class:title", line)] for line in wrapped(plain(talk.title) or "Untitled", width)]
        lines = [*title, *lines, []]
    if hit is not None and hit.message_id is not None:
        return [*lines, *_match(db, hit, width, PREVIEW_BEFORE if is_roomy else width)]
    limit = PREVIEW_MESSAGES if is_roomy else 2
    last = messages.tail(db, talk.head_id, limit=limit, longest=PREVIEW_CHARACTERS)
    for message in last:
        text = message.text if len(message.text) < PREVIEW_CHARACTERS else f"{message.text}…"
        said = wrapped(text.strip(), width)
        if not is_roomy and message is not last[-1]:
            said = [cut(f"{said[0]} …", width)] if len(said) > 1 else said
        lines.append([("class:key", speaker(message.role, message.model))])
        lines += [[("", line)] for line in said]
        if is_roomy:
            lines.append([])
    return lines


def speaker(role: str, model: str | None) -> str:
    """Who said something."""
    return {"user": "You", "assistant": plain(model or "") or "Assistant"}.get(role, role.capitalize())


def _match(db: Database, hit: SearchHit, width: int, before: int) -> list[Fragments]:
    """The message that was found, from a little before the match."""
    assert hit.message_id is not None
    message = messages.get(db, hit.message_id)
    words = [part.partition(MARK_CLOSE)[0] for part in hit.snippet.split(MARK_OPEN)[1:]]
    around = hit.snippet.replace(MARK_OPEN, "").replace(MARK_CLOSE, "").strip("…")
    place = max(message.content.find(around), 0)
    start = max(place - before, 0)
    text = message.content[start : start + MATCH_CHARACTERS]
    lines = wrapped(f"{'…' if start else ''}{text.strip()}", width)
    distinct = list(dict.fromkeys(filter(None, map(plain, words))))
    return [
        [("class:key", speaker(message.role, message.model))],
        *(with_words_marked(line, distinct) for line in lines),
    ]


def _missing(identifier: ConversationId, reason: str) -> Row:
    return Row(identifier, lambda width: [(DIM, cut(f"   {plain(reason)}", width))])
