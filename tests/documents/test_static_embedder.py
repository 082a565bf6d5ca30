"""WordLlama's vectors against the tokenizer and the weights of its own package."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from aichat_cli.documents.embedding import static
from aichat_cli.documents.embedding.merging import Merges
from aichat_cli.documents.embedding.static import StaticEmbedder

_SPEC = find_spec("wordllama")
assert _SPEC is not None
assert _SPEC.origin is not None
FOLDER = Path(_SPEC.origin).parent
TOKENIZER = Tokenizer.from_file(str(FOLDER / static._VOCABULARY))
FEW, MANY = StaticEmbedder(), StaticEmbedder()
MANY.embed(["x" * static._FEW_CHARS])
"""One that spells words by itself, and one that has loaded the tokenizer for them."""
WORDS = st.text(st.sampled_from("ab. \n\t(é語🙂"), max_size=80)


def expected(texts: list[str]) -> np.ndarray:
    """What its package computes: the tokenizer over the whole text, the mean of the tokens' vectors, normalised."""
    weights = static._weights(FOLDER / static._WEIGHTS)
    rows = np.zeros((len(texts), static.DIMENSIONS), dtype=np.float32)
    for row, encoding in zip(rows, TOKENIZER.encode_batch(texts, add_special_tokens=False), strict=True):
        if encoding.ids:
            mean = weights[encoding.ids].astype(np.float32).mean(axis=0)
            row[:] = mean / np.linalg.norm(mean)
    return rows


@example(
    ["one two  three", "a\nb", "a \n b\n\n\n c ", " ", "", "\n", "    def f(x):\n        return x\n", "日本語。次"]
)
@given(st.lists(WORDS, max_size=5))
def test_vectors_are_those_of_the_tokenizer_over_the_whole_text(texts: list[str]) -> None:
    wanted = expected(texts)
    np.testing.assert_allclose(MANY.embed(texts), wanted, atol=1e-6)
    np.testing.assert_allclose(FEW.embed(texts), wanted, atol=1e-6)
    assert FEW._words._tokenizer is None
    assert MANY._words._merges is None


def test_words_that_are_forgotten_are_looked_up_again() -> None:
    texts = [f"word{number} {'x' * 1000}{number}" for number in range(static._MOST_KNOWN_CHARS // 1000)]
    embedder = StaticEmbedder()
    first = embedder.embed(texts)
    assert embedder._words._known_chars > static._MOST_KNOWN_CHARS
    np.testing.assert_array_equal(embedder.embed(texts[:50]), first[:50])
    assert embedder._words._known_chars < static._MOST_KNOWN_CHARS


def test_merges_are_read_as_pairs_and_as_strings(tmp_path: Path) -> None:
    model = {"type": "BPE", "byte_fallback": True, "vocab": {"a": 0, "b": 1, "ab": 2, "<0x63>": 3}}
    path = tmp_path / "tokenizer.json"
    for merges in (["a b"], [["a", "b"]]):
        path.write_text(json.dumps({"model": {**model, "merges": merges}}))
        assert Merges(path).tokens("babc") == [1, 2, 3]


def test_a_nul_is_left_out() -> None:
    np.testing.assert_array_equal(FEW.embed(["a\0b c\0"]), MANY.embed(["ab c"]))
