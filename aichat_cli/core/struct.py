"""What the house's values are made of: msgspec's structs, which cost a tenth of a dataclass to define and to make.

A start of the program defines some sixty of them; as frozen dataclasses they took a third of it. This is the one door to
msgspec: every value is `class Name(Struct, frozen=True)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from msgspec import Struct, field, to_builtins
from msgspec.structs import replace

__all__ = ["Struct", "asdict", "field", "from_json", "json_reader", "replace", "to_json"]

_T = TypeVar("_T")


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


def json_reader(type_: type[_T]) -> Callable[[bytes], _T]:
    """Reads JSON of one shape, and of an object only the fields that the shape names; raises ValueError where it is another.

    It is made once and used often: what it skips costs next to nothing.
    """
    from msgspec import json

    return json.Decoder(type_).decode
