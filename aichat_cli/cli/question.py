"""What is asked, put together: what was piped in, what `-f` and `-a` name, and what was typed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from aichat_cli.cli.stdin import piped_text
from aichat_cli.core.errors import UsageError
from aichat_cli.core.messages import Attachment
from aichat_cli.core.models import Model
from aichat_cli.core.struct import Struct
from aichat_cli.render.diagnostics import Diagnostics

if TYPE_CHECKING:
    from aichat_cli.chat.inclusions import Inclusion, Readers


class Question(Struct, frozen=True):
    """One question.

    Attributes:
        text: the whole prompt, None where there is none and somebody to chat with.
        topic: what was typed, or the names of the files; a new conversation is named after it.
        attachments: files that go with it.
        inclusions: files, folders and pages whose text is in it.
    """

    text: str | None
    topic: str
    attachments: tuple[Attachment, ...] = ()
    inclusions: tuple[Inclusion, ...] = ()


def read_question(
    words: Sequence[str],
    diagnostics: Diagnostics,
    *,
    files: Sequence[str],
    attach: Sequence[str],
    readers: Callable[[], Readers],
) -> Question:
    """stdin, the files and what was typed, a blank line between each; `readers` are asked for where there are files.

    Raises:
        UsageError: there is nothing to ask and nobody to chat with.
        AichatError: a file cannot be taken.
    """
    texts, attachments = _files(files, attach, diagnostics, readers)
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


def say_what_goes_in(question: Question, models: Sequence[Model], diagnostics: Diagnostics) -> None:
    """A notice for each folder and page, and for each file that takes more than half of the first model's window.

    Raises:
        ContextTooLong: no window of the models has room for all of it.
    """
    if not question.inclusions:
        return
    from aichat_cli.chat.inclusion_sizes import is_noteworthy, notes, require_room, size_note

    require_room(question.inclusions, models)
    for inclusion in question.inclusions:
        if is_noteworthy(inclusion, models[0]):
            diagnostics.notice(f"{size_note(inclusion, models[0])}.")
        for note in notes(inclusion):
            diagnostics.notice(note)


def _files(
    files: Sequence[str], attach: Sequence[str], diagnostics: Diagnostics, readers: Callable[[], Readers]
) -> tuple[tuple[Inclusion, ...], tuple[Attachment, ...]]:
    """The texts and the attachments. Text given to `-a` is put in the prompt, which is said."""
    if not files and not attach:
        return (), ()
    from aichat_cli.chat.inclusions import included_file, included_text

    opened = readers()
    texts = [included_text(source, opened) for source in files]
    attachments: list[Attachment] = []
    for path in attach:
        file = included_file(path, opened)
        if file.attachment is not None:
            attachments.append(file.attachment)
            continue
        diagnostics.notice(f"{file.name} is text: it is put in the prompt, as -f does.")
        texts.append(file)
    return tuple(texts), tuple(attachments)
