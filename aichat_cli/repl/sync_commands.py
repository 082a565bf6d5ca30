"""Sync in a session: /sync, and what becomes of the conversation in use when another device has changed it."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from aichat_cli.core.errors import AichatError, StorageError, UsageError
from aichat_cli.core.ids import ConversationId, MessageId
from aichat_cli.core.struct import Struct, replace
from aichat_cli.render.sanitize import safe_line
from aichat_cli.repl.background_sync import BackgroundSync
from aichat_cli.storage import messages, sync_overview

if TYPE_CHECKING:
    from aichat_cli.core.messages import Message
    from aichat_cli.core.sync import SyncReport
    from aichat_cli.repl.session import Session
    from aichat_cli.storage.database import Database

DIM, RESET = "\x1b[2m", "\x1b[0m"
MOST_SHOWN = 6


class News(Struct, frozen=True):
    """What another device did to the conversation in use; `head_id` is None where it is gone."""

    conversation_id: ConversationId
    head_id: MessageId | None


class SessionSync:
    """The sync of one session, and the news it brings.

    News is shown when it comes, above the prompt, in the thread of the sync. It counts from the next message on, in the
    thread of the session: a turn that runs is never changed.
    """

    def __init__(self, session: Session) -> None:
        house = session.house
        self._session = session
        self._news: News | None = None
        self._told: News | None = None
        self.services = house.sync
        self.background = BackgroundSync(
            self.services, house.database_path, redraw=session.show_status, done=self._look
        )

    def start(self) -> None:
        """Begin to sync, where this session is kept and its terminal can be written to beside the prompt."""
        if self._session.log and os.environ.get("TERM") != "dumb":
            self.background.start()

    def take_news(self) -> None:
        """Go on from what other devices made of the conversation in use; called in the session's thread."""
        news, self._news = self._news, None
        session = self._session
        if news is None or news.conversation_id != session.template.conversation_id or session.edited is not None:
            return
        if news.head_id is None:
            session.template = replace(session.template, conversation_id=None, parent_id=None)
        else:
            session.template = replace(session.template, parent_id=news.head_id)

    def _look(self, database: Database, report: SyncReport) -> None:
        """Compare the conversation in use with what it is now, and show what is new."""
        if threading.current_thread() is not threading.main_thread():
            from aichat_cli.render.sync_view import report_notes

            for note in report_notes(report):
                self._session.diagnostics.notice(note)
        template = self._session.template
        if template.conversation_id is None or not (report.received or report.deleted_here):
            return
        try:
            now = sync_overview.where(database, template.conversation_id)
            branch = messages.branch(database, MessageId(now.head_id) if now.head_id else None)
        except StorageError:
            return
        if self.background.is_held:  # what is new may be of the turn that runs; the next sync looks again
            return
        head_id = None if now.is_deleted else MessageId(now.head_id) if now.head_id else template.parent_id
        news = News(template.conversation_id, head_id)
        if head_id == template.parent_id or news == self._told:
            return
        self._told = news
        if now.is_deleted:
            self._news = news
            self._session.diagnostics.notice(
                "This conversation was deleted on another device. Your next message begins a new one."
            )
            return
        ids = [message.id for message in branch]
        if template.parent_id is not None and template.parent_id not in ids:
            self._session.diagnostics.notice(
                "Another device went on elsewhere in this conversation. /branches shows both."
            )
            return
        self._news = news
        self._show(branch[ids.index(template.parent_id) + 1 if template.parent_id is not None else 0 :])

    def _show(self, new: list[Message]) -> None:
        count = "1 message" if len(new) == 1 else f"{len(new)} messages"
        self._session.terminal.say([f"{DIM}{count} from another device:{RESET}"])
        for message in new[-MOST_SHOWN:]:
            self._session.show_message(message)


def sync(session: Session, argument: str) -> None:
    """Sync now, or tell how things stand."""
    if argument == "status":
        _say_status(session)
        return
    if argument:
        raise UsageError("/sync takes nothing after it, or status.")
    from aichat_cli.render import sync_view

    with session.house.database.reopen() as database:
        report = session.sync.background.run_now(database)
    session.say(sync_view.report_text(report))
    for note in sync_view.report_notes(report):
        session.diagnostics.notice(note)
    session.sync.take_news()


def _say_status(session: Session) -> None:
    from aichat_cli.render import sync_view
    from aichat_cli.sync.overview import overview

    services = session.sync.services
    database = session.house.readable_database
    shown = overview(database, is_background=services.is_background)
    try:
        found = services.ask(database, lambda transport: transport.devices())
    except AichatError as exc:
        shown = replace(shown, trouble=session.house.keys.redact(exc.message))
        found = []
    rows = sync_view.status_rows(shown)
    for device in found:
        mark = sync_view.device_mark(replace(device, is_this=device.id == shown.status.device_id))
        rows.append(("device", f"{device.name}, seen {sync_view.ago(device.seen_at)}, {mark}"))
    width = max(len(name) for name, _ in rows)
    session.say("\n".join(f"{name.ljust(width)}  {safe_line(value)}" for name, value in rows))
