"""Conversations of a claude.ai export: lists of messages, in newer exports a tree by `parent_message_uuid`.

A message of Claude holds what it thought, said, called and was answered by tools, one after the other. Each answer of
a tool becomes a message of the role `tool`, and what follows it an answer of its own, so that the order is kept.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from aichat_cli.chat.archives.values import (
    BadConversation,
    Node,
    archive_id,
    extra_of,
    file_name,
    iso,
    milliseconds,
    optional_text,
    ordered,
    records,
    sources_of,
    text_of,
    title_of,
)
from aichat_cli.chat.titles import title_from
from aichat_cli.core.archive import ArchivedConversation, ArchivedFile, ArchivedMessage
from aichat_cli.core.ids import ConversationId, MessageId
from aichat_cli.core.messages import Attachment, Role
from aichat_cli.core.struct import Struct, field

SOURCE = "claude"
_ROLES: dict[str, Role] = {
    "human": "user", "user": "user", "assistant": "assistant", "system": "system", "tool": "tool",
}  # fmt: skip
_PASSED_OVER = frozenset({"token_budget", "flag"})


class _Step(Struct):
    """What becomes one message: pieces of one role, up to the answer of a tool."""

    role: Role
    texts: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not any(self.texts) and not any(self.thoughts) and not self.extra


def conversation(item: Mapping[str, Any]) -> ArchivedConversation:
    """One item of `conversations.json`; raises BadConversation."""
    listed = item.get("chat_messages")
    original = text_of(item.get("uuid"))
    if not isinstance(listed, list):
        raise BadConversation("it has no chat_messages")
    if not original:
        raise BadConversation("it has no uuid")
    skipped: Counter[str] = Counter()
    by_name = _by_name(listed, skipped)
    nodes = _nodes(by_name)
    times = [node.ms for node in nodes.values() if node.ms is not None]
    created = milliseconds(item.get("created_at")) or min(times, default=None) or 1
    messages: list[ArchivedMessage] = []
    last_of: dict[str, MessageId | None] = {}
    for node in ordered(nodes, created):
        above = last_of[node.parent] if node.parent is not None else None
        made = _messages(by_name[node.name], node, original, above, skipped)
        messages.extend(made)
        last_of[node.name] = made[-1].id if made else above
    updated = milliseconds(item.get("updated_at")) or max(times, default=created)
    first = next((message.content for message in messages if message.role == "user"), "")
    head = last_of.get(text_of(item.get("current_leaf_message_uuid"))) or (messages[-1].id if messages else None)
    return ArchivedConversation(
        id=ConversationId(archive_id(created, SOURCE, original)),
        title=title_of(item.get("name")) or title_from(first),
        system_prompt=None,
        model=optional_text(item.get("model")),
        head_id=head,
        created_at=iso(created),
        updated_at=iso(max(created, updated)),
        messages=tuple(messages),
        skipped=dict(skipped),
    )


def _by_name(listed: list[Any], skipped: Counter[str]) -> dict[str, Mapping[str, Any]]:
    by_name: dict[str, Mapping[str, Any]] = {}
    for place, message in enumerate(listed):
        if not isinstance(message, dict):
            skipped["messages that are no objects"] += 1
            continue
        by_name.setdefault(text_of(message.get("uuid")) or f"#{place}", message)
    return by_name


def _nodes(by_name: Mapping[str, Mapping[str, Any]]) -> dict[str, Node]:
    """Each message under the one it names; one that names none follows the one before it."""
    nodes: dict[str, Node] = {}
    before: str | None = None
    for place, (name, message) in enumerate(by_name.items()):
        named = message.get("parent_message_uuid")
        parent = (named if named in by_name else None) if isinstance(named, str) else before
        nodes[name] = Node(name, parent, milliseconds(message.get("created_at")), place)
        before = name
    return nodes


def _messages(
    message: Mapping[str, Any], node: Node, original: str, above: MessageId | None, skipped: Counter[str]
) -> list[ArchivedMessage]:
    role = _ROLES.get(text_of(message.get("sender")))
    if role is None:
        skipped["messages of an unknown sender"] += 1
        return []
    files = (*_attachments(message), *_files(message))
    steps = [step for step in _steps(message, role, skipped) if not step.is_empty]
    if not steps and files:
        steps = [_Step(role)]
    if not steps:
        skipped["empty messages"] += 1
    made: list[ArchivedMessage] = []
    ms = node.ms or 1
    for place, step in enumerate(steps):
        made.append(
            ArchivedMessage(
                id=MessageId(archive_id(ms, SOURCE, original, node.name, str(place))),
                parent_id=made[-1].id if made else above,
                role=step.role,
                content="\n\n".join(filter(None, step.texts)),
                created_at=iso(ms),
                reasoning="\n\n".join(filter(None, step.thoughts)),
                status="stopped" if message.get("stop_reason") == "user_canceled" else "complete",
                model=optional_text(message.get("model")) if step.role == "assistant" else None,
                extra=extra_of(**step.extra),
                files=files if place == 0 else (),
            )
        )
    return made


def _steps(message: Mapping[str, Any], role: Role, skipped: Counter[str]) -> Iterator[_Step]:
    blocks = records(message.get("content"))
    if not any(block.get("type") != "text" or block.get("text") for block in blocks):
        yield _Step(role, [text_of(message.get("text"))])
        return
    step = _Step(role)
    for block in blocks:
        if block.get("type") == "tool_result":
            yield step
            yield _tool_result(block)
            step = _Step(role)
        else:
            _add(step, block, skipped)
    yield step


def _add(step: _Step, block: Mapping[str, Any], skipped: Counter[str]) -> None:
    kind = text_of(block.get("type"))
    if kind == "thinking":
        step.thoughts.append(text_of(block.get("thinking")))
    elif kind in ("tool_use", "server_tool_use"):
        call = {"id": text_of(block.get("id")), "name": text_of(block.get("name")), "input": block.get("input")}
        step.extra.setdefault("tool_calls", []).append(call)
    elif text := text_of(block.get("text")):
        step.texts.append(text)
        sources = sources_of(records(block.get("citations")))
        if sources:
            step.extra.setdefault("sources", []).extend(sources)
    elif kind not in _PASSED_OVER and kind != "text":
        skipped[f'parts of type "{kind[:40]}"'] += 1


def _tool_result(block: Mapping[str, Any]) -> _Step:
    content = block.get("content")
    if isinstance(content, str):
        texts = [text_of(content)]
    else:
        texts = [
            text_of(part.get("text")) or text_of(json.dumps(dict(part), ensure_ascii=False))
            for part in records(content)
        ]
    extra = {
        "name": text_of(block.get("name")),
        "tool_call_id": text_of(block.get("tool_use_id")),
        "is_error": bool(block.get("is_error")),
    }
    return _Step("tool", texts, extra=extra)


def _attachments(message: Mapping[str, Any]) -> Iterator[ArchivedFile]:
    """Documents, of which the export holds the text."""
    for attached in records(message.get("attachments")):
        name = file_name(attached.get("file_name")) or "pasted.txt"
        yield _text_file(name, text_of(attached.get("extracted_content")))


def _text_file(name: str, text: str) -> ArchivedFile:
    return ArchivedFile(name, lambda: Attachment(name, "text/plain", text.encode()) if text else None)


def _files(message: Mapping[str, Any]) -> Iterator[ArchivedFile]:
    """Images and other files, which the export only names."""
    attached = {text_of(each.get("file_name")) for each in records(message.get("attachments"))}
    for key in ("files", "files_v2"):
        for each in records(message.get(key)):
            name = text_of(each.get("file_name")) or text_of(each.get("file_uuid"))
            if name and name not in attached:
                attached.add(name)
                yield ArchivedFile(file_name(name), lambda: None)
