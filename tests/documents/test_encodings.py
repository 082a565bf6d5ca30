"""Text in the encodings that files have, said or not; nonsense is refused or owned up to."""

from __future__ import annotations

import pytest

from aichat_cli.core.errors import DocumentError
from aichat_cli.documents.loading.text import decoded

RUSSIAN = "Маяк зажигают в сумерках и гасят на рассвете. Туманная сирена звучит каждые девяносто секунд.\n" * 3
JAPANESE = "灯台のランプは夕暮れに点灯し、夜明けに消します。霧笛は九十秒ごとに鳴ります。\n" * 3
CHINESE = "灯塔的灯在黄昏时点亮。在黎明时熄灭。雾笛每九十秒响一次。提醒过往的船只注意安全。\n" * 3
KOREAN = "등대의 등불은 해질녘에 켜지고 새벽에 꺼집니다. 안개 신호는 구십 초마다 울립니다.\n" * 3
FRENCH = "Le phare éclaire la mer à minuit — déjà vu, « très » cœur.\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "utf-32-le"])
@pytest.mark.parametrize("text", [FRENCH, RUSSIAN, "Nur ein Satz: Größe 😀.\r\n"])
def test_unicode_is_read_whether_it_is_marked_or_not(text: str, encoding: str) -> None:
    read = decoded(text.encode(encoding))
    assert read.text == text.replace("\r\n", "\n")
    assert read.notes == ()


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (FRENCH, "cp1252"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8_r"),
        (RUSSIAN, "iso8859_5"),
        (RUSSIAN, "cp866"),
        (JAPANESE, "cp932"),
        (JAPANESE, "euc_jp"),
        (CHINESE, "gb18030"),
        (CHINESE.replace("灯塔", "燈塔"), "big5"),
        (KOREAN, "euc_kr"),
    ],
)
def test_old_encodings_are_told_from_each_other_and_the_guess_is_said(text: str, encoding: str) -> None:
    content = text.encode(encoding, "ignore")
    read = decoded(content)
    assert read.text == content.decode(encoding)
    assert read.notes == (f"Its encoding is not said and was taken for {encoding}.",)


def test_a_declared_encoding_is_believed_unless_it_is_utf_8_after_all() -> None:
    assert decoded(RUSSIAN.encode("cp866"), "IBM866").text == RUSSIAN
    assert decoded(RUSSIAN.encode(), "latin-1").text == RUSSIAN
    assert decoded("“café”".encode("cp1252"), "iso-8859-1").text == "“café”"
    assert decoded(JAPANESE.encode("iso2022_jp"), "iso-2022-jp").text == JAPANESE
    for unknown in ("no-such-thing", "base64", "rot13", "idna", "\0", ""):
        assert decoded("café".encode("cp1252"), unknown).text == "café"


def test_a_few_broken_bytes_do_not_make_utf_8_another_encoding() -> None:
    read = decoded(RUSSIAN.encode() + b"\xff\xfe end")
    assert read.text == RUSSIAN + "\ufffd\ufffd end"
    assert read.notes == ("2 characters of it are damaged.",)
    assert decoded(RUSSIAN.encode()[:-3]).text.startswith(RUSSIAN[:-3])


@pytest.mark.parametrize(
    "content",
    [bytes(range(256)), b"\0" * 100, b"\x01\x02\x03", b"PAR1\x15\x04\x15\xf8\xff\0\0", b"\xff\xfe" + b"\x00\xd8" * 50],
)
def test_binary_files_are_refused(content: bytes) -> None:
    with pytest.raises(DocumentError, match="It is a binary file"):
        decoded(content)


def test_what_no_text_may_hold_is_taken_out() -> None:
    assert decoded(b"one\r\ntwo\rthree\n" + b"long enough " * 20 + b"\0").text == (
        "one\ntwo\nthree\n" + "long enough " * 20
    )
