"""The command tree, loaded as far as it is used, and the one place where an error becomes an exit code."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from aichat_cli import __version__
from aichat_cli.core.errors import AichatError, UsageError
from aichat_cli.core.exits import EXIT_ERROR, EXIT_OK, EXIT_USAGE
from aichat_cli.render.answer import ClosedPipe, abandon_stdout, print_text
from aichat_cli.render.diagnostics import Diagnostics

COMMANDS = {
    "chat": "aichat_cli.cli.chat",
    "ingest": "aichat_cli.cli.ingest",
    "search": "aichat_cli.cli.search",
    "docs": "aichat_cli.cli.docs",
    "history": "aichat_cli.cli.history",
    "usage": "aichat_cli.cli.usage",
    "credits": "aichat_cli.cli.credits",
    "models": "aichat_cli.cli.models",
    "keys": "aichat_cli.cli.keys",
    "sync": "aichat_cli.cli.sync",
    "serve": "aichat_cli.cli.serve",
    "users": "aichat_cli.cli.users",
    "api-keys": "aichat_cli.cli.api_keys",
    "login": "aichat_cli.cli.login",
    "logout": "aichat_cli.cli.logout",
    "whoami": "aichat_cli.cli.whoami",
    "config": "aichat_cli.cli.config",
    "roles": "aichat_cli.cli.roles",
    "integrations": "aichat_cli.cli.integrations",
    "doctor": "aichat_cli.cli.doctor",
}
"""Command to module; each module has its Typer app as `app`."""

ROOT_FLAGS = ("--help", "-h", "--version", "-V", "--install-completion", "--show-completion")

HELP = """Chat with language models from the terminal, local first.

\b
aichat                                 chat, when stdin and stdout are terminals
aichat "why is the sky blue?"          one answer; an unknown first word is a prompt
git diff | aichat -s "review this"     stdin first, then the prompt
aichat -c "and in French?"             go on with the last conversation
aichat ingest ~/notes                  make documents searchable
aichat --docs "what did we decide?"    answer from them

Without any key it answers from a small embedded model.

\b
-m MODEL    who answers            -s TEXT   system prompt
-c          go on with the last    -r TITLE  go on with that one
-f FILE     text file in front     -a FILE   image, PDF or audio
-o KEY VAL  model option           -x        the code block only
All options of a prompt: aichat chat --help
"""

EPILOG = """Exit codes: 0 fine, 1 error, 2 usage, 3 no or bad key, 4 out of credits or over a cap, 5 rate limited,
6 provider or network failed, 130 interrupted."""


class LazyGroup(TyperGroup):
    """Imports a command's module when it is asked for, so that a prompt does not pay for `history`."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 (the signature is Click's)
        """The commands, in the order of help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """The command, imported now."""
        if cmd_name not in COMMANDS:
            return None
        command = typer.main.get_command(import_module(COMMANDS[cmd_name]).app)
        command.name = cmd_name
        return command

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read what names no command as `chat`, also for the shell's completion, which comes in here."""
        return super().parse_args(ctx, args if ctx.resilient_parsing and not args else with_command(args))

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """The commands, and the options of the `chat` that need not be typed."""
        chat = self.get_command(ctx, "chat")
        with chat.make_context("chat", [], parent=ctx, resilient_parsing=True) as chat_ctx:
            offered = [*super().shell_complete(ctx, incomplete), *chat.shell_complete(chat_ctx, incomplete)]
        return list({item.value: item for item in offered}.values())


root = typer.Typer(
    cls=LazyGroup,
    help=HELP,
    epilog=EPILOG,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@root.callback()
def _options(
    *,
    version: bool = typer.Option(False, "--version", "-V", help="Show the version and exit.", is_eager=True),
) -> None:
    if version:
        typer.echo(f"aichat {__version__}")
        raise typer.Exit


def with_command(arguments: list[str]) -> list[str]:
    """Put `chat` in front of everything that does not begin with a command's name."""
    if arguments and (arguments[0] in COMMANDS or arguments[0].split("=")[0] in ROOT_FLAGS):
        return arguments
    return ["chat", *arguments]


def run(arguments: list[str]) -> int:
    """Run one command line; the exit code. Errors are told on stderr."""
    diagnostics = Diagnostics(as_json="--json" in arguments, debug="--debug" in arguments)
    try:
        code = typer.main.get_command(root)(args=arguments, prog_name="aichat", standalone_mode=False)
        sys.stdout.flush()
    except (ClosedPipe, BrokenPipeError):
        abandon_stdout()
        return EXIT_OK
    except typer.Abort:
        return 130
    except AichatError as error:
        diagnostics.error(error)
        return error.exit_code
    except OSError as error:
        abandon_stdout()
        diagnostics.error(AichatError(f"Cannot write to stdout: {error.strerror}."))
        return EXIT_ERROR
    except Exception as error:  # noqa: BLE001 (the last resort: a user never sees a traceback unasked)
        return _told(error, diagnostics)
    return code if isinstance(code, int) else EXIT_OK


def _told(error: Exception, diagnostics: Diagnostics) -> int:
    """Tell of a wrong command line, which Typer complains about, or of a defect of ours; the exit code."""
    if not hasattr(error, "format_message"):
        defect = AichatError(
            f"This is a defect of aichat: {type(error).__name__}: {error}.", hint="Add --debug to see where"
        )
        defect.__cause__ = error
        diagnostics.error(defect)
        return EXIT_ERROR
    if type(error).__name__ == "NoArgsIsHelpError":
        print_text(error.ctx.get_help() + "\n")  # type: ignore[attr-defined]
        return EXIT_USAGE
    message = error.format_message()
    diagnostics.error(UsageError(message if message.endswith((".", "?")) else f"{message}.", hint="Run: aichat --help"))
    return EXIT_USAGE
