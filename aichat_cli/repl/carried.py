"""What goes with the next message: files, and the output of commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from aichat_cli.chat.turn import TurnRequest
from aichat_cli.core.messages import Attachment
from aichat_cli.repl.live import Submission

if TYPE_CHECKING:
    from aichat_cli.repl.session import Session


@dataclass(frozen=True, slots=True)
class Carried:
    """One thing: how it is called on the screen, and either a block of text or an attachment."""

    label: str
    block: str = ""
    attachment: Attachment | None = None


def composed(session: Session, template: TurnRequest, submission: Submission) -> TurnRequest:
    """The request for a message, with what it carries and with the files that were mentioned by typing `@path`.

    Raises:
        AichatError: a mentioned file cannot be taken.
    """
    from aichat_cli.chat.inclusions import size_note
    from aichat_cli.chat.mentions import expand_mentions

    mentioned = expand_mentions(submission.typed, Path.cwd(), max_bytes=session.house.largest_file)
    for folder in mentioned.folders:
        session.diagnostics.notice(f"{folder} is a folder: only files can be put in a prompt.")
    for file in mentioned.files:
        session.diagnostics.notice(f"With {size_note(file, template.model)}.")
    blocks = [*(each.block for each in session.carried), *(file.block for file in mentioned.files)]
    attachments = [*(each.attachment for each in session.carried), *mentioned.attachments]
    return replace(
        template,
        prompt="\n\n".join(part for part in (*blocks, submission.text.strip()) if part),
        question=" ".join(submission.typed.split()),
        attachments=tuple(each for each in attachments if each is not None),
    )


def labels(carried: Sequence[Carried]) -> tuple[str, ...]:
    """How they are called."""
    return tuple(each.label for each in carried)
