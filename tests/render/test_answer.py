from __future__ import annotations

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.core.errors import AichatError
from aichat_cli.render.answer import ClosedPipe, HeldSink, PipeSink, TerminalSink, code_blocks, write_all


def test_a_pipe_gets_every_byte_and_nothing_more() -> None:
    stream = io.BytesIO()
    sink = PipeSink(stream)
    for piece in ("a\x1b[2J\r", "\u202e\x00é", "no newline"):
        sink.write(piece)
    sink.end()

    assert stream.getvalue() == "a\x1b[2J\r\u202e\x00éno newline".encode()


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        (["line"], "line\n"),
        (["line\n"], "line\n"),
        (["line\r"], "line\n"),
        (["a\x1b", "[2Jb"], "ab\n"),
        ([""], ""),
        ([], ""),
        (["\x1b[0m"], ""),
        (["a\n", "\x1b[0m"], "a\n"),
    ],
)
def test_a_terminal_gets_safe_text_that_ends_its_last_line(pieces: list[str], shown: str) -> None:
    stream = io.BytesIO()
    sink = TerminalSink(stream)
    for piece in pieces:
        sink.write(piece)
    sink.end()

    assert stream.getvalue().decode() == shown


def test_a_held_answer_is_kept_whole() -> None:
    sink = HeldSink()
    sink.write("a")
    sink.write("b\n")
    sink.end()

    assert sink.text == "ab\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /dev/full")
def test_a_closed_pipe_is_not_an_error_but_a_full_disk_is() -> None:
    import os

    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb", buffering=0) as closed, pytest.raises(ClosedPipe):
        write_all(closed, b"x")
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(AichatError, match="No space left"):
        write_all(full, b"x")


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("no code", []),
        ("", []),
        ("a\n```python\nprint(1)\n```\nb\n```\nsecond\n```\n", ["print(1)\n", "second\n"]),
        ("~~~\nx\n~~~", ["x\n"]),
        ("````\n```\ninner\n```\n````\n", ["```\ninner\n```\n"]),
        ("```sh\nnever closed\n", ["never closed\n"]),
        ("   ```\nindented fence\n   ```\n", ["indented fence\n"]),
        ("    ```\nan indented code block is not a fence\n", []),
        ("```\n```\n", [""]),
        ("```\r\nwindows\r\n```\r\n", ["windows\r\n"]),
        ("```\n``` is not the end\n```\n", ["``` is not the end\n"]),
    ],
)
def test_fenced_blocks_are_extracted(text: str, blocks: list[str]) -> None:
    assert code_blocks(text) == blocks


@given(
    st.lists(
        st.text(st.characters(exclude_characters="`\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029", exclude_categories=["Cs"])),
        min_size=1,
    )
)
def test_whatever_stands_in_a_block_comes_out_unchanged(lines: list[str]) -> None:
    code = "\n".join(lines) + "\n"

    assert code_blocks(f"Here:\n```\n{code}```\nDone.\n") == [code]
