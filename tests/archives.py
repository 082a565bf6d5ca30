"""Archives in the shape of the real ones, made by code: ChatGPT, Claude, and `llm`'s two schemas."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import apsw

Json = dict[str, Any]
BEGAN = 1_700_000_000.25
PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"


def said(role: str, text: str, *, at: float | None = BEGAN, **fields: Any) -> Json:
    """A message of ChatGPT; `fields` replace its own."""
    return {
        "id": "m", "author": {"role": role, "name": None, "metadata": {}}, "create_time": at, "update_time": None,
        "content": {"content_type": "text", "parts": [text]}, "status": "finished_successfully", "end_turn": True,
        "weight": 1.0, "metadata": {"model_slug": "gpt-4o"} if role == "assistant" else {}, "recipient": "all",
        "channel": None, **fields,
    }  # fmt: skip


def chatgpt(name: str, nodes: Mapping[str, tuple[str | None, Json | None]], *, head: str, **fields: Any) -> Json:
    """A conversation of ChatGPT of nodes `{name: (parent, message)}`, below its empty root and hidden system node."""
    tree = {"root": (None, None), "system": ("root", said("system", "", at=None)), **nodes}
    children: dict[str | None, list[str]] = {}
    for node, (parent, _) in tree.items():
        children.setdefault(parent, []).append(node)
    mapping = {
        node: {"id": node, "message": message, "parent": parent, "children": children.get(node, [])}
        for node, (parent, message) in tree.items()
    }
    return {
        "title": f"About {name}", "create_time": BEGAN, "update_time": BEGAN + 60, "mapping": mapping,
        "moderation_results": [], "current_node": head, "conversation_id": name, "id": name,
        "default_model_slug": "gpt-4o", "is_archived": False, "voice": None, **fields,
    }  # fmt: skip


def chatgpt_talk(name: str, turns: int = 5) -> Json:
    """A plain conversation of `turns` questions and answers, the first of which was answered twice."""
    nodes: dict[str, tuple[str | None, Json | None]] = {}
    above = "system"
    for turn in range(turns):
        at = BEGAN + 10 * turn
        nodes[f"{name}-q{turn}"] = (above, said("user", f"question {turn} about {name}", at=at))
        if turn == 0:
            nodes[f"{name}-other"] = (f"{name}-q0", said("assistant", "another answer", at=at + 1))
        nodes[f"{name}-a{turn}"] = (f"{name}-q{turn}", said("assistant", f"answer {turn} about {name}", at=at + 2))
        above = f"{name}-a{turn}"
    return chatgpt(name, nodes, head=above)


def claude_message(name: str, sender: str, text: str, **fields: Any) -> Json:
    """A message of Claude."""
    return {
        "uuid": name, "text": text, "content": [{"type": "text", "text": text, "citations": []}], "sender": sender,
        "created_at": "2026-03-29T07:06:35.552627Z", "updated_at": "2026-03-29T07:06:35.552627Z", "attachments": [],
        "files": [], **fields,
    }  # fmt: skip


def claude(identifier: str, messages: list[Json], **fields: Any) -> Json:
    """A conversation of Claude."""
    return {
        "uuid": identifier, "name": f"About {identifier}", "summary": "", "created_at": "2026-03-29T07:06:34.084721Z",
        "updated_at": "2026-03-29T12:59:41.658730Z", "account": {"uuid": "acc"}, "chat_messages": messages, **fields,
    }  # fmt: skip


def zipped(path: Path, conversations: Iterable[Json], files: dict[str, bytes] | None = None) -> Path:
    """An export as it is downloaded."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", json.dumps(list(conversations)))
        archive.writestr("user.json", "{}")
        archive.writestr("__MACOSX/._conversations.json", b"\0\1")
        for name, content in (files or {}).items():
            archive.writestr(name, content)
    return path


def plain(path: Path, conversations: Any) -> Path:
    """A bare conversations.json."""
    path.write_text(json.dumps(conversations), "utf-8")
    return path


LEGACY_TABLES = """
CREATE TABLE conversations (id TEXT PRIMARY KEY, name TEXT, model TEXT);
CREATE TABLE responses (id TEXT PRIMARY KEY, model TEXT, prompt TEXT, system TEXT, prompt_json TEXT, options_json TEXT,
  response TEXT, response_json TEXT, conversation_id TEXT REFERENCES conversations(id), duration_ms INTEGER,
  datetime_utc TEXT, input_tokens INTEGER, output_tokens INTEGER, token_details TEXT, resolved_model TEXT);
CREATE TABLE attachments (id TEXT PRIMARY KEY, type TEXT, path TEXT, url TEXT, content BLOB);
CREATE TABLE prompt_attachments (response_id TEXT, attachment_id TEXT, "order" INTEGER);
CREATE TABLE tool_calls (id INTEGER PRIMARY KEY, response_id TEXT, tool_id INTEGER, name TEXT, arguments TEXT,
  tool_call_id TEXT);
CREATE TABLE tool_results (id INTEGER PRIMARY KEY, response_id TEXT, tool_id INTEGER, name TEXT, output TEXT,
  tool_call_id TEXT);
CREATE TABLE fragments (id INTEGER PRIMARY KEY, hash TEXT, content TEXT, datetime_utc TEXT, source TEXT);
CREATE TABLE prompt_fragments (response_id TEXT, fragment_id INTEGER, "order" INTEGER);
INSERT INTO conversations VALUES ('01old', 'Old talk', 'gpt-4o');
INSERT INTO responses (id, model, prompt, system, response, conversation_id, datetime_utc, options_json, resolved_model)
VALUES ('r1', 'gpt-4o', 'first question', 'be brief', 'first answer', '01old', '2025-01-01T10:00:00.123456',
        '{"temperature": 0}', NULL),
       ('r2', 'gpt-4o', 'use a tool', 'be brief', '', '01old', '2025-01-01T10:01:00', NULL, NULL),
       ('r3', 'gpt-4o', '', 'be brief', 'it says X', '01old', '2025-01-01T10:01:05', NULL, 'gpt-4o-2024'),
       ('r4', 'gpt-4o', 'alone', NULL, 'indeed', NULL, '2025-02-01T10:00:00', NULL, NULL);
INSERT INTO attachments VALUES ('att1', 'image/png', NULL, NULL, x'89504E470D0A1A0A00'),
                               ('att2', 'image/png', '/home/somebody/secret.png', NULL, NULL);
INSERT INTO prompt_attachments VALUES ('r1', 'att1', 0), ('r1', 'att2', 1);
INSERT INTO tool_calls VALUES (1, 'r2', 1, 'up', '{"s": "x"}', 'tc1');
INSERT INTO tool_results VALUES (1, 'r3', 1, 'up', 'X', 'tc1');
INSERT INTO fragments VALUES (1, 'h', 'a fragment', '', NULL);
INSERT INTO prompt_fragments VALUES ('r1', 1, 0);
"""

THREAD_TABLES = """
CREATE TABLE messages (hash TEXT PRIMARY KEY, parent_hash TEXT REFERENCES messages(hash), role TEXT,
  provider_metadata TEXT);
CREATE TABLE parts (id INTEGER PRIMARY KEY, message_hash TEXT, position INTEGER, type TEXT, tool_name TEXT, text TEXT,
  payload TEXT);
CREATE TABLE threads (id TEXT PRIMARY KEY, name TEXT, tip_message_hash TEXT, forked_from TEXT, datetime_utc TEXT);
CREATE TABLE turns (id TEXT PRIMARY KEY, thread_id TEXT, parent_message_hash TEXT, tip_message_hash TEXT, model TEXT,
  resolved_model TEXT, options_json TEXT, datetime_utc TEXT);
INSERT INTO messages (hash, parent_hash, role) VALUES ('s', NULL, 'system'), ('u1', 's', 'user'),
  ('a1', 'u1', 'assistant'), ('a1b', 'u1', 'assistant'), ('t1', 'a1', 'tool'), ('a2', 't1', 'assistant');
INSERT INTO parts (message_hash, position, type, text, payload) VALUES
  ('s', 0, 'text', 'be kind', NULL),
  ('u1', 0, 'text', NULL, '{"text_ref": [{"fragment": 1}, {"literal": "\\nlook"}]}'),
  ('u1', 1, 'attachment', NULL, '{"attachment": {"id": "att1"}}'),
  ('a1', 0, 'reasoning', 'hm', NULL),
  ('a1', 1, 'tool_call', NULL, '{"name": "up", "arguments": {"s": "x"}, "tool_call_id": "tc1"}'),
  ('a1b', 0, 'text', 'another answer', NULL),
  ('t1', 0, 'tool_result', NULL, '{"name": "up", "output": "X", "tool_call_id": "tc1"}'),
  ('a2', 0, 'text', 'it is X', NULL);
INSERT INTO threads VALUES ('02new', 'New talk', 'a2', NULL, '2026-01-01 10:00:00+00:00');
INSERT INTO turns VALUES ('t-1', '02new', 'u1', 'a1', 'mock', NULL, NULL, '2026-01-01T10:00:00+00:00'),
  ('t-1b', '02new', 'u1', 'a1b', 'mock', NULL, NULL, '2026-01-01T10:00:20+00:00'),
  ('t-2', '02new', 't1', 'a2', 'mock', 'mock-2', '{"temperature": 1}', '2026-01-01T10:01:00+00:00');
"""

CONTINUED = """
INSERT INTO messages (hash, parent_hash, role) VALUES ('c0', NULL, 'system'), ('c1', 'c0', 'user'),
  ('c2', 'c1', 'assistant'), ('c3', 'c2', 'user'), ('c4', 'c3', 'assistant'), ('c5', 'c4', 'tool'),
  ('c6', 'c5', 'assistant'), ('c7', 'c6', 'user'), ('c8', 'c7', 'assistant');
INSERT INTO parts (message_hash, position, type, text, payload) VALUES
  ('c0', 0, 'text', 'be brief', NULL), ('c1', 0, 'text', 'a fragment' || char(10) || 'first question', NULL),
  ('c2', 0, 'text', 'first answer', NULL), ('c3', 0, 'text', 'use a tool', NULL),
  ('c4', 0, 'tool_call', NULL, '{"name": "up", "arguments": {"s": "x"}, "tool_call_id": "tc1"}'),
  ('c5', 0, 'tool_result', NULL, '{"name": "up", "output": "X", "tool_call_id": "tc1"}'),
  ('c6', 0, 'text', 'it says X', NULL), ('c7', 0, 'text', 'and now?', NULL), ('c8', 0, 'text', 'still X', NULL);
INSERT INTO threads VALUES ('01old', 'Old talk', 'c8', NULL, '2026-02-01 10:00:00+00:00');
INSERT INTO turns VALUES ('t-9', '01old', 'c7', 'c8', 'mock', NULL, NULL, '2026-02-01T10:00:00+00:00');
"""


def llm_logs(path: Path, *scripts: str) -> Path:
    """A logs.db of `llm`: of its older tables, of those since 0.36, or of both."""
    connection = apsw.Connection(str(path))
    for script in scripts:
        connection.execute(script).fetchall()
    connection.close()
    return path
