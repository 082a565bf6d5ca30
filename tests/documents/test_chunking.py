# ruff: noqa: RUF001 - texts in other scripts are what is split
"""Splitting: lossless, never over the limit as tiktoken counts, at the document's own joints."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from itertools import pairwise

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from aichat_cli.core.documents import Chunk, Heading, LoadedDocument, TextKind
from aichat_cli.documents.chunking import boundaries
from aichat_cli.documents.chunking.embedded_text import content_hash, embedding_text
from aichat_cli.documents.chunking.splitter import split
from aichat_cli.providers import tokens

TOKENIZER = tokens.tokenizer()
KINDS: tuple[TextKind, ...] = ("prose", "markdown", "code", "table")
SENTENCE = "The committee met again on Tuesday and found nothing that it had not already found the week before. "


@pytest.fixture(scope="session")
def encoding() -> tiktoken.Encoding:
    encoding = tokens._encoding(tokens.DOCUMENT_ENCODING)
    assert encoding is not None
    return encoding


def markdown(text: str) -> LoadedDocument:
    found = re.finditer(r"^(#{1,6}) (.+)$", text, re.MULTILINE)
    headings = tuple(Heading(match.start(), len(match[1]), match[2]) for match in found)
    return LoadedDocument(text, "text/markdown", "markdown", headings=headings)


def chunks_of(document: LoadedDocument, max_tokens: int = 100) -> list[Chunk]:
    return split(document, max_tokens=max_tokens, tokenizer=TOKENIZER)


def texts_of(document: LoadedDocument, max_tokens: int = 100) -> list[str]:
    return [document.text[chunk.start : chunk.end] for chunk in chunks_of(document, max_tokens)]


def check(document: LoadedDocument, max_tokens: int, encoding: tiktoken.Encoding) -> list[Chunk]:
    """What holds for every document."""
    text = document.text
    chunks = chunks_of(document, max_tokens)
    assert chunks == chunks_of(document, max_tokens)
    if not text.strip():
        assert chunks == []
        return chunks
    assert chunks[0].start == 0
    assert chunks[-1].end == len(text)
    assert all(before.end == after.start for before, after in pairwise(chunks))
    for chunk in chunks:
        assert chunk.start < chunk.end
        counted = len(encoding.encode_ordinary(text[chunk.start : chunk.end]))
        assert counted <= max_tokens
        assert chunk.tokens == counted
        assert chunk.line == text.count("\n", 0, chunk.start) + 1
    return chunks


pieces = st.sampled_from(
    [
        "# Title\n\n", "## Part\n", "### Deeper\n\n", "\n\n", "\n", "\r\n", " ", "\t", "    ", "\u3000", "\x0b", "\x1c", "\x85",
        "word ", "word", SENTENCE, "e.g. 3.14 ", "Dr. No said so. ", "Really?! ", "```\n", "```python\nx = 1\n\n\ny = 2\n```\n",
        "def f():\n    return 1\n\n", "// comment\n", "/", "//\n", "}\n", "...\n", "| a | b |\n", "- item\n", "1. one\n",
        "a" * 300, "x1Y2" * 80, " " * 300, "\n" * 50, "=" * 200, "-" * 30 + "\n", "今天天气很好。", "จ" * 90, "e\u0301" * 40, "🇩🇪🇫🇷" * 9,
        "👨‍👩‍👧‍👦" * 9, "Ⴀ" * 60, "𐎀" * 60, "Это предложение. ", "don't", "'s", "'S\n",
    ]
)  # fmt: skip


@given(st.lists(pieces, max_size=40).map("".join), st.sampled_from(KINDS), st.sampled_from([16, 17, 40, 100, 400]))
@settings(max_examples=150, deadline=None)
def test_any_document_is_split_without_loss_and_within_the_limit(
    encoding: tiktoken.Encoding, text: str, kind: TextKind, max_tokens: int
) -> None:
    headings = markdown(text).headings if kind != "table" else ()
    check(LoadedDocument(text, "text/plain", kind, headings=headings), max_tokens, encoding)


@given(st.text(max_size=600), st.sampled_from(KINDS), st.integers(16, 60))
@settings(max_examples=150, deadline=None)
def test_any_unicode_text_is_split_without_loss_and_within_the_limit(
    encoding: tiktoken.Encoding, text: str, kind: TextKind, max_tokens: int
) -> None:
    check(LoadedDocument(text, "text/plain", kind), max_tokens, encoding)


@given(st.data(), st.text(max_size=300))
@settings(max_examples=60, deadline=None)
def test_headings_and_pages_are_those_of_the_first_character_that_is_not_blank(
    encoding: tiktoken.Encoding, data: st.DataObject, text: str
) -> None:
    text *= 3
    places = st.lists(st.integers(0, len(text)), unique=True, max_size=8).map(sorted)
    headings = tuple(Heading(start, data.draw(st.integers(1, 3)), f"h{start}") for start in data.draw(places))
    pages = (0, *(start for start in data.draw(places) if start))
    document = LoadedDocument(text, "application/pdf", headings=headings, pages=pages)
    for chunk in check(document, 20, encoding):
        content = text[chunk.start : chunk.end]
        first = chunk.start + (len(content) - len(content.lstrip()) if content.strip() else 0)
        assert chunk.page == sum(start <= first for start in pages)
        above = [heading for heading in headings if heading.start <= first]
        assert chunk.heading.split(" > ")[-1] == (above[-1].text if above else "")


def test_a_document_within_the_limit_is_one_chunk() -> None:
    [chunk] = chunks_of(LoadedDocument("One line.\n\nAnother.\n", "text/plain"))
    assert (chunk.start, chunk.end, chunk.line, chunk.page, chunk.heading) == (0, 20, 1, None, "")


def test_blank_space_alone_makes_no_chunk() -> None:
    assert chunks_of(LoadedDocument(" \n\u3000\n\t", "text/plain")) == []


def test_question_and_exclamation_marks_survive_and_end_sentences() -> None:
    text = "Is this the way to do it, after all these years of trying? No! " * 40
    found = texts_of(LoadedDocument(text, "text/plain"))
    assert "".join(found) == text
    assert all(chunk.endswith(("? ", "! ")) for chunk in found)


def test_abbreviations_and_numbers_do_not_end_sentences() -> None:
    text = "See e.g. Python, i.e. Fig. 3 by Dr. Smith et al. (p. 4) with 3.14 vs. No. 5 of J. Doe. It works. Yes."
    cuts = boundaries.sentences(text, 0, len(text))
    assert [text[start:end] for start, end in pairwise([0, *cuts, len(text)])] == [text[:-14], "It works. ", "Yes."]


@pytest.mark.parametrize(
    "sentence", ["今天天气很好，我们去公园散步吧。", "क्या यह सच है। ", "هل هذا صحيح؟ ", "እንዴት ነህ። ", "C’est vrai ? "]
)
def test_sentences_of_any_script_are_kept_whole(sentence: str) -> None:
    found = texts_of(LoadedDocument(sentence * 60, "text/plain"), 60)
    assert len(found) > 5
    assert all(len(chunk) % len(sentence) == 0 for chunk in found)


def test_a_sentence_longer_than_the_limit_is_cut_between_words() -> None:
    text = "and then another thing happened which nobody had expected " * 60
    found = texts_of(LoadedDocument(text, "text/plain"))
    assert all(chunk.endswith(" ") and not chunk.startswith(" ") for chunk in found)


@pytest.mark.parametrize(
    "line", ["a" * 200_000, "字" * 70_000, " x" + " " * 200_000 + "y", "." * 200_000, "q1Z/" * 50_000]
)
def test_a_line_of_200_kilobytes_without_blanks_is_split_in_a_moment(encoding: tiktoken.Encoding, line: str) -> None:
    began = time.process_time()
    chunks_of(LoadedDocument(line, "text/plain"), 400)
    assert time.process_time() - began < 2
    check(LoadedDocument(line, "text/plain"), 400, encoding)


def test_chunks_begin_at_headings_once_they_are_reasonably_full() -> None:
    section = "## Part {}\n\n" + SENTENCE * 3 + "\n\n"
    document = markdown("# Book\n\n" + "".join(section.format(number) for number in range(6)))
    chunks = chunks_of(document, 150)
    assert [chunk.heading for chunk in chunks] == ["Book", *(f"Book > Part {number}" for number in range(1, 6))]


def test_tiny_sections_share_a_chunk() -> None:
    document = markdown("".join(f"## Option {number}\n\nTurns it on.\n\n" for number in range(40)))
    chunks = chunks_of(document)
    assert len(chunks) < 12
    assert all(document.text.startswith("## ", chunk.start) for chunk in chunks)


def test_a_heading_stays_with_the_text_under_it() -> None:
    document = markdown("".join(f"{SENTENCE * 3}\n\n# Part {number}\n\n" for number in range(8)) + "End.")
    assert all(not chunk.rstrip().split("\n")[-1].startswith("#") for chunk in texts_of(document))


def test_no_crumb_is_left_at_the_end() -> None:
    for sentences in range(5, 60):
        found = chunks_of(LoadedDocument((SENTENCE + "\n\n") * sentences + "The end.", "text/plain"), 100)
        assert min(chunk.tokens for chunk in found) > 12


def test_a_short_title_is_not_left_alone_by_a_paragraph_that_fills_a_chunk() -> None:
    paragraph = SENTENCE * 5
    found = chunks_of(LoadedDocument("A title\n\n" + paragraph, "text/plain"), TOKENIZER.count(paragraph))
    assert len(found) == 2
    assert min(chunk.tokens for chunk in found) > 30


def test_a_heading_goes_with_a_paragraph_that_does_not_fit_any_more() -> None:
    paragraph = "1 2 3 4 5 6 7 8 9. " * 6
    document = markdown(SENTENCE.strip() + "\n\n## Part\n\n" + paragraph)
    found = texts_of(document, TOKENIZER.count(paragraph) + 6)
    assert [chunk.split("\n")[0] for chunk in found] == [SENTENCE.strip(), "## Part"]


def test_a_tiny_last_section_joins_the_one_before() -> None:
    assert len(chunks_of(markdown(f"# A\n\n{SENTENCE * 3}\n\n# B\n\nShort."))) == 1


def test_blank_space_before_the_first_heading_and_page_is_not_what_a_chunk_begins_with() -> None:
    document = LoadedDocument("\n\n\nT\n\nText.", "application/pdf", headings=(Heading(3, 1, "T"),), pages=(0, 2))
    [chunk] = chunks_of(document)
    assert (chunk.start, chunk.line, chunk.page, chunk.heading) == (0, 1, 2, "T")


def test_a_fenced_block_that_fits_is_kept_whole() -> None:
    code = "```python\n" + "x = 1\n\n" * 15 + "```\n"
    document = markdown((SENTENCE * 3 + "\n\n" + code + "\n") * 4)
    found = texts_of(document)
    assert all(chunk.count("```") in {0, 2} for chunk in found)


def test_code_is_cut_between_functions() -> None:
    function = "def function_{0}(value):\n    first = value + {0}\n\n    return first * 2\n\n\n"
    document = LoadedDocument("".join(function.format(i) for i in range(30)), "text/x-python", "code")
    assert all(chunk.startswith("def ") for chunk in texts_of(document))


def test_a_table_is_cut_between_rows() -> None:
    rows = "".join(f"{number},name {number},{number * 1.5}\n" for number in range(500))
    found = texts_of(LoadedDocument(rows, "text/csv", "table"))
    assert all(re.match(r"\d+,name", chunk) and chunk.endswith("\n") for chunk in found)


def test_a_character_of_several_code_points_is_not_parted() -> None:
    for cluster in ("e\u0301\u0323", "👨‍👩‍👧‍👦", "🇩🇪", "👍🏽", "\u1112\u1161\u11ab", "न्"):
        found = texts_of(LoadedDocument(cluster * 200, "text/plain"), 40)
        assert len(found) > 2
        assert all(len(chunk) % len(cluster) == 0 for chunk in found), cluster


def test_without_the_vocabulary_the_guess_is_never_far_too_low() -> None:
    for text in (
        SENTENCE * 20,
        "字" * 200,
        "q1Z/" * 80,
        "Это предложение. " * 9,
        "Ⴀ𐎀" * 40,
        "aGVsbG8gd29ybGQ" * 30,
        "=+-*/" * 40,
    ):
        assert len(tokens._most_token_ends(text)) >= 0.85 * TOKENIZER.count(text)
        assert tokens._most_token_ends(text)[-1] == len(text)


def test_what_is_embedded_begins_with_title_and_headings_once() -> None:
    assert embedding_text("Guide", "Install > From source", "Run make.\n") == "Guide > Install > From source\nRun make."
    assert embedding_text("Guide", "Guide > Install", "## Install\n\nRun make.") == "Guide\n## Install\n\nRun make."
    assert embedding_text("Guide", "Guide", "# Guide\n\nHello.") == "# Guide\n\nHello."
    assert embedding_text(None, "", "Hello.") == "Hello."


def test_hashes_are_stable_and_of_16_bytes() -> None:
    assert content_hash("text").hex() == "d732c6be860e019351f99173fa6ae612"
    assert content_hash("text") != content_hash("Text")


def test_hashing_imports_nothing_heavy() -> None:
    program = (
        "import sys; import aichat_cli.documents.chunking.embedded_text, aichat_cli.documents.chunking.splitter\n"
        "print([name for name in ('numpy', 'tiktoken', 'litellm', 'tokenizers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
