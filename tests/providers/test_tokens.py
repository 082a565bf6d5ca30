# ruff: noqa: RUF001 - texts in other scripts are what is counted
"""Counting tokens: against known counts, within bounds, without a network, in bounded time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.core.messages import Attachment, AttachmentSummary, ChatMessage
from aichat_cli.core.models import Model
from aichat_cli.providers import tokens
from tests.bare import run_bare

GPT_4O = Model(name="gpt-4o", wire_name="gpt-4o", provider="openai", wire="openai")
GPT_4 = Model(name="gpt-4", wire_name="gpt-4-turbo", provider="openai", wire="openai")
UNKNOWN = Model(name="x", wire_name="x", provider="x", wire="openai")

ENGLISH = "The quick brown fox jumps over the lazy dog, and nobody in the village was surprised at all. " * 8
CODE = Path(tokens.__file__).read_text()
CHINESE = "今天天气很好，我们去公园散步吧。人工智能正在改变世界的方方面面，从医疗到教育，无处不在。" * 8
RUSSIAN = "Сегодня очень хорошая погода, давайте погуляем в парке и поговорим о книгах. " * 8


def test_counts_are_those_of_the_models_own_vocabulary() -> None:
    assert tokens.count("hello world", GPT_4O) == 2
    assert tokens.count("antidisestablishmentarianism", GPT_4O) == 6
    assert tokens.count("你好，世界", GPT_4O) == 3
    assert tokens.count("你好，世界", GPT_4) == 6


@pytest.mark.parametrize(
    ("name", "is_old"),
    [("gpt-3.5-turbo", True), ("gpt-4", True), ("gpt-4-0613", True), ("gpt-4o-mini", False), ("gpt-4.1", False)],
)
def test_the_vocabulary_follows_the_models_generation(name: str, is_old: bool) -> None:
    model = Model(name=name, wire_name=name, provider="openai", wire="openai")
    assert tokens.count(CHINESE, model) == tokens.count(CHINESE, GPT_4 if is_old else GPT_4O)
    assert tokens.count(CHINESE, GPT_4) != tokens.count(CHINESE, GPT_4O)


def test_special_tokens_in_a_text_are_text() -> None:
    assert tokens.count("<|endoftext|>", GPT_4O) > 1
    assert tokens.count("<|im_start|>system", UNKNOWN) > 1


def test_an_empty_text_has_no_tokens() -> None:
    assert tokens.count("", GPT_4O) == 0
    assert tokens.estimate("") == 0


@given(st.text())
def test_any_text_can_be_counted_and_estimated(text: str) -> None:
    assert tokens.count(text, UNKNOWN) <= 4 * len(text)
    assert 0 <= tokens.estimate(text) <= 2 * len(text) + 2


def test_a_lone_surrogate_is_counted() -> None:
    assert tokens.count("a\ud800b", GPT_4O) > 0
    assert tokens.estimate("a\ud800b") > 0


@pytest.mark.parametrize("text", [ENGLISH, CODE, CHINESE, RUSSIAN], ids=["english", "code", "chinese", "russian"])
def test_the_estimate_is_within_a_third(text: str) -> None:
    assert abs(tokens.estimate(text) / tokens.count(text, GPT_4O) - 1) < 0.34


def test_cutting_a_long_text_changes_hardly_a_token() -> None:
    import tiktoken

    encoding = tokens._encoding("o200k_base")
    assert isinstance(encoding, tiktoken.Encoding)
    for text in (ENGLISH * 20, CODE * 5, RUSSIAN * 20, CHINESE * 20):
        whole = len(encoding.encode_ordinary(text))
        assert abs(tokens.count(text, GPT_4O) - whole) <= whole * 0.002


@given(st.text(alphabet="ab \n", max_size=9000))
def test_pieces_make_up_the_text_and_are_short(text: str) -> None:
    pieces = list(tokens._pieces(text))
    assert "".join(pieces) == text
    assert all(len(piece) <= 2000 for piece in pieces)


@pytest.mark.parametrize("char", ["a", " ", "\n", "你"])
def test_one_endless_word_is_counted_in_pieces(char: str) -> None:
    assert max(len(piece) for piece in tokens._pieces(char * 1_000_000)) <= 2000
    assert tokens.count(char * 1_000_000, GPT_4O) > 1000


def test_a_prompt_counts_its_messages_and_what_surrounds_them() -> None:
    messages = (ChatMessage("user", "hello world"), ChatMessage("assistant", "hello"))
    assert tokens.count_messages(messages, None, GPT_4O) == 3 + (4 + 2) + (4 + 1)
    assert tokens.count_messages(messages, "hello", GPT_4O) == 3 + (4 + 2) + (4 + 1) + (4 + 1)


@pytest.mark.parametrize("before", [None, "/somewhere"])
def test_counting_leaves_the_environment_as_it_was(before: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    if before:
        monkeypatch.setenv("TIKTOKEN_CACHE_DIR", before)
    tokens._encoding.cache_clear()
    assert tokens.count("hello world", GPT_4O) == 2
    assert os.environ.get("TIKTOKEN_CACHE_DIR") == before


def test_without_a_vocabulary_the_estimate_stands_in_and_nothing_is_imported_for_it() -> None:
    code = "from aichat_cli.providers import tokens; from aichat_cli.core.models import Model\n"
    code += "text = 'hello there, world'; assert tokens.count(text, Model('m', 'm', 'p', 'openai')) == tokens.estimate(text)\n"
    code += "import sys; assert 'tiktoken' not in sys.modules; print('ok')"
    result = run_bare(code)
    assert result.stdout == "ok\n", result.stderr


def test_estimating_imports_no_vocabulary() -> None:
    code = "import sys; from aichat_cli.providers.tokens import estimate; estimate('hello'); print('tiktoken' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout == "False\n", result.stderr


@pytest.mark.parametrize(
    ("media_type", "size", "expected"),
    [
        ("image/png", 10, 1600),
        ("image/jpeg", 9_000_000, 1600),
        ("application/pdf", 10, 1500),
        ("application/pdf", 1_000_000, 10_000),
        ("application/pdf", 900_000_000, 100_000),
        ("audio/wav", 48_000 * 60, 600),
        ("audio/mpeg", 16_000 * 60, 600),
        ("text/plain", 400, 100),
        ("application/zip", 400, 0),
    ],
)
def test_files_are_estimated_by_kind_and_size(media_type: str, size: int, expected: int) -> None:
    assert tokens.estimate_file(AttachmentSummary("x", media_type, size)) == expected


def test_the_files_of_a_prompt_are_counted_with_it() -> None:
    image = Attachment("x", "image/png", b"x")
    without, with_image = (
        tokens.count_messages([ChatMessage("user", "hello", files)], None, GPT_4O) for files in ((), (image,))
    )
    assert with_image - without == 1600
