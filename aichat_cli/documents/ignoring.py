"""Which files a folder's owner does not want seen: .gitignore, .aichatignore and patterns of the same syntax.

pathspec decides; one regular expression of all patterns in front of it answers for the many names that match none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from aichat_cli.core.struct import Struct

IGNORE_FILES = (".aichatignore", ".gitignore")
"""The first decides where both have an opinion."""

_MOST_BYTES = 1_000_000


class Rules(Struct, frozen=True):
    """The patterns of one file, for names relative to the walk's root.

    Attributes:
        lead: what to put before a name, where the patterns are of a folder above the root.
        skip: how many characters to leave out, where they are of one below it.
    """

    patterns: Patterns
    lead: str = ""
    skip: int = 0

    def verdict(self, name: str) -> bool | None:
        """Whether to leave a name out; None for no opinion. A folder's name ends with a slash."""
        return self.patterns.verdict(self.lead + name[self.skip :])


class Patterns:
    """Lines of a .gitignore file; those that are no patterns are passed over."""

    def __init__(self, lines: Sequence[str]) -> None:
        from pathspec import GitIgnoreSpec

        try:
            self._spec = GitIgnoreSpec.from_lines(lines)
        except ValueError:
            self._spec = GitIgnoreSpec.from_lines([line for line in lines if _is_pattern(line)])
        self._any = _any_of([pattern.regex.pattern for pattern in self._spec.patterns if pattern.regex is not None])

    def verdict(self, name: str) -> bool | None:
        """Whether the patterns leave a name out, take it back in, or say nothing of it."""
        if self._any is not None and self._any.match(name) is None:
            return None
        return self._spec.check_file(name).include


def is_ignored(name: str, rules: Sequence[Rules]) -> bool:
    """Whether the first of the rules that has an opinion leaves the name out."""
    for rule in rules:
        verdict = rule.verdict(name)
        if verdict is not None:
            return verdict
    return False


def folder_rules(folder: str, names: Sequence[str], skip: int) -> tuple[Rules, ...]:
    """The rules of a folder below the root, by the names of ignore files that it holds."""
    found = []
    for name in IGNORE_FILES:
        if name in names and (lines := _lines(Path(folder, name))):
            found.append(Rules(Patterns(lines), skip=skip))
    return tuple(found)


def rules_above(root: Path) -> tuple[Rules, ...]:
    """The rules of the folders between a root and the top of its Git repository, the nearest first.

    None where they leave out the root itself: who names an ignored folder wants what is in it.
    """
    repository = next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), None)
    if repository is None or repository == root:
        return ()
    found: list[Rules] = []
    for folder in root.parents:
        lead = root.relative_to(folder).as_posix() + "/"
        for name in IGNORE_FILES:
            if lines := _lines(folder / name):
                found.append(Rules(Patterns(lines), lead=lead))
        if folder == repository:
            break
    steps = root.relative_to(repository).parts
    for count in range(1, len(steps) + 1):
        for rules in found:
            depth = len(steps) - rules.lead.count("/")
            if count > depth and rules.patterns.verdict("/".join(steps[depth:count]) + "/"):
                return ()
    return tuple(found)


def _lines(path: Path) -> list[str]:
    """The lines of an ignore file; none where it is no file, or cannot be read, or is no list of patterns."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
        with open(descriptor, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError:
        return []
    return content.decode("utf-8-sig", "replace").splitlines() if len(content) <= _MOST_BYTES else []


def _is_pattern(line: str) -> bool:
    from pathspec import GitIgnoreSpec

    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True


def _any_of(expressions: Sequence[str]) -> re.Pattern[str] | None:
    """One expression that matches whatever one of them does; None where they cannot be joined."""
    try:
        return re.compile("|".join(re.sub(r"\(\?P<\w+>", "(?:", expression) for expression in expressions) or "(?!)")
    except re.error:
        return None
