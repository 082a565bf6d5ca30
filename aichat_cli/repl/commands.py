"""The slash commands: one registry that feeds dispatch, /help and completion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aichat_cli.core.errors import UsageError

if TYPE_CHECKING:
    from aichat_cli.repl.session import Session


@dataclass(frozen=True, slots=True)
class Command:
    """One command. `argument` is shown in the help, empty where it takes none."""

    name: str
    argument: str
    help: str
    action: Callable[[Session, str], None]
    also: tuple[str, ...] = ()

    @property
    def usage(self) -> str:
        """As it is typed."""
        return f"/{self.name} {self.argument}".rstrip()


def _help(session: Session, _: str) -> None:
    width = max(len(command.usage) for command in COMMANDS)
    lines = [f"{command.usage.ljust(width)}  {command.help}" for command in COMMANDS]
    session.say("\n".join([*lines, "", *KEY_HELP]))


COMMANDS: tuple[Command, ...] = (
    Command("help", "", "Show this.", _help),
    Command("new", "", "Begin a new conversation.", lambda session, _: session.begin_new()),
    Command("model", "[NAME]", "Show or change the model.", lambda session, name: session.use_model(name)),
    Command(
        "system",
        "[TEXT]",
        "Show or set the system prompt; - removes it.",
        lambda session, text: session.use_system(text),
    ),
    Command(
        "retry",
        "",
        "Ask again; the old answer is kept as a branch.",
        lambda session, _: session.retry(),
    ),
    Command("undo", "", "Take the last exchange back; it is kept as a branch.", lambda session, _: session.undo()),
    Command(
        "resume",
        "[ID or TITLE]",
        "Go on with an earlier one; alone, list some.",
        lambda session, ref: session.resume(ref),
    ),
    Command("quit", "", "Leave.", lambda session, _: session.leave(), also=("exit",)),
)

KEY_HELP = (
    "Enter sends; Alt+Enter, Ctrl+J or a backslash at the end gives a new line.",
    "Ctrl+C stops an answer and keeps what arrived; at an empty prompt, twice leaves.",
    "Ctrl+D leaves. A line that begins with a blank is never a command.",
)

_BY_NAME = {name: command for command in COMMANDS for name in (command.name, *command.also)}


def is_command(text: str) -> bool:
    """Whether a line is a command: a slash and a letter, on the first line. A path such as /etc/hosts is not."""
    word = text.split(maxsplit=1)[0] if text.startswith("/") else ""
    return word[1:2].isalpha() and "/" not in word[1:]


def dispatch(session: Session, text: str) -> None:
    """Run the command a line names.

    Raises:
        UsageError: there is none of that name.
    """
    name, *rest = text.removeprefix("/").split(maxsplit=1)
    argument = rest[0].strip() if rest else ""
    command = _BY_NAME.get(name)
    if command is None:
        import difflib

        near = difflib.get_close_matches(name, _BY_NAME, n=1)
        meant = f" Did you mean /{near[0]}?" if near else ""
        raise UsageError(f"No command /{name}.{meant}", hint="Type /help; to send it as it is, begin with a blank")
    if argument and not command.argument:
        raise UsageError(f"/{command.name} takes nothing after it.")
    command.action(session, argument)
