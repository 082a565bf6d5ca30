"""Reading a request strictly: a value has the type its field asks for, or the request is refused with the field's name.

What is counted before a call is sent gathers in a `Prompt`: whatever the model reads has to be in it, or a call could cost
more than was reserved for it.
"""

from __future__ import annotations

import json
import re
from binascii import a2b_base64
from collections.abc import Collection, Iterator
from typing import Any, Literal

from aichat_cli.core.messages import Attachment, ChatMessage, MediaKind, Role, media_kind
from aichat_cli.core.struct import Struct
from aichat_cli.gateway.errors import BadRequest

_NAME_CHARS = 60
_WORD = " word"
_TOKENS_PER_PART = 4
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[^;,]*)*;base64", re.IGNORECASE)
_MOST_URL_CHARS = 8192
_SPARE_LEVELS = 100
MOST_TOKENS = 2**31 - 1
"""That may be asked for: more is a mistake, and no amount of money in a database."""


def refusal(message: str, param: str) -> BadRequest:
    """A request that is refused for one of its fields."""
    return BadRequest(message, param=param, code="invalid_value")


def wrong_type(param: str, wanted: str) -> BadRequest:
    """A field that holds something else than it may."""
    return BadRequest(f"{param} must be {wanted}.", param=param, code="invalid_type")


def object_at(value: Any, param: str) -> dict[str, Any]:
    """The object."""
    if not isinstance(value, dict):
        raise wrong_type(param, "an object")
    return value


def list_at(value: Any, param: str, *, least: int = 0) -> list[Any]:
    """The list, of at least so many items."""
    if not isinstance(value, list):
        raise wrong_type(param, "a list")
    if len(value) < least:
        raise refusal(f"{param} must not be empty.", param)
    return value


def text_at(value: Any, param: str) -> str:
    """The text."""
    if not isinstance(value, str):
        raise wrong_type(param, "a text")
    return value


def name_at(value: Any, param: str) -> str:
    """A text that is not empty."""
    if not text_at(value, param):
        raise refusal(f"{param} must not be empty.", param)
    return str(value)


def flag_at(value: Any, param: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise wrong_type(param, "true or false")
    return value


def number_at(value: Any, param: str) -> int | float:
    """A number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong_type(param, "a number")
    return value


def whole_at(value: Any, param: str, *, least: int | None = None, most: int | None = None) -> int:
    """A whole number within bounds."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_type(param, "a whole number")
    if least is not None and value < least:
        raise refusal(f"{param} must be at least {least}.", param)
    if most is not None and value > most:
        raise refusal(f"{param} must be at most {most}.", param)
    return value


def choice_at(value: Any, param: str, choices: Collection[str]) -> str:
    """One of some words."""
    if not isinstance(value, str) or value not in choices:
        raise refusal(f"{param} must be {_either(choices)}.", param)
    return value


def known(value: Any, param: str, allowed: Collection[str]) -> dict[str, Any]:
    """The fields of an object that are not null, all of which are allowed."""
    fields = object_at(value, param)
    for name, content in fields.items():
        if content is not None and name not in allowed:
            where = f"{param}.{shown(name)}" if param else shown(name)
            raise BadRequest(f"{where} is not supported by this gateway.", param=where, code="unsupported_field")
    return {name: content for name, content in fields.items() if content is not None}


def shown(name: str) -> str:
    """A name that someone else chose, fit for a message."""
    return "".join(char if char.isprintable() else "?" for char in name[:_NAME_CHARS]) or '""'


def _either(words: Collection[str]) -> str:
    quoted = [f'"{word}"' for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def json_text(value: Any, param: str) -> str:
    """A value as JSON text, to be counted.

    It is written again when it is sent, by then deeper in the stack: some levels must be left for that.
    """
    for _ in range(_SPARE_LEVELS):
        value = [value]
    try:
        return json.dumps(value, ensure_ascii=False)[_SPARE_LEVELS:-_SPARE_LEVELS]
    except (RecursionError, ValueError):
        raise refusal(f"{param} is nested too deeply or holds a number too long.", param) from None


class Inline(Struct, frozen=True):
    """A file that came with a request."""

    media_type: str
    content: bytes


def inline_at(data: Any, media_type: str, param: str) -> Inline:
    """What base64 holds."""
    try:
        content = a2b_base64(text_at(data, param), strict_mode=True)
    except ValueError:
        raise refusal(f"{param} is not base64.", param) from None
    if not content:
        raise refusal(f"{param} is empty.", param)
    return Inline(media_type, content)


def data_url_at(url: Any, param: str, kind: MediaKind) -> Inline:
    """What a data: URL holds, which must be of one kind."""
    head, _, data = text_at(url, param).partition(",")
    match = _DATA_URL.fullmatch(head) if len(head) <= _MOST_URL_CHARS else None
    if match is None:
        raise refusal(f"{param} must be a data: URL in base64.", param)
    media_type = match[1].lower()
    if media_kind(media_type) != kind:
        wanted = {"image": "an image", "pdf": "a PDF file", "audio": "audio"}[kind]
        raise refusal(f"{param} must hold {wanted}, not {media_type}.", param)
    return inline_at(data, media_type, param)


def https_url_at(url: Any, param: str) -> str:
    """An address that the provider fetches."""
    text = text_at(url, param)
    if not text[:8].lower() == "https://" or len(text) > _MOST_URL_CHARS or any(char.isspace() for char in text):
        raise refusal(f"{param} must be an https: or data: URL.", param)
    return text


class Spoken:
    """What one message says: its text and its files, gathered part by part."""

    def __init__(self, prompt: Prompt, role: Role) -> None:
        self._prompt = prompt
        self._role = role
        self._texts: list[str] = []
        self._files: list[Attachment] = []

    def text(self, text: str) -> None:
        """A part of its text."""
        self._between_parts()
        self._texts.append(text)

    def file(self, inline: Inline, name: str | None = None) -> None:
        """A file of it."""
        self._between_parts()
        number = len(self._files) + 1
        subtype = inline.media_type.partition("/")[2]
        self._files.append(Attachment(name or f"file-{number}.{subtype}", inline.media_type, inline.content))

    def unseen(self, kind: Literal["image", "pdf"], *, times: int = 1) -> None:
        """A file that is not here and counts as the largest of its kind."""
        media_type = {"image": "image/*", "pdf": "application/pdf"}[kind]
        for _ in range(times):
            self.file(Inline(media_type, b""))

    def _between_parts(self) -> None:
        if self._texts or self._files:
            self._prompt.adds_tokens(_TOKENS_PER_PART)

    def end(self) -> None:
        """The message is complete."""
        content = "\n\n".join(self._texts)
        if self._role == "system":
            self._prompt.system(content)
        else:
            self._prompt.messages.append(ChatMessage(self._role, content, tuple(self._files)))


class Prompt:
    """All that a model reads of a request."""

    def __init__(self) -> None:
        self.messages: list[ChatMessage] = []
        self.native_only: str | None = None
        self._system: list[str] = []
        self._other: list[str] = []
        self._tokens = 0

    def says(self, role: Role) -> Spoken:
        """A message that begins."""
        return Spoken(self, role)

    def system(self, text: str) -> None:
        """Instructions. Other protocols have one place for them, so they are joined."""
        if self._system:
            self._tokens += _TOKENS_PER_PART * 2
        self._system.append(text)

    def other(self, text: str) -> None:
        """Text that is in no message."""
        self._other.append(text)

    def adds_tokens(self, count: int) -> None:
        """Tokens that a provider adds and nobody wrote, such as its instructions for the use of tools."""
        self._tokens += count

    def needs_native(self, param: str) -> None:
        """A field that no other protocol has."""
        self.native_only = self.native_only or param

    @property
    def system_text(self) -> str | None:
        """The instructions."""
        return "\n\n".join(self._system) if self._system else None

    @property
    def other_input(self) -> str:
        """Everything else, as text of at least as many tokens."""
        return "\n".join(self._other) + _WORD * self._tokens


def each(items: list[Any], param: str) -> Iterator[tuple[str, Any]]:
    """The items with their names."""
    for index, item in enumerate(items):
        yield f"{param}[{index}]", item
