"""The picture of the README: what the program really writes to a terminal, with a scripted model behind it."""

from __future__ import annotations

import io
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyte
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.servers.scripted import ScriptedServer  # noqa: E402 (found only after the line above)

WIDTH, HEIGHT = 92, 28
CELL_WIDTH, CELL_HEIGHT, MARGIN = 12, 24.4, 18
WAIT_SECONDS = 30

ANSWERS = (
    (
        """The log shows **one failure**: a `429` is not retried.

1. `test_timeout_is_retried` passes, since the loop catches `Timeout`.
2. `test_429_is_retried` fails: `send()` raises `RateLimited` at once.

Catch both, and wait as long as the server says:

```python
except (Timeout, RateLimited) as error:
    sleep(getattr(error, "retry_after", None) or 2**attempt)
```

| status | retried today | should be |
| --- | --- | --- |
| timeout | yes | yes |
| 429 | *no* | yes, after `Retry-After` |
| 401 | no | no |
""",
        {"input": 1204, "cached": 1024, "output": 141},
    ),
    (
        "Oui : `send()` abandonne dès le premier **429** au lieu d'attendre, puis de réessayer.\n",
        {"input": 1362, "output": 24},
    ),
)

LOG = (
    "tests/test_send.py::test_timeout_is_retried PASSED\n",
    "tests/test_send.py::test_429_is_retried FAILED\n",
    "tests/test_send.py::test_401_is_not_retried PASSED\n",
    "tests/test_send.py:41: in test_429_is_retried: client.send(b'hello')\n",
    "client/send.py:88: in send: raise RateLimited(response.headers['retry-after'])\n",
    "E   client.errors.RateLimited: 2\n",
)

QUESTIONS = {
    "what fails in @test.log, and what should I do?": "401 ",
    "in French, in one sentence?": "puis de réessayer.",
}
"""Each with what stands near the end of its answer."""

CANVAS = f'width="{WIDTH * CELL_WIDTH + 2 * MARGIN}" height="{HEIGHT * CELL_HEIGHT + 2 * MARGIN:.0f}"'

FRAME = (
    f"""<svg {CANVAS} xmlns="http://www.w3.org/2000/svg">
<rect fill="#0d1117" {CANVAS} rx="8"/>
"""
    """<style>
.{unique_id}-matrix {{ font-family: Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: {char_height}px;
  line-height: {line_height}px; }}
{styles}
</style>
<defs>
{lines}
</defs>
<g transform="translate(18, 18)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
)


class _Screen(pyte.Screen):
    """A terminal that answers what programs ask of it."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(WIDTH, HEIGHT)
        self._descriptor = descriptor

    def write_process_input(self, data: str) -> None:
        os.write(self._descriptor, data.encode())

    def select_graphic_rendition(self, *attributes: int, **private: bool) -> None:
        """Dim text, which pyte does not know, as grey."""
        super().select_graphic_rendition(*(90 if each == 2 else each for each in attributes), **private)


def svg() -> str:
    """Run the session in a pseudo-terminal and draw what stands on the screen."""
    replies = [{"text": text, "split": 4, "usage": usage} for text, usage in ANSWERS]
    with tempfile.TemporaryDirectory() as home, ScriptedServer(replies) as server:
        (Path(home) / "test.log").write_text("".join(LOG))
        _skip_welcome(Path(home))
        screen = _session(Path(home), server.openai_url)
    console = Console(record=True, width=WIDTH, file=io.StringIO(), color_system="truecolor")
    console.print(_text(screen), no_wrap=True, end="")
    return console.export_svg(theme=DIMMED_MONOKAI, code_format=FRAME, unique_id="aichat", font_aspect_ratio=0.6)


def _session(home: Path, base_url: str) -> _Screen:
    shell = shutil.which("bash") or "/bin/sh"
    controller, terminal = pty.openpty()
    screen = _Screen(controller)
    stream = pyte.ByteStream(screen)
    environment = {
        "HOME": str(home),
        "PATH": os.pathsep.join([str(_with_command(home)), "/usr/bin", "/bin"]),
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm-256color",
        "LANG": "en_US.UTF-8",
        "PYTHONUTF8": "1",
        "COLUMNS": str(WIDTH),
        "LINES": str(HEIGHT),
        "PS1": "$ ",
        "BASH_SILENCE_DEPRECATION_WARNING": "1",
        "OPENAI_API_KEY": "not-a-key",
        "OPENAI_BASE_URL": base_url,
        "NO_PROXY": "127.0.0.1",
    }
    process = subprocess.Popen(
        [shell, "--norc", "--noprofile", "-i"],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=environment,
        cwd=home,
        start_new_session=True,
        preexec_fn=lambda: _take_terminal(terminal),  # noqa: PLW1509 (no threads touch this process)
    )
    os.close(terminal)
    try:
        _until(controller, stream, lambda: _line(screen) == "$")
        os.write(controller, b"aichat\r")
        seen = ""
        for question, answer in QUESTIONS.items():
            _until(controller, stream, lambda seen=seen: _waits(screen, seen))
            os.write(controller, question.encode() + b"\r")
            seen = answer
        _until(controller, stream, lambda: _waits(screen, seen))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(controller)
    return screen


def _skip_welcome(home: Path) -> None:
    """The picture shows any session, not the first."""
    for folder in (home / ".local/state/aichat", home / "Library/Application Support/aichat"):
        folder.mkdir(parents=True)
        (folder / "welcomed").touch()


def _with_command(home: Path) -> Path:
    """A folder that holds the command, also where the package is not installed."""
    command = home / "bin" / "aichat"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m aichat_cli "$@"\n', "utf-8")
    command.chmod(0o755)
    return command.parent


def _take_terminal(terminal: int) -> None:
    import fcntl
    import struct
    import termios

    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


def _waits(screen: Any, seen: str) -> bool:
    """Whether a text is on the screen, the prompt is empty after an empty line, and nothing is being answered."""
    if not any(seen in line for line in screen.display):
        return False
    above = str(screen.display[max(screen.cursor.y - 1, 0)])
    status = str(screen.display[min(screen.cursor.y + 1, HEIGHT - 1)])
    return _line(screen) == ">" and not above.strip() and "gpt-4o-mini |" in status and "Ctrl+C stops" not in status


def _line(screen: Any) -> str:
    return str(screen.display[screen.cursor.y]).strip()


def _until(controller: int, stream: Any, is_reached: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not is_reached():
        if time.monotonic() > end:
            raise SystemExit("The session of the picture hangs:\n" + "\n".join(stream.listener.display))
        if select.select([controller], [], [], 0.1)[0]:
            stream.feed(os.read(controller, 65536))


def _text(screen: Any) -> Text:
    drawn = Text()
    for row in range(HEIGHT):
        for column in range(WIDTH):
            cell = screen.buffer[row][column]
            style = Style(
                color=_color(cell.fg),
                bold=cell.bold or None,
                italic=cell.italics or None,
                underline=cell.underscore or None,
                reverse=cell.reverse or None,
            )
            drawn.append(cell.data, style)
        drawn.append("\n")
    return drawn


def _color(name: str) -> str | None:
    if name == "default":
        return None
    if len(name) == 6 and all(digit in "0123456789abcdef" for digit in name):
        return f"#{name}"
    return {"brown": "yellow", "brightbrown": "bright_yellow"}.get(name, name.replace("bright", "bright_"))
