"""A long Markdown answer streamed to a terminal: CPU of the whole process, and the bytes the terminal gets."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import Contender
from tests.servers.scripted import ScriptedServer

COLUMNS, ROWS = 100, 40
DELTA = 4
LIMIT_SECONDS = 300

_SECTION = """\
## Part {number}: what was asked, and what follows from it

The answer to this is **not as simple** as it looks at first, because the `retry` loop of the client and the *backoff* of the
server work against each other: see [the documentation](https://example.com/docs/retry#part-{number}) for what it promises,
and mind that $t_n = 2^n \\cdot t_0$ grows faster than most people's patience. It costs about $5 to find out.

1. Take the first response that says 429, and read its `Retry-After` header.
2. Wait for so long, **plus** a random part of it.
   - Half of it is a good choice.
   - None of it makes all clients come back together.
3. Give up after {number} attempts, and say so.

```python
def delays(first: float, attempts: int = {number}) -> Iterator[float]:
    \"\"\"Seconds to wait before each attempt, growing, and never the same for two clients.\"\"\"
    for attempt in range(attempts):
        yield first * 2**attempt * (1 + random.random() / 2)  # up to half more
```

| status | meaning | what to do |
| ---: | --- | --- |
| 408 | the request took too long | send it again at once |
| 429 | too many requests | wait as long as the header says, and a little longer |
| 503 | overloaded | wait, longer each time, and tell the user after the third attempt |

> Never retry a request that is not idempotent, unless nothing of it was sent.

"""


def typical(size: int) -> str:
    """So many bytes of what models write: headings, prose, lists, code, tables."""
    text, number = "", 0
    while len(text.encode()) < size:
        number += 1
        text += _SECTION.format(number=number)
    return text.encode()[:size].decode()


def one_list(size: int) -> str:
    """One list of so many bytes."""
    items = (f"- item {number} with **some** text and `code` in it\n" for number in range(size // 40))
    return "".join(items)[:size]


def one_code_block(size: int) -> str:
    """One code block of so many bytes."""
    lines = (
        f'    total_{number} = compute({number}, name="number {number}")  # note {number}\n'
        for number in range(size // 50)
    )
    return "```python\n" + "".join(lines)[:size] + "\n```\n"


def one_table(size: int) -> str:
    """One table of so many bytes."""
    rows = (
        f"| {number} | name of row {number} | {number * 7919 % 10007} | a remark on it |\n"
        for number in range(size // 35)
    )
    return "| no | name | value | remark |\n|---:|---|---:|---|\n" + "".join(rows)[:size]


def one_paragraph(size: int) -> str:
    """One paragraph of so many bytes, without a newline."""
    return ("word after **word** after `word` after another, and no end of it is in sight; " * (size // 80 + 1))[:size]


@dataclass(frozen=True, slots=True)
class Streamed:
    """One answer on a terminal: seconds of CPU, seconds in all, bytes the terminal got."""

    cpu: float
    wall: float
    sent: int


def streamed(contender: Contender, server: ScriptedServer, text: str) -> Streamed:
    """Let a program show an answer on a terminal of 100 columns and 40 rows."""
    server.script = {"text": text, "split": DELTA}
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    started = time.monotonic()
    process = subprocess.Popen(
        contender.one_shot("go"),
        env=dict(contender.environment),
        cwd=contender.environment["HOME"],
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    sent = 0
    while time.monotonic() - started < LIMIT_SECONDS:
        if not select.select([controller], [], [], 1)[0]:
            continue
        try:
            data = os.read(controller, 65536)
        except OSError:
            break
        sent += len(data)
    os.close(controller)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{contender.name} ended with {process.returncode}")
    return Streamed(used.ru_utime + used.ru_stime, time.monotonic() - started, sent)


def main() -> None:
    """Print how each shape of answer does, for this program alone."""
    import tempfile

    from benchmarks import contenders

    shapes = {
        "typical": typical,
        "list": one_list,
        "code": one_code_block,
        "table": one_table,
        "paragraph": one_paragraph,
    }
    with tempfile.TemporaryDirectory() as folder, ScriptedServer() as server:
        ours = contenders.aichat(Path(folder), server.openai_url)
        for name, shape in shapes.items():
            for size in (32_000, 64_000):
                text = shape(size)
                taken = min((streamed(ours, server, text) for _ in range(3)), key=lambda one: one.cpu)
                print(
                    f"{name:>10} {size:>6}: {taken.cpu:.2f} s CPU, {taken.wall:.2f} s, {taken.sent / len(text.encode()):.2f} x bytes"
                )


if __name__ == "__main__":
    main()
