"""The messages of /v1/messages: every text in them is counted, every file that is in them is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aichat_cli.core.messages import Role
from aichat_cli.gateway.wire.fields import (
    Prompt,
    Spoken,
    choice_at,
    each,
    flag_at,
    https_url_at,
    inline_at,
    json_text,
    known,
    list_at,
    name_at,
    object_at,
    text_at,
    wrong_type,
)

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}
_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_CITATIONS_TOKENS = 600
_BLOCK_TOKENS = 12


def read_system(system: Any, prompt: Prompt) -> None:
    """Add the instructions of a request to what is counted."""
    if isinstance(system, str):
        prompt.system(system)
    elif system:
        said = prompt.says("system")
        for param, block in each(list_at(system, "system"), "system"):
            _block(block, param, ("text",), said, prompt)
        said.end()


def read_messages(messages: list[Any], prompt: Prompt) -> None:
    """Add the messages of a request to what is counted."""
    for param, message in each(messages, "messages"):
        fields = known(message, param, ("role", "content"))
        role = _ROLES[choice_at(fields.get("role"), f"{param}.role", _ROLES)]
        said = prompt.says(role)
        _content(
            fields.get("content"), f"{param}.content", ("text",) if role == "system" else tuple(_BLOCKS), said, prompt
        )
        said.end()


def _content(content: Any, param: str, kinds: tuple[str, ...], said: Spoken, prompt: Prompt) -> None:
    if isinstance(content, str):
        said.text(content)
    elif isinstance(content, list):
        for where, block in each(content, param):
            _block(block, where, kinds, said, prompt)
    else:
        raise wrong_type(param, "a text or a list of blocks")


def check_cache(block: dict[str, Any], param: str) -> None:
    """Whether what is marked for the provider's cache is kept there at the price that is known."""
    control = block.get("cache_control")
    if control is None:
        return
    where = f"{param}.cache_control" if param else "cache_control"
    fields = known(control, where, ("type", "ttl"))
    choice_at(fields.get("type"), f"{where}.type", ("ephemeral",))
    choice_at(fields.get("ttl", "5m"), f"{where}.ttl", ("5m",))


def _block(block: Any, param: str, kinds: tuple[str, ...], said: Spoken, prompt: Prompt) -> None:
    kind = choice_at(object_at(block, param).get("type"), f"{param}.type", kinds)
    names, read = _BLOCKS[kind]
    fields = known(block, param, ("type", *names))
    check_cache(fields, param)
    read(fields, param, said, prompt)


def _text(block: dict[str, Any], param: str, said: Spoken, prompt: Prompt) -> None:
    said.text(text_at(block.get("text"), f"{param}.text"))
    if block.get("citations"):
        prompt.other(json_text(list_at(block["citations"], f"{param}.citations"), f"{param}.citations"))


def _image(block: dict[str, Any], param: str, said: Spoken, prompt: Prompt) -> None:
    param = f"{param}.source"
    source = object_at(block.get("source"), param)
    if choice_at(source.get("type"), f"{param}.type", ("base64", "url")) == "url":
        https_url_at(known(source, param, ("type", "url")).get("url"), f"{param}.url")
        said.unseen("image")
        prompt.needs_native(param)
        return
    fields = known(source, param, ("type", "media_type", "data"))
    media_type = choice_at(fields.get("media_type"), f"{param}.media_type", _IMAGES)
    said.file(inline_at(fields.get("data"), media_type, f"{param}.data"))


def _document(block: dict[str, Any], param: str, said: Spoken, prompt: Prompt) -> None:
    for name in ("title", "context"):
        if name in block:
            prompt.other(text_at(block[name], f"{param}.{name}"))
            prompt.needs_native(f"{param}.{name}")
    if "citations" in block:
        citations = known(block["citations"], f"{param}.citations", ("enabled",))
        if flag_at(citations.get("enabled", False), f"{param}.citations.enabled"):
            prompt.adds_tokens(_CITATIONS_TOKENS)
            prompt.needs_native(f"{param}.citations")
    param = f"{param}.source"
    source = object_at(block.get("source"), param)
    kind = choice_at(source.get("type"), f"{param}.type", ("base64", "text", "content", "url"))
    if kind == "url":
        https_url_at(known(source, param, ("type", "url")).get("url"), f"{param}.url")
        said.unseen("pdf")
        prompt.needs_native(param)
    elif kind == "content":
        content = known(source, param, ("type", "content")).get("content")
        _content(content, f"{param}.content", ("text", "image"), said, prompt)
        prompt.needs_native(param)
    else:
        fields = known(source, param, ("type", "media_type", "data"))
        media_type = "application/pdf" if kind == "base64" else "text/plain"
        choice_at(fields.get("media_type", media_type), f"{param}.media_type", (media_type,))
        if kind == "text":
            said.text(text_at(fields.get("data"), f"{param}.data"))
        else:
            said.file(inline_at(fields.get("data"), media_type, f"{param}.data"))


def _tool_use(block: dict[str, Any], param: str, said: Spoken, prompt: Prompt) -> None:
    del said
    name_at(block.get("id"), f"{param}.id")
    name_at(block.get("name"), f"{param}.name")
    object_at(block.get("input"), f"{param}.input")
    if "caller" in block:
        caller = known(block["caller"], f"{param}.caller", ("type",))
        choice_at(caller.get("type"), f"{param}.caller.type", ("direct",))
    prompt.other(json_text(block, param))
    prompt.adds_tokens(_BLOCK_TOKENS)
    prompt.needs_native(f"{param}.type")


def _tool_result(block: dict[str, Any], param: str, said: Spoken, prompt: Prompt) -> None:
    prompt.other(name_at(block.get("tool_use_id"), f"{param}.tool_use_id"))
    flag_at(block.get("is_error", False), f"{param}.is_error")
    if "content" in block:
        _content(block["content"], f"{param}.content", ("text", "image", "document"), said, prompt)
    prompt.adds_tokens(_BLOCK_TOKENS)
    prompt.needs_native(f"{param}.type")


def _thinking(block: dict[str, Any], param: str, said: Spoken, prompt: Prompt) -> None:
    del said
    prompt.other(text_at(block.get("thinking"), f"{param}.thinking"))
    prompt.other(text_at(block.get("signature", ""), f"{param}.signature"))


def _redacted(block: dict[str, Any], param: str, said: Spoken, prompt: Prompt) -> None:
    del said
    prompt.other(text_at(block.get("data"), f"{param}.data"))


_Reader = Callable[[dict[str, Any], str, Spoken, Prompt], None]
_BLOCKS: dict[str, tuple[tuple[str, ...], _Reader]] = {
    "text": (("text", "citations", "cache_control"), _text),
    "image": (("source", "cache_control"), _image),
    "document": (("source", "title", "context", "citations", "cache_control"), _document),
    "tool_use": (("id", "name", "input", "caller", "cache_control"), _tool_use),
    "tool_result": (("tool_use_id", "content", "is_error", "cache_control"), _tool_result),
    "thinking": (("thinking", "signature"), _thinking),
    "redacted_thinking": (("data",), _redacted),
}
"""The fields of each kind of block besides its type, and what reads them."""
