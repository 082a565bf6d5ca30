"""Values of an archive, believed only after a look: texts, times, ids and trees."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from aichat_cli.chat.archives.files import base_name
from aichat_cli.core.ids import id_at
from aichat_cli.core.struct import Struct

_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_LATEST_MS = 253_402_300_799_000
LONGEST_NAME = 200
LONGEST_TITLE = 500


class BadConversation(Exception):
    """A conversation that cannot be taken over; the message says why."""


def text_of(value: Any) -> str:
    """A text as it can be stored, empty where the value is none: half characters become U+FFFD."""
    if not isinstance(value, str):
        return ""
    return value if value.isascii() else _HALF_CHARACTER.sub("\ufffd", value)


def optional_text(value: Any) -> str | None:
    """A text, None where there is none or it is empty."""
    return text_of(value) or None


def record(value: Any) -> Mapping[str, Any]:
    """An object, empty where the value is none."""
    return value if isinstance(value, dict) else {}


def records(value: Any) -> list[Mapping[str, Any]]:
    """The objects of a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def title_of(value: Any) -> str:
    """A title: one line, not endless."""
    return " ".join(text_of(value).split())[:LONGEST_TITLE]


def file_name(value: Any) -> str:
    """The name of a file: no folders, no control characters, not endless; the suffix is kept."""
    name = _CONTROL.sub("", base_name(text_of(value))).strip()
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 20] + name[-20:]


def milliseconds(value: Any) -> int | None:
    """Milliseconds since 1970 of a number of seconds or an ISO 8601 text, None where it is no possible time."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        try:
            seconds = float(value)
        except OverflowError:
            return None
    else:
        return None
    if not math.isfinite(seconds) or not 0 < seconds * 1000 <= _LATEST_MS:
        return None
    return round(seconds * 1000)


def iso(ms: int) -> str:
    """As aichat stores times."""
    whole, rest = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


def archive_id(ms: int, *names: str) -> str:
    """The id of something from elsewhere: the same whenever it is read, a UUIDv7 of its time with a hash for chance."""
    digest = sha256("\0".join(names).encode("utf-8", "replace")).digest()
    return id_at(ms, int.from_bytes(digest[:10], "big"))


def extra_of(**fields: Any) -> str | None:
    """The JSON of what has no column, without what is empty; None where nothing is left."""
    kept = {name: value for name, value in fields.items() if value not in (None, "", [], {}, False)}
    return text_of(json.dumps(kept, ensure_ascii=False)) if kept else None


def fenced(code: str, language: str = "") -> str:
    """Code as a Markdown block, whatever backticks are in it."""
    longest = max((len(run) for run in re.findall(r"`{3,}", code)), default=2)
    fence = "`" * (longest + 1)
    name = language if re.fullmatch(r"[\w+#.-]{1,30}", language) and language != "unknown" else ""
    return f"{fence}{name}\n{code.rstrip()}\n{fence}"


def sources_of(items: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Titles and addresses that an answer refers to, each once, up to fifty."""
    found: dict[str, dict[str, str]] = {}
    for item in items:
        url = text_of(item.get("url"))
        if url:
            found.setdefault(url, {"title": title_of(item.get("title")), "url": url})
    return list(found.values())[:50]


class Node(Struct):
    """One node of a foreign tree.

    Attributes:
        ms: its own time; where it has none, `ordered` gives it that of its parent.
        place: among all nodes, as the archive lists them.
        not_before: the latest time on its path, which `ordered` sorts by.
    """

    name: str
    parent: str | None
    ms: int | None
    place: int
    not_before: int = 0
    depth: int = 0


def ordered(nodes: Mapping[str, Node], default_ms: int) -> list[Node]:
    """The nodes by time, each after its parent.

    A parent that is not there, or a chain that comes back to itself, makes its node a root.
    """
    seen: set[str] = set()
    for start in nodes:
        for node in _path_up(nodes, start, seen):
            seen.add(node.name)
            above = nodes[node.parent] if node.parent is not None else None
            if node.ms is None:
                node.ms = default_ms if above is None or above.ms is None else above.ms
            node.not_before = max(node.ms, above.not_before if above else 0)
            node.depth = above.depth + 1 if above else 0
    return sorted(nodes.values(), key=lambda node: (node.not_before, node.depth, node.place))


def _path_up(nodes: Mapping[str, Node], start: str, seen: set[str]) -> list[Node]:
    """The nodes not seen yet from a root, or below one that was, down to `start`."""
    path: list[Node] = []
    on_path: set[str] = set()
    name: str | None = start
    while name is not None and name in nodes and name not in seen and name not in on_path:
        on_path.add(name)
        path.append(nodes[name])
        name = nodes[name].parent
    if path and (name not in seen):
        path[-1].parent = None
    return path[::-1]
