"""Many processes of the program that begin in the same moment: one that has loaded it forks them.

`python -m tests.cli.crowd COUNT FOLDER ARGUMENT...` runs the program COUNT times with these arguments, and writes the exit
code, stdout and stderr of each to FOLDER.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Fork, let all begin at once, and wait for them."""
    count, folder, arguments = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    from aichat_cli.__main__ import main as program
    from aichat_cli.cli import chat  # noqa: F401 (loading it is the point)

    gate, opener = os.pipe()
    children = [_child(number, folder, arguments, gate, opener, program) for number in range(count)]
    os.close(opener)
    for number, pid in enumerate(children):
        _, status = os.waitpid(pid, 0)
        (folder / f"{number}.code").write_text(str(os.waitstatus_to_exitcode(status)))


def _child(number: int, folder: Path, arguments: list[str], gate: int, opener: int, program: object) -> int:
    pid = os.fork()
    if pid:
        return pid
    os.close(opener)
    for descriptor, name in ((1, "out"), (2, "err")):
        file = os.open(folder / f"{number}.{name}", os.O_CREAT | os.O_WRONLY, 0o600)
        os.dup2(file, descriptor)
    os.read(gate, 1)  # until the parent closes the other end
    sys.argv = ["aichat", *arguments]
    code = 1
    try:
        assert callable(program)
        program()
        code = 0
    except SystemExit as exc:
        code = int(exc.code or 0)
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
