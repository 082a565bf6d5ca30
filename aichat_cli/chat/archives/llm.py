"""Conversations of `llm`'s logs.db: threads of messages since its version 0.36, prompts and answers before.

A conversation that was begun in the older tables and went on in the newer is one conversation: messages that are in
both keep the id they have in the older.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from aichat_cli.chat.archives.files import base_name
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
    text_of,
    title_of,
)
from aichat_cli.chat.titles import title_from
from aichat_cli.core.archive import ArchivedConversation, ArchivedFile, ArchivedMessage
from aichat_cli.core.ids import ConversationId, MessageId
from aichat_cli.core.media import stored_type
from aichat_cli.core.messages import Attachment, Role
from aichat_cli.core.struct import replace
from aichat_cli.storage.llm_logs import LlmLogs, Row

SOURCE = "llm"
_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system", "tool": "tool"}


def conversations(logs: LlmLogs) -> Iterator[ArchivedConversation | BadConversation]:
    """Every conversation of both kinds; one that cannot be read is a BadConversation in its place."""
    threads = {text_of(row["id"]): row for row in logs.threads()}
    for row in logs.legacy_conversations():
        thread = threads.pop(text_of(row["id"]), None)
        yield _attempt(logs, row, thread)
    for thread in threads.values():
        yield _attempt(logs, None, thread)


def count(logs: LlmLogs) -> int:
    """About how many there are."""
    return logs.count("threads") + logs.count("conversations")


def _attempt(logs: LlmLogs, legacy: Row | None, thread: Row | None) -> ArchivedConversation | BadConversation:
    try:
        older = _legacy(logs, legacy) if legacy is not None else None
        return _thread(logs, thread, older) if thread is not None else older or BadConversation("it is empty")
    except BadConversation as exc:
        return exc
    except UnicodeDecodeError:
        return BadConversation("a text in it is no UTF-8")
    except RecursionError:
        return BadConversation("it is nested too deeply")


def _legacy(logs: LlmLogs, row: Row) -> ArchivedConversation:
    responses = logs.legacy_responses(row)
    name = text_of(row["id"]) or text_of(row.get("response_id"))
    times = [ms for response in responses if (ms := milliseconds(response["datetime_utc"])) is not None]
    created = min(times, default=1)
    system = next((text for response in reversed(responses) if (text := _legacy_system(logs, response))), None)
    messages: list[ArchivedMessage] = []
    for response in responses:
        for place, made in enumerate(_legacy_messages(logs, response, system, created)):
            identifier = MessageId(
                archive_id(_ms(response, created), SOURCE, name, text_of(response["id"]), str(place))
            )
            above = messages[-1].id if messages else None
            messages.append(replace(made, id=identifier, parent_id=above))
    first = next((message.content for message in messages if message.role == "user"), "")
    return ArchivedConversation(
        id=ConversationId(archive_id(created, SOURCE, name)),
        title=title_of(row["name"]) or title_from(first),
        system_prompt=system,
        model=optional_text(row["model"]),
        head_id=messages[-1].id if messages else None,
        created_at=iso(created),
        updated_at=iso(max(times, default=created)),
        messages=tuple(messages),
    )


def _ms(row: Row, default: int) -> int:
    return milliseconds(row["datetime_utc"]) or default


def _legacy_system(logs: LlmLogs, response: Row) -> str:
    return "\n\n".join(
        filter(None, map(text_of, [*logs.legacy_fragments(response["id"], "system"), response["system"]]))
    )


def _legacy_messages(logs: LlmLogs, response: Row, system: str | None, created: int) -> Iterator[ArchivedMessage]:
    """What came in and went out in one call; ids and parents are filled in later."""
    at = iso(_ms(response, created))
    nobody = MessageId("")
    for result in logs.legacy_tool_results(response["id"]):
        output = text_of(result["output"]) or text_of(result["exception"])
        extra = extra_of(name=text_of(result["name"]), tool_call_id=text_of(result["tool_call_id"]))
        yield ArchivedMessage(nobody, None, "tool", output, at, extra=extra)
    fragments = logs.legacy_fragments(response["id"], "prompt")
    prompt = "\n".join(filter(None, map(text_of, [*fragments, response["prompt"]])))
    files = tuple(_file(logs, text_of(each["id"])) for each in logs.legacy_attachments(response["id"]))
    own_system = _legacy_system(logs, response)
    if prompt or files:
        extra = extra_of(system=own_system if own_system != system else "")
        yield ArchivedMessage(nobody, None, "user", prompt, at, extra=extra, files=files)
    calls = [
        {"id": text_of(call["tool_call_id"]), "name": text_of(call["name"]), "input": _json(call["arguments"])}
        for call in logs.legacy_tool_calls(response["id"])
    ]
    yield ArchivedMessage(
        nobody,
        None,
        "assistant",
        text_of(response["response"]),
        at,
        reasoning=text_of(response["reasoning"]),
        model=optional_text(response["resolved_model"]) or optional_text(response["model"]),
        extra=extra_of(tool_calls=calls, options=_json(response["options_json"])),
    )


def _thread(logs: LlmLogs, thread: Row, older: ArchivedConversation | None) -> ArchivedConversation:
    turns = logs.turns(thread["id"])
    tips = [thread["tip_message_hash"], *(turn["tip_message_hash"] for turn in turns)]
    rows = {text_of(row["hash"]): row for row in logs.chains([tip for tip in tips if isinstance(tip, str)])}
    created = milliseconds(thread["datetime_utc"]) or 1
    times = [ms for turn in turns if (ms := milliseconds(turn["datetime_utc"])) is not None]
    created = min([created, *times])
    by_tip = {text_of(turn["tip_message_hash"]): turn for turn in turns}
    by_question = {text_of(turn["parent_message_hash"]): turn for turn in turns}
    nodes = {
        name: Node(name, row["parent_hash"], _turn_ms(by_tip.get(name) or by_question.get(name)), place)
        for place, (name, row) in enumerate(rows.items())
    }
    builder = _Thread(logs, text_of(thread["id"]), older)
    for node in ordered(nodes, created):
        builder.add(node, text_of(rows[node.name]["role"]), by_tip.get(node.name))
    messages = builder.messages
    first = next((message.content for message in messages if message.role == "user"), "")
    forked = optional_text(thread["forked_from"])
    return ArchivedConversation(
        id=older.id if older else ConversationId(archive_id(created, SOURCE, text_of(thread["id"]))),
        title=(older.title if older else "") or title_of(thread["name"]) or title_from(first),
        system_prompt=builder.system_prompt,
        model=optional_text(turns[-1]["model"]) if turns else None,
        head_id=builder.at(text_of(thread["tip_message_hash"])) or (messages[-1].id if messages else None),
        created_at=older.created_at if older else iso(created),
        updated_at=iso(max([created, *times])),
        messages=tuple(messages),
        skipped={**builder.skipped, **({"links to the thread it was forked from": 1} if forked else {})},
    )


def _turn_ms(turn: Row | None) -> int | None:
    return milliseconds(turn["datetime_utc"]) if turn is not None else None


class _Thread:
    """Messages of one thread, made from top to bottom."""

    def __init__(self, logs: LlmLogs, name: str, older: ArchivedConversation | None) -> None:
        self._logs = logs
        self._name = name
        self._older = older.messages if older else ()
        self._ids: dict[str, MessageId | None] = {}
        self._same_as_older: dict[str, int] = {}
        self.messages: list[ArchivedMessage] = list(self._older)
        self.skipped: Counter[str] = Counter()
        self.system_prompt: str | None = older.system_prompt if older else None

    def at(self, message_hash: str) -> MessageId | None:
        """The id of the message of a hash."""
        return self._ids.get(message_hash)

    def add(self, node: Node, role_name: str, turn: Row | None) -> None:
        role = _ROLES.get(role_name)
        above = self._ids[node.parent] if node.parent is not None else None
        self._ids[node.name] = above
        depth = self._same_as_older.get(node.parent or "", 0)
        self._same_as_older[node.name] = depth
        if role is None:
            self.skipped["messages of an unknown role"] += 1
            return
        read = _Parts(self._logs, node.name, self.skipped)
        if role == "system" and above is None:
            self.system_prompt = read.text or self.system_prompt
            return
        if depth < len(self._older) and above == (self._older[depth - 1].id if depth else None):
            same = self._older[depth]
            if (same.role, same.content) == (role, read.text):
                self._ids[node.name] = same.id
                self._same_as_older[node.name] = depth + 1
                return
        if role == "assistant" or read.text or read.files or read.extra:
            self._keep(node, role, above, read, turn)
        else:
            self.skipped["empty messages"] += 1

    def _keep(self, node: Node, role: Role, above: MessageId | None, read: _Parts, turn: Row | None) -> None:
        if turn is not None:
            read.extra["options"] = _json(turn["options_json"])
        ms = node.ms or 1
        made = ArchivedMessage(
            id=MessageId(archive_id(ms, SOURCE, self._name, node.name)),
            parent_id=above,
            role=role,
            content=read.text,
            created_at=iso(ms),
            reasoning=read.reasoning,
            model=(optional_text(turn["resolved_model"]) or optional_text(turn["model"])) if turn else None,
            extra=extra_of(**read.extra),
            files=tuple(read.files),
        )
        self.messages.append(made)
        self._ids[node.name] = made.id


class _Parts:
    """The parts of one message, put together."""

    def __init__(self, logs: LlmLogs, message_hash: str, skipped: Counter[str]) -> None:
        self._logs = logs
        self.files: list[ArchivedFile] = []
        self.extra: dict[str, Any] = {}
        texts: list[str] = []
        thoughts: list[str] = []
        for part in logs.parts(message_hash):
            payload = record(_json(part["payload"]))
            kind = text_of(part["type"])
            if kind == "text":
                texts.append(self._text(part, payload))
            elif kind == "reasoning":
                thoughts.append(self._text(part, payload))
            elif kind == "tool_call":
                call = {"id": text_of(payload.get("tool_call_id")), "name": text_of(payload.get("name"))}
                self.extra.setdefault("tool_calls", []).append({**call, "input": payload.get("arguments")})
            elif kind == "tool_result":
                texts.append(text_of(payload.get("output")) or text_of(payload.get("exception")))
                self.extra |= {
                    "name": text_of(payload.get("name")),
                    "tool_call_id": text_of(payload.get("tool_call_id")),
                }
            elif kind != "attachment":
                skipped[f'parts of type "{kind[:40]}"'] += 1
            for attached in (record(payload.get("attachment")), *records(payload.get("attachments"))):
                if identifier := text_of(attached.get("id")):
                    self.files.append(_file(logs, identifier))
        self.text = "".join(texts)
        self.reasoning = "\n\n".join(filter(None, thoughts))

    def _text(self, part: Row, payload: Any) -> str:
        if isinstance(part["text"], str):
            return text_of(part["text"])
        pieces = records(payload.get("text_ref"))
        if not pieces:
            return text_of(payload.get("text"))
        return "".join(
            text_of(self._logs.fragment(piece["fragment"]))
            if isinstance(piece.get("fragment"), int)
            else text_of(piece.get("literal"))
            for piece in pieces
        )


def _file(logs: LlmLogs, identifier: str) -> ArchivedFile:
    """A file by its id. Only what the database itself holds is taken: a path in it could name anything."""
    row = logs.attachment(identifier) or {}
    name = file_name(base_name(text_of(row.get("path")) or text_of(row.get("url")))) or _name(row, identifier)

    def read() -> Attachment | None:
        content = logs.attachment_content(identifier)
        if not isinstance(content, bytes):
            return None
        return Attachment(name, optional_text(row.get("type")) or stored_type(name, content), content)

    return ArchivedFile(name, read)


def _name(row: Row, identifier: str) -> str:
    from mimetypes import guess_extension

    return f"{file_name(identifier)[:12]}{guess_extension(text_of(row.get('type'))) or ''}"


def _json(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) and value else None
    except (ValueError, RecursionError):
        return None
