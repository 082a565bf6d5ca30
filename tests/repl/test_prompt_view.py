"""What the prompt shows above the input."""

from __future__ import annotations

from prompt_toolkit.formatted_text import fragment_list_to_text

from aichat_cli.repl.prompt_view import QUEUED_SHOWN, STYLE, echo, prompt_text, status_line


def shown(open_lines: list[str], queue: list[str], carried: list[str], *, rows: int = 24, typed_rows: int = 1) -> str:
    fragments = prompt_text(open_lines, queue, carried, columns=30, rows=rows, typed_rows=typed_rows)
    return fragment_list_to_text(fragments)


def test_open_lines_what_waits_and_what_goes_along_stand_above_the_input() -> None:
    assert shown(["an answer"], ["next"], ["a.png", "b.txt"]) == "an answer\nqueued: next\nwith: a.png, b.txt\n> "


def test_of_a_long_open_block_the_end_is_shown() -> None:
    text = shown([f"line {number}" for number in range(100)], [], [], rows=10)

    assert text.splitlines()[0] == "line 94"
    assert text.splitlines()[-2] == "line 99"


def test_a_long_queue_is_counted() -> None:
    lines = shown([], [f"message {number}" for number in range(6)], []).splitlines()

    assert lines == ["queued: message 0", "queued: message 1", "queued: 4 more", "> "]
    assert len(lines) == QUEUED_SHOWN + 1


def test_what_waits_is_one_safe_line_that_fits() -> None:
    lines = shown([], ["a\x1b]0;evil\x07\nlong message that goes on and on"], []).splitlines()

    assert lines[0] == "queued: a long message that…"


def test_an_answer_keeps_its_own_styles() -> None:
    # prompt_toolkit puts everything in front of an input into this class.
    assert not STYLE.get_attrs_for_style_str("class:prompt").bold


def test_a_message_stays_in_the_scrollback_line_by_line() -> None:
    assert echo("first\nsecond\x1b[2J") == ("\x1b[1m> first\x1b[0m", "\x1b[1m  second\x1b[0m")


def test_the_status_line_gives_way_to_what_is_being_done() -> None:
    def line(columns: int) -> str:
        return fragment_list_to_text(status_line(["model", "$0.12", "today $0.30"], "Ctrl+C stops", columns))

    assert line(80) == "model | $0.12 | today $0.30 | Ctrl+C stops"
    assert line(42) == "model | $0.12 | Ctrl+C stops"
    assert line(28) == "model | Ctrl+C stops"
    assert line(12) == "model | Ct…"
