from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.core.media import media_type_of, text_of
from tests.chat.files import EXECUTABLE, GIF, JPEG, MP3, MP3_WITHOUT_TAG, PDF, PNG, WAV, WEBP

KINDS = {
    "image/png": PNG,
    "image/jpeg": JPEG,
    "image/gif": GIF,
    "image/webp": WEBP,
    "application/pdf": PDF,
    "audio/wav": WAV,
    "audio/mpeg": MP3,
}


@pytest.mark.parametrize("media_type", KINDS)
@pytest.mark.parametrize("name", ["x", "x.txt", "x.png", "x.heic"])
def test_the_content_tells_what_a_file_is_whatever_its_name(media_type: str, name: str) -> None:
    assert media_type_of(name, KINDS[media_type]) == media_type


def test_sound_without_a_tag_and_a_pdf_after_a_blank_line_are_known_too() -> None:
    assert media_type_of("x", MP3_WITHOUT_TAG) == "audio/mpeg"
    assert media_type_of("x", b"\xef\xbb\xbf\r\n" + PDF) == "application/pdf"


def test_the_name_tells_only_of_kinds_whose_content_is_not_known() -> None:
    unknown = b"\x00\x00\x00\x18ftypheic" + bytes(20)
    assert media_type_of("photo.HEIC", unknown) == "image/heic"
    assert media_type_of("photo.png", unknown) is None
    assert media_type_of("program", EXECUTABLE) is None


@pytest.mark.parametrize(
    "text", ["GIF89a is a format", "RIFF and WEBP", "ID3 tags are old", "\u00ff\u00fb", "a.heic", "<svg/>", ""]
)
def test_text_about_such_files_stays_text(text: str) -> None:
    assert media_type_of("notes.heic", text.encode()) is None
    assert text_of(text.encode()) == text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_text_is_read_in_the_encoding_it_is_in(encoding: str) -> None:
    text = "Grüße “quoted”\r\n\tx\n"
    assert text_of(text.encode(encoding)) == text


def test_big_endian_text_with_a_mark_is_read() -> None:
    assert text_of(b"\xfe\xff" + "Grüße".encode("utf-16-be")) == "Grüße"


def test_latin_1_that_is_no_windows_1252_is_read_too() -> None:
    assert text_of(b"\x81 na\xefve") == "\x81 naïve"


@pytest.mark.parametrize("content", [PNG, EXECUTABLE, b"a\0b", b"\xff\xfe\x00\x00\x00", b"\xe4\x01\x02", b"\xff\xfe\0"])
def test_what_is_no_text_is_not_read_as_text(content: bytes) -> None:
    assert text_of(content) is None


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), max_size=200))
def test_any_utf_8_text_is_read_exactly(text: str) -> None:
    assert text_of(text.encode()) == text


@given(st.binary(max_size=100), st.text(max_size=10))
def test_nothing_is_both_text_and_attachment_and_nothing_fails(content: bytes, name: str) -> None:
    media_type, text = media_type_of(name, content), text_of(content)
    assert media_type is None or text is None or media_type in {"application/pdf", "audio/mpeg", "image/jpeg"}
