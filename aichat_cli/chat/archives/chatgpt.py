"""Conversations of a ChatGPT export: `mapping` trees of nodes, each with a message or none.

A node becomes one message under the id of its own, but for those that hold only what the model thought: that goes with
the answer below them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from aichat_cli.chat.archives.chatgpt_content import Content, content_of
from aichat_cli.chat.archives.files import Files
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
    record,
    records,
    sources_of,
    text_of,
    title_of,
)
from aichat_cli.chat.titles import title_from
from aichat_cli.core.archive import ArchivedConversation, ArchivedFile, ArchivedMessage
from aichat_cli.core.ids import ConversationId, MessageId
from aichat_cli.core.media import stored_type
from aichat_cli.core.messages import Attachment, Role, Status
from aichat_cli.core.struct import Struct

SOURCE = "chatgpt"
_ROLES: dict[str, Role] = {
    "user": "user", "assistant": "assistant", "system": "system", "tool": "tool", "function": "tool", "critic": "tool",
}  # fmt: skip
_STOPPED = frozenset({"interrupted", "cancelled", "client_stopped"})


def conversation(item: Mapping[str, Any], files: Files) -> ArchivedConversation:
    """One item of `conversations.json`; raises BadConversation."""
    mapping = item.get("mapping")
    if not isinstance(mapping, dict):
        raise BadConversation("it has no mapping of nodes")
    return _Reader(item, mapping, files).read()


class _Thinking(Struct):
    """What the model thought since its last answer, on one path."""

    reasoning: tuple[str, ...] = ()
    recap: str = ""


class _Reader:
    def __init__(self, item: Mapping[str, Any], mapping: dict[str, Any], files: Files) -> None:
        self._item = item
        self._mapping = mapping
        self._files = files
        self._skipped: Counter[str] = Counter()
        self._original = text_of(item.get("conversation_id")) or text_of(item.get("id"))
        if not self._original:
            raise BadConversation("it has no id")
        self._kept: dict[str, ArchivedMessage | None] = {}
        """Of each node the message at it or, where it has none, at the nearest node above."""
        self._thinking: dict[str, _Thinking] = {}
        self._messages: list[ArchivedMessage] = []

    def read(self) -> ArchivedConversation:
        nodes = self._nodes()
        times = [node.ms for node in nodes.values() if node.ms is not None]
        created = milliseconds(self._item.get("create_time")) or min(times, default=None) or 1
        parents = {node.parent for node in nodes.values()}
        for node in ordered(nodes, created):
            self._read_node(node, is_leaf=node.name not in parents)
        updated = milliseconds(self._item.get("update_time")) or max(times, default=created)
        first = next((message.content for message in self._messages if message.role == "user"), "")
        return ArchivedConversation(
            id=ConversationId(archive_id(created, SOURCE, self._original)),
            title=title_of(self._item.get("title")) or title_from(first),
            system_prompt=None,
            model=optional_text(self._item.get("default_model_slug")) or self._last_model(),
            head_id=self._head(),
            created_at=iso(created),
            updated_at=iso(max(created, updated)),
            messages=tuple(self._messages),
            skipped=dict(self._skipped),
        )

    def _nodes(self) -> dict[str, Node]:
        nodes: dict[str, Node] = {}
        for place, (name, node) in enumerate(self._mapping.items()):
            if not isinstance(node, dict):
                raise BadConversation("a node of it is no object")
            parent = node.get("parent")
            time = milliseconds(record(node.get("message")).get("create_time"))
            nodes[name] = Node(name, parent if isinstance(parent, str) else None, time, place)
        return nodes

    def _read_node(self, node: Node, *, is_leaf: bool) -> None:
        above = self._kept.get(node.parent) if node.parent is not None else None
        thinking = self._thinking.get(node.parent or "", _Thinking())
        self._kept[node.name] = above
        self._thinking[node.name] = thinking
        message = record(record(self._mapping[node.name]).get("message"))
        if not message:
            return
        content = content_of(message, self._skipped)
        if content.reasoning or content.recap:
            thinking = _Thinking((*thinking.reasoning, content.reasoning), content.recap or thinking.recap)
            self._thinking[node.name] = thinking
            if not is_leaf or not content.reasoning:
                return
        role = _ROLES.get(text_of(record(message.get("author")).get("role")))
        if role is None:
            self._skipped["messages of an unknown role"] += 1
        elif not content.text and not content.files and not content.reasoning:
            self._skipped["empty messages"] += 1
        else:
            self._keep(node, message, content, "system" if content.is_instruction else role, above, thinking)

    def _keep(
        self,
        node: Node,
        message: Mapping[str, Any],
        content: Content,
        role: Role,
        above: ArchivedMessage | None,
        thinking: _Thinking,
    ) -> None:
        is_answer = role == "assistant"
        metadata = record(message.get("metadata"))
        made = ArchivedMessage(
            id=MessageId(archive_id(node.ms or 1, SOURCE, self._original, node.name)),
            parent_id=above.id if above else None,
            role=role,
            content=content.text,
            created_at=iso(node.ms or 1),
            reasoning="\n\n".join(filter(None, thinking.reasoning)) if is_answer else "",
            status=_status(message, metadata),
            model=optional_text(metadata.get("model_slug")) if is_answer else None,
            finish_reason=optional_text(record(metadata.get("finish_details")).get("type")),
            extra=_extra(message, metadata, thinking.recap if is_answer else ""),
            files=tuple(self._file(identifier, name) for identifier, name in content.files.items()),
        )
        self._messages.append(made)
        self._kept[node.name] = made
        if is_answer:
            self._thinking[node.name] = _Thinking()

    def _file(self, identifier: str, name: str) -> ArchivedFile:
        files = self._files

        def read() -> Attachment | None:
            found = files.find(identifier)
            content = files.read(found) if found is not None else None
            if found is None or content is None:
                return None
            own_name = name or file_name(files.original_name(found))
            return Attachment(own_name, stored_type(own_name, content), content)

        return ArchivedFile(name or file_name(identifier), read)

    def _head(self) -> MessageId | None:
        current = self._item.get("current_node")
        if isinstance(current, str) and (at := self._kept.get(current)) is not None:
            return at.id
        return self._messages[-1].id if self._messages else None

    def _last_model(self) -> str | None:
        return next((message.model for message in reversed(self._messages) if message.model), None)


def _status(message: Mapping[str, Any], metadata: Mapping[str, Any]) -> Status:
    if text_of(record(metadata.get("finish_details")).get("type")) in _STOPPED:
        return "stopped"
    status = text_of(message.get("status"))
    if status in ("in_progress", "finished_partial_completion"):
        return "stopped"
    return "failed" if "error" in status else "complete"


def _extra(message: Mapping[str, Any], metadata: Mapping[str, Any], recap: str) -> str | None:
    content = record(message.get("content"))
    kind = text_of(content.get("content_type"))
    recipient = text_of(message.get("recipient"))
    cited = [record(citation.get("metadata")) for citation in records(metadata.get("citations"))]
    referred = [
        source
        for reference in records(metadata.get("content_references"))
        for source in (reference, *records(reference.get("items")))
    ]
    return extra_of(
        name=text_of(record(message.get("author")).get("name")),
        recipient=recipient if recipient != "all" else "",
        content_type=kind if kind not in ("text", "multimodal_text") else "",
        hidden=bool(metadata.get("is_visually_hidden_from_conversation")),
        recap=recap,
        sources=sources_of([*cited, *referred]),
    )
