"""The embedded model: GGUF files run by llama.cpp, in a child process that is started on first use and kept.

The child is told to stop when the iterator is closed and is killed where that takes long, so that Ctrl-C is obeyed at
once, also while a model is being loaded or a long prompt is being read.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aichat_cli.core.errors import (
    AichatError,
    ContextTooLong,
    LocalModelError,
    RequestRejected,
    StreamBroken,
)
from aichat_cli.core.events import Finished, Notice, ProviderEvent, ReasoningDelta, TextDelta, Usage
from aichat_cli.core.messages import ChatMessage
from aichat_cli.core.models import Model
from aichat_cli.core.money import TokenUsage
from aichat_cli.providers.base import ChatRequest, OptionValue, Timeouts
from aichat_cli.providers.local_process import Parameters, WorkerDied, WorkerProcess
from aichat_cli.providers.pull import is_pulled, model_path
from aichat_cli.providers.pullable import CHAT_MODELS
from aichat_cli.providers.shipped import LOCAL_CONTEXT_TOKENS, READERS

_LOADING_OPTIONS = frozenset({"threads", "context"})
_SAMPLING_OPTIONS = frozenset(
    {"temperature", "top_p", "top_k", "min_p", "seed", "stop", "presence_penalty", "frequency_penalty"}
    | {"repeat_penalty", "response_format", "logit_bias"}
)
_LIMIT_OPTIONS = ("max_tokens", "max_completion_tokens")
_OWN_SAMPLING: Mapping[str, OptionValue] = {"temperature": 0.2, "top_p": 0.9}
"""What the makers of the pulled model recommend; at llama.cpp's own defaults it rambles."""


class LocalModel:
    """The wire to models on this machine; keeps the last one loaded."""

    def __init__(self, model_dir: Path, threads: int = 0) -> None:
        """`threads` 0 means one less than the physical cores."""
        self._model_dir = model_dir
        self._threads = threads
        self._worker: WorkerProcess | None = None
        self._lock = threading.Lock()

    def stream(self, request: ChatRequest) -> Iterator[ProviderEvent]:
        """See `Provider.stream`. Options: OpenAI's sampling options, `threads` and `context` (the window, in tokens)."""
        _require_text(request)
        worker = self._loaded(self._parameters(request.model, request.options))
        for name in sorted(request.options.keys() - _LOADING_OPTIONS - _SAMPLING_OPTIONS - set(_LIMIT_OPTIONS)):
            yield Notice(f'The embedded model has no option "{name}"; it was not used.')
        reason: str | None = None
        has_begun = False
        chunks = worker.chunks(_body(request))
        try:
            for chunk in chunks:
                for event in _events(chunk):
                    has_begun = has_begun or isinstance(event, TextDelta | ReasoningDelta)
                    yield event
                reason = _finish_reason(chunk) or reason
        except WorkerDied as exc:
            error = StreamBroken if has_begun else LocalModelError
            raise error(f"The embedded model stopped: {exc}.", hint=_other_model_hint()) from exc
        finally:
            chunks.close()
        yield Finished(reason or "stop", served_model=request.model.name)

    def warm(self, request_model: Model, timeouts: Timeouts) -> None:  # noqa: ARG002 - the interface's
        """Load the model in advance."""
        try:
            self._loaded(self._parameters(request_model, {}))
        except AichatError:
            return

    def close(self) -> None:
        """End the child process and give its memory back."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()

    def _loaded(self, parameters: Parameters) -> WorkerProcess:
        """The child process with this model in it: the one there is, if it is free soon, else a new one."""
        with self._lock:
            if self._worker is not None and self._worker.parameters == parameters and self._worker.is_free():
                return self._worker
            self.close()
            try:
                self._worker = WorkerProcess(parameters)
                self._worker.wait_until_loaded()
            except WorkerDied as exc:
                self.close()
                raise LocalModelError(
                    f"{parameters.path} could not be loaded: {exc}. It may be damaged, of a kind llama.cpp does not know, "
                    "or too large for the memory.",
                    hint=self._repair_hint(Path(parameters.path)),
                ) from exc
            except BaseException:
                self.close()
                raise
            return self._worker

    def _parameters(self, model: Model, options: Mapping[str, OptionValue]) -> Parameters:
        from importlib.util import find_spec

        if find_spec("xllamacpp") is None:
            raise LocalModelError(
                "The embedded model needs xllamacpp, which is not installed.",
                hint="Run: pip install 'aichat-terminal[local]'",
            )
        threads = _positive(options, "threads") or self._threads
        if not threads:
            from aichat_cli.providers.cpu import default_threads

            threads = default_threads()
        return Parameters(
            path=str(self._checked_path(model)),
            threads=threads,
            context=_positive(options, "context") or LOCAL_CONTEXT_TOKENS,
        )

    def _checked_path(self, model: Model) -> Path:
        """The model's file.

        Raises:
            LocalModelError: it is missing, or it does not begin as a GGUF file does.
        """
        if model.wire_name in CHAT_MODELS:
            if not is_pulled(model.wire_name, self._model_dir):
                raise LocalModelError(
                    f'The model "{model.wire_name}" is not on this machine yet.',
                    hint=f"Run: aichat models pull {model.wire_name}",
                )
            path = model_path(model.wire_name, self._model_dir)
        else:
            path = Path(model.wire_name)
        try:
            with path.open("rb") as file:
                magic = file.read(4)
        except OSError as exc:
            raise LocalModelError(
                f"The model file {path} cannot be read: {exc.strerror or exc}.", hint=_other_model_hint()
            ) from exc
        if magic != b"GGUF":
            raise LocalModelError(f"{path} is not a GGUF file.", hint=self._repair_hint(path))
        return path

    def _repair_hint(self, path: Path) -> str:
        pulled = next((name for name in CHAT_MODELS if model_path(name, self._model_dir) == path), None)
        return f"Run: aichat models pull {pulled}" if pulled else _other_model_hint()


def _require_text(request: ChatRequest) -> None:
    for message in request.messages:
        if message.attachments:
            raise RequestRejected(
                f"{request.model.name} runs on this machine and reads text only, not {message.attachments[0].name}.",
                hint=f"Models that read images: -m {' or -m '.join(READERS['image'])}",
            )


def _other_model_hint() -> str:
    return "Run: aichat models list"


def _positive(options: Mapping[str, OptionValue], name: str) -> int:
    """A whole number above 0, or 0 where the option is not given."""
    value = options.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= 1_000_000:
        raise RequestRejected(f'The option "{name}" must be a whole number above 0, not {value!r}.')
    return value


def _body(request: ChatRequest) -> dict[str, Any]:
    """The request as llama.cpp's server takes it."""
    options = request.options
    body: dict[str, Any] = {
        "messages": _alternating(request.system, request.messages),
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,
    }
    if request.model.wire_name in CHAT_MODELS:
        body.update(_OWN_SAMPLING)
    body.update({name: value for name, value in options.items() if name in _SAMPLING_OPTIONS and value is not None})
    limit = next((options[name] for name in _LIMIT_OPTIONS if options.get(name) is not None), None)
    body["max_tokens"] = request.model.max_output_tokens if limit is None else limit
    if body["max_tokens"] is None:
        del body["max_tokens"]
    # A prompt read partly from the cache is read in other batches, whose rounding differs: same seed, other answer.
    body["cache_prompt"] = not (body.get("temperature") == 0 or "seed" in body)
    return body


def _alternating(system: str | None, messages: tuple[ChatMessage, ...]) -> list[dict[str, str]]:
    """The messages with neighbours of one speaker joined: many chat templates demand that speakers alternate."""
    result = [{"role": "system", "content": system}] if system else []
    for message in messages:
        if result and result[-1]["role"] == message.role:
            result[-1]["content"] += "\n\n" + message.content
        else:
            result.append({"role": message.role, "content": message.content})
    return result


def _events(chunk: dict[str, Any]) -> Iterator[ProviderEvent]:
    if "error" in chunk:
        raise _error(chunk["error"])
    for choice in chunk.get("choices") or ():
        delta = choice.get("delta") or {}
        if delta.get("reasoning_content"):
            yield ReasoningDelta(delta["reasoning_content"])
        if delta.get("content"):
            yield TextDelta(delta["content"])
    if usage := chunk.get("usage"):
        yield Usage(
            TokenUsage(
                input_tokens=usage["prompt_tokens"],
                output_tokens=usage["completion_tokens"],
                cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0),
                raw=json.dumps(usage),
            )
        )


def _finish_reason(chunk: dict[str, Any]) -> str | None:
    for choice in chunk.get("choices") or ():
        if choice.get("finish_reason"):
            return str(choice["finish_reason"])
    return None


def _error(error: dict[str, Any]) -> AichatError:
    message = str(error.get("message", "no reason given")).strip().rstrip(".")
    if error.get("type") == "exceed_context_size_error":
        return ContextTooLong(
            f"The prompt has {error.get('n_prompt_tokens')} tokens, but the embedded model's window holds "
            f"{error.get('n_ctx')}.",
            hint="Shorten it, or widen the window: -o context 16384",
        )
    if error.get("code") == 400:
        return RequestRejected(f"The embedded model refused the request: {message}.")
    return LocalModelError(f"The embedded model failed: {message}.")
