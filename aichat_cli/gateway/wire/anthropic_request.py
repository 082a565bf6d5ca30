"""Requests of /v1/messages: what may be asked, and what is sent to a provider of the same protocol.

Only fields whose cost is that of tokens at the model's price are let through; all others are refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aichat_cli.core.models import Model
from aichat_cli.gateway.wire.anthropic_messages import check_cache, read_messages, read_system
from aichat_cli.gateway.wire.base import Asked
from aichat_cli.gateway.wire.fields import (
    MOST_TOKENS,
    Prompt,
    choice_at,
    each,
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
from aichat_cli.providers.base import OptionValue
from aichat_cli.providers.wire import without_sampling

_TOOLS_TOKENS = 900
_FORMAT_TOKENS = 400
_THINKING_TOKENS = 60
"""What Anthropic itself tells the model about tools, the shape of an answer, and thinking, at most."""
_LEAST_THINKING = 1024
"""Anthropic takes no smaller budget, and none as large as the whole answer."""
_TOOL_FIELDS = (
    "type",
    "name",
    "description",
    "input_schema",
    "cache_control",
    "strict",
    "input_examples",
    "eager_input_streaming",
    "allowed_callers",
)

_Check = Callable[[Any, str], object]


def _system(value: Any, param: str) -> None:
    if not isinstance(value, str | list):
        raise wrong_type(param, "a text or a list of text blocks")


def _texts(value: Any, param: str) -> None:
    for where, text in each(list_at(value, param), param):
        text_at(text, where)


def _tools(value: Any, param: str) -> None:
    for where, tool in each(list_at(value, param), param):
        choice_at(object_at(tool, where).get("type") or "custom", f"{where}.type", ("custom",))
        fields = known(tool, where, _TOOL_FIELDS)
        name_at(fields.get("name"), f"{where}.name")
        text_at(fields.get("description", ""), f"{where}.description")
        object_at(fields.get("input_schema"), f"{where}.input_schema")
        flag_at(fields.get("strict", False), f"{where}.strict")
        list_at(fields.get("input_examples", []), f"{where}.input_examples")
        flag_at(fields.get("eager_input_streaming", False), f"{where}.eager_input_streaming")
        callers = f"{where}.allowed_callers"
        for caller, name in each(list_at(fields.get("allowed_callers", []), callers), callers):
            choice_at(name, caller, ("direct",))
        check_cache(fields, where)


def _tool_choice(value: Any, param: str) -> None:
    fields = known(value, param, ("type", "name", "disable_parallel_tool_use"))
    kind = choice_at(fields.get("type"), f"{param}.type", ("auto", "any", "tool", "none"))
    if kind == "tool":
        name_at(fields.get("name"), f"{param}.name")
    flag_at(fields.get("disable_parallel_tool_use", False), f"{param}.disable_parallel_tool_use")


def _thinking(value: Any, param: str) -> None:
    fields = known(value, param, ("type", "budget_tokens", "display"))
    kind = choice_at(fields.get("type"), f"{param}.type", ("enabled", "disabled", "adaptive"))
    if kind == "enabled":
        whole_at(fields.get("budget_tokens"), f"{param}.budget_tokens", least=1)
    elif "budget_tokens" in fields:
        whole_at(fields["budget_tokens"], f"{param}.budget_tokens")
    text_at(fields.get("display", ""), f"{param}.display")


def _output_config(value: Any, param: str) -> None:
    fields = known(value, param, ("effort", "format"))
    text_at(fields.get("effort", ""), f"{param}.effort")
    if "format" in fields:
        form = known(fields["format"], f"{param}.format", ("type", "schema"))
        choice_at(form.get("type"), f"{param}.format.type", ("json_schema",))
        object_at(form.get("schema"), f"{param}.format.schema")


def _cache_control(value: Any, param: str) -> None:
    check_cache({param: value}, "")


_CHECKS: Mapping[str, _Check] = {
    "model": name_at,
    "max_tokens": lambda value, param: whole_at(value, param, least=1, most=MOST_TOKENS),
    "messages": lambda value, param: list_at(value, param, least=1),
    "system": _system,
    "stream": flag_at,
    "temperature": number_at,
    "top_p": number_at,
    "top_k": whole_at,
    "stop_sequences": _texts,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "thinking": _thinking,
    "metadata": object_at,
    "service_tier": lambda value, param: choice_at(value, param, ("auto", "standard_only")),
    "cache_control": _cache_control,
    "output_config": _output_config,
}
_OPTIONS = {"max_tokens": "max_tokens", "temperature": "temperature", "top_p": "top_p", "stop_sequences": "stop"}
_NATIVE = ("tools", "tool_choice", "thinking", "output_config", "top_k")
_COUNTED = ("tools", "tool_choice", "output_config")


def read_request(request: dict[str, Any]) -> Asked:
    """Check a request; `base.Wire.asked` tells the errors."""
    body = known(request, "", _CHECKS)
    for required in ("model", "max_tokens", "messages"):
        if required not in body:
            raise refusal(f"{required} is missing.", required)
    for name, value in body.items():
        _CHECKS[name](value, name)
    prompt = Prompt()
    for name in _NATIVE:
        if body.get(name) and not (name == "thinking" and body[name].get("type") == "disabled"):
            prompt.needs_native(name)
    read_system(body.get("system"), prompt)
    read_messages(body["messages"], prompt)
    _count(body, prompt)
    body.pop("metadata", None)
    if "service_tier" in body:
        body["service_tier"] = "standard_only"
    options: dict[str, OptionValue] = {ours: body[name] for name, ours in _OPTIONS.items() if name in body}
    return Asked(
        dialect="anthropic",
        model_name=body["model"],
        messages=tuple(prompt.messages),
        system=prompt.system_text,
        options=options,
        stream=body.get("stream", False),
        body=body,
        other_input=prompt.other_input,
        native_only=prompt.native_only,
    )


def _count(body: dict[str, Any], prompt: Prompt) -> None:
    for name in _COUNTED:
        if name in body:
            prompt.other(json_text(body[name], name))
    if body.get("tools"):
        prompt.adds_tokens(_TOOLS_TOKENS)
    if body.get("output_config"):
        prompt.adds_tokens(_FORMAT_TOKENS)
    if body.get("thinking"):
        prompt.adds_tokens(_THINKING_TOKENS)


def native_body(asked: Asked, model: Model, output_limit: int | None) -> dict[str, Any]:
    """What is sent to a provider of the same protocol; `base.Wire.native_body` tells more."""
    body, _ = without_sampling(model, asked.body)
    body["model"] = model.wire_name
    if output_limit is not None:
        limit = body["max_tokens"] = min(body["max_tokens"], output_limit)
        thinking = body.get("thinking") or {}
        if thinking.get("budget_tokens", 0) >= limit > _LEAST_THINKING:
            body["thinking"] = {**thinking, "budget_tokens": max(limit // 2, _LEAST_THINKING)}
    return body
