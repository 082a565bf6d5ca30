"""What goes with the next message: files, and the output of commands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aichat_cli.chat.request import TurnRequest
from aichat_cli.core.messages import Attachment
from aichat_cli.core.struct import Struct, replace
from aichat_cli.repl.live import Submission

if TYPE_CHECKING:
    from aichat_cli.chat.inclusions import Readers
    from aichat_cli.documents.fetching import FetchedPage, NotModified
    from aichat_cli.repl.session import Session


class Carried(Struct, frozen=True):
    """One thing: how it is called on the screen, and either a block of text or an attachment."""

    label: str
    block: str = ""
    attachment: Attachment | None = None


def composed(session: Session, template: TurnRequest, submission: Submission) -> TurnRequest:
    """The request for a message, with what it carries and with what was mentioned by typing `@path` or `@URL`.

    Raises:
        AichatError: something that is mentioned cannot be taken.
        ContextTooLong: it has no room.
    """
    from aichat_cli.chat.inclusion_sizes import notes, require_room, size_note
    from aichat_cli.chat.mentions import expand_mentions

    model = template.model
    mentioned = expand_mentions(
        submission.typed, Path.cwd(), telling_readers(session), pdf_as_text=model.reads("pdf") is False
    )
    require_room(mentioned.inclusions, [model, *template.fallbacks], in_session=True)
    for inclusion in mentioned.inclusions:
        session.diagnostics.notice(f"With {size_note(inclusion, model)}.")
        for note in notes(inclusion):
            session.diagnostics.notice(note)
    blocks = [*(each.block for each in session.carried), *(each.block for each in mentioned.inclusions)]
    attachments = [*(each.attachment for each in session.carried), *mentioned.attachments]
    return replace(
        template,
        prompt="\n\n".join(part for part in (*blocks, submission.text.strip()) if part),
        question=" ".join(submission.typed.split()),
        attachments=tuple(each for each in attachments if each is not None),
    )


def telling_readers(session: Session) -> Readers:
    """Those of the house. What is fetched is said before: it may take a while, and somebody else learns of it."""
    readers = session.house.readers()

    def fetch(url: str) -> FetchedPage | NotModified:
        session.diagnostics.notice(f"Fetching {url}")
        return readers.fetch(url)

    return replace(readers, fetch=fetch)


def labels(carried: Sequence[Carried]) -> tuple[str, ...]:
    """How they are called."""
    return tuple(each.label for each in carried)
