r"""`@path` in what a user types: what is a mention, which file it names, and how one is completed.

    @notes.txt   @src/   (@"my notes.txt")   @my\ notes.txt   @~/photo.png   @https://example.com/page,

A mention begins a word. A word that is no URL and names nothing that exists stays what it is, so e-mail addresses,
decorators and handles survive; the text itself is never changed, only what it names is read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from aichat_cli.chat.inclusions import Inclusion, Readers, included, resolved, with_files
from aichat_cli.core.messages import Attachment
from aichat_cli.core.struct import Struct

MOST_COMPLETIONS = 50
MOST_ENTRIES_READ = 20_000
"""Of one folder: completion answers while somebody types."""
MOST_PUNCTUATION = 8
"""Marks after a mention that are tried as not being part of it."""

_MENTION = re.compile(
    r"""(?<![^\s(\[{"'<])@(?:"(?P<double>[^"\n]+)"|'(?P<single>[^'\n]+)'|(?P<bare>(?:\\[ \t]|\S)+))"""
)
_PUNCTUATION = ".,;:!?)]}>\"'`*_…。、，；：！？）】」"  # noqa: RUF001


_PAGE = re.compile(r"https?://[^\s/?#.][^\s/?#]*", re.IGNORECASE)
_URL_PUNCTUATION = frozenset(_PUNCTUATION) - frozenset(")_*")


class Expanded(Struct, frozen=True):
    """A prompt with what it mentions.

    Attributes:
        prompt: the text of mentioned files, folders and pages, then what was typed, unchanged.
        attachments: mentioned images, PDF files and audio.
        inclusions: all that was read, in the order of the text, to be named to the user before it is sent.
    """

    prompt: str
    attachments: tuple[Attachment, ...] = ()
    inclusions: tuple[Inclusion, ...] = ()


class MentionCompletion(Struct, frozen=True):
    """One way to go on: `text` stands for all of what follows the `@`; `name` is the entry alone, to show in a menu."""

    text: str
    name: str
    is_folder: bool


def expand_mentions(text: str, folder: Path, readers: Readers, *, pdf_as_text: bool = False) -> Expanded:
    """Read what a text mentions, each once; paths are relative to `folder`. Give it only what the user typed: it fetches.

    Raises:
        AichatError: something is mentioned that cannot be taken; `inclusions.included` tells why.
    """
    if "@" not in text:
        return Expanded(text)
    sources = dict.fromkeys(_mentioned(text, folder))
    found = tuple(included(source, readers, folder=folder, pdf_as_text=pdf_as_text) for source in sources)
    attachments = tuple(each.attachment for each in found if each.attachment is not None)
    return Expanded(with_files(text, found), attachments, found)


def mention_completions(typed: str, folder: Path, *, limit: int = MOST_COMPLETIONS) -> list[MentionCompletion]:
    """What may follow an `@` after which `typed` stands: entries of one folder, hidden ones only after a dot.

    Upper and lower case are the same. A folder ends with a slash, to go on from.
    """
    quote = typed[:1] if typed[:1] in {'"', "'"} else ""
    path = typed[1:] if quote else _unescaped(typed)
    parent, slash, beginning = path.rpartition("/")
    try:
        with os.scandir(resolved(f"{parent}{slash}" or ".", folder)) as entries:
            matching = [entry for entry in islice(entries, MOST_ENTRIES_READ) if _matches(entry.name, beginning)]
        matching.sort(key=lambda entry: (entry.name.casefold(), entry.name))
    except (OSError, ValueError):
        return []
    found = (_completion(f"{parent}{slash}", entry, quote) for entry in matching)
    return list(islice((completion for completion in found if completion is not None), limit))


def mention_of(path: str) -> str | None:
    """How a path is mentioned, without the `@`; None for a name that cannot be."""
    for text in (_escaped(path), f'"{path}"', f"'{path}'"):
        match = _MENTION.fullmatch(f"@{text}")
        # A backslash at the end would take the blank after it along.
        if match is not None and _path_in(match) == path and not text.endswith("\\"):
            return text
    return None


def path_argument(argument: str) -> str:
    """The path in what follows `/file` or `/attach`: quoted, with backslashes before blanks, or simply to the end."""
    text = argument.strip()
    if len(text) > 2 and text[0] == text[-1] and text[0] in {'"', "'"}:
        return text[1:-1]
    return _unescaped(text.removeprefix("@"))


def _mentioned(text: str, folder: Path) -> Iterator[str]:
    known: dict[str, str | None] = {}
    for match in _MENTION.finditer(text):
        path = _path_in(match)
        if path not in known:
            known[path] = _existing(path, folder, is_quoted=match["bare"] is None)
        if (existing := known[path]) is not None:
            yield existing


def _existing(path: str, folder: Path, *, is_quoted: bool) -> str | None:
    """The path, without the punctuation of the sentence around it if need be, where there is such a thing."""
    if _PAGE.match(path):
        return path if is_quoted else _without_punctuation(path)
    for _ in range(1 if is_quoted else MOST_PUNCTUATION + 1):
        # Dots alone are an ellipsis and slashes an alias, though they name folders.
        if not path.strip(".") or not path.strip("/"):
            return None
        if _exists(resolved(path, folder)):
            return path
        if path[-1] not in _PUNCTUATION:
            return None
        path = path[:-1]
    return None


def _without_punctuation(url: str) -> str:
    """A URL without the marks of the sentence around it; a bracket that it opens itself is its own."""
    while url[-1] in _URL_PUNCTUATION or (url[-1] == ")" and url.count("(") < url.count(")")):
        url = url[:-1]
    return url


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _path_in(match: re.Match[str]) -> str:
    return match["double"] or match["single"] or _unescaped(match["bare"])


def _unescaped(bare: str) -> str:
    return re.sub(r"\\([ \t])", r"\1", bare)


def _escaped(path: str) -> str:
    return re.sub(r"([ \t])", r"\\\1", path)


def _matches(name: str, beginning: str) -> bool:
    if name.startswith(".") and not beginning.startswith("."):
        return False
    return name.casefold().startswith(beginning.casefold())


def _completion(parent: str, entry: os.DirEntry[str], quote: str) -> MentionCompletion | None:
    if not entry.name.isprintable():
        return None
    try:
        is_folder = entry.is_dir()
    except OSError:
        is_folder = False
    path = f"{parent}{entry.name}{'/' if is_folder else ''}"
    text = f"{quote}{path}{'' if is_folder else quote}" if quote and quote not in path else mention_of(path)
    return None if text is None else MentionCompletion(text, f"{entry.name}{'/' if is_folder else ''}", is_folder)
