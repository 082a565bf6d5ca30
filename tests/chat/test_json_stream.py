"""JSON read piece by piece is the JSON that was written, and what is wrong in it is said and passed over."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.chat.archives import json_stream
from aichat_cli.chat.archives.json_stream import BadItem, JsonDocument, NotJson

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
    max_leaves=20,
)


class Trickle(io.StringIO):
    """A stream that gives at most so many characters at once."""

    def __init__(self, text: str, size: int) -> None:
        super().__init__(text)
        self._size = size

    def read(self, size: int | None = -1, /) -> str:
        return super().read(self._size)


def items(text: str, size: int = 1 << 18) -> list[Any]:
    return list(JsonDocument(Trickle(text, size)).items())


@given(st.lists(VALUES, max_size=6), st.integers(1, 30), st.booleans(), st.sampled_from([None, 2]))
def test_the_items_of_a_list_come_one_by_one(
    values: list[Any], size: int, ascii_only: bool, indent: int | None
) -> None:
    assert items(json.dumps(values, ensure_ascii=ascii_only, indent=indent), size) == values


@given(st.lists(VALUES, max_size=5), st.dictionaries(st.text(), VALUES, max_size=3), st.integers(1, 30))
def test_the_items_of_an_object_come_after_its_header(values: list[Any], header: dict[str, Any], size: int) -> None:
    header.pop("conversations", None)
    document = JsonDocument(Trickle(json.dumps({**header, "conversations": values}), size))
    assert list(document.items()) == values
    assert document.header == header


def test_an_object_without_a_list_is_the_only_item() -> None:
    assert items('{"mapping": {"a": 1}, "id": "x"}') == [{"mapping": {"a": 1}, "id": "x"}]


@given(st.lists(st.dictionaries(st.text(), VALUES, min_size=1, max_size=3), min_size=1, max_size=4), st.data())
def test_a_document_that_ends_too_early_gives_its_whole_items_and_says_where(values: list[Any], data: Any) -> None:
    text = json.dumps(values)
    cut = data.draw(st.integers(0, len(text) - 1))
    found: list[Any] = []
    with pytest.raises(NotJson):
        found.extend(JsonDocument(Trickle(text[:cut], 7)).items())
    assert found == values[: len(found)]


def test_what_is_nested_too_deeply_is_passed_over_and_the_next_item_read() -> None:
    deep = '{"a": ' + "[" * 100_000 + '"]\\"]"' + "]" * 100_000 + "}"
    first, second = items(f'[{deep}, {{"b": 1}}]', 1000)
    assert first == BadItem("it is nested too deeply")
    assert second == {"b": 1}


def test_a_number_of_ten_thousand_digits_is_passed_over() -> None:
    assert items('[{"a": ' + "9" * 10_000 + '}, {"b": 1}]') == [
        BadItem("it holds a number with too many digits"),
        {"b": 1},
    ]


def test_an_item_that_is_too_large_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "LARGEST_ITEM", 1000)
    assert items(json.dumps([{"a": "x" * 5000}, {"b": 1}]), 100) == [BadItem("it is too large"), {"b": 1}]


@pytest.mark.parametrize(
    "text", ["", "  ", "null", "12", '"text"', "[1,]", "[1 2]", "[}", '{"a"}', "[1]]", "\x00", "{]"]
)
def test_what_is_no_json_is_said(text: str) -> None:
    with pytest.raises(NotJson):
        items(text)


def test_an_error_near_the_beginning_is_found_without_reading_the_rest() -> None:
    stream = Trickle('[{"a": nonsense}, ' + '{"b": 1}, ' * 1_000_000, 1 << 16)
    with pytest.raises(NotJson, match="at character 7"):
        list(JsonDocument(stream).items())
    assert stream.tell() < 1 << 18
