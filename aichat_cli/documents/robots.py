"""What a server's robots.txt allows a program to fetch, by RFC 9309: the longest rule that fits, `*` and `$` in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

from aichat_cli.core.struct import Struct

_ESCAPED = re.compile("%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")


class Rule(Struct, frozen=True):
    """What begins like `pattern` may be fetched, or may not."""

    pattern: str
    allows: bool

    def fits(self, target: str) -> bool:
        """Whether a path with its query is meant."""
        pattern, is_whole = self.pattern.removesuffix("$"), self.pattern.endswith("$")
        first, *rest = pattern.split("*")
        if not target.startswith(first):
            return False
        if not rest:
            return not is_whole or target == first
        at = len(first)
        for part in rest[:-1]:
            at = target.find(part, at)
            if at < 0:
                return False
            at += len(part)
        last = rest[-1]
        return target.endswith(last) and len(target) - len(last) >= at if is_whole else target.find(last, at) >= 0


def rules_for(agent: str, robots: str) -> tuple[Rule, ...]:
    """The rules of a robots.txt for a program of that name, the decisive ones first; those for all where it has none."""
    groups: dict[str, list[Rule]] = {}
    names: list[str] = []
    has_rules = False
    for field, value in _fields(robots):
        if field == "user-agent":
            if has_rules:
                names, has_rules = [], False
            names.append(re.match("[A-Za-z_-]*", value.lower())[0] or value)  # type: ignore[index]
            groups.setdefault(names[-1], [])
        else:
            has_rules = True
            for name in names if value else ():
                groups[name].append(Rule(_normal(value), field == "allow"))
    rules = groups.get(agent.lower(), groups.get("*", []))
    return tuple(sorted(rules, key=lambda rule: (-len(rule.pattern), not rule.allows)))


def is_allowed(rules: tuple[Rule, ...], target: str) -> bool:
    """Whether a path with its query may be fetched."""
    normal = _normal(target)
    return next((rule.allows for rule in rules if rule.fits(normal)), True)


def _fields(robots: str) -> Iterator[tuple[str, str]]:
    for line in robots.removeprefix("\ufeff").splitlines():
        field, colon, value = line.partition("#")[0].partition(":")
        if colon and field.strip().lower() in {"user-agent", "allow", "disallow"}:
            yield field.strip().lower(), value.strip()


def _normal(target: str) -> str:
    """With what has to be escaped escaped, and nothing else, so that equal paths are equal texts."""

    def normal(match: re.Match[str]) -> str:
        character = chr(int(match[1], 16))
        return character if character in _UNRESERVED else match[0].upper()

    return _ESCAPED.sub(normal, quote(target, safe="%/?&=#:@!$'()*+,;~[]-._"))
