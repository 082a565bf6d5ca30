"""The embedded model: the real SmolLM2, in its real child process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aichat_cli.core.errors import ContextTooLong, LocalModelError, RequestRejected, StreamBroken
from aichat_cli.core.events import Finished, Notice, ProviderEvent, TextDelta, Usage
from aichat_cli.core.messages import ChatMessage
from aichat_cli.core.models import Model
from aichat_cli.providers.base import ChatRequest, OptionValue, Timeouts
from aichat_cli.providers.local_model import LocalModel
from aichat_cli.providers.local_process import Parameters, WorkerDied, WorkerProcess
from aichat_cli.providers.shipped import local_model
from tests.bare import run_bare

SMOLLM2 = local_model("smollm2", "smollm2")


def request(text: str, *, model: Model = SMOLLM2, **options: OptionValue) -> ChatRequest:
    return ChatRequest(model, (ChatMessage("user", text),), options=options)


def text_of(events: list[ProviderEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.fixture(scope="module")
def shared(model_dir: Path) -> Iterator[LocalModel]:
    """One loaded model for the tests that leave it in order."""
    wire = LocalModel(model_dir, threads=1)
    yield wire
    wire.close()


@pytest.fixture
def wire(model_dir: Path) -> Iterator[LocalModel]:
    own = LocalModel(model_dir, threads=1)
    yield own
    own.close()


def test_an_answer_streams_in_pieces_and_ends_with_the_servers_numbers(shared: LocalModel) -> None:
    events = list(shared.stream(request("Say hello.", temperature=0, max_tokens=60)))
    deltas = [event for event in events if isinstance(event, TextDelta)]
    assert "Hello" in text_of(events)
    assert len(deltas) > 3
    usage = events[-2]
    assert isinstance(usage, Usage)
    assert usage.tokens.input_tokens > 10
    assert usage.tokens.output_tokens >= len(deltas)
    assert '"prompt_tokens"' in str(usage.tokens.raw)
    assert events[-1] == Finished("stop", served_model="smollm2")


def test_the_limit_of_the_answer_is_kept_and_told(shared: LocalModel) -> None:
    for limited in (request("Go on.", max_tokens=5), request("Go on.", max_completion_tokens=5)):
        events = list(shared.stream(limited))
        assert events[-1] == Finished("length", served_model="smollm2")
        usage = events[-2]
        assert isinstance(usage, Usage)
        assert usage.tokens.output_tokens == 5


def test_temperature_zero_and_a_seed_give_the_same_answer_again(shared: LocalModel) -> None:
    cold = [text_of(list(shared.stream(request("Tell a story.", temperature=0, max_tokens=25)))) for _ in range(2)]
    assert cold[0] == cold[1]
    seeded = [
        text_of(list(shared.stream(request("Tell a story.", temperature=1.5, seed=seed, max_tokens=25))))
        for seed in (7, 7, 8)
    ]
    assert seeded[0] == seeded[1] != seeded[2]


def test_a_stop_word_ends_the_answer(shared: LocalModel) -> None:
    whole = text_of(list(shared.stream(request("Count from one to ten.", temperature=0, max_tokens=30))))
    word = whole.split()[2]
    cut = text_of(list(shared.stream(request("Count from one to ten.", temperature=0, max_tokens=30, stop=[word]))))
    assert cut == whole[: whole.index(word)]


def test_a_follow_up_reads_only_what_is_new(shared: LocalModel) -> None:
    list(shared.stream(request("My name is Ada. " * 10, max_tokens=3)))
    usage = list(shared.stream(request("My name is Ada. " * 10, max_tokens=3)))[-2]
    assert isinstance(usage, Usage)
    assert usage.tokens.cached_tokens > usage.tokens.input_tokens // 2


def test_neighbours_of_one_speaker_and_a_system_prompt_are_understood(shared: LocalModel) -> None:
    messages = (
        ChatMessage("user", "My name is Ada."),
        ChatMessage("user", "I live in Rome."),
        ChatMessage("assistant", "Hello Ada."),
        ChatMessage("user", "Where do I live?"),
    )
    joined = (ChatMessage("user", "My name is Ada.\n\nI live in Rome."), *messages[2:])
    options: dict[str, OptionValue] = {"temperature": 0, "max_tokens": 15}
    answers = [
        list(shared.stream(ChatRequest(SMOLLM2, shown, system="Be brief.", options=options)))
        for shown in (messages, joined)
    ]
    assert text_of(answers[0]) == text_of(answers[1]) != ""
    assert answers[0][-2] == answers[1][-2]


def test_characters_of_several_tokens_arrive_whole(shared: LocalModel) -> None:
    text = "héllo 🎉🎈 世界"
    forced: OptionValue = {"type": "json_schema", "json_schema": {"schema": {"const": text}}}
    events = list(shared.stream(request("Party!", max_tokens=60, temperature=0, response_format=forced)))
    usage = events[-2]
    assert isinstance(usage, Usage)
    assert usage.tokens.output_tokens > len([event for event in events if isinstance(event, TextDelta)]) + 1
    assert text_of(events) == f'"{text}"'


def test_an_unknown_option_is_told_and_does_no_harm(shared: LocalModel) -> None:
    events = list(shared.stream(request("hi", frobnicate=1, max_tokens=2)))
    assert isinstance(events[0], Notice)
    assert "frobnicate" in events[0].text
    assert isinstance(events[-1], Finished)


@pytest.mark.parametrize("options", [{"temperature": "hot"}, {"threads": 0}, {"context": "big"}, {"threads": True}])
def test_an_option_that_makes_no_sense_is_refused(shared: LocalModel, options: dict[str, OptionValue]) -> None:
    with pytest.raises(RequestRejected):
        list(shared.stream(ChatRequest(SMOLLM2, (ChatMessage("user", "hi"),), options=options)))
    assert list(shared.stream(request("hi", max_tokens=1)))


def test_a_prompt_beyond_the_window_is_told_with_numbers(shared: LocalModel) -> None:
    with pytest.raises(ContextTooLong, match=r"has 9\d\d\d tokens.*holds 8192"):
        list(shared.stream(request("hello " * 9000)))


def test_the_window_can_be_set(wire: LocalModel) -> None:
    with pytest.raises(ContextTooLong, match="holds 512"):
        list(wire.stream(request("hello " * 600, context=512)))


def test_a_model_stays_loaded_between_calls_and_after_a_stop(wire: LocalModel) -> None:
    stream = iter(wire.stream(request("Tell me a very long story.")))
    assert isinstance(next(stream), TextDelta)
    worker = wire._worker
    began = time.monotonic()
    stream.close()  # type: ignore[attr-defined]
    assert time.monotonic() - began < 0.5
    assert "Hello" in text_of(list(wire.stream(request("Say hello.", temperature=0, max_tokens=10))))
    assert wire._worker is worker


def test_a_stop_while_a_long_prompt_is_read_does_not_make_the_next_call_wait_for_it(wire: LocalModel) -> None:
    list(wire.stream(request("hi", max_tokens=1)))
    stop = threading.Timer(0.3, lambda: signal.raise_signal(signal.SIGUSR1))

    class Stop(Exception):
        pass

    def raise_stop(*_: object) -> None:
        raise Stop

    before = signal.signal(signal.SIGUSR1, raise_stop)
    try:
        stop.start()
        with pytest.raises(Stop):
            list(wire.stream(request("hello " * 4000)))
    finally:
        signal.signal(signal.SIGUSR1, before)
        stop.join()
    began = time.monotonic()
    assert list(wire.stream(request("hi", max_tokens=1)))
    assert time.monotonic() - began < 20


def test_another_file_replaces_the_loaded_one(wire: LocalModel, model_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.gguf"
    copy.symlink_to(model_dir / "SmolLM2-135M-Instruct.Q4_1.gguf")
    list(wire.stream(request("hi", max_tokens=1)))
    first = wire._worker
    assert first is not None
    model = local_model("copy", str(copy))
    assert list(wire.stream(request("hi", model=model, max_tokens=1)))[-1] == Finished("length", served_model="copy")
    assert wire._worker is not first
    assert first._process.returncode is not None


def test_warming_loads_the_model_and_failing_at_it_is_silent(wire: LocalModel, tmp_path: Path) -> None:
    wire.warm(SMOLLM2, Timeouts())
    worker = wire._worker
    assert worker is not None
    assert list(wire.stream(request("hi", max_tokens=1)))
    assert wire._worker is worker
    wire.warm(local_model("x", str(tmp_path / "missing.gguf")), Timeouts())


def test_a_process_that_dies_in_the_middle_keeps_what_came_and_says_so(wire: LocalModel) -> None:
    stream = wire.stream(request("Tell me a very long story."))
    assert isinstance(next(stream), TextDelta)
    assert wire._worker is not None
    wire._worker._process.kill()
    with pytest.raises(StreamBroken, match="signal 9"):
        list(stream)
    assert list(wire.stream(request("hi", max_tokens=1)))


def test_missing_and_damaged_files_are_told(tmp_path: Path) -> None:
    wire = LocalModel(tmp_path)
    with pytest.raises(LocalModelError) as caught:
        list(wire.stream(request("hi")))
    assert caught.value.hint == "Run: aichat models pull smollm2"
    for name, content, told in (
        ("missing.gguf", None, "cannot be read"),
        ("text.gguf", b"hello", "not a GGUF file"),
        ("cut.gguf", b"GGUF\x03\0\0\0" + bytes(100), "could not be loaded"),
    ):
        path = tmp_path / name
        if content:
            path.write_bytes(content)
        with pytest.raises(LocalModelError, match=told):
            list(wire.stream(request("hi", model=local_model(name, str(path)))))
    wire.close()


def test_a_model_cut_short_is_told(model_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    with (model_dir / "SmolLM2-135M-Instruct.Q4_1.gguf").open("rb") as whole:
        path.write_bytes(whole.read(20_000_000))
    with pytest.raises(LocalModelError, match="could not be loaded"):
        list(LocalModel(tmp_path).stream(request("hi", model=local_model("cut", str(path)))))


def test_without_xllamacpp_it_says_how_to_get_it(tmp_path: Path) -> None:
    code = "from pathlib import Path; from aichat_cli.core.messages import ChatMessage\n"
    code += (
        "from aichat_cli.providers.base import ChatRequest; from aichat_cli.providers.local_model import LocalModel\n"
    )
    code += "from aichat_cli.providers.shipped import local_model\n"
    code += "try: list(LocalModel(Path('.')).stream(ChatRequest(local_model('smollm2', 'smollm2'), ())))\n"
    code += "except Exception as exc: print(type(exc).__name__, exc.hint)"
    result = run_bare(code)
    assert result.stdout == "LocalModelError Run: pip install 'aichat-terminal[local]'\n", result.stderr


SCRIPT = """
import sys
from pathlib import Path
from aichat_cli.core import interrupts
from aichat_cli.core.messages import ChatMessage
from aichat_cli.providers.base import ChatRequest
from aichat_cli.providers.local_model import LocalModel
from aichat_cli.providers.shipped import local_model
interrupts.install()
wire = LocalModel(Path(sys.argv[1]), threads=1)
try:
    for event in wire.stream(ChatRequest(local_model("smollm2", "smollm2"), (ChatMessage("user", sys.argv[2]),))):
        print(wire._worker._process.pid, flush=True)
except interrupts.Interrupted as exc:
    sys.exit(exc.exit_code)
"""


@pytest.mark.parametrize("moment", ["loading", "reading", "answering"])
def test_ctrl_c_ends_the_program_at_once_and_silently(model_dir: Path, moment: str) -> None:
    prompt = "hello " * 4000 if moment == "reading" else "Tell me a long story."
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(model_dir), prompt],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    child = None
    if moment == "answering":
        child = int(process.stdout.readline())
    else:
        wait_for_child(process.pid)
        time.sleep(1.5 if moment == "reading" else 0.1)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert time.monotonic() - began < 3
    assert process.returncode == 130
    assert errors == b""
    if child is not None:
        assert ended_within(child, 5)


def wait_for_child(pid: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        result = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
        if result.stdout.strip():
            return
        time.sleep(0.02)
    pytest.fail("no child process was started")


def ended_within(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        status = Path(f"/proc/{pid}/stat")
        if status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


IDLE_SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from aichat_cli.core import interrupts
from aichat_cli.core.messages import ChatMessage
from aichat_cli.providers.base import ChatRequest
from aichat_cli.providers.local_model import LocalModel
from aichat_cli.providers.shipped import local_model
interrupts.install()
wire = LocalModel(Path(sys.argv[1]), threads=1)
model, messages = local_model("smollm2", "smollm2"), (ChatMessage("user", "Tell me a story."),)
try:
    for event in wire.stream(ChatRequest(model, messages)):
        os.killpg(0, signal.SIGINT)
except interrupts.Interrupted:
    before = wire._worker
for _ in range(2):
    list(wire.stream(ChatRequest(model, messages, options={"max_tokens": 2})))
    try:
        os.killpg(0, signal.SIGINT)
        time.sleep(1)
    except interrupts.Interrupted:
        time.sleep(0.2)
print(wire._worker._process.poll() is None, end=" ")
print(wire._worker is before, before._process.pid, flush=True)
time.sleep(60)
"""


def test_the_model_survives_ctrl_c_and_ends_when_its_parent_is_killed(model_dir: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", IDLE_SCRIPT, str(model_dir)], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    is_alive, is_same, child = process.stdout.readline().split()
    process.kill()
    process.communicate()
    assert is_alive == is_same == b"True"
    assert ended_within(int(child), 5)


def test_a_worker_that_cannot_be_started_or_spoken_to_is_told(tmp_path: Path) -> None:
    worker = WorkerProcess(Parameters(path=str(tmp_path / "none.gguf"), threads=1, context=512))
    with pytest.raises(WorkerDied):
        worker.wait_until_loaded()
    worker._process.wait()
    assert not worker.is_free()
    with pytest.raises(WorkerDied, match="exit code 1"):
        list(worker.chunks({}))
    worker.kill()


def test_loading_the_wire_imports_no_native_code() -> None:
    code = "import sys; from aichat_cli.providers.local_model import LocalModel; print('xllamacpp' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout == "False\n", result.stderr
