"""What puts something beside the next message: `/file`, and `!command`."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from aichat_cli.core.errors import AichatError, UsageError
from aichat_cli.core.interrupts import Interrupted
from aichat_cli.render.sanitize import safe_line
from aichat_cli.repl.carried import Carried, telling_readers

if TYPE_CHECKING:
    from aichat_cli.repl.session import Session

MOST_OUTPUT_BYTES = 4_000_000
"""What is kept of a command's output while it runs; what a model is shown of it is less."""

INTERRUPTED = 130


def file(session: Session, argument: str) -> None:
    """Put a file, a folder or a page beside the next message; - drops all that waits there."""
    from aichat_cli.chat.inclusion_sizes import notes, require_room, size_note
    from aichat_cli.chat.inclusions import included
    from aichat_cli.chat.mentions import path_argument

    if not argument:
        raise UsageError(
            "/file needs a path or a URL.", hint="As in: /file notes.txt; /file - drops what waits to be sent"
        )
    if argument == "-":
        dropped = len(session.carried)
        session.carried.clear()
        session.diagnostics.notice(f"Dropped {dropped}." if dropped else "Nothing waits to be sent.")
        return
    model = session.template.model
    found = included(path_argument(argument), telling_readers(session), pdf_as_text=model.reads("pdf") is False)
    require_room([found], [model, *session.template.fallbacks], in_session=True)
    session.carried.append(Carried(safe_line(found.name), found.block, found.attachment))
    session.diagnostics.notice(f"{size_note(found, model)}. It goes with the next message.")
    for note in notes(found):
        session.diagnostics.notice(note)


def is_shell_command(text: str) -> bool:
    """Whether a typed line is a command for the shell: an exclamation mark and a word."""
    return text.startswith("!") and len(text) > 1 and not text[1].isspace() and "\n" not in text


def run_shell_command(session: Session, line: str) -> None:
    """Run a command in the user's shell, show what it prints, and put that beside the next message."""
    from aichat_cli.chat.blocks import command_output_block

    command = line.removeprefix("!").strip()
    with session.terminal.suspended(for_program=True):
        output, code = _run(command)
        if output and not output.endswith(b"\n"):
            _show(b"\n")
    text = output.decode("utf-8", "replace")
    ended = f"Ended with code {code}. " if code else ""
    if not text.strip():
        session.diagnostics.notice(f"{ended}It printed nothing.")
        return
    session.carried.append(Carried(f"output of {safe_line(command)}", command_output_block(command, text, code)))
    session.diagnostics.notice(f"{ended}The output goes with the next message; /file - drops it.")


def _run(command: str) -> tuple[bytes, int]:
    """What a command printed, the middle left out where that is too much, and its code."""
    shell = os.environ.get("SHELL") or "/bin/sh"
    try:
        process = subprocess.Popen([shell, "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError as exc:
        raise AichatError(f"Cannot run {shell}: {exc.strerror}.", hint="Set SHELL") from exc
    kept = bytearray()
    assert process.stdout is not None
    with process, process.stdout as pipe:
        try:
            while data := pipe.read1(65536):  # type: ignore[attr-defined]
                kept += data
                _show(data)
                if len(kept) > MOST_OUTPUT_BYTES:
                    del kept[MOST_OUTPUT_BYTES // 2 : -MOST_OUTPUT_BYTES // 4]
            return bytes(kept), process.wait()
        except Interrupted as interruption:
            # The terminal has sent Ctrl+C to the command as well; what does not end by it is ended.
            process.terminate()
            if interruption.exit_code != INTERRUPTED:
                raise
            _show(b"\n")  # after the ^C that the terminal has shown
            return bytes(kept), INTERRUPTED


def _show(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
