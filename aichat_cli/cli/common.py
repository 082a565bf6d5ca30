"""What every command needs: the house opened and closed around it, and errors that never show a key."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from aichat_cli.app import App
from aichat_cli.core.errors import AichatError, UsageError
from aichat_cli.core.interrupts import Interrupted
from aichat_cli.core.money import nano_from_usd
from aichat_cli.render.diagnostics import Diagnostics, one_line

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON; errors too, on stderr.")]
DebugFlag = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, help="Show at most so many.")]
AllFlag = Annotated[bool, typer.Option("--all", help="Show all of them.")]


def _finite(amount: float | None) -> float | None:
    if amount is not None and not 0 <= amount <= 1_000_000:
        raise typer.BadParameter("an amount of dollars, 0 or more")
    return amount


MaxCostOption = Annotated[
    float | None,
    typer.Option("--max-cost", callback=_finite, help="Most dollars that this may cost in all.", metavar="USD"),
]

LISTING_LIMIT = 50
LONGEST_ADDRESS = 65_536
_DESCRIPTOR = re.compile(r"fd:(\d{1,6})")


@contextmanager
def opened(
    *, as_json: bool = False, debug: bool = False, key: str | None = None, max_cost: float | None = None
) -> Iterator[tuple[App, Diagnostics]]:
    """The house for one command. An error is told, without any key, and becomes the exit code."""
    os.environ.pop("AICHAT_KEY", None)
    app = App(key=key, max_cost_nano=None if max_cost is None else nano_from_usd(max_cost))
    diagnostics = Diagnostics(as_json=as_json, debug=debug, redact=lambda text: app.keys.redact(text))  # noqa: PLW0108 (opened on first use)
    try:
        yield app, diagnostics
    except AichatError as error:
        diagnostics.error(error)
        raise typer.Exit(error.exit_code) from None
    except Interrupted as interruption:
        # Typer would make 130 of every signal.
        raise typer.Exit(interruption.exit_code) from None
    finally:
        app.close()
        for problem in app.integration_problems:
            diagnostics.warning(one_line(problem))


def single_command() -> typer.Typer:
    """A Typer app for one command without a group, in the style of the others."""
    return typer.Typer(
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def command_group(help_text: str) -> typer.Typer:
    """A Typer app for one command group, in the style of the others."""
    return typer.Typer(
        help=help_text,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def confirmed_on_terminal(question: str) -> bool:
    """Ask whoever sits at the terminal, also where stdin is a pipe; nobody there is no consent."""
    if sys.stdin.isatty():
        return confirmed(question, yes=False)
    if not sys.stderr.isatty():
        return False
    try:
        with open("/dev/tty", encoding="utf-8", errors="replace") as terminal:
            typer.echo(f"{question} [y/N]: ", nl=False, err=True)
            return terminal.readline().strip().lower() in {"y", "yes"}
    except OSError:
        return False


def confirmed(question: str, *, yes: bool) -> bool:
    """Ask before something is lost; without a terminal only `--yes` counts as consent."""
    if yes:
        return True
    if not sys.stdin.isatty():
        return False
    return typer.confirm(question, err=True)


def handed_on(argument: str) -> str:
    """An argument as it was typed, also where `aichat_cli.__main__` has put it into a pipe.

    Raises:
        UsageError: there is no such pipe.
    """
    passed = _DESCRIPTOR.fullmatch(argument)
    if passed is None:
        return argument
    try:
        with open(int(passed[1]), encoding="utf-8", errors="replace") as pipe:
            return pipe.read(LONGEST_ADDRESS)
    except OSError:
        raise UsageError(f"Nothing can be read from {argument}.") from None
