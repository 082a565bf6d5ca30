"""The passages an answer was given, as they are kept in `messages.extra`: `{"passages": [...]}`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aichat_cli.core.struct import asdict

if TYPE_CHECKING:
    from aichat_cli.core.documents import Source


_TEXTS = ("document_id", "document", "path", "heading")
_COUNTS = ("number", "line", "start", "end")


def extra_of(sources: Sequence[Source]) -> str | None:
    """What `extra` holds of an answer's sources; None where there are none."""
    return json.dumps({"passages": [asdict(source) for source in sources]}, ensure_ascii=False) if sources else None


def parsed(passages: str | None) -> tuple[Source, ...]:
    """The sources of a stored answer; what is not as we write it, as in an import from elsewhere, is left out."""
    listed = json.loads(passages) if passages is not None else None
    return tuple(_source(fields) for fields in listed if _is_source(fields)) if isinstance(listed, list) else ()


def _is_source(fields: object) -> bool:
    return (
        isinstance(fields, dict)
        and all(isinstance(fields.get(name), str) for name in _TEXTS)
        and all(_is_count(fields.get(name)) for name in _COUNTS)
        and (fields.get("page") is None or _is_count(fields["page"]))
        and isinstance(fields.get("is_cited"), bool)
        and isinstance(fields.get("digest", ""), str)
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _source(fields: dict[str, Any]) -> Source:
    from aichat_cli.core.documents import Source

    texts = {name: fields[name] for name in _TEXTS}
    counts = {name: fields[name] for name in _COUNTS}
    return Source(
        **texts, **counts, page=fields.get("page"), is_cited=fields["is_cited"], digest=fields.get("digest", "")
    )
