"""Conversations of `aichat history export --format json`. They keep their ids, so that importing one again adds nothing.

What the turns cost is in the export for reading, and is not read here: money is counted once, where it was spent.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from aichat_cli.chat.archives.values import (
    BadConversation,
    Node,
    file_name,
    iso,
    milliseconds,
    optional_text,
    ordered,
    records,
    text_of,
)
from aichat_cli.core.archive import ArchivedConversation, ArchivedFile, ArchivedMessage
from aichat_cli.core.export import EXPORT_FORMAT, EXPORT_VERSION
from aichat_cli.core.ids import ConversationId, MessageId
from aichat_cli.core.messages import Attachment, Role, Status

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system", "tool": "tool"}
_STATUSES: dict[str, Status] = {"complete": "complete", "stopped": "stopped", "failed": "failed"}


def is_ours(header: Mapping[str, Any]) -> bool:
    """Whether a document says it is an export of aichat."""
    return header.get("format") == EXPORT_FORMAT


def is_too_new(header: Mapping[str, Any]) -> bool:
    """Whether a newer aichat wrote it in a way this one cannot read."""
    version = header.get("version")
    return not isinstance(version, int) or version > EXPORT_VERSION


def conversation(item: Mapping[str, Any]) -> ArchivedConversation:
    """One item of `conversations`; raises BadConversation."""
    created = _time(item.get("created_at"))
    listed = records(item.get("messages"))
    by_name = {_uuid(message.get("id")): message for message in listed}
    if len(by_name) != len(listed) or not isinstance(item.get("messages"), list):
        raise BadConversation("its messages are no list, or one is in it twice")
    messages = [_message(node, by_name[node.name]) for node in _in_order(by_name, created)]
    head = item.get("head_id")
    if head is not None and (not isinstance(head, str) or head not in by_name):
        raise BadConversation("its head is none of its messages")
    return ArchivedConversation(
        id=ConversationId(_uuid(item.get("id"))),
        title=text_of(item.get("title")),
        system_prompt=_kept_text(item.get("system_prompt")),
        model=_kept_text(item.get("model")),
        head_id=None if head is None else MessageId(head),
        created_at=iso(created),
        updated_at=iso(_time(item.get("updated_at"))),
        messages=tuple(messages),
    )


def _in_order(by_name: Mapping[str, Mapping[str, Any]], created: int) -> list[Node]:
    """As they are listed, which is the order they were written in; only a parent that comes late changes it."""
    nodes: dict[str, Node] = {}
    is_in_order = True
    for place, (name, message) in enumerate(by_name.items()):
        parent = message.get("parent_id")
        if parent is not None and (not isinstance(parent, str) or parent not in by_name):
            raise BadConversation("the parent of a message is none of its messages")
        is_in_order = is_in_order and (parent is None or parent in nodes)
        nodes[name] = Node(name, parent, _time(message.get("created_at")), place)
    return list(nodes.values()) if is_in_order else ordered(nodes, created)


def _message(node: Node, message: Mapping[str, Any]) -> ArchivedMessage:
    role = _ROLES.get(text_of(message.get("role")))
    if role is None:
        raise BadConversation("a message of it has an unknown role")
    extra = message.get("extra")
    return ArchivedMessage(
        id=MessageId(node.name),
        parent_id=MessageId(node.parent) if node.parent is not None else None,
        role=role,
        content=text_of(message.get("content")),
        created_at=iso(node.ms or 1),
        reasoning=text_of(message.get("reasoning")),
        status=_STATUSES.get(text_of(message.get("status")), "stopped"),
        model=_kept_text(message.get("model")),
        finish_reason=_kept_text(message.get("finish_reason")),
        error=_kept_text(message.get("error")),
        extra=None if extra is None else text_of(json.dumps(extra, ensure_ascii=False)),
        files=tuple(_file(attached) for attached in records(message.get("attachments"))),
    )


def _file(attached: Mapping[str, Any]) -> ArchivedFile:
    name = file_name(attached.get("name")) or "file"
    media_type = optional_text(attached.get("media_type")) or "application/octet-stream"
    encoded = attached.get("content")

    def read() -> Attachment | None:
        try:
            return Attachment(name, media_type, b64decode(encoded, validate=True)) if isinstance(encoded, str) else None
        except ValueError:
            return None

    return ArchivedFile(name, read)


def _kept_text(value: Any) -> str | None:
    return text_of(value) if isinstance(value, str) else None


def _time(value: Any) -> int:
    ms = milliseconds(value) if isinstance(value, str) else None
    if ms is None:
        raise BadConversation("a time in it is no time")
    return ms


def _uuid(value: Any) -> str:
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise BadConversation("an id in it is no UUID")
    return value
