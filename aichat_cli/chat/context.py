"""What the model is shown: the branch of the conversation with its files, fitted to the model's window.

A file's content is loaded only for a message that is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from aichat_cli.chat.blocks import file_block
from aichat_cli.core.errors import ContextTooLong, UsageError
from aichat_cli.core.ids import MessageId
from aichat_cli.core.messages import KIND_NAMES, Attachment, AttachmentSummary, ChatMessage, Message
from aichat_cli.core.models import Model
from aichat_cli.core.struct import Struct, replace
from aichat_cli.providers.shipped import READERS
from aichat_cli.providers.tokens import estimate, estimate_file

ANSWER_SHARE = 4
"""A quarter of the window is left for the answer."""

CERTAINLY_TOO_LONG = 2
"""Sizes are estimates; only what is twice the window is refused without asking the provider."""

Loader = Callable[[Sequence[MessageId]], Mapping[MessageId, tuple[Attachment, ...]]]
"""Reads the files of some messages: `storage.attachments.of_messages` of a database."""


class Context(Struct, frozen=True):
    """The messages to send, oldest first.

    Attributes:
        left_out: how many earlier messages the window has no room for.
        unread_files: names of files of earlier messages that this model cannot read, or that are not on this device; it is
            told so in their place.
    """

    messages: tuple[ChatMessage, ...]
    left_out: int
    unread_files: tuple[str, ...] = ()


def build(
    branch: Sequence[Message],
    prompt: str | None,
    system: str | None,
    model: Model,
    *,
    attachments: tuple[Attachment, ...] = (),
    load: Loader = lambda _: {},
    preface: str = "",
) -> Context:
    """Fit a branch and the new prompt (None when the branch ends with the one to answer) to the model's window.

    `preface` stands in front of the newest message; `attachments` go with the new prompt; those of the branch come from `load`.

    Replies without text (stopped or failed before a word came) are not shown. The newest message is always kept.
    What tools and the system said in an imported conversation is shown as the user's, labelled: no wire takes it as
    theirs without the calls it answers.

    Raises:
        UsageError: the newest message has a file that the model is known not to read.
        ContextTooLong: the newest message alone is certainly larger than the window; sending it would be in vain.
    """
    require_readable(attachments, model)
    if prompt is None and branch:
        require_readable(branch[-1].attachments, model)
    shown = [message for message in branch if message.content or message.attachments]
    if preface and prompt is not None:
        prompt = f"{preface}\n\n{prompt}"
    elif preface and shown:
        shown[-1] = replace(shown[-1], content=f"{preface}\n\n{shown[-1].content}")
    sizes = [_size(message.content, message.attachments) for message in shown]
    if prompt is not None:
        sizes.append(_size(prompt, [attachment.summary for attachment in attachments]))
    kept, used = _fitting(sizes, _room(model) - (estimate(system) if system else 0))
    if model.context_tokens is not None and used > CERTAINLY_TOO_LONG * model.context_tokens:
        raise ContextTooLong(
            f"The prompt is about {used:,} tokens, and the window of {model.name} holds {model.context_tokens:,}.",
            hint="Shorten it, or choose a model with a larger window: aichat models list",
        )
    first = len(sizes) - kept
    while first < len(sizes) - 1 and shown[first].role == "assistant":
        # A window that opens with an answer would show the model half an exchange.
        first += 1
    sent = shown[first:]
    files = load([message.id for message in sent if message.attachments])
    messages, unread = _messages(sent, files, model)
    if prompt is not None:
        messages.append(_message("user", prompt, attachments, model, unread))
    return Context(_joined(messages), first, tuple(dict.fromkeys(unread)))


def require_readable(attachments: Iterable[Attachment | AttachmentSummary], model: Model) -> None:
    """Raise UsageError where the model is known not to read one of the files; names models that do."""
    for attachment in attachments:
        kind = attachment.kind
        if kind is not None and model.reads(kind) is False:
            raise UsageError(
                f"{model.name} cannot read {KIND_NAMES[kind]} ({attachment.name}).",
                hint=f"Models that do: -m {' or -m '.join(READERS[kind])}",
            )


def _messages(
    sent: Sequence[Message], files: Mapping[MessageId, tuple[Attachment, ...]], model: Model
) -> tuple[list[ChatMessage], list[str]]:
    unread: list[str] = []
    messages = []
    for message in sent:
        role = "assistant" if message.role == "assistant" else "user"
        text = message.content
        if message.role in {"tool", "system"}:
            # Closed too, for what follows in the same message is the user's own.
            text = f"[{' '.join(filter(None, (message.role, message.tool_name)))}]\n{text}\n[/{message.role}]"
        here = files.get(message.id, ())
        text = "\n\n".join(filter(None, (*_absent(message.attachments, here, unread), text)))
        messages.append(_message(role, text, here, model, unread))
    return messages, unread


def _absent(named: Sequence[AttachmentSummary], here: Sequence[Attachment], unread: list[str]) -> list[str]:
    """What stands in the place of files that stayed on the device they were attached on."""
    contents = [attachment.summary for attachment in here]
    absent = []
    for summary in named:
        if summary in contents:
            contents.remove(summary)
        else:
            unread.append(f"{summary.name} (on another device)")
            absent.append(f"[{summary.name}, {summary.media_type}, cannot be shown to you]")
    return absent


def _message(role: str, text: str, attachments: Sequence[Attachment], model: Model, unread: list[str]) -> ChatMessage:
    """A message with what the model can read of its files: text becomes part of the message, of others it gets the name."""
    readable: list[Attachment] = []
    parts: list[str] = []
    for attachment in attachments:
        kind = attachment.kind
        # Only a user's message can carry files on any wire; an imported assistant's may have them.
        if kind is not None and model.reads(kind) is not False and role == "user":
            readable.append(attachment)
        elif attachment.media_type.startswith("text/"):
            parts.append(file_block(attachment.name, attachment.content.decode("utf-8", "replace")))
        else:
            unread.append(attachment.name)
            parts.append(f"[{attachment.name}, {attachment.media_type}, cannot be shown to you]")
    parts += [text] if text else []
    return ChatMessage("assistant" if role == "assistant" else "user", "\n\n".join(parts), tuple(readable))


def _fitting(sizes: Sequence[int], budget: int) -> tuple[int, int]:
    """How many of the newest messages fit, at least one, and their size."""
    kept, used = 0, 0
    for size in reversed(sizes):
        if kept and used + size > budget:
            break
        kept, used = kept + 1, used + size
    return kept, used


def _size(text: str, files: Iterable[AttachmentSummary]) -> int:
    return estimate(text) + 4 + sum(estimate_file(file) for file in files)


def _joined(messages: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    """Neighbours of one speaker as one message: many servers' templates demand that user and assistant alternate."""
    joined: list[ChatMessage] = []
    for message in messages:
        if joined and joined[-1].role == message.role:
            before = joined[-1]
            text = "\n\n".join(part for part in (before.content, message.content) if part)
            joined[-1] = ChatMessage(message.role, text, before.attachments + message.attachments)
        else:
            joined.append(message)
    return tuple(joined)


def _room(model: Model) -> int:
    window = model.context_tokens or 1_000_000_000
    answer = min(window // ANSWER_SHARE, model.max_output_tokens or window)
    return window - answer
