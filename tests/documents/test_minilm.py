"""The sentence model: the vectors it was published with, whatever is beside a text, and clear words where it is not."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from aichat_cli.core.errors import EmbeddingError
from aichat_cli.documents.embedding import minilm
from aichat_cli.documents.embedding.minilm import MiniLM, is_installed
from tests.runner import ROOT

SENTENCES = [
    "That is a happy person",
    "That is a happy dog",
    "That is a very happy person",
    "Today is a sunny day",
    "How do I reset my password?",
    "Use the recovery link to choose new credentials.",
    "La révision du moteur coûte 300 €.",
]
LONG = " ".join(f"item{number}" for number in range(2000))


@pytest.fixture(scope="module")
def model(sentence_model_dir: Path) -> MiniLM:
    """The real one, loaded once."""
    return MiniLM(sentence_model_dir, threads=1)


@pytest.fixture
def folder(sentence_model_dir: Path, tmp_path: Path) -> Path:
    """A models folder of one's own, whose files may be replaced."""
    for name in (minilm.WEIGHTS, minilm.VOCABULARY):
        (tmp_path / name).symlink_to(sentence_model_dir / name)
    return tmp_path


def test_similarities_are_those_of_the_published_model(model: MiniLM) -> None:
    """The first three as its publisher shows them, the others by onnxruntime in float32 with the exact GELU."""
    vectors = model.embed([*SENTENCES, LONG])
    similarities = vectors @ vectors.T

    assert similarities[0, 1:4] == pytest.approx([0.6946, 0.9429, 0.2569], abs=2e-4)
    assert similarities[4, 5:] == pytest.approx([0.5335, 0.0657, 0.0739], abs=2e-4)
    assert similarities[6, [0, 3, 7]] == pytest.approx([-0.0433, -0.0277, 0.0158], abs=2e-4)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert vectors.shape == (8, model.dimensions)
    assert vectors.dtype == np.float32


def test_a_texts_vector_does_not_depend_on_the_texts_beside_it_nor_on_the_threads(
    model: MiniLM, sentence_model_dir: Path
) -> None:
    alone = np.concatenate([model.embed([sentence]) for sentence in SENTENCES])
    together = MiniLM(sentence_model_dir, threads=3).embed([SENTENCES[0], LONG, *SENTENCES[1:], SENTENCES[0]])

    assert np.array_equal(alone, together[[0, 2, 3, 4, 5, 6, 7]])
    assert np.array_equal(together[0], together[-1])


def test_texts_without_a_word_it_knows_have_zeros(model: MiniLM) -> None:
    vectors = model.embed(["", " \n\t", "🎉", "🎉🎊 𓀀", "x", "🎉 party", "\ud800"])

    assert [bool(row.any()) for row in vectors][:6] == [False, False, False, False, True, True]
    assert np.isfinite(vectors).all()
    assert model.embed([]).shape == (0, model.dimensions)


def test_what_is_beyond_the_longest_text_is_not_read(model: MiniLM) -> None:
    words = ["word"] * 254
    [short, exact, longer] = model.embed([" ".join(words[1:]), " ".join(words), " ".join([*words, "other"] * 40)])

    assert np.array_equal(exact, longer)
    assert not np.array_equal(short, exact)


def test_threads_share_it(sentence_model_dir: Path) -> None:
    shared = MiniLM(sentence_model_dir, threads=2)
    rows: list[bytes] = []
    threads = [threading.Thread(target=lambda: rows.append(shared.embed(SENTENCES).tobytes())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(rows) == 3
    assert len(set(rows)) == 1


def test_a_multiplication_keeps_to_one_thread_once_it_is_loaded(sentence_model_dir: Path) -> None:
    code = (
        "import sys, threading; from pathlib import Path\n"
        "from aichat_cli.documents.embedding.minilm import MiniLM\n"
        "MiniLM(Path(sys.argv[1]), threads=1).embed(['word'])\n"
        "import numpy as np, os, time\n"
        "a = np.ones((1500, 1500), np.float32); before = time.process_time(), time.thread_time()\n"
        "for _ in range(4): a @ a\n"
        "print((time.process_time() - before[0]) / (time.thread_time() - before[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(sentence_model_dir)], capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert float(done.stdout) < 1.2


@pytest.mark.parametrize("name", [minilm.WEIGHTS, minilm.VOCABULARY])
def test_a_missing_file_is_told_with_the_command_that_fetches_it(folder: Path, name: str) -> None:
    assert is_installed(folder)
    loaded_later = MiniLM(folder, threads=1)
    (folder / name).unlink()

    assert not is_installed(folder)
    for attempt in (lambda: MiniLM(folder, threads=1), lambda: loaded_later.embed(["word"])):
        with pytest.raises(EmbeddingError, match=r"all-MiniLM-L6-v2.*" + folder.name) as caught:
            attempt()
        assert caught.value.hint == "Run: aichat models pull minilm"


def damaged_weights(whole: Path, kind: str) -> bytes:
    """The weights as a bad disk may leave them."""
    content = whole.read_bytes()
    if kind == "nan":  # of the first layer
        start = 8 + int.from_bytes(content[:8], "little") + 48_272_896
        return content[:start] + b"\xff" * 1000 + content[start + 1000 :]
    return {
        "empty": b"",
        "cut short": content[: len(content) // 2],
        "header cut": content[:500],
        "other": b"GGUF" + content[4:],
        "zeros": bytes(4096),
    }[kind]


@pytest.mark.parametrize("kind", ["empty", "cut short", "header cut", "other", "zeros", "nan"])
def test_damaged_weights_are_told_with_the_command_that_fetches_them(folder: Path, kind: str) -> None:
    weights = folder / minilm.WEIGHTS
    content = damaged_weights(weights, kind)
    weights.unlink()
    weights.write_bytes(content)

    with pytest.raises(EmbeddingError, match="all-MiniLM-L6-v2 cannot be read") as caught:
        MiniLM(folder, threads=1).embed(["word"])
    assert caught.value.hint == "Run: aichat models pull minilm"


def test_weights_of_another_model_are_refused(folder: Path, sentence_model_dir: Path) -> None:
    content = (sentence_model_dir / minilm.WEIGHTS).read_bytes()
    header_end = 8 + int.from_bytes(content[:8], "little")
    header = content[8:header_end].replace(
        b"encoder.layer.5.output.dense.weight", b"encoder.layer.5.output.dense.wei___"
    )
    (folder / minilm.WEIGHTS).unlink()
    (folder / minilm.WEIGHTS).write_bytes(content[:8] + header + content[header_end:])

    with pytest.raises(EmbeddingError, match=r"encoder\.layer\.5\.output\.dense\.weight"):
        MiniLM(folder, threads=1).embed(["word"])


def test_a_damaged_vocabulary_is_told(folder: Path, sentence_model_dir: Path) -> None:
    (folder / minilm.VOCABULARY).unlink()
    for content in ("", "{}", (sentence_model_dir / minilm.VOCABULARY).read_text("utf-8")[:-100]):
        (folder / minilm.VOCABULARY).write_text(content, "utf-8")
        with pytest.raises(EmbeddingError, match="cannot be read"):
            MiniLM(folder, threads=1).embed(["word"])


def test_whether_it_is_installed_is_known_without_numpy(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from aichat_cli.documents.embedding.minilm import MiniLM, is_installed\n"
        "assert is_installed(Path(sys.argv[1])); MiniLM(Path(sys.argv[1]), threads=1)\n"
        "print([name for name in ('numpy', 'tokenizers') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert done.stdout.strip() == "[]"


def test_a_copied_model_works_where_it_was_copied_to(sentence_model_dir: Path, tmp_path: Path, model: MiniLM) -> None:
    for name in (minilm.WEIGHTS, minilm.VOCABULARY):
        shutil.copy(sentence_model_dir / name, tmp_path / name)

    assert np.array_equal(MiniLM(tmp_path, threads=1).embed(["word"]), model.embed(["word"]))
