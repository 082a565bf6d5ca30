"""The messages of /v1/chat/completions: every text in them is counted, every file that is in them is read."""

from __future__ import annotations

from typing import Any

from aichat_cli.core.messages import Role
from aichat_cli.gateway.wire.fields import (
    Prompt,
    Spoken,
    choice_at,
    data_url_at,
    each,
    https_url_at,
    json_text,
    known,
    list_at,
    name_at,
    object_at,
    refusal,
    text_at,
    wrong_type,
)

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_FIELDS = {
    "system": ("role", "content", "name"),
    "developer": ("role", "content", "name"),
    "user": ("role", "content", "name"),
    "assistant": (
        "role",
        "content",
        "name",
        "refusal",
        "tool_calls",
        "reasoning_content",
        "reasoning",
        "annotations",
    ),
    "tool": ("role", "content", "name", "tool_call_id"),
}
_PARTS = {
    "system": ("text",),
    "developer": ("text",),
    "user": ("text", "image_url", "file"),
    "assistant": ("text", "refusal"),
    "tool": ("text",),
}
_DETAILS = ("auto", "low", "high", "original")
_ORIGINAL_AS_IMAGES = 3
"""An image in its original size is read in up to some ten thousand pieces."""
_CALL_TOKENS = 12


def read_messages(messages: list[Any], prompt: Prompt) -> None:
    """Add the messages of a request to what is counted."""
    for param, message in each(messages, "messages"):
        _read(object_at(message, param), param, prompt)


def _read(message: dict[str, Any], param: str, prompt: Prompt) -> None:
    role = choice_at(message.get("role"), f"{param}.role", _ROLES)
    fields = known(message, param, _FIELDS[role])
    said = prompt.says(_ROLES[role])
    for name in ("name", "reasoning_content", "reasoning"):
        if name in fields:
            prompt.other(text_at(fields[name], f"{param}.{name}"))
    if fields.get("annotations"):
        prompt.other(json_text(fields["annotations"], f"{param}.annotations"))
    content = fields.get("content")
    if isinstance(content, str):
        said.text(content)
    elif isinstance(content, list):
        for where, part in each(content, f"{param}.content"):
            _part(part, where, role, said, prompt)
    elif content is not None:
        raise wrong_type(f"{param}.content", "a text or a list of parts")
    elif role != "assistant":
        raise refusal(f"{param}.content is missing.", f"{param}.content")
    if "refusal" in fields:
        said.text(text_at(fields["refusal"], f"{param}.refusal"))
    if "tool_calls" in fields:
        _tool_calls(fields["tool_calls"], f"{param}.tool_calls", prompt)
    if role == "tool":
        prompt.other(name_at(fields.get("tool_call_id"), f"{param}.tool_call_id"))
        prompt.needs_native(f"{param}.role")
    said.end()


def _tool_calls(calls: Any, param: str, prompt: Prompt) -> None:
    for where, call in each(list_at(calls, param), param):
        fields = known(call, where, ("id", "type", "function", "index"))
        text_at(fields.get("id", ""), f"{where}.id")
        choice_at(fields.get("type", "function"), f"{where}.type", ("function",))
        function = known(fields.get("function"), f"{where}.function", ("name", "arguments"))
        name_at(function.get("name"), f"{where}.function.name")
        text_at(function.get("arguments"), f"{where}.function.arguments")
        prompt.other(json_text(fields, where))
        prompt.adds_tokens(_CALL_TOKENS)
        prompt.needs_native(param)


def _part(part: Any, param: str, role: str, said: Spoken, prompt: Prompt) -> None:
    if object_at(part, param).get("type") == "input_audio":
        raise refusal(
            f"{param}.input_audio is not taken: audio has a price of its own, which is not known here.",
            f"{param}.input_audio",
        )
    kind = choice_at(part.get("type"), f"{param}.type", _PARTS[role])
    fields = known(part, param, ("type", kind))
    match kind:
        case "text" | "refusal":
            said.text(text_at(fields.get(kind), f"{param}.{kind}"))
        case "image_url":
            _image(fields.get(kind), f"{param}.image_url", said, prompt)
        case _:
            file = known(fields.get(kind), f"{param}.file", ("filename", "file_data"))
            name = text_at(file.get("filename", "file.pdf"), f"{param}.file.filename")
            said.file(data_url_at(file.get("file_data"), f"{param}.file.file_data", "pdf"), name)
            prompt.other(name)


def _image(value: Any, param: str, said: Spoken, prompt: Prompt) -> None:
    image = known(value, param, ("url", "detail"))
    is_original = choice_at(image.get("detail", "auto"), f"{param}.detail", _DETAILS) == "original"
    url = text_at(image.get("url"), f"{param}.url")
    if url[:5].lower() == "data:":
        said.file(data_url_at(url, f"{param}.url", "image"))
    else:
        https_url_at(url, f"{param}.url")
        said.unseen("image")
        prompt.needs_native(param)
    if is_original:
        said.unseen("image", times=_ORIGINAL_AS_IMAGES - 1)
        prompt.needs_native(param)
