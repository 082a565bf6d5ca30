"""What a device says, looked at before it reaches the database: of which type it is, and how large."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from aichat_cli.core.struct import from_json
from aichat_cli.gateway.errors import BadRequest

MOST_NUMBER = 2**53
MOST_CLOCK = 2**62
"""Milliseconds of Unix time times 65,536 stay below for two thousand years; what is below nothing would win for good."""
MOST_CHANGES = 10_000
MOST_CHUNKS = 5_000
LONGEST_NAME = 100
KINDS = frozenset(
    {
        "conversation",
        "conversation_delete",
        "message",
        "usage",
        "document",
        "document_delete",
        "nothing",
    }
)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Fields:
    """The fields of a JSON object; each method raises BadRequest where a field is not what it should be."""

    def __init__(self, values: dict[str, Any], where: str = "") -> None:
        self._values = values
        self._where = where

    def uuid(self, name: str) -> str:
        """An id, in the one way all are written."""
        value = self._values.get(name)
        if not isinstance(value, str) or not _UUID.fullmatch(value):
            raise self._refused(name, "a UUID in lower case")
        return value

    def text(self, name: str, longest: int = LONGEST_NAME) -> str:
        """A short text of characters that can be shown."""
        value = self._values.get(name)
        if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isprintable():
            raise self._refused(name, f"a text of 1 to {longest} printable characters")
        return value

    def number(self, name: str, lowest: int = 0, highest: int = MOST_NUMBER) -> int:
        """A whole number."""
        value = self._values.get(name)
        if type(value) is not int or not lowest <= value <= highest:
            raise self._refused(name, f"a whole number from {lowest} to {highest}")
        return value

    def one_of(self, name: str, choices: Collection[str]) -> str:
        """One of some words."""
        value = self._values.get(name)
        if not isinstance(value, str) or value not in choices:
            raise self._refused(name, f"one of {', '.join(sorted(choices))}")
        return value

    def objects(self, name: str, most: int) -> list[dict[str, Any]]:
        """An array of objects."""
        value = self._values.get(name)
        if not isinstance(value, list) or len(value) > most or not all(isinstance(each, dict) for each in value):
            raise self._refused(name, f"an array of {most:,} objects at most")
        return value

    def hashes(self, name: str, most: int) -> list[str]:
        """An array of SHA-256 hashes."""
        value = self._values.get(name)
        if not isinstance(value, list) or len(value) > most or not all(is_sha256(each) for each in value):
            raise self._refused(name, f"an array of {most:,} SHA-256 hashes at most")
        return value

    def _refused(self, name: str, expected: str) -> BadRequest:
        param = f"{self._where}{name}"
        return BadRequest(f"{param} is not {expected}.", param=param, code="sync_field")


def fields_of(body: bytes) -> Fields:
    """The fields of a body; raises BadRequest where it is no JSON object."""
    try:
        values = from_json(body)
    except (ValueError, RecursionError):
        raise BadRequest("The body is not JSON.", code="not_json") from None
    if not isinstance(values, dict):
        raise BadRequest("The body is not a JSON object.", code="not_json")
    return Fields(values)


def changes_of(fields: Fields) -> list[dict[str, Any]]:
    """The changes of a batch; what they hold beside their names and numbers is for the database to judge."""
    changes = fields.objects("changes", MOST_CHANGES)
    for place, change in enumerate(changes):
        of_change = Fields(change, f"changes[{place}].")
        of_change.number("mid", 1)
        of_change.number("clock", 0, MOST_CLOCK)
        of_change.text("uid")
        if of_change.one_of("kind", KINDS) != "nothing":
            of_change.uuid("id")
    return changes


def chunks_of(fields: Fields) -> list[dict[str, Any]]:
    """Chunks of a document that are sent."""
    chunks = fields.objects("chunks", MOST_CHUNKS)
    for place, chunk in enumerate(chunks):
        Fields(chunk, f"chunks[{place}].").number("chunk_index", 0, 2**31 - 1)
    return chunks


def is_sha256(value: object) -> bool:
    """Whether it is a SHA-256 hash as all are written."""
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None
