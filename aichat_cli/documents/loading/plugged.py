"""Loaders that other packages add, for files with a suffix that is none of ours: found by it, run in the worker process."""

from __future__ import annotations

from typing import get_args

from aichat_cli.config import plugins
from aichat_cli.config.plugins import LOADERS
from aichat_cli.core.documents import Heading, LoadedDocument, TextKind
from aichat_cli.core.errors import AichatError, DocumentError


def loader_for(suffix: str) -> str:
    """The name of the loader for files with a suffix such as `.foo`, empty where there is none. Loads nothing."""
    return next((name for name in plugins.names(LOADERS) if name.lower().lstrip(".") == suffix[1:]), "")


def load(name: str, content: bytes) -> LoadedDocument:
    """What a loader makes of a file. For the worker process only: nothing is known of what it takes to read it.

    Raises:
        DocumentError: the loader fails, refuses the file, or gives no document.
    """
    try:
        plugin = plugins.find(LOADERS, name)
        if plugin is None:
            raise DocumentError(f'No package adds a loader "{name}".')
        loader = plugins.load(plugin)
        if not callable(loader):
            raise plugins.wrong(plugin, "function", loader)
        with plugins.failing(plugin, "failed on it"):
            given = loader(content)
    except MemoryError:
        raise
    except DocumentError:
        raise
    except AichatError as exc:
        raise DocumentError(exc.message) from None
    if not isinstance(given, LoadedDocument) or not isinstance(given.text, str):
        raise DocumentError(plugins.wrong(plugin, "loader: what it gives is no LoadedDocument", given).message)
    return _checked(given, plugin.title)


def _checked(given: LoadedDocument, title: str) -> LoadedDocument:
    """The document in the form that is stored; places in its text are kept where that is what it was."""
    from aichat_cli.documents.loading.text import normalised

    text = normalised(given.text)
    starts = [heading.start for heading in given.headings if isinstance(heading, Heading)]
    is_sound = (
        isinstance(given.media_type, str)
        and given.kind in get_args(TextKind)
        and len(starts) == len(given.headings)
        and all(_are_places(places, len(given.text)) for places in (starts, [*given.pages]))
        and all(isinstance(each, str) for each in (given.title or "", *given.notes))
    )
    if not is_sound:
        raise DocumentError(f"{title} gave a document whose headings, pages, kind or notes cannot be.")
    is_same = text == given.text
    return LoadedDocument(
        text,
        given.media_type,
        given.kind,
        given.title,
        given.headings if is_same else (),
        given.pages if is_same else (),
        given.notes,
    )


def _are_places(places: list[int], length: int) -> bool:
    return all(isinstance(place, int) and 0 <= place <= length for place in places) and places == sorted(places)
