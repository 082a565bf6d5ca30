"""Turns, records and child processes for the storage tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from aichat_cli.core.ids import LOCAL_PROFILE, ConversationId, MessageId, ProfileId, RequestId, new_id
from aichat_cli.core.messages import Attachment, Status
from aichat_cli.core.money import TokenUsage
from aichat_cli.core.usage import Provenance, UsageRecord
from aichat_cli.storage import turns
from aichat_cli.storage.database import Database

HOUSE = Path(__file__).parents[2]


def usage_record(*, cost_nano: int | None = 1_500, request_id: str | None = None) -> UsageRecord:
    return UsageRecord(
        request_id=RequestId(request_id or new_id()),
        type="chat",
        provider="openai",
        model="gpt-4o-mini",
        served_model="gpt-4o-mini-2024-07-18",
        provider_id="chatcmpl-1",
        tokens=TokenUsage(10, 5, cached_tokens=4, cache_write_tokens=2, reasoning_tokens=1, raw='{"a": 1}'),
        cost_nano=cost_nano,
        provenance="calculated",
        status="complete",
    )


def opening(
    prompt: str | None = "hello",
    *,
    conversation_id: ConversationId | None = None,
    parent_id: MessageId | None = None,
    title: str = "A talk",
    attachments: Sequence[Attachment] = (),
) -> turns.BeginTurn:
    return turns.BeginTurn(
        conversation_id, parent_id, prompt, title, "be brief", "gpt-4o-mini", attachments=tuple(attachments)
    )


def outcome(
    text: str = "an answer", *, status: Status = "complete", usage: UsageRecord | None = None
) -> turns.TurnOutcome:
    return turns.TurnOutcome(text, "because", status, "gpt-4o-mini", "stop", None, usage)


def said(
    db: Database,
    prompt: str = "hello",
    answer: str = "an answer",
    *,
    conversation_id: ConversationId | None = None,
    parent_id: MessageId | None = None,
    title: str = "A talk",
    cost_nano: int | None = 1_500,
) -> turns.OpenTurn:
    """A whole, settled turn."""
    turn = turns.begin(db, opening(prompt, conversation_id=conversation_id, parent_id=parent_id, title=title))
    turns.settle(db, turn, outcome(answer, usage=usage_record(cost_nano=cost_nano)))
    return turn


def start(code: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """A Python process that runs `code` with the house on its path; talks through pipes."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=HOUSE,
        env={**os.environ, "PYTHONPATH": str(HOUSE)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """What the process printed; it must have ended well."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out.strip()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=60)


def index_agrees(db: Database) -> None:
    """Raises StorageError where the full-text indexes differ from the tables."""
    db.execute("INSERT INTO messages_fts (messages_fts, rank) VALUES ('integrity-check', 1)")
    db.execute("INSERT INTO titles_fts (titles_fts, rank) VALUES ('integrity-check', 1)")


def booked(
    db: Database,
    at: str,
    *,
    model: str = "gpt-4o-mini",
    provider: str = "openai",
    tokens: TokenUsage = TokenUsage(1_000, 100, cached_tokens=400),  # noqa: B008 (frozen)
    cost_nano: int | None = 1_500,
    provenance: Provenance = "calculated",
    conversation_id: ConversationId | None = None,
    user_id: ProfileId = LOCAL_PROFILE,
) -> None:
    """A call in the books as if it had been made at that time."""
    db.execute(
        "INSERT INTO usage (request_id, user_id, conversation_id, type, provider, model, input_tokens, cached_tokens,"
        " cache_write_tokens, output_tokens, reasoning_tokens, cost_nano, provenance, status, created_at)"
        " VALUES (?, ?, ?, 'chat', ?, ?, ?, ?, ?, ?, ?, ?, ?, 'complete', ?)",
        (
            new_id(),
            user_id,
            conversation_id,
            provider,
            model,
            tokens.input_tokens,
            tokens.cached_tokens,
            tokens.cache_write_tokens,
            tokens.output_tokens,
            tokens.reasoning_tokens,
            cost_nano,
            provenance,
            at,
        ),
    )
