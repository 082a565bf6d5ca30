"""Slash commands that take something out of the session: to the clipboard, to a file, to the screen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from aichat_cli.billing.overview import overview
from aichat_cli.core.errors import AichatError, UsageError
from aichat_cli.core.messages import Message
from aichat_cli.core.models import GATEWAY
from aichat_cli.render.answer import code_blocks
from aichat_cli.render.credits_view import overview_line
from aichat_cli.storage import usage

if TYPE_CHECKING:
    from aichat_cli.repl.session import Session

MOST_COPIED = 1_000_000
"""Terminals refuse longer clipboard sequences without a word, most of them far below."""
DAYS_SHOWN = 14


def copy(session: Session, what: str) -> None:
    """Copy the last answer, its last code block, or the whole conversation."""
    text = _chosen(session, what)
    if len(text.encode()) > MOST_COPIED:
        raise UsageError("That is too long for a terminal's clipboard.", hint="/save FILE writes it to a file")
    session.terminal.copy(text)
    session.diagnostics.notice(f"Copied {len(text):,} characters.")


def save(session: Session, argument: str) -> None:
    """Write the last answer, or its last code block, to a new file."""
    what, _, rest = argument.partition(" ")
    if what != "code" or not rest.strip():
        what, rest = "", argument
    if not rest.strip():
        raise UsageError("/save needs a file.", hint="As in: /save answer.md, or /save code fix.py")
    path = Path(rest.strip()).expanduser()
    text = _chosen(session, what)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text if text.endswith("\n") else text + "\n")
    except FileExistsError:
        raise UsageError(f"{path} exists already; nothing was written.") from None
    except (OSError, ValueError) as exc:
        raise AichatError(f"Cannot write {path}: {getattr(exc, 'strerror', None) or exc}.") from exc
    session.diagnostics.notice(f"Saved to {path}.")


def show_usage(session: Session, _: str) -> None:
    """What this conversation cost, this day, this month, and each of the last days."""
    from aichat_cli.billing import reports
    from aichat_cli.render.usage_view import chat_text

    ledger = session.deps.ledger or session.transcript
    asked = reports.stretch(ledger, None, None, None)
    [month] = reports.sums_of(ledger, asked, [reports.this_month(asked)])
    days = reports.daily(ledger, asked, reports.last_days(asked, DAYS_SHOWN))
    conversation_id = session.template.conversation_id
    chat = usage.conversation_totals(session.transcript, conversation_id) if conversation_id else None
    session.say(chat_text(chat, month, [day.sums for day in days]))


def show_credits(session: Session, _: str) -> None:
    """The balance, the plan, and the calls left."""
    house = session.house
    if session.template.model.provider == GATEWAY:
        from aichat_cli.render.account_view import credits_line

        account, failure = house.account.current()
        session.say(credits_line(account, is_live=failure is None))
        return
    ledger = session.deps.ledger or session.transcript
    session.say(overview_line(overview(ledger, house.settings.text("billing.mode"))))


def _chosen(session: Session, what: str) -> str:
    branch = session.branch()
    if what == "all":
        return "\n\n".join(f"{'You' if each.role == 'user' else each.model}:\n\n{each.content}" for each in branch)
    answer = _last_answer(branch)
    if not what:
        return answer.content
    blocks = code_blocks(answer.content)
    if what == "code":
        if not blocks:
            raise UsageError("There is no code block in the last answer.")
        return blocks[-1]
    if what.isdecimal() and 0 < int(what) <= len(blocks):
        return blocks[int(what) - 1]
    raise UsageError(f'"{what}" is neither code, nor all, nor the number of a code block.')


def _last_answer(branch: list[Message]) -> Message:
    for message in reversed(branch):
        if message.role == "assistant" and message.content:
            return message
    raise UsageError("There is no answer yet.")
