"""The passages an answer was given, as they are kept in `messages.extra`: `{"passages": [...]}`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from aichat_cli.core.documents import Source


def extra_of(sources: Sequence[Source]) -> str | None:
    """What `extra` holds of an answer's sources; None where there are none."""
    return json.dumps({"passages": [asdict(source) for source in sources]}, ensure_ascii=False) if sources else None


def parsed(passages: str | None) -> tuple[Source, ...]:
    """The sources of a stored answer; what is not as we write it, as in an import from elsewhere, is left out."""
    if passages is None:
        return ()
    listed = json.loads(passages)
    found = []
    for fields in listed if isinstance(listed, list) else ():
        try:
            found.append(Source(**fields))
        except TypeError:
            continue
    return tuple(found)
