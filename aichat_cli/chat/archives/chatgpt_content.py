"""What one message of a ChatGPT export says: its many content types as one text and the files it names."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from aichat_cli.chat.archives.values import fenced, file_name, record, records, text_of
from aichat_cli.core.struct import Struct, field

_FILE_ID = re.compile(r"file[-_][A-Za-z0-9]+")
_MARKER = re.compile("\ue200([a-z_]*)\ue202?(.*?)\ue201", re.DOTALL)
_ASSETS = ("asset_pointer", "audio_asset_pointer", "video_container_asset_pointer", "frames_asset_pointers")


class Content(Struct):
    """One message's text; `files` maps the id of a file to its name, empty where it has none."""

    text: str = ""
    reasoning: str = ""
    recap: str = ""
    is_instruction: bool = False
    files: dict[str, str] = field(default_factory=dict)


def content_of(message: Mapping[str, Any], skipped: Counter[str]) -> Content:
    """Read a message; what it holds and cannot be kept is counted in `skipped`."""
    content = record(message.get("content"))
    kind = text_of(content.get("content_type")) or "text"
    read = Content()
    if kind in ("text", "multimodal_text"):
        read.text = "\n".join(filter(None, _parts(content, read, skipped)))
    elif kind == "thoughts":
        read.reasoning = _thoughts(content)
    elif kind == "reasoning_recap":
        read.recap = text_of(content.get("content"))
    elif kind in ("user_editable_context", "model_editable_context"):
        read.is_instruction = True
        read.text = "\n\n".join(filter(None, map(text_of, _instructions(content))))
    else:
        read.text = _other(kind, content, skipped)
    metadata = record(message.get("metadata"))
    for attached in records(metadata.get("attachments")):
        identifier = text_of(attached.get("id"))
        if identifier:
            read.files[identifier] = file_name(attached.get("name"))
    read.text = _with_links(read.text, metadata)
    return read


def _parts(content: Mapping[str, Any], read: Content, skipped: Counter[str]) -> Iterator[str]:
    parts = content.get("parts")
    if not isinstance(parts, list):
        yield text_of(content.get("text"))
        return
    for part in parts:
        if isinstance(part, str):
            yield text_of(part)
        elif isinstance(part, dict):
            yield _part(part, read, skipped)


def _part(part: Mapping[str, Any], read: Content, skipped: Counter[str]) -> str:
    pointers = list(_pointers(part))
    for pointer in pointers:
        place = pointer.rpartition("://")[2]
        found = _FILE_ID.search(place)
        read.files.setdefault(found[0] if found else place, "")
    text = text_of(part.get("text"))
    if not text and not pointers:
        skipped[f'parts of type "{text_of(part.get("content_type"))[:40]}"'] += 1
    return text


def _pointers(part: Mapping[str, Any]) -> Iterator[str]:
    for name in _ASSETS:
        value = part.get(name)
        for item in value if isinstance(value, list) else [value]:
            pointer = text_of(item.get("asset_pointer") if isinstance(item, dict) else item)
            if pointer:
                yield pointer


def _thoughts(content: Mapping[str, Any]) -> str:
    told = [
        "\n".join(filter(None, (text_of(thought.get("summary")), text_of(thought.get("content")))))
        for thought in records(content.get("thoughts"))
    ]
    return "\n\n".join(filter(None, told))


def _instructions(content: Mapping[str, Any]) -> Iterator[Any]:
    yield content.get("user_profile")
    yield content.get("user_instructions")
    yield content.get("model_set_context")


def _other(kind: str, content: Mapping[str, Any], skipped: Counter[str]) -> str:
    text = text_of(content.get("text"))
    title, url = text_of(content.get("title")), text_of(content.get("url"))
    if kind in ("code", "execution_output"):
        return fenced(text, text_of(content.get("language"))) if text else ""
    if kind == "tether_browsing_display":
        return "\n\n".join(filter(None, (text_of(content.get("summary")), text_of(content.get("result")))))
    parts = content.get("parts")
    if not text and isinstance(parts, list):
        text = "\n".join(part for part in map(text_of, parts) if part)
    text = text or text_of(content.get("result")) or text_of(content.get("content"))
    if not text and not url:
        skipped[f'messages of type "{kind[:40]}"'] += 1
        return ""
    heading = f"[{title or url}]({url})" if url.startswith(("http://", "https://")) else title
    return "\n\n".join(filter(None, (heading, text)))


def _with_links(text: str, metadata: Mapping[str, Any]) -> str:
    """References stand in the text between private-use characters; the export says which link each is, of most."""
    if "\ue200" not in text:
        return text
    for reference in records(metadata.get("content_references")):
        marker = text_of(reference.get("matched_text"))
        if marker.startswith("\ue200"):
            text = text.replace(marker, text_of(reference.get("alt")))
    return _MARKER.sub(_marked, text)


def _marked(marker: re.Match[str]) -> str:
    """What a reader of ChatGPT sees of a reference that the export does not explain: the name of a thing, or nothing."""
    if marker[1] != "entity":
        return ""
    try:
        told = json.loads(marker[2])
    except ValueError:
        return ""
    return text_of(told[1]) if isinstance(told, list) and len(told) > 1 else ""
