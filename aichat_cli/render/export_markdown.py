"""Conversations as Markdown: the branch in use, a heading for each speaker, and what they said unchanged."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence

from aichat_cli.core.export import ExportedConversation, ExportedMessage
from aichat_cli.core.messages import Conversation
from aichat_cli.render.sanitize import safe_line
from aichat_cli.render.sources_view import stored_lines
from aichat_cli.render.tables import size_text

Read = Callable[[Conversation], ExportedConversation]


def document(listed: Sequence[Conversation], read: Read) -> Iterator[str]:
    """One document of one or more conversations."""
    separator = ""
    for conversation in listed:
        yield separator
        yield from _conversation(read(conversation))
        separator = "\n---\n\n"


def branch_of(exported: ExportedConversation) -> list[ExportedMessage]:
    """The messages of the branch in use, from the root to its tip."""
    by_id = {each.message.id: each for each in exported.messages}
    branch: list[ExportedMessage] = []
    at = exported.conversation.head_id
    while at is not None and at in by_id:
        branch.append(by_id[at])
        at = by_id[at].message.parent_id
    return branch[::-1]


def speaker(exported: ExportedMessage) -> str:
    """Who said it: `You`, the model, or the tool."""
    message = exported.message
    if message.role == "user":
        return "You"
    if message.role == "assistant":
        return safe_line(message.model or "Assistant")
    return message.role.capitalize()


def calls_of(exported: ExportedMessage) -> list[str]:
    """The tools that an imported answer called, each as one line."""
    extra = json.loads(exported.extra) if exported.extra else None
    calls = extra.get("tool_calls") if isinstance(extra, dict) else None
    return [
        safe_line(f"{call.get('name')}({json.dumps(call.get('input'), ensure_ascii=False)})")
        for call in (calls if isinstance(calls, list) else [])
        if isinstance(call, dict)
    ]


def stored_time(stored: str) -> str:
    """Such as `2026-11-25 02:23 UTC`: a file is read in other time zones than it was written in."""
    return f"{stored[:10]} {stored[11:16]} UTC"


def _conversation(exported: ExportedConversation) -> Iterator[str]:
    conversation = exported.conversation
    branch = branch_of(exported)
    left_out = len(exported.messages) - len(branch)
    yield f"# {_plain(conversation.title)}\n\n"
    yield f"- Begun: {stored_time(conversation.created_at)}\n"
    if conversation.model:
        yield f"- Model: {_plain(conversation.model)}\n"
    if left_out:
        yield f"- Messages of other branches, not shown: {left_out}\n"
    if conversation.system_prompt:
        yield f"\n## System\n\n{_block(conversation.system_prompt)}"
    for each in branch:
        yield from _message(each)


def _message(exported: ExportedMessage) -> Iterator[str]:
    message = exported.message
    told = [stored_time(message.created_at)] + ([message.status] if message.status != "complete" else [])
    yield f"\n## {_plain(speaker(exported))} ({', '.join(told)})\n\n"
    if message.reasoning.strip():
        yield "> Reasoning:\n>\n"
        yield "".join(f"> {line}\n" for line in message.reasoning.strip().splitlines()) + "\n"
    if message.content:
        yield _block(message.content)
    for call in calls_of(exported):
        yield f"*Called:* {_plain(call)}\n"
    if message.error:
        yield f"\n*{_plain(message.error)}*\n"
    if message.sources:
        yield "\n" + "".join(f"- {_plain(line)}\n" for line in stored_lines(message.sources))
    for attachment in exported.attachments:
        yield f"\n*Attached: {_plain(attachment.name)} ({size_text(len(attachment.content))})*\n"


def _block(text: str) -> str:
    return text if text.endswith("\n") else f"{text}\n"


def _plain(text: str) -> str:
    """One line that Markdown takes as it is."""
    return "".join(f"\\{character}" if character in "\\`*_[]<>#" else character for character in safe_line(text))
