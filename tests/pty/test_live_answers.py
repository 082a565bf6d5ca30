from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aichat_cli.render.markdown import Theme, render
from tests.pty.terminal import Terminal, terminal
from tests.runner import PROGRAM, Cli
from tests.servers.scripted import ScriptedServer

CTRL_C, CTRL_Z = "\x03", "\x1a"
ANSWER = """\
# Retrying

The *first* answer says **429**, so `wait()`: it takes as long as the header says, and this line is wrapped at eighty columns.

1. Read the header
   - in seconds
   - or as a date
2. Wait

```python
def wait(seconds: float) -> None:
    \"\"\"A doc
    string.\"\"\"
    time.sleep(seconds)  # not too long
```

| status | meaning |
|-------:|:--------|
| 429 | too many requests |
| 503 | overloaded |

> Never twice. See [the docs](https://example.com/retry).

漢字 and $x_1^2$ cost $5.
"""
COLOR = re.compile(rb"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7]|38;5;\d+|38;2;\d+;\d+;\d+)m")


def assert_left_as_found(screen: Terminal) -> None:
    """The cursor is visible, no style is open, the shell's prompt will stand on its own line, and keys are shown again."""
    sent = screen.sent.decode()
    assert sent.rfind("\x1b[?25l") <= sent.rfind("\x1b[?25h")
    assert sent.count("\x1b[?2026h") == sent.count("\x1b[?2026l")
    styles = re.findall(r"\x1b\[([\d;]*)m", sent)
    assert not styles or styles[-1] == "0"
    assert sent.endswith("\n") or not sent
    assert screen.echoes


@pytest.mark.parametrize("columns", [40, 80, 100])
@pytest.mark.parametrize("split", [1, 7, 0])
def test_what_streamed_is_what_history_show_prints(cli: Cli, server: ScriptedServer, columns: int, split: int) -> None:
    server.script = {"text": ANSWER, "split": split}
    with terminal(cli, "hello", columns=columns) as screen:
        assert screen.wait_for_exit() == 0
        assert_left_as_found(screen)
        streamed = screen.text
    with terminal(cli, "history", "show", "hello", columns=columns) as screen:
        assert screen.wait_for_exit() == 0
        shown = screen.text
        sent = screen.sent.decode().replace("\r\n", "\n")

    assert shown.endswith("\n\n" + streamed)
    assert sent.endswith("\n\n" + "\n".join(render(ANSWER, columns, Theme())) + "\n")
    assert "429" in streamed


def test_a_pipe_still_gets_the_markdown_as_it_was_written(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": ANSWER}
    assert cli.run("hello").stdout.decode() == ANSWER
    assert ANSWER.rstrip() in cli.run("history", "show", "hello").stdout.decode()


@pytest.mark.parametrize("stall_after", [0, 1, 5, 20, 60])
def test_ctrl_c_keeps_what_is_there_and_leaves_the_terminal_sane(
    cli: Cli, server: ScriptedServer, stall_after: int
) -> None:
    server.script = {"text": ANSWER, "split": 7, "stall_after": stall_after}
    arrived = ANSWER[: 7 * stall_after]
    with terminal(cli, "hello") as screen:
        server.wait_for_requests(1)
        if stall_after:
            screen.wait_for(lambda text: arrived.split()[-1][:3].strip("*`#") in text)
        screen.settle(0.3)
        screen.type(CTRL_C)
        assert screen.wait_for_exit() == 130
        assert_left_as_found(screen)

    expected = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in render(arrived, 80, Theme())]
    assert screen.text.splitlines() == expected


def test_a_stalled_answer_is_seen_to_its_last_character(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"deltas": ["One **bo", "ld** wo", "rd and"], "stall_after": 2}
    with terminal(cli, "hello") as screen:
        screen.wait_for("One bold wo")
        server.release()
        assert screen.wait_for_exit() == 0

    assert screen.text == "One bold word and"


def test_ctrl_z_leaves_the_shell_a_fresh_line_and_fg_draws_what_was_open_again(
    cli: Cli, server: ScriptedServer
) -> None:
    server.script = {"deltas": ["Done.\n\nThe open ", "line ends."], "stall_after": 1}
    with terminal(cli, program=("bash", "--norc", "-i"), columns=100, PS1="shell> ") as screen:
        screen.type(f"stty echo; {shlex.join([*PROGRAM, 'hello'])}\r")
        screen.wait_for("The open")
        screen.type(CTRL_Z)
        stopped = screen.wait_for("Stopped")
        screen.type("fg\r")
        screen.wait_for(lambda text: text.endswith("The open"))
        server.release()
        shown = screen.wait_for("line ends.")

    assert "The open" not in stopped
    assert shown.count("Done.") == shown.count("The open line ends.") == shown.count("The open") == 1


def test_keys_typed_meanwhile_do_not_disturb_the_picture(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": ANSWER, "split": 9, "stall_after": 30}
    with terminal(cli, "hello") as screen:
        screen.wait_for("Read the header")
        screen.settle()
        screen.type("typed ahead\r\rmore")
        screen.settle()
        server.release()
        assert screen.wait_for_exit() == 0
        assert_left_as_found(screen)

    assert screen.text.splitlines() == [re.sub(r"\x1b\[[\d;]*m", "", line) for line in render(ANSWER, 80, Theme())]


def test_what_a_model_thinks_in_between_stands_above_what_is_open(cli: Cli, server: ScriptedServer) -> None:
    server.script = {
        "deltas": [{"reasoning": "first"}, "Hello **wor", {"reasoning": "second "}, {"reasoning": "thought"}, "ld**."]
    }
    with terminal(cli, "hello") as screen:
        assert screen.wait_for_exit() == 0
        assert_left_as_found(screen)

    assert screen.text.splitlines() == ["first", "second thought", "Hello world."]


def test_an_error_in_the_middle_follows_what_arrived(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"deltas": ["Half an **ans", {"error": {"message": "it broke"}}]}
    with terminal(cli, "hello") as screen:
        assert screen.wait_for_exit() == 6
        assert_left_as_found(screen)

    first, *rest = screen.text.splitlines()
    assert first == "Half an **ans"
    assert "it broke" in " ".join(rest)


def test_no_color_takes_the_colors_and_leaves_bold(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": ANSWER, "split": 5}
    with terminal(cli, "hello", NO_COLOR="1") as screen:
        assert screen.wait_for_exit() == 0

    assert COLOR.search(screen.sent) is None
    assert b"\x1b[1m429" in screen.sent


@pytest.mark.parametrize(
    ("arguments", "environ"), [([], {"TERM": "dumb"}), (["--no-md"], {}), ([], {"AICHAT_MARKDOWN": "false"})]
)
def test_where_nothing_is_rendered_the_text_comes_as_it_is_written(
    cli: Cli, server: ScriptedServer, arguments: list[str], environ: dict[str, str]
) -> None:
    server.script = {"text": ANSWER, "split": 5}
    cli.environ = environ
    with terminal(cli, *arguments, "hello") as screen:
        assert screen.wait_for_exit() == 0

    assert screen.sent.decode() == ANSWER.replace("\n", "\r\n")


def test_links_are_hyperlinks_where_the_terminal_has_them(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": "[a](https://example.com/ä) [b](javascript:alert) [c](https://x/\x1b]0;t\x07y)"}
    with terminal(cli, "hello", FORCE_HYPERLINK="1") as screen:
        assert screen.wait_for_exit() == 0

    assert re.findall(r"\x1b\]8;;([^\x1b]*)\x1b\\", screen.sent.decode()) == [
        "https://example.com/%C3%A4",
        "",
        "https://x/y",
        "",
    ]
    assert "b (javascript:alert)" in screen.text or "[b](javascript:alert)" in screen.text


def test_a_terminal_that_is_not_utf_8_gets_an_answer_all_the_same(cli: Cli, server: ScriptedServer) -> None:
    server.script = {"text": ANSWER}
    with terminal(cli, "hello", LC_ALL="C", LANG="C", PYTHONIOENCODING="ascii", PYTHONUTF8="0") as screen:
        assert screen.wait_for_exit() == 0

    assert "Retrying" in screen.text


def test_a_theme_that_does_not_exist_is_said_before_anything_is_asked(cli: Cli, server: ScriptedServer) -> None:
    with terminal(cli, "hello", AICHAT_CODE_THEME="nonsense") as screen:
        assert screen.wait_for_exit() == 1

    assert 'code_theme is "nonsense"' in screen.text
    assert server.requests == []


def test_a_resize_in_mid_stream_leaves_no_line_twice(cli: Cli, server: ScriptedServer) -> None:
    words = " ".join(f"word{number}" for number in range(60))
    server.script = {"text": words, "split": 10, "stall_after": 25}
    with terminal(cli, "hello", columns=100, TERM="linux") as screen:
        screen.wait_for("word30")
        screen.settle()
        screen.resize(60, 24)
        server.release()
        assert screen.wait_for_exit() == 0

    assert screen.text.split() == words.split()


class TestPager:
    """`--pager`."""

    def test_the_answer_goes_through_it_rendered(self, cli: Cli, server: ScriptedServer) -> None:
        server.script = {"text": ANSWER, "split": 9}
        with terminal(cli, "--pager", "hello", PAGER="sed s/^/|/") as screen:
            assert screen.wait_for_exit() == 0

        assert screen.text.splitlines()[:2] == ["|Retrying", "|"]
        assert "|2. Wait" in screen.text

    def test_leaving_it_early_ends_the_turn_which_is_kept(self, cli: Cli, server: ScriptedServer) -> None:
        server.script = {"deltas": [f"line {number}\n\n" for number in range(500)], "delay": 0.01}
        with terminal(cli, "--pager", "hello", PAGER="sed 3q") as screen:
            assert screen.wait_for_exit() == 0

        assert screen.text.splitlines() == ["line 0", "", "line 1"]
        assert [row[0] for row in cli.rows("SELECT status FROM messages WHERE role = 'assistant'")] == ["stopped"]

    def test_a_pager_that_reads_nothing_does_not_keep_the_answer_from_arriving(
        self, cli: Cli, server: ScriptedServer
    ) -> None:
        server.script = {"text": "a line of the answer\n\n" * 20_000, "split": 2_000}
        with terminal(cli, "--pager", "hello", PAGER=f"{sys.executable} -c 'input()'", AICHAT_PAGER="true") as screen:
            request = server.wait_for_requests(1)[0]
            assert request.answered.wait(20)
            screen.wait_for_exit()

    @pytest.mark.skipif(shutil.which("less") is None, reason="less is not installed")
    def test_less_shows_the_first_screenful_while_the_rest_is_still_to_come(
        self, cli: Cli, server: ScriptedServer
    ) -> None:
        lines = [f"line {number}\n\n" for number in range(60)]
        server.script = {"deltas": lines, "stall_after": 40}
        with terminal(cli, "--pager", "hello", rows=10) as screen:
            screen.wait_for("line 3")
            server.release()
            assert server.wait_for_requests(1)[0].answered.wait(10)
            screen.type("G")
            screen.wait_for("line 59")
            screen.type("q")
            assert screen.wait_for_exit() == 0

        assert cli.rows("SELECT status FROM messages WHERE role = 'assistant'") == [("complete",)]

    @pytest.mark.skipif(shutil.which("less") is None, reason="less is not installed")
    def test_ctrl_c_stops_the_answer_and_not_the_pager(self, cli: Cli, server: ScriptedServer) -> None:
        server.script = {"deltas": [f"line {number}\n\n" for number in range(60)], "stall_after": 40}
        with terminal(cli, "--pager", "hello", rows=10) as screen:
            screen.wait_for("line 3")
            screen.type(CTRL_C)
            screen.settle(0.5)
            assert screen.process.poll() is None
            while screen.process.poll() is None:
                screen.type("q")  # less may take one for the end of its waiting
                screen.settle()
            assert screen.wait_for_exit() == 130

        assert cli.rows("SELECT status FROM messages WHERE role = 'assistant'") == [("stopped",)]

    def test_a_missing_pager_is_said_and_the_answer_shown(self, cli: Cli, server: ScriptedServer) -> None:
        server.script = {"text": "**fine**"}
        with terminal(cli, "--pager", "hello", PAGER="no-such-pager") as screen:
            assert screen.wait_for_exit() == 0

        assert 'The pager "no-such-pager" is not installed.' in screen.text
        assert screen.text.splitlines()[-1] == "fine"

    def test_it_is_never_used_in_a_pipe(self, cli: Cli, server: ScriptedServer) -> None:
        assert cli.run("--pager", "hello", environ={"PAGER": "false"}).stdout == b"You said: hello"


@pytest.fixture
def tmux(cli: Cli, tmp_path: Path) -> Iterator[list[str]]:
    """The command of a tmux of its own, with a window of 100 by 24 that runs nothing yet."""
    command = ["tmux", "-S", str(tmp_path / "tmux.sock"), "-f", "/dev/null"]
    subprocess.run(
        [*command, "new-session", "-d", "-x", "100", "-y", "24", "sh"],
        env={**cli.environment, "PS1": "$ "},
        check=True,
        timeout=20,
    )
    yield command
    subprocess.run([*command, "kill-server"], check=False, timeout=20)


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_a_terminal_that_wraps_lines_anew_shows_no_line_twice(
    cli: Cli, server: ScriptedServer, tmux: list[str]
) -> None:
    words = " ".join(f"word{number}" for number in range(60))
    server.script = {"text": words, "split": 10, "stall_after": 25}

    def shown() -> str:
        captured = subprocess.run(
            [*tmux, "capture-pane", "-p", "-S", "-"], capture_output=True, text=True, check=True, timeout=20
        )
        return captured.stdout.partition("BEGIN\n")[2]

    def wait_for(expected: str) -> None:
        end = time.monotonic() + 20
        while expected not in shown():
            assert time.monotonic() < end, shown()
            time.sleep(0.05)

    typed = f"seq 40; echo BEGIN; {' '.join(PROGRAM)} hello; echo END"
    subprocess.run([*tmux, "send-keys", typed, "Enter"], check=True, timeout=20)
    wait_for("word30")
    subprocess.run([*tmux, "resize-window", "-x", "50", "-y", "24"], check=True, timeout=20)
    time.sleep(0.5)
    server.release()
    wait_for("END")

    assert shown().partition("END")[0].split() == words.split()
