from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time
from typing import Any

import pytest

from aichat_cli.core import interrupts
from aichat_cli.core.interrupts import Interrupted, shielded
from aichat_cli.core.secret import Secret


@pytest.fixture(autouse=True)
def handlers() -> object:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    previous = [signal.getsignal(number) for number in numbers]
    interrupts.install()
    yield
    for number, handler in zip(numbers, previous, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_is_an_exception_that_knows_its_exit_code(number: signal.Signals, code: int) -> None:
    with pytest.raises(Interrupted) as caught:
        signal.raise_signal(number)
    assert caught.value.exit_code == code


def test_a_shielded_block_is_finished_before_the_signal_strikes() -> None:
    done = []
    with pytest.raises(Interrupted), shielded():
        signal.raise_signal(signal.SIGINT)
        done.append("inner")
    assert done == ["inner"]


def test_of_nested_shields_only_the_outermost_lets_it_through() -> None:
    done = []
    with pytest.raises(Interrupted) as caught, shielded():
        with shielded():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
        done.append("between")
    assert done == ["between"]
    assert caught.value.exit_code == 143


def test_a_delivered_signal_is_not_delivered_again() -> None:
    with pytest.raises(Interrupted), shielded():
        signal.raise_signal(signal.SIGINT)
    with shielded():
        pass


def test_a_shield_in_another_thread_changes_nothing_for_the_main_one() -> None:
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with shielded():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(10)
    try:
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)
    finally:
        leave.set()
        thread.join()


def test_a_signal_that_was_ignored_stays_ignored_as_under_nohup() -> None:
    code = """
        import os, signal
        from aichat_cli.core import interrupts
        interrupts.install()
        os.kill(os.getpid(), signal.SIGHUP)
        print("alive")
    """
    done = subprocess.run(
        ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "alive\n"


def test_a_secret_does_not_show_itself() -> None:
    secret = Secret("sk-hidden", "$OPENAI_API_KEY")

    assert "sk-hidden" not in f"{secret} {secret!r}"
    assert secret.reveal() == "sk-hidden"


@pytest.mark.parametrize(
    ("file", "outer", "is_nested"),
    [
        ("<frozen importlib._bootstrap>", "cb", False),
        ("<frozen importlib._bootstrap>", "cb", True),
        ("<frozen importlib._bootstrap>", "_get_module_lock", False),
        ("<frozen importlib._bootstrap>", "_get_module_lock", True),
        ("threading.py", "__enter__", False),
    ],
)
def test_a_signal_that_strikes_where_a_lock_is_taken_or_python_swallows_it_comes_again(
    file: str, outer: str, *, is_nested: bool
) -> None:
    """Also where the handler of one signal is struck by the next."""
    names: dict[str, Any] = {"deliver": interrupts.deliver, "signal": signal, "sys": sys}
    exec("def handler():\n    deliver(signal.SIGINT, sys._getframe())\n", names)
    body = "handler()" if is_nested else "deliver(signal.SIGINT, sys._getframe())"
    exec(compile(f"def {outer}():\n    {body}\n", file, "exec"), names)
    before = signal.signal(signal.SIGINT, interrupts.deliver)
    try:
        names[outer]()
        with pytest.raises(interrupts.Interrupted):
            time.sleep(5)
    finally:
        signal.signal(signal.SIGINT, before)
