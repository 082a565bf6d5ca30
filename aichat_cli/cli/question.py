"""What is asked, put together: what was piped in, the files of `-f` and `-a`, and what was typed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aichat_cli.cli.stdin import piped_text
from aichat_cli.core.errors import UsageError
from aichat_cli.core.messages import Attachment
from aichat_cli.core.models import Model
from aichat_cli.render.diagnostics import Diagnostics

if TYPE_CHECKING:
    from aichat_cli.chat.inclusions import Included


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    Attributes:
        text: the whole prompt, None where there is none and somebody to chat with.
        topic: what was typed, or the names of the files; a new conversation is named after it.
        attachments: files that go with it.
        files: files whose text is in it.
    """

    text: str | None
    topic: str
    attachments: tuple[Attachment, ...] = ()
    files: tuple[Included, ...] = ()


def read_question(
    words: Sequence[str], diagnostics: Diagnostics, *, files: Sequence[str], attach: Sequence[str], max_bytes: int
) -> Question:
    """stdin, the files and what was typed, a blank line between each.

    Raises:
        UsageError: there is nothing to ask and nobody to chat with.
        AichatError: a file cannot be taken.
    """
    texts, attachments = _files(files, attach, diagnostics, max_bytes)
    waits = words[:1] == ["-"]
    typed = " ".join(words[1:] if waits else words).strip()
    blocks = [file.block for file in texts]
    asked = "\n\n".join([*blocks, typed] if typed else blocks)
    topic = typed or ", ".join(file.name for file in texts)
    piped = piped_text(diagnostics, is_needed=waits or not asked, is_asked_for=waits)
    if asked or piped.strip():
        whole = f"{piped.rstrip()}\n\n{asked}" if asked and piped.strip() else asked or piped
        return Question(whole, topic, attachments, texts)
    if attachments:
        name = attachments[0].name
        raise UsageError(f"There is no prompt to go with {name}.", hint=f'As in: aichat -a {name} "what is this?"')
    if piped or words or not sys.stdin.isatty():
        raise UsageError("There is no prompt.", hint='Run: aichat "your question"')
    return Question(None, "")


def say_what_is_large(question: Question, model: Model, diagnostics: Diagnostics) -> None:
    """A notice for each file that takes more than half of the model's window."""
    if not question.files:
        return
    from aichat_cli.chat.inclusions import is_large, size_note

    for file in question.files:
        if is_large(file, model):
            diagnostics.notice(f"{size_note(file, model)}.")


def _files(
    files: Sequence[str], attach: Sequence[str], diagnostics: Diagnostics, max_bytes: int
) -> tuple[tuple[Included, ...], tuple[Attachment, ...]]:
    """The text files and the attachments. Text given to `-a` is put in the prompt, which is said."""
    if not files and not attach:
        return (), ()
    from aichat_cli.chat.inclusions import included_file, text_file

    texts = [text_file(path, max_bytes=max_bytes) for path in files]
    attachments: list[Attachment] = []
    for path in attach:
        file = included_file(path, max_bytes=max_bytes)
        if file.attachment is not None:
            attachments.append(file.attachment)
            continue
        diagnostics.notice(f"{file.name} is text: it is put in the prompt, as -f does.")
        texts.append(file)
    return tuple(texts), tuple(attachments)
