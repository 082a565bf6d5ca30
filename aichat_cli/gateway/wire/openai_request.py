"""Requests of /v1/chat/completions: what may be asked, and what is sent to a provider of the same protocol.

Only fields whose cost is that of tokens at the model's price are let through; all others are refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aichat_cli.core.models import Model
from aichat_cli.gateway.wire.base import Asked
from aichat_cli.gateway.wire.fields import (
    MOST_TOKENS,
    Prompt,
    choice_at,
    flag_at,
    json_text,
    known,
    list_at,
    name_at,
    number_at,
    object_at,
    refusal,
    text_at,
    whole_at,
    wrong_type,
)
from aichat_cli.gateway.wire.openai_messages import read_messages
from aichat_cli.providers.wire import without_sampling

_LIMITS = ("max_tokens", "max_completion_tokens")
_MOST_ANSWERS = 8
_TOOLS_TOKENS = 300
"""What chat templates say around definitions of tools, of the models that say most."""

_Check = Callable[[Any, str], object]


def _stop(value: Any, param: str) -> None:
    if isinstance(value, str):
        return
    if not isinstance(value, list):
        raise wrong_type(param, "a text or a list of texts")
    for index, text in enumerate(value):
        text_at(text, f"{param}[{index}]")


def _biases(value: Any, param: str) -> None:
    for token, bias in object_at(value, param).items():
        if not token.isascii() or not token.isdecimal():
            raise refusal(f"{param} must name tokens by their numbers.", param)
        number_at(bias, f"{param}.{token[:20]}")


def _stream_options(value: Any, param: str) -> None:
    for name, flag in known(value, param, ("include_usage", "include_obfuscation")).items():
        flag_at(flag, f"{param}.{name}")


def _response_format(value: Any, param: str) -> None:
    fields = known(value, param, ("type", "json_schema"))
    kind = choice_at(fields.get("type"), f"{param}.type", ("text", "json_object", "json_schema"))
    if kind == "json_schema":
        schema = object_at(fields.get("json_schema"), f"{param}.json_schema")
        name_at(schema.get("name"), f"{param}.json_schema.name")


def _tools(value: Any, param: str) -> None:
    for index, tool in enumerate(list_at(value, param)):
        where = f"{param}[{index}]"
        fields = known(tool, where, ("type", "function"))
        choice_at(fields.get("type"), f"{where}.type", ("function",))
        function = known(fields.get("function"), f"{where}.function", ("name", "description", "parameters", "strict"))
        name_at(function.get("name"), f"{where}.function.name")
        text_at(function.get("description", ""), f"{where}.function.description")
        object_at(function.get("parameters", {}), f"{where}.function.parameters")
        flag_at(function.get("strict", False), f"{where}.function.strict")


def _tool_choice(value: Any, param: str) -> None:
    if isinstance(value, str):
        choice_at(value, param, ("none", "auto", "required"))
        return
    fields = known(value, param, ("type", "function", "allowed_tools"))
    kind = choice_at(fields.get("type"), f"{param}.type", ("function", "allowed_tools"))
    chosen = object_at(fields.get(kind), f"{param}.{kind}")
    if kind == "function":
        name_at(chosen.get("name"), f"{param}.function.name")


def _false(value: Any, param: str) -> None:
    if flag_at(value, param):
        raise refusal(f"{param} must be false: this gateway lets no answers be stored elsewhere.", param)


def _whole_from(least: int | None, most: int | None = None) -> _Check:
    return lambda value, param: whole_at(value, param, least=least, most=most)


_CHECKS: Mapping[str, _Check] = {
    "model": name_at,
    "messages": lambda value, param: list_at(value, param, least=1),
    "stream": flag_at,
    "stream_options": _stream_options,
    "temperature": number_at,
    "top_p": number_at,
    "n": _whole_from(1, _MOST_ANSWERS),
    "stop": _stop,
    "max_tokens": _whole_from(1, MOST_TOKENS),
    "max_completion_tokens": _whole_from(1, MOST_TOKENS),
    "presence_penalty": number_at,
    "frequency_penalty": number_at,
    "logit_bias": _biases,
    "logprobs": flag_at,
    "top_logprobs": _whole_from(0, 20),
    "seed": _whole_from(None),
    "user": text_at,
    "response_format": _response_format,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "parallel_tool_calls": flag_at,
    "reasoning_effort": text_at,
    "verbosity": text_at,
    "metadata": object_at,
    "store": _false,
    "prompt_cache_key": text_at,
    "safety_identifier": text_at,
    "service_tier": lambda value, param: choice_at(value, param, ("auto", "default")),
}
_OPTIONS = (
    "temperature",
    "top_p",
    "n",
    "stop",
    *_LIMITS,
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "reasoning_effort",
    "verbosity",
)
"""What other protocols say too, or leave out without changing what an answer is."""


def read_request(request: dict[str, Any]) -> Asked:
    """Check a request; `base.Wire.asked` tells the errors."""
    body = known(request, "", _CHECKS)
    for required in ("model", "messages"):
        if required not in body:
            raise refusal(f"{required} is missing.", required)
    for name, value in body.items():
        _CHECKS[name](value, name)
    prompt = Prompt()
    _needs_native(body, prompt)
    read_messages(body["messages"], prompt)
    for name in ("tools", "tool_choice", "response_format"):
        if name in body:
            prompt.other(json_text(body[name], name))
    if body.get("tools"):
        prompt.adds_tokens(_TOOLS_TOKENS)
    body.pop("metadata", None)
    if "service_tier" in body:
        body["service_tier"] = "default"
    return Asked(
        dialect="openai",
        model_name=body["model"],
        messages=tuple(prompt.messages),
        system=prompt.system_text,
        options={name: body[name] for name in _OPTIONS if name in body},
        stream=body.get("stream", False),
        body=body,
        other_input=prompt.other_input,
        include_usage=(body.get("stream_options") or {}).get("include_usage") is True,
        native_only=prompt.native_only,
    )


def _needs_native(body: dict[str, Any], prompt: Prompt) -> None:
    if body.get("n", 1) > 1:
        prompt.needs_native("n")
    if body.get("response_format", {}).get("type", "text") != "text":
        prompt.needs_native("response_format")
    for name in ("tools", "tool_choice", "logprobs", "top_logprobs", "logit_bias"):
        if body.get(name) not in (None, False, [], {}) and (name, body[name]) != ("tool_choice", "none"):
            prompt.needs_native(name)


def native_body(asked: Asked, model: Model, output_limit: int | None) -> dict[str, Any]:
    """What is sent to a provider of the same protocol; `base.Wire.native_body` tells more."""
    body, _ = without_sampling(model, asked.body)
    body["model"] = model.wire_name
    limits = [body.pop(name) for name in _LIMITS if name in body]
    limits += [output_limit] if output_limit is not None else []
    if limits:
        body[model.output_limit_field] = min(limits)
    if asked.stream:
        body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    else:
        body.pop("stream_options", None)
    return body
