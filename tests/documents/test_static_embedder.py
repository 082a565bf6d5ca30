"""WordLlama's vectors against the tokenizer and the weights of its own package."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from aichat_cli.documents.embedding import static
from aichat_cli.documents.embedding.static import StaticEmbedder

_SPEC = find_spec("wordllama")
assert _SPEC is not None
assert _SPEC.origin is not None
TOKENIZER = Tokenizer.from_file(str(Path(_SPEC.origin).parent / static._VOCABULARY))
EMBEDDER = StaticEmbedder()
WORDS = st.text(st.sampled_from("ab. \n\t(é語🙂"), max_size=80)


def expected(texts: list[str]) -> np.ndarray:
    """What its package computes: the tokenizer over the whole text, the mean of the tokens' vectors, normalised."""
    _, weights = EMBEDDER._loaded()
    rows = np.zeros((len(texts), static.DIMENSIONS), dtype=np.float32)
    for row, encoding in zip(rows, TOKENIZER.encode_batch(texts, add_special_tokens=False), strict=True):
        if encoding.ids:
            mean = weights[encoding.ids].astype(np.float32).mean(axis=0)
            row[:] = mean / np.linalg.norm(mean)
    return rows


@example(["one two  three", "a\nb", "a \n b\n\n\n c ", " ", "", "\n", "    def f(x):\n        return x\n", "日本語。次"])
@given(st.lists(WORDS, max_size=20))
def test_vectors_are_those_of_the_tokenizer_over_the_whole_text(texts: list[str]) -> None:
    np.testing.assert_allclose(EMBEDDER.embed(texts), expected(texts), atol=1e-6)


def test_words_that_are_forgotten_are_looked_up_again() -> None:
    texts = [f"word{number} {'x' * 1000}{number}" for number in range(static._MOST_KNOWN_CHARS // 1000)]
    embedder = StaticEmbedder()
    first = embedder.embed(texts)
    assert embedder._words is not None
    assert embedder._words._known_chars > static._MOST_KNOWN_CHARS
    np.testing.assert_array_equal(embedder.embed(texts[:50]), first[:50])
    assert embedder._words._known_chars < static._MOST_KNOWN_CHARS


def test_a_nul_is_left_out() -> None:
    np.testing.assert_array_equal(EMBEDDER.embed(["a\0b c\0"]), EMBEDDER.embed(["ab c"]))
