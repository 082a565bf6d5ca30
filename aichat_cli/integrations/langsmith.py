"""Traces for LangSmith: one for each turn, with a run for each of its steps, over POST /runs/batch.

What was said leaves the machine only if `langsmith.content` is set and the user keeps the turn. Without it a trace holds no text
but names of models and codes of errors: no prompt, answer, system prompt or passage, no name of a collection or file.

A run is known by its id, which follows from the turn's: what arrives twice is answered with 409, and is there once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from aichat_cli import __version__
from aichat_cli.chat.observing import FinishedTurn, Span, TurnContent
from aichat_cli.core.errors import ConfigError, KeyRejected
from aichat_cli.core.ids import id_at
from aichat_cli.core.messages import ChatMessage
from aichat_cli.core.money import NANO_PER_DOLLAR, TokenUsage
from aichat_cli.core.struct import to_json
from aichat_cli.integrations.client import Answer, ServiceClient
from aichat_cli.integrations.observer import TIMEOUTS, Delivery, Observer, Surroundings

KEY_NAME = "langsmith"
LONGEST_TEXT = 200_000
"""Characters of one text that are sent: LangSmith takes 20 MB in a request, and the user's database keeps them until then."""
_FAR_APART = 0x9E3779B97F4A7C15
"""No two multiples of it, up to any number of steps, differ in few bits."""
_NEEDS_WORKSPACE = "org_scoped_key_requires_workspace"


def observer(surroundings: Surroundings) -> Observer:
    """LangSmith, as it is set."""
    return LangSmith(surroundings)


class LangSmith(Observer):
    """Makes a trace of each turn."""

    batch_size = 50

    def __init__(self, surroundings: Surroundings) -> None:
        settings = surroundings.settings
        self._surroundings = surroundings
        self._project = settings.text("langsmith.project")
        self._workspace = settings.text("langsmith.workspace")
        self._url = settings.text("langsmith.url")
        self._tells_content = settings.flag("langsmith.content")
        self._client: ServiceClient | None = None
        self._headers: dict[str, str] = {}

    def deliveries(self, turn: FinishedTurn) -> Sequence[Delivery]:
        """The trace of a turn: its runs, as a JSON array."""
        content = turn.content if self._tells_content and turn.is_kept else None
        return [Delivery(turn.id, to_json(runs_of(turn, self._project, content)))]

    def warm(self) -> None:
        """Find the key, and open the connection."""
        self._opened().warm()

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Send traces; what LangSmith has already is as good as sent."""
        body = b'{"post":[' + b",".join(each.payload[1:-1] for each in deliveries) + b'],"patch":[]}'
        answer = self._told(self._opened().post("/runs/batch", self._headers, body, accepts=(403, 409)))
        if answer.status == 409 and len(deliveries) > 1:
            # One of them is there already, which says nothing of the others.
            for each in deliveries:
                self.deliver([each])

    def check(self) -> str:
        """Whether LangSmith takes the key, asked as its own client asks for its workspace: nothing changes."""
        self._told(self._opened().get("/sessions?limit=1", self._headers, accepts=(403,)))
        content = "with what was said" if self._tells_content else "without what was said"
        return f'traces go to the project "{self._project}", {content}'

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()

    def _opened(self) -> ServiceClient:
        if self._client is None:
            key = self._surroundings.key(KEY_NAME)
            self._headers = {"x-api-key": key.reveal()}
            if self._workspace:
                self._headers["X-Tenant-Id"] = self._workspace
            self._client = ServiceClient("LangSmith", self._url, key, KEY_NAME, TIMEOUTS)
        return self._client

    def _told(self, answer: Answer) -> Answer:
        """A refusal, which is for want of a workspace where the key is that of a whole organisation."""
        if answer.status != 403:
            return answer
        if _NEEDS_WORKSPACE.encode() in answer.body:
            raise ConfigError(
                "The key of LangSmith is for all of an organisation, whose workspace it does not say.",
                hint="Run: aichat config set langsmith.workspace ID",
            )
        source = self._surroundings.key(KEY_NAME).source
        raise KeyRejected(f"LangSmith refuses the key from {source} (403).", hint=f"Run: aichat keys set {KEY_NAME}")


def runs_of(turn: FinishedTurn, project: str, content: TurnContent | None) -> list[dict[str, Any]]:
    """A turn as LangSmith has it: the turn itself, then its steps below it, in the order in which they began."""
    trace_id = str(turn.id)
    began = _Moment(turn.started_at)
    order = f"{began.order}{trace_id}"
    common = {"trace_id": trace_id, "session_name": project}
    root = {
        **common,
        "id": trace_id,
        "dotted_order": order,
        "name": f"aichat {turn.type}",
        "run_type": "chain",
        "start_time": began.text,
        "end_time": _Moment(max(turn.ended_at, turn.started_at)).text,
        "inputs": {"messages": [_said(turn.content.messages[-1])]} if content and content.messages else {},
        "outputs": {"messages": [_answered(content)]} if content else {},
        "error": (content.error if content and content.error else turn.error) if turn.error else None,
        "extra": {"metadata": _metadata(turn), "runtime": {"library": "aichat", "library_version": __version__}},
        "tags": ["aichat", turn.status],
    }
    last = max((at for at, span in enumerate(turn.spans) if span.kind == "model"), default=-1)
    runs = [root]
    for position, span in enumerate(turn.spans):
        started_at = max(span.started_at, turn.started_at)
        moment = _Moment(started_at)
        run_id = _step_id(trace_id, position, started_at)
        step = _model(turn, span, content, is_last=position == last) if span.kind == "model" else _search(span, content)
        metadata = {**_metadata(turn), **step.pop("metadata")}
        runs.append(
            {
                **common,
                "id": run_id,
                "parent_run_id": trace_id,
                "dotted_order": f"{order}.{moment.order}{run_id}",
                "start_time": moment.text,
                "end_time": _Moment(max(span.ended_at, started_at)).text,
                "error": span.error,
                "extra": {"metadata": metadata},
                **step,
            }
        )
    return runs


def _metadata(turn: FinishedTurn) -> dict[str, Any]:
    """What every run of a trace says: runs without a thread would not count in its sums."""
    said = {
        "thread_id": turn.conversation_id if turn.is_kept else None,
        "user_id": turn.user or None,
        "status": turn.status,
        "finish_reason": turn.finish_reason,
        "streamed": turn.is_streamed,
    }
    return {name: value for name, value in said.items() if value is not None}


def _model(turn: FinishedTurn, span: Span, content: TurnContent | None, *, is_last: bool) -> dict[str, Any]:
    metadata: dict[str, Any] = {"ls_provider": span.provider, "ls_model_name": span.name, "ls_model_type": "chat"}
    if is_last and turn.served_model is not None:
        metadata["served_model"] = turn.served_model
    if is_last and turn.tokens is not None:
        metadata["usage_metadata"] = _usage(turn.tokens, turn.cost_nano)
    # What an earlier model was shown is known of the one that was asked last alone: each has a window of its own.
    is_shown = content is not None and span.name == turn.model
    events = [] if span.first_at is None else [{"name": "new_token", "time": _Moment(span.first_at).text}]
    return {
        "name": span.name,
        "run_type": "llm",
        "metadata": metadata,
        "inputs": {"messages": _shown(content)} if content and is_shown else {},
        "outputs": {"messages": [_answered(content)]} if content and is_last else {},
        "events": events,
    }


def _search(span: Span, content: TurnContent | None) -> dict[str, Any]:
    if content is None:
        return {"name": "retrieval", "run_type": "retriever", "metadata": {}, "inputs": {}, "outputs": {}}
    documents = [
        {"page_content": _clipped(each.text), "type": "Document", "metadata": {"source": each.place}}
        for each in content.passages
    ]
    return {
        "name": span.name,
        "run_type": "retriever",
        "metadata": {},
        "inputs": {"query": _clipped(content.question)},
        "outputs": {"documents": documents},
    }


def _usage(tokens: TokenUsage, cost_nano: int | None) -> dict[str, Any]:
    """Tokens, and dollars where the model has a price: without them LangSmith would go by a list of its own."""
    usage: dict[str, Any] = {
        "input_tokens": tokens.input_tokens,
        "output_tokens": tokens.output_tokens,
        "total_tokens": tokens.input_tokens + tokens.output_tokens,
        "input_token_details": {"cache_read": tokens.cached_tokens, "cache_creation": tokens.cache_write_tokens},
        "output_token_details": {"reasoning": tokens.reasoning_tokens},
    }
    if cost_nano is not None:
        usage["total_cost"] = cost_nano / NANO_PER_DOLLAR
    return usage


def _shown(content: TurnContent) -> list[dict[str, Any]]:
    system = [{"role": "system", "content": _clipped(content.system)}] if content.system else []
    return [*system, *(_said(message) for message in content.messages)]


def _said(message: ChatMessage) -> dict[str, Any]:
    said: dict[str, Any] = {"role": message.role, "content": _clipped(message.content)}
    if message.attachments:
        said["attachments"] = [each.name for each in message.attachments]
    return said


def _answered(content: TurnContent) -> dict[str, Any]:
    said = {"role": "assistant", "content": _clipped(content.answer)}
    return {**said, "reasoning_content": _clipped(content.reasoning)} if content.reasoning else said


def _clipped(text: str) -> str:
    """A text of bearable length, in characters that can be sent."""
    more = len(text) - LONGEST_TEXT
    text = text[:LONGEST_TEXT].encode("utf-8", "replace").decode()
    return f"{text} [{more} characters more]" if more > 0 else text


def _step_id(trace_id: str, position: int, started_at: float) -> str:
    """The same each time, and in order of time, as LangSmith would have ids: what is chance in it is the trace's own."""
    chance = int(trace_id.replace("-", ""), 16) ^ (position + 1) * _FAR_APART
    return id_at(int(started_at * 1000), chance)


class _Moment:
    """A time as LangSmith has it, in the field of a run (`text`) and in what it is sorted by (`order`)."""

    def __init__(self, seconds: float) -> None:
        whole, micros = divmod(round(seconds * 1_000_000), 1_000_000)
        moment = time.gmtime(whole)
        self.text = time.strftime("%Y-%m-%dT%H:%M:%S", moment) + f".{micros:06d}+00:00"
        self.order = time.strftime("%Y%m%dT%H%M%S", moment) + f"{micros:06d}Z"
