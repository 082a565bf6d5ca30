"""From bytes to text: which encoding it is, and what no stored text may hold.

A file is refused as binary rather than turned into nonsense, and a guess is said aloud in a note. Nothing here knows a
format.
"""

from __future__ import annotations

import codecs

from aichat_cli.core.errors import NotText
from aichat_cli.core.struct import Struct

BINARY_REASON = "It is a binary file, not text."

_SAMPLE_BYTES = 1 << 16
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""UTF-32 before UTF-16: the mark of the one begins with that of the other."""

_CONTROLS = bytes({*range(0x20), 0x7F} - {*b"\t\n\v\f\r\b\x1b"})
"""What text does not hold; tabs, line ends and escape sequences it may."""
_CONTROL_SHARE = 100
"""Text of which more than one in a hundred characters is such a control is binary."""
_BAD_SHARE = 8
"""UTF-8 with fewer broken characters than a such part of its other non-ASCII characters is UTF-8 that was damaged."""
_DAMAGE_SHARE = 20
_FEW_DAMAGED = 100
"""Where more than one in twenty characters is damaged, and more than a few, the encoding is another, or none."""
_FOREIGN_SHARE = 0.25
"""Where more of the bytes are not ASCII, it is no language of Western Europe."""
_FEW_BYTES = 10
_FIT = 0.7
_LEAST_KANA = 0.2
_PRINTABLE = 0.8
"""At least so much of what was guessed to be UTF-16 are characters that print, or space."""
_HIGH = bytes(range(0x80, 0x100))


class Decoded(Struct, frozen=True):
    """A text as it may be stored, and what to tell about how it was read."""

    text: str
    notes: tuple[str, ...] = ()


def decoded(content: bytes, charset: str | None = None) -> Decoded:
    """The text of a file.

    Args:
        charset: what the document says its encoding is; believed where its bytes allow it and they are not UTF-8.

    Raises:
        DocumentError: it is binary.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return _with_encoding(content[len(mark) :], encoding)
    if (wide := _unmarked_wide(content)) is not None:
        read = _with_encoding(content, wide)
        sample = read.text[:_SAMPLE_BYTES]
        if sum(1 for sign in sample if sign.isprintable() or sign.isspace()) < _PRINTABLE * len(sample):
            raise NotText(BINARY_REASON)
        return read
    if charset and b"\x1b" in content and charset.lower().startswith("iso-2022"):
        # Its bytes are those of ASCII, so that nothing but the document itself can tell.
        return Decoded(normalised(_declared(content, charset) or content.decode("latin-1")))
    return _narrow(content, charset)


def normalised(text: str) -> str:
    r"""The text with `\n` line ends, without NUL, and without halves of surrogate pairs."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        text = text.replace("\0", "")
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        # Pairs written as two escapes become the character they stand for; a lone half becomes the replacement sign.
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.removeprefix("\ufeff")


def _narrow(content: bytes, charset: str | None) -> Decoded:
    """UTF-8 and the encodings that have ASCII in them."""
    control_count = len(content) - len(content.translate(None, _CONTROLS))
    if control_count * _CONTROL_SHARE > len(content):
        raise NotText(BINARY_REASON)
    try:
        return Decoded(normalised(content.decode("utf-8")))
    except UnicodeDecodeError:
        pass
    if charset and (text := _declared(content, charset)) is not None:
        return Decoded(normalised(text))
    if _is_damaged_utf8(content):
        return _with_encoding(content, "utf-8")
    if control_count:
        raise NotText(BINARY_REASON)
    encoding = _guessed(content[:_SAMPLE_BYTES])
    return _with_encoding(content, encoding, (f"Its encoding is not said and was taken for {encoding}.",))


def _with_encoding(content: bytes, encoding: str, notes: tuple[str, ...] = ()) -> Decoded:
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        # Latin-1 has a character for each byte, so that the few that Windows-1252 lacks do not lose the rest.
        text = content.decode("latin-1" if encoding == "cp1252" else encoding, "replace")
        lost = text.count("\ufffd")
        if lost * _DAMAGE_SHARE > len(text) + _FEW_DAMAGED:
            raise NotText(BINARY_REASON) from None
        if lost:
            notes = (*notes, f"{lost} characters of it are damaged.")
    if encoding.startswith(("utf-16", "utf-32")) and _looks_binary(text):
        raise NotText(BINARY_REASON)
    return Decoded(normalised(text), notes)


def _looks_binary(text: str) -> bool:
    """Whether so much of a wide encoding's text is controls that it is chance that it decodes."""
    sample = text[:_SAMPLE_BYTES]
    odd = sum(1 for character in sample if character < " " and character not in "\t\n\v\f\r\b\x1b")
    return odd * _DAMAGE_SHARE > len(sample)


def _unmarked_wide(content: bytes) -> str | None:
    """UTF-16 or UTF-32 that does not say so: its ASCII characters show where the zeros stand."""
    sample = content[: _SAMPLE_BYTES // 4 * 4]
    if b"\0" not in sample:
        return None
    zeros = [sample[place::4].count(0) for place in range(4)]
    quarter = max(1, len(sample) // 4)
    if len(content) % 4 == 0:
        if zeros[3] == quarter and zeros[2] * 2 > quarter and zeros[0] * 10 < quarter:
            return "utf-32-le"
        if zeros[0] == quarter and zeros[1] * 2 > quarter and zeros[3] * 10 < quarter:
            return "utf-32-be"
    if len(content) % 2:
        return None
    even, odd = zeros[0] + zeros[2], zeros[1] + zeros[3]
    if odd > 10 * even and odd * 20 > len(sample):
        return "utf-16-le"
    return "utf-16-be" if even > 10 * odd and even * 20 > len(sample) else None


def _declared(content: bytes, charset: str) -> str | None:
    """The text by the encoding the document names; None where there is no such encoding or it does not fit."""
    try:
        if codecs.lookup(charset).name in {"utf-8", "utf-16", "utf-32", "ascii", "utf-7"}:
            return None
        # What calls itself Latin-1 is Windows-1252, as every browser reads it.
        name = "cp1252" if codecs.lookup(charset).name in {"iso8859-1", "latin-1"} else charset
        return content.decode(name)
    except (LookupError, UnicodeError, ValueError, AssertionError):
        return None


def _is_damaged_utf8(content: bytes) -> bool:
    text = content.decode("utf-8", "replace")
    bad = text.count("\ufffd")
    good = len(text) - bad - len(text.encode("ascii", "ignore"))
    return bad * _BAD_SHARE <= good or (bad == 1 and text.endswith("\ufffd") and good > 0)


def _guessed(sample: bytes) -> str:
    """The likeliest of the old encodings, by how much of it are the everyday letters of the language it is for."""
    high = len(sample) - len(sample.translate(None, _HIGH))
    if high < max(_FEW_BYTES, _FOREIGN_SHARE * len(sample)):
        return "cp1252"
    best, best_fit = "cp1252", _FIT
    for encoding, alphabets in _EVERYDAY.items():
        text = codecs.getincrementaldecoder(encoding)("replace").decode(sample)
        foreign = [character for character in text if character > "\x7f"]
        fit = _share(foreign, alphabets)
        if fit > best_fit and (encoding not in _JAPANESE or _share(foreign, _KANA) > _LEAST_KANA):
            best, best_fit = encoding, fit
    return best


def _share(characters: list[str], ranges: tuple[tuple[str, str], ...]) -> float:
    """How much of the characters are in one of the ranges."""
    inside = sum(1 for character in characters if any(low <= character <= last for low, last in ranges))
    return inside / max(1, len(characters))


_JAPANESE = frozenset({"euc_jp", "cp932"})
_KANA = (("\u3001", "\u3002"), ("\u3041", "\u30ff"))
_HAN = (("\u4e00", "\u9fff"), ("\u3001", "\u3002"), ("\uff01", "\uff1f"))
_EVERYDAY = {
    "euc_jp": (*_KANA, *_HAN),
    "cp932": (*_KANA, *_HAN),
    "euc_kr": (("\uac00", "\ud7a3"),),
    "gb18030": _HAN,
    "big5": _HAN,
    "cp1251": (("\u0430", "\u044f"),),
    "koi8_r": (("\u0430", "\u044f"),),
    "iso8859_5": (("\u0430", "\u044f"),),
    "cp866": (("\u0430", "\u044f"),),
}
