"""What the user is told of files, folders and pages in a prompt: their size, what was left out, and what has no room."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence

from aichat_cli.chat.context import CERTAINLY_TOO_LONG
from aichat_cli.chat.inclusions import Included, IncludedFolder, Inclusion
from aichat_cli.core.errors import ContextTooLong
from aichat_cli.core.models import Model

NOTEWORTHY_SHARE = 2
"""A file that takes more than half of the window is worth a word."""

_MOST_NAMED = 3
"""Files that one notice names."""


def size_note(inclusion: Inclusion, model: Model) -> str:
    """Such as `notes.txt: about 1,204 tokens, 1% of the window of gpt-4o-mini`."""
    tokens = inclusion.tokens
    count = f"{_counted(len(inclusion.files))}, " if isinstance(inclusion, IncludedFolder) else ""
    size = f"{inclusion.name}: {count}about {tokens:,} tokens"
    if not model.context_tokens:
        return size
    return f"{size}, {-(-100 * tokens // model.context_tokens)}% of the window of {model.name}"


def is_noteworthy(inclusion: Inclusion, model: Model) -> bool:
    """Whether its size is worth a word unasked: a page, a folder, or what takes more than half of the model's window."""
    if not isinstance(inclusion, Included) or inclusion.is_page:
        return True
    return model.context_tokens is not None and inclusion.tokens * NOTEWORTHY_SHARE > model.context_tokens


def notes(inclusion: Inclusion) -> tuple[str, ...]:
    """What else the user should know of it, in sentences."""
    told = [note for file in inclusion.files for note in file.notes]
    if len(told) > _MOST_NAMED:
        told[_MOST_NAMED:] = [f"{len(told) - _MOST_NAMED:,} more such notes of {inclusion.name}."]
    replaced = [file.name for file in inclusion.files if file.replaces_source]
    if replaced:
        what = f"{replaced[0]} goes in as its" if len(replaced) == 1 else f"{_counted(len(replaced))} go in as their"
        told.append(f"{what} text, not as source; what is piped in, or printed by !cat, stays as it is.")
    if isinstance(inclusion, IncludedFolder) and (inclusion.skipped or inclusion.failed):
        told.append(_left_out(inclusion))
    return tuple(told)


def _left_out(folder: IncludedFolder) -> str:
    reasons = Counter(each.reason for each in folder.skipped)
    told = [f"{count:,} {reason}" for reason, count in sorted(reasons.items())]
    told += [f"{each.name} ({each.reason})" for each in folder.failed[:_MOST_NAMED]]
    if len(folder.failed) > _MOST_NAMED:
        told.append(f"{len(folder.failed) - _MOST_NAMED:,} more that cannot be read")
    return f"Left out of {folder.name}, {_counted(len(folder.skipped) + len(folder.failed))}: {', '.join(told)}."


def require_room(inclusions: Sequence[Inclusion], models: Sequence[Model], *, in_session: bool = False) -> None:
    """Raise ContextTooLong where all of it is certainly larger than the window of each of the models."""
    windows = [model.context_tokens for model in models]
    if not inclusions or None in windows:
        return
    model = max(models, key=lambda model: model.context_tokens or 0)
    window = model.context_tokens or 0
    tokens = sum(inclusion.tokens for inclusion in inclusions)
    if tokens <= CERTAINLY_TOO_LONG * window:
        return
    largest = max(inclusions, key=lambda inclusion: inclusion.tokens)
    what = f"{largest.name} is" if len(inclusions) == 1 else f"The {len(inclusions)} things in front of the prompt are"
    place = shlex.quote(largest.name)
    raise ContextTooLong(
        f"{what} about {tokens:,} tokens, and the window of {model.name} holds {window:,}.{_biggest(inclusions)}",
        hint=f"Search it instead: /ingest {place}, then ask"
        if in_session
        else f'Search it instead: aichat ingest {place}, then aichat --docs "your question"',
    )


def _biggest(inclusions: Sequence[Inclusion]) -> str:
    sizes = [(file.tokens, file.name) for inclusion in inclusions for file in inclusion.files]
    if len(sizes) == 1:
        return ""
    named = sorted(sizes, reverse=True)[:_MOST_NAMED]
    return f" The biggest: {', '.join(f'{name} ({tokens:,})' for tokens, name in named)}."


def _counted(files: int) -> str:
    return f"{files:,} file{'' if files == 1 else 's'}"
