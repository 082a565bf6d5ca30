"""Every provider without a direct wire, through litellm. The only module that imports litellm, and only when it is used."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import warnings
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from aichat_cli.core.errors import AichatError, ConnectFailed, ProviderError, UsageError
from aichat_cli.core.events import Finished, ProviderEvent, ReasoningDelta, TextDelta, Usage
from aichat_cli.core.models import Model
from aichat_cli.core.money import TokenUsage
from aichat_cli.providers.base import Call, ChatRequest, Timeouts
from aichat_cli.providers.failures import who
from aichat_cli.providers.litellm_errors import provider_error
from aichat_cli.providers.parts import openai_messages
from aichat_cli.providers.wire import TextChannel, broken_after_content, checked_key, count, without_sampling

if TYPE_CHECKING:
    from aichat_cli.providers.base import EmbeddingRequest

_LOGGERS = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy", "httpx", "openai")
_OURS = frozenset(("model", "messages", "stream", "stream_options", "api_key", "timeout", "num_retries", "max_retries"))
_INPUT_TYPES = {"cohere": ("search_document", "search_query"), "voyage": ("document", "query")}
"""What providers call passages and questions."""
_STREAM_HOLDERS = ("completion_stream", "streaming_response", "response_iterator", "response", "_response")


class LiteLLMBridge:
    """`model.wire_name` is litellm's name, such as `mistral/mistral-small`; `base_url` becomes its `api_base`."""

    def stream(self, request: ChatRequest) -> Iterator[ProviderEvent]:
        """Call litellm and yield what comes back; `base.Provider.stream` tells the errors."""
        options, notices = without_sampling(request.model, request.options)
        for name in options:
            if name in _OURS:
                raise UsageError(f'The option "{name}" is set by aichat itself.', hint="See: aichat chat --help")
        yield from notices
        yield from broken_after_content(_answer(request, options))

    def warm(self, request_model: Model, timeouts: Timeouts) -> None:
        """Import litellm in advance."""
        del request_model, timeouts
        with suppress(Exception):
            _litellm()

    def close(self) -> None:
        """Close the connections that litellm keeps."""
        litellm = sys.modules.get("litellm")
        if litellm is None:
            return
        cache = getattr(litellm, "in_memory_llm_clients_cache", None)
        clients = list(getattr(cache, "cache_dict", {}).values())
        with _quiet(), suppress(Exception):
            for client in [*clients, litellm.module_level_client]:
                _close(client)
            if cache is not None:
                cache.flush_cache()


def _litellm() -> Any:
    """litellm, imported and silenced."""
    # Without this it fetches its price map over the network while it is imported.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    with _quiet():
        import litellm
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.disable_streaming_logging = True
    # It breaks off an answer that repeats one delta a hundred times, as a ruler or a table may.
    litellm.REPEATED_STREAMING_CHUNK_LIMIT = sys.maxsize
    # For embeddings it takes an explicit 0 for its own default of two retries.
    litellm.DEFAULT_MAX_RETRIES = 0
    return litellm


def _imported(request: Call) -> Any:
    try:
        return _litellm()
    except ImportError as exc:
        raise ProviderError(
            f"{request.model.name} is served through litellm, which cannot be imported: {exc}.",
            hint="Run: pip install litellm",
        ) from exc


class _Silence:
    """No warnings while any thread is inside: their filters are the process's, not a thread's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters = ExitStack()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._inside == 0:
                self._filters.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._filters.close()


_quiet = _Silence()


def embedding_answer(request: EmbeddingRequest) -> dict[str, Any]:
    """The answer in OpenAI's form, from whichever provider; its errors are those of a chat."""
    api_key = checked_key(request)
    litellm = _imported(request)
    model, limits = request.model, request.timeouts
    arguments: dict[str, Any] = {
        "model": model.wire_name,
        "input": list(request.texts),
        "timeout": litellm.httpx.Timeout(max(limits.first_byte, limits.idle), connect=limits.connect),
        "num_retries": 0,
        "max_retries": 0,
    }
    if kinds := _INPUT_TYPES.get(model.provider):
        arguments["input_type"] = kinds[request.is_query]
    if request.dimensions is not None:
        arguments["dimensions"] = request.dimensions
    if model.base_url:
        arguments["api_base"] = model.base_url
    if api_key:
        arguments["api_key"] = api_key
    try:
        with _quiet():
            answer = litellm.embedding(**arguments).model_dump(mode="json")
    except Exception as exc:
        raise provider_error(request, exc) from exc
    return dict(answer)


def _answer(request: ChatRequest, options: dict[str, Any]) -> Generator[ProviderEvent, None, None]:
    api_key = checked_key(request)
    litellm = _imported(request)
    arguments = _arguments(request, options, litellm) | ({"api_key": api_key} if api_key else {})
    reader = _Reader(request)
    response: Any = None
    try:
        with _quiet():
            response = litellm.completion(**arguments)
        if not request.stream:
            yield from reader.whole(response)
            return
        while True:
            with _quiet():
                chunk = next(response, None)
            if chunk is None:
                break
            yield from reader.chunk(chunk, counts_are_real=_has_usage(response))
        yield from reader.end(is_complete=getattr(response, "received_finish_reason", "unknown") is not None)
        response = None
    except AichatError:
        raise
    except Exception as exc:
        raise provider_error(request, exc) from exc
    finally:
        if response is not None and request.stream:
            _close(response)


def _arguments(request: ChatRequest, options: dict[str, Any], litellm: Any) -> dict[str, Any]:
    limits = request.timeouts
    read_seconds = max(limits.first_byte, limits.idle)
    arguments: dict[str, Any] = {
        "model": request.model.wire_name,
        "messages": openai_messages(request.system, request.messages),
        "stream": request.stream,
        "timeout": litellm.httpx.Timeout(read_seconds, connect=limits.connect),
        "num_retries": 0,
        "max_retries": 0,
    }
    if request.stream:
        arguments["stream_options"] = {"include_usage": True}
    if request.model.base_url:
        arguments["api_base"] = request.model.base_url
    return options | arguments


class _Reader:
    """litellm's chunks, which follow OpenAI's, as our events."""

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._text = TextChannel(TextDelta)
        self._reasoning = TextChannel(ReasoningDelta)
        self._refusal = TextChannel(TextDelta)
        self._reason: str | None = None
        self._id: str | None = None
        self._served_model: str | None = None

    def chunk(self, chunk: Any, *, counts_are_real: bool) -> Iterator[ProviderEvent]:
        """One piece of a stream."""
        self._name(chunk)
        for choice in getattr(chunk, "choices", None) or []:
            yield from self._message(getattr(choice, "delta", None))
            self._reason = getattr(choice, "finish_reason", None) or self._reason
        if counts_are_real:
            yield from _usage(getattr(chunk, "usage", None))

    def whole(self, answer: Any) -> Iterator[ProviderEvent]:
        """The answer in one object."""
        self._name(answer)
        for choice in answer.choices[:1]:
            yield from self._message(choice.message)
            self._reason = choice.finish_reason or "stop"
        yield from _usage(getattr(answer, "usage", None))
        yield from self.end(is_complete=self._reason is not None)

    def end(self, *, is_complete: bool) -> Iterator[ProviderEvent]:
        """The end of the answer. Where the provider never ended it, litellm makes up a reason of its own."""
        for channel in (self._reasoning, self._text, self._refusal):
            yield from channel.end()
        if not is_complete or self._reason is None:
            raise ConnectFailed(f"{who(self._request)} closed the connection before the answer was complete.")
        reason = "refusal" if self._refusal.has_text and self._reason == "stop" else self._reason
        yield Finished(reason, self._id, self._served_model)

    def _name(self, response: Any) -> None:
        self._id = getattr(response, "id", None) or self._id
        self._served_model = getattr(response, "model", None) or self._served_model

    def _message(self, message: Any) -> Iterator[ProviderEvent]:
        yield from self._reasoning.take(getattr(message, "reasoning_content", None))
        yield from self._text.take(getattr(message, "content", None))
        refusal = getattr(message, "refusal", None) or (getattr(message, "provider_specific_fields", None) or {}).get(
            "refusal"
        )
        yield from self._refusal.take(refusal)


def _has_usage(stream: Any) -> bool:
    """Whether the provider reported usage so far: where it does not, litellm makes up an estimate and calls it the same."""
    chunks = getattr(stream, "chunks", None)
    return not isinstance(chunks, list) or any(getattr(chunk, "usage", None) for chunk in chunks)


def _usage(usage: Any) -> Iterator[ProviderEvent]:
    if usage is None:
        return
    with _quiet():
        counts = usage.model_dump(mode="json", exclude_none=True)
    asked, answered = count(counts, "prompt_tokens"), count(counts, "completion_tokens")
    cached = count(counts, "prompt_tokens_details", "cached_tokens") or count(counts, "cache_read_input_tokens")
    written = count(counts, "cache_creation_input_tokens") or count(
        counts, "prompt_tokens_details", "cache_creation_tokens"
    )
    tokens = TokenUsage(
        input_tokens=asked,
        output_tokens=answered,
        cached_tokens=min(cached, asked),
        cache_write_tokens=min(written, asked),
        reasoning_tokens=min(count(counts, "completion_tokens_details", "reasoning_tokens"), answered),
        raw=json.dumps(counts, separators=(",", ":")),
    )
    yield Usage(tokens)


def _close(stream: Any) -> None:
    """Close a stream or client of litellm: what holds the connection is some attributes down, at each provider elsewhere."""
    seen: list[Any] = []
    pending = [stream]
    while pending and len(seen) < 20:
        holder = pending.pop()
        if holder is None or any(holder is other for other in seen):
            continue
        seen.append(holder)
        pending += [getattr(holder, name, None) for name in _STREAM_HOLDERS]
        if callable(close := getattr(holder, "close", None)):
            with suppress(Exception):
                close()
