"""What the house's values are made of: msgspec's structs, which cost a tenth of a dataclass to define and to make.

A start of the program defines some sixty of them; as frozen dataclasses they took a third of it. This is the one door to
msgspec: every value is `class Name(Struct, frozen=True)`.
"""

from __future__ import annotations

from typing import Any, TypeVar

from msgspec import Struct, field, to_builtins
from msgspec.structs import replace

__all__ = ["Struct", "asdict", "field", "from_json", "read_json", "replace", "to_json"]

T = TypeVar("T")


def asdict(struct: Struct) -> dict[str, Any]:
    """The fields of a value and of the values in it, as JSON has them: tuples become lists."""
    plain: dict[str, Any] = to_builtins(struct)
    return plain


def to_json(value: Any) -> bytes:
    """JSON in UTF-8, some times faster than the standard library makes it."""
    from msgspec import json

    return json.encode(value)


def from_json(text: bytes | str) -> Any:
    """What JSON says; raises ValueError where it is none."""
    from msgspec import json

    return json.decode(text)


def read_json(text: bytes | str, kind: type[T]) -> T:
    """JSON as a value of this kind; raises ValueError where it is none. Fields that nobody knows are passed over."""
    from msgspec import json

    return json.decode(text, type=kind)
