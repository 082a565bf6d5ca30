"""How many tokens a text has: exactly, by the vocabulary litellm ships for tiktoken, or roughly, for a status line.

Exact for OpenAI's models; for others it is as near as a foreign vocabulary comes. Nothing is ever downloaded: where the
vocabulary is missing, the estimate stands in.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from itertools import accumulate, chain
from pathlib import Path
from typing import TYPE_CHECKING

from aichat_cli.core.messages import AttachmentSummary, ChatMessage
from aichat_cli.core.models import Model

if TYPE_CHECKING:
    import tiktoken

TOKENS_PER_MESSAGE = 4
"""Of a chat message besides its text: the speaker and what marks its beginning and end."""
TOKENS_PER_REPLY = 3
"""That open the answer."""

FOREIGN_VOCABULARY = 1.5
"""Other vocabularies than OpenAI's make at most so many times its tokens of a text, in our experience."""

TOKENS_PER_IMAGE = 1600
"""The most that Anthropic counts for one, and about twice what OpenAI's 4o models do."""
TOKENS_PER_PDF = 1500
"""At least: a page. Providers read a page as its text and as an image."""
MOST_TOKENS_PER_PDF = 100_000
_BYTES_PER_TOKEN = {"pdf": 100, "audio/wav": 4800, "audio": 1600}
"""Of a PDF with some pictures; of audio at ten tokens a second, uncompressed or not."""

_FILE_NAMES = {
    "o200k_base": "fb374d419588a4632f3f557e76b4b70aebbca790",
    "cl100k_base": "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
}
"""tiktoken's cache names: the SHA-1 of the address it would download from."""
_USES_CL100K = re.compile(r"gpt-(3\.5|4(?!o|\.|-o))")
DOCUMENT_ENCODING = "cl100k_base"
_PIECE_CHARS = 2000
_SHORT_PARTS = re.compile(r" ?[A-Z]?[a-z]{1,3}| ?[A-Z]{1,2}| ?[0-9]{1,2}|\s{1,8}|.", re.DOTALL)
_COMMON_RANGES = (
    ("\u2010", "\u2027"),
    ("\u3000", "\u30ff"),
    ("\u4e00", "\u9fff"),
    ("\uac00", "\ud7a3"),
    ("\uff00", "\uffef"),
)
"""Compared, not matched: compiling a pattern of them takes 5 ms of every start."""
_environment_lock = threading.Lock()


def count(text: str, model: Model) -> int:
    """Tokens of the text for this model. What looks like a special token is counted as text."""
    return count_for(text, model.wire_name)


def count_for(text: str, wire_name: str) -> int:
    """Tokens of the text for the model that has this name on the wire."""
    encoding = _encoding("cl100k_base" if _USES_CL100K.match(wire_name) else "o200k_base")
    if encoding is None:
        return estimate(text)
    return sum(len(encoding.encode_ordinary(piece)) for piece in _pieces(text))


def most(text: str) -> int:
    """More tokens than any vocabulary makes of the text: each is at least one byte."""
    return len(text.encode("utf-8", "surrogatepass"))


def count_messages(messages: Sequence[ChatMessage], system: str | None, model: Model) -> int:
    """Tokens of a whole prompt, with what a chat adds around each message."""
    texts = [message.content for message in messages]
    if system:
        texts.append(system)
    files = sum(estimate_file(file.summary) for message in messages for file in message.attachments)
    return TOKENS_PER_REPLY + files + sum(TOKENS_PER_MESSAGE + count(text, model) for text in texts)


def estimate(text: str) -> int:
    """Tokens to within about a third for prose and code, without reading a vocabulary."""
    ascii_chars = len(text.encode("ascii", "ignore"))
    other_chars = len(text) - ascii_chars
    other_bytes = len(text.encode("utf-8", "surrogatepass")) - ascii_chars
    # A third of a token for a letter of two bytes (Cyrillic), two thirds for one of three (Chinese, Korean).
    return -(-ascii_chars * 10 // 41) + -(-(37 * other_bytes - 39 * other_chars) // 100)


def estimate_file(file: AttachmentSummary) -> int:
    """Tokens of an attached file by its kind and size alone: providers differ by more than its content would tell."""
    if file.kind == "image":
        return TOKENS_PER_IMAGE
    if file.kind == "pdf":
        return min(max(file.bytes // _BYTES_PER_TOKEN["pdf"], TOKENS_PER_PDF), MOST_TOKENS_PER_PDF)
    if file.kind == "audio":
        return file.bytes // _BYTES_PER_TOKEN.get(file.media_type, _BYTES_PER_TOKEN["audio"])
    return file.bytes // 4 if file.media_type.startswith("text/") else 0


class DocumentTokenizer:
    """What documents are split by: cl100k_base, which loads in half the time of o200k_base, or, where that is not here, a guess on the safe side.

    Its methods are those of `documents.chunking.tokenizer.Tokenizer`.
    """

    @cached_property
    def _encoding(self) -> tiktoken.Encoding | None:
        return _encoding(DOCUMENT_ENCODING)

    @cached_property
    def _chars_begun(self) -> _CharsBegun:
        return _CharsBegun(self._encoding)

    @property
    def name(self) -> str:
        return DOCUMENT_ENCODING if self._encoding else "estimate"

    def count(self, text: str) -> int:
        """Tokens of the text, exactly; as many as there could be where the vocabulary is missing."""
        if self._encoding is None:
            return len(_most_token_ends(text))
        return len(self._encoding.encode_ordinary(text))

    def ends(self, text: str) -> list[int]:
        """The character that each token ends before, in a text of any length; one inside a character is past it."""
        if self._encoding is None:
            return _most_token_ends(text)
        encode = self._encoding.encode_ordinary
        ids = chain.from_iterable(encode(piece) for piece in _pieces(text))
        return list(accumulate(map(self._chars_begun.__getitem__, ids)))


class _CharsBegun(dict[int, int]):
    """How many characters begin in each token."""

    def __init__(self, encoding: tiktoken.Encoding | None) -> None:
        super().__init__()
        self._encoding = encoding

    def __missing__(self, token: int) -> int:
        content = self._encoding.decode_single_token_bytes(token) if self._encoding else b""
        self[token] = chars = sum(byte & 0xC0 != 0x80 for byte in content)
        return chars


@cache
def tokenizer() -> DocumentTokenizer:
    """The tokenizer of documents; its vocabulary is read on the first call."""
    return DocumentTokenizer()


def _most_token_ends(text: str) -> list[int]:
    """As `ends` of a text of which hardly any vocabulary makes more tokens: short parts of words, each sign by itself."""
    ends: list[int] = []
    for match in _SHORT_PARTS.finditer(text):
        end = match.end()
        ends.append(end)
        if (char := text[end - 1]) > "\u07ff" and not _is_common(char):
            ends.append(end)
            if char > "\uffff":
                ends += (end, end)
    return ends


def _is_common(char: str) -> bool:
    return any(first <= char <= last for first, last in _COMMON_RANGES)


def _pieces(text: str) -> Iterator[str]:
    """The text cut before blanks, where that changes hardly a token, or, in a run without a blank, anywhere.

    A run without a blank is one word to tiktoken, and its time may grow with the square of a word's length.
    """
    start = 0
    while len(text) - start > _PIECE_CHARS:
        end = start + _PIECE_CHARS
        blank = max(text.rfind(" ", start + 1, end), text.rfind("\n", start + 1, end - 1) + 1)
        end = blank if blank > start else end
        yield text[start:end]
        start = end
    yield text[start:]


@cache
def _encoding(name: str) -> tiktoken.Encoding | None:
    """The encoding, or None where its vocabulary is not on this machine."""
    folder = _vocabulary_folder()
    if folder is None or not (folder / _FILE_NAMES[name]).is_file():
        return None
    import os

    with _environment_lock:
        variable = "TIKTOKEN_CACHE_DIR"
        before = os.environ.get(variable)
        os.environ[variable] = str(folder)
        try:
            import tiktoken

            return tiktoken.get_encoding(name)
        except (ImportError, ValueError, OSError):
            return None
        finally:
            if before is None:
                del os.environ[variable]
            else:
                os.environ[variable] = before


def _vocabulary_folder() -> Path | None:
    from importlib.util import find_spec

    spec = find_spec("litellm")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).with_name("litellm_core_utils") / "tokenizers"
