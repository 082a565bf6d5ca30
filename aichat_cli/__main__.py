"""The `aichat` command: the quickest way from a shell to the command that was typed."""

from __future__ import annotations

import contextlib
import os
import sys

KEY_VARIABLE = "AICHAT_KEY"
LONGEST_ADDRESS = 8192
"""Bytes; a pipe takes them at once."""
OPERATORS_COMMANDS = ("serve", "users", "api-keys")
"""What takes the address of a database as --database."""


def main() -> None:
    """Run the command line and exit with its code."""
    _open_missing_streams()
    # Bytes that are not UTF-8 arrive as lone surrogates, which no provider, database or file takes.
    arguments = [argument.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for argument in sys.argv[1:]]
    if arguments in (["--version"], ["-V"]):
        # Importing the command tree would cost five times the interpreter's own start.
        from aichat_cli import __version__

        with contextlib.suppress(OSError):
            os.write(1, f"aichat {__version__}\n".encode())
        return
    _take_address_out_of_process_list(arguments)
    try:
        from aichat_cli.core import interrupts

        interrupts.install()
        _take_key_out_of_process_list(arguments)
        from aichat_cli.cli.main import run

        code = run(arguments)
    except KeyboardInterrupt as exc:
        code = getattr(exc, "exit_code", 130)
    sys.exit(code)


def _open_missing_streams() -> None:
    """Give a process that was started with stdin, stdout or stderr closed an empty one.

    Else the next file to be opened, the database, would get its number, and the answer would be written into it.
    """
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, open(number, mode, encoding="utf-8"))  # noqa: SIM115 (open as long as the process)


def _take_key_out_of_process_list(arguments: list[str]) -> None:
    """Start over with the key of `--key` in the environment: arguments are readable by every user of the machine."""
    for position, argument in enumerate(arguments):
        if argument == "--":
            return
        if argument == "--key" and position + 1 < len(arguments):
            key, rest = arguments[position + 1], arguments[position + 2 :]
        elif argument.startswith("--key="):
            key, rest = argument.removeprefix("--key="), arguments[position + 1 :]
        else:
            continue
        environment = {**os.environ, KEY_VARIABLE: key}
        os.execve(sys.executable, [sys.executable, "-P", "-m", "aichat_cli", *arguments[:position], *rest], environment)


def _take_address_out_of_process_list(arguments: list[str]) -> None:
    """Start over with the address of a database in a pipe, named `fd:N`: it may hold a password, which neither arguments nor
    the environment keep from others.
    """
    if arguments[:1] == ["sync"]:
        hidden = [_in_pipe(argument) if _may_be_address(argument) else argument for argument in arguments]
    elif arguments[:1] and arguments[0] in OPERATORS_COMMANDS:
        hidden = [_with_hidden_address(argument) for argument in arguments]
    else:
        return
    if hidden != arguments:
        os.execv(sys.executable, [sys.executable, "-P", "-m", "aichat_cli", *hidden])


def _may_be_address(argument: str) -> bool:
    """Whether an argument is the address of a database: a URL, or `host=... password=...`. Such a word is nothing else here."""
    return "://" in argument or ("=" in argument and not argument.startswith("-"))


def _with_hidden_address(argument: str) -> str:
    """An argument, of which an address is put into a pipe: the word, or what stands behind `--database=`."""
    option, is_option, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    return f"{option}{is_option}{_in_pipe(value)}" if "postgres://" in value or "postgresql://" in value else argument


def _in_pipe(text: str) -> str:
    """The name of a pipe that holds a text and is passed on to the next program."""
    data = text.encode()[:LONGEST_ADDRESS]
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    os.set_inheritable(reader, True)
    return f"fd:{reader}"


if __name__ == "__main__":
    main()
