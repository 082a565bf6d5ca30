from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.core.errors import BadResponse
from aichat_cli.providers.sse import SseEvent, SseParser, SurrogateJoiner

STREAMS = {
    "line feeds": (b"data: one\n\ndata: two\n\n", [("message", "one"), ("message", "two")]),
    "carriage returns": (b"data: one\r\rdata: two\r\r", [("message", "one"), ("message", "two")]),
    "both": (b"data: one\r\n\r\ndata: two\r\n\r\n", [("message", "one"), ("message", "two")]),
    "a mixture": (b"data: one\r\n\ndata: two\n\r\n", [("message", "one"), ("message", "two")]),
    "a byte order mark": (b"\xef\xbb\xbfdata: one\n\n", [("message", "one")]),
    "comments": (b": hello\n\n:\ndata: one\n: again\n\n", [("message", "one")]),
    "several lines": (b"data: one\ndata\ndata: two\n\n", [("message", "one\n\ntwo")]),
    "no space": (b"data:one\n\n", [("message", "one")]),
    "two spaces": (b"data:  one\n\n", [("message", " one")]),
    "a colon in the value": (b'data: {"a":1}\n\n', [("message", '{"a":1}')]),
    "a name": (b"event: ping\ndata: 1\n\ndata: 2\n\n", [("ping", "1"), ("message", "2")]),
    "a name without data": (b"event: ping\n\ndata: 2\n\n", [("message", "2")]),
    "fields that are not for us": (b"id: 7\nretry: 10\nfoo: bar\ndata: 1\n\n", [("message", "1")]),
    "an unfinished event": (b"data: one\n\ndata: two\n", [("message", "one")]),
    "wide characters": ("data: žluťoučký 👩‍🚀\n\n".encode(), [("message", "žluťoučký 👩‍🚀")]),
    "broken utf-8": (b"data: \xff\n\n", [("message", "�")]),
    "a mark in the middle": (b"data: one\n\n\xef\xbb\xbfdata: two\n\n", [("message", "one")]),
}


@pytest.mark.parametrize(("stream", "expected"), STREAMS.values(), ids=STREAMS)
def test_every_split_of_a_stream_gives_the_same_events(stream: bytes, expected: list[tuple[str, str]]) -> None:
    for first in range(len(stream) + 1):
        for second in range(first, len(stream) + 1):
            parser = SseParser()
            pieces = (stream[:first], stream[first:second], stream[second:])
            assert [event for piece in pieces for event in parser.feed(piece)] == [SseEvent(*item) for item in expected]


@given(
    lines=st.lists(st.sampled_from(["data: a", "data: é😀", "data", "event: x", ": c", "", "", "id: 1"]), max_size=12),
    ending=st.sampled_from(["\n", "\r", "\r\n"]),
    cuts=st.lists(st.integers(0, 200), max_size=8),
)
def test_any_stream_cut_anywhere_gives_what_it_gives_whole(lines: list[str], ending: str, cuts: list[int]) -> None:
    stream = "".join(line + ending for line in lines).encode()
    whole = SseParser().feed(stream)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    parser = SseParser()
    pieces = [stream[start:end] for start, end in pairwise(places)]
    assert [event for piece in pieces for event in parser.feed(piece)] == whole


@pytest.mark.parametrize(
    "pieces",
    [
        [b"data: 12345678\n\n"],
        [b"data: 1234", b"5678"],
        [b": x\n", b"data: 123456789\n\n"],
        [b"data: 1234\n", b"data: 5678\n"],
        [b"x" * 9],
    ],
)
def test_an_event_larger_than_the_bound_is_refused(pieces: list[bytes]) -> None:
    parser = SseParser(max_bytes=7)
    with pytest.raises(BadResponse, match="larger than 7 bytes"):
        for piece in pieces:
            parser.feed(piece)


def test_many_small_events_do_not_add_up_to_the_bound() -> None:
    parser = SseParser(max_bytes=20)
    assert sum(len(parser.feed(b"data: 1234\n\n")) for _ in range(100)) == 100


def _code_units(text: str) -> list[str]:
    raw = text.encode("utf-16-le", "surrogatepass")
    return [raw[index : index + 2].decode("utf-16-le", "surrogatepass") for index in range(0, len(raw), 2)]


@given(st.text(st.characters(exclude_categories=["Cs"])), st.lists(st.integers(0, 30), max_size=6))
def test_pairs_cut_in_two_are_joined_again(text: str, cuts: list[int]) -> None:
    units = _code_units(text)
    places = sorted({0, len(units), *(cut for cut in cuts if cut < len(units))})
    joiner = SurrogateJoiner()
    joined = "".join(joiner.feed("".join(units[start:end])) for start, end in pairwise(places))
    assert joined + joiner.flush() == text


@given(st.lists(st.text(st.sampled_from("ab\ud83d\ude00😀"))))
def test_no_half_of_a_pair_ever_leaves(deltas: list[str]) -> None:
    joiner = SurrogateJoiner()
    out = "".join([*(joiner.feed(delta) for delta in deltas), joiner.flush()])
    out.encode()
    assert out.replace("�", "").replace("😀", "").strip("ab") == ""
    assert out.count("a") == "".join(deltas).count("a")


def test_halves_without_a_partner_are_replaced() -> None:
    joiner = SurrogateJoiner()
    assert joiner.feed("a\ude00b") == "a�b"
    assert joiner.feed("c\ud83d") == "c"
    assert joiner.feed("") == ""
    assert joiner.feed("d") == "�d"
    assert joiner.feed("\ud83d") == ""
    assert joiner.flush() == "�"
    assert joiner.flush() == ""
