from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.render.sanitize import Sanitizer, safe_line, safe_text

ATTACKS = {
    "clipboard by OSC 52": ("a\x1b]52;c;ZXZpbA==\x07b", "ab"),
    "clipboard by OSC 52 ended by ST": ("a\x1b]52;c;ZXZpbA==\x1b\\b", "ab"),
    "title by OSC 0": ("a\x1b]0;evil\x07b", "ab"),
    "link by OSC 8": ("\x1b]8;;http://x\x1b\\text\x1b]8;;\x1b\\", "text"),
    "clear screen": ("a\x1b[2Jb", "ab"),
    "colors": ("\x1b[1;31mred\x1b[0m", "red"),
    "private mode": ("\x1b[?1049hx", "x"),
    "DCS": ("a\x1bPq#0;2;0;0;0\x1b\\b", "ab"),
    "APC": ("a\x1b_Gf=100;AAAA\x1b\\b", "ab"),
    "PM": ("a\x1b^secret\x1b\\b", "ab"),
    "SOS": ("a\x1bXsecret\x1b\\b", "ab"),
    "full reset": ("a\x1bcb", "ab"),
    "charset": ("a\x1b(0b", "ab"),
    "C1 CSI": ("a\x9b2Jb", "ab"),
    "C1 OSC": ("a\x9d52;c;ZXZpbA==\x9cb", "ab"),
    "C1 DCS": ("a\x90x\x9cb", "ab"),
    "C1 lone": ("a\x85\x84b", "ab"),
    "bidi override": ("a\u202eb\u202cc\u2066d\u2069", "abcd"),
    "carriage return over text": ("rm -rf /\rls      ", "rm -rf /\nls      "),
    "carriage returns": ("a\r\rb", "a\n\nb"),
    "Windows line ends": ("a\r\nb\r\n", "a\nb\n"),
    "carriage return at the end": ("a\r", "a\n"),
    "backspace": ("safe\b\b\b\bevil", "safeevil"),
    "bell and NUL": ("a\x07\x00b", "ab"),
    "vertical tab and form feed": ("a\x0b\x0cb", "ab"),
    "delete": ("a\x7fb", "ab"),
    "string nobody closes": ("a\x1b]0;evil\nthe rest", "a\nthe rest"),
    "string nobody closes, to the end": ("a\x1b]0;evil", "a"),
    "string closed by another sequence": ("a\x1b]0;x\x1b[2Jb", "ab"),
    "escape of an escape": ("a\x1b\x1b[2Jb", "ab"),
    "CSI broken off by a newline": ("a\x1b[2\nb", "a\nb"),
    "CSI broken off by a letter from afar": ("a\x1b[2éb", "aéb"),
    "escape before an umlaut": ("a\x1büb", "aüb"),
    "escape at the end": ("a\x1b", "a"),
    "cancelled string": ("a\x1b]0;x\x18b", "ab"),
}
HARMLESS = "Tabs\tand\nnewlines, Grüße, 漢字, עברית, 👩‍👩‍👧, e\u0301, \u200f mark, \u2028 separator"


@pytest.mark.parametrize(("attack", "safe"), ATTACKS.values(), ids=ATTACKS)
def test_a_control_sequence_is_taken_out_whole(attack: str, safe: str) -> None:
    assert safe_text(attack) == safe


@pytest.mark.parametrize(("attack", "safe"), ATTACKS.values(), ids=ATTACKS)
def test_it_is_taken_out_wherever_the_text_is_split(attack: str, safe: str) -> None:
    for cut in range(len(attack) + 1):
        for second in range(cut, len(attack) + 1):
            sanitizer = Sanitizer()
            pieces = (attack[:cut], attack[cut:second], attack[second:])
            assert "".join(map(sanitizer.feed, pieces)) + sanitizer.flush() == safe


def test_text_without_control_characters_is_left_alone() -> None:
    assert safe_text(HARMLESS) == HARMLESS


@given(st.text(st.characters(max_codepoint=0x2070)))
def test_nothing_that_comes_out_is_a_control_character(text: str) -> None:
    for character in safe_text(text):
        assert character in "\t\n" or unicodedata.category(character) != "Cc"
        assert not "\u202a" <= character <= "\u202e"
        assert not "\u2066" <= character <= "\u2069"


@given(st.lists(st.text(st.sampled_from("\x1b[]P\\\x07\x9b\x9d\x9c\r\n;0aJm\u202e\x18 ("))))
def test_the_split_into_deltas_never_changes_the_result(pieces: list[str]) -> None:
    sanitizer = Sanitizer()

    assert "".join(map(sanitizer.feed, pieces)) + sanitizer.flush() == safe_text("".join(pieces))


@given(
    st.text(
        st.characters(
            exclude_categories=("Cc", "Cs"), exclude_characters="\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
        )
    )
)
def test_every_other_character_survives(text: str) -> None:
    assert safe_text(text) == text


def test_a_line_has_no_line_ends() -> None:
    assert safe_line("a\r\nb\tc\x1b[2J\n") == "a b c"
