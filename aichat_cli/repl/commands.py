"""The slash commands: one registry that feeds dispatch, /help and completion."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from aichat_cli.core.errors import UsageError
from aichat_cli.core.struct import Struct
from aichat_cli.repl import (
    conversation_commands,
    document_commands,
    input_commands,
    output_commands,
    setup_commands,
    sync_commands,
)

if TYPE_CHECKING:
    from aichat_cli.repl.session import Session


class Command(Struct, frozen=True):
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
    Command("new", "", "Begin a new conversation.", conversation_commands.new),
    Command("chats", "", "Find, resume, rename, fork, export or delete conversations.", conversation_commands.chats),
    Command("resume", "[ID or TITLE]", "Go on with an earlier one; alone, as /chats.", conversation_commands.resume),
    Command("model", "[NAME]", "Change the model; alone, choose one.", setup_commands.model),
    Command("system", "[TEXT]", "Show or set the system prompt; - removes it.", setup_commands.system),
    Command("role", "[NAME]", "Answer in a role; alone, list them.", setup_commands.role),
    Command(
        "file",
        "PATH",
        "Put a file, folder or URL beside the next message; - drops it.",
        input_commands.file,
        ("attach",),
    ),
    Command("docs", "[NAME or off]", "Answer from your documents, or no longer.", document_commands.docs),
    Command("ingest", "PATH or URL", "Make documents searchable, and answer from them.", document_commands.ingest),
    Command("sources", "[N]", "What the last answer drew on; with a number, that passage.", document_commands.sources),
    Command("retry", "[MODEL]", "Ask again; the old answer is kept as a branch.", conversation_commands.retry),
    Command("edit", "[-]", "Change the last question and ask it in a new branch.", conversation_commands.edit),
    Command("undo", "", "Take the last exchange back; it is kept as a branch.", conversation_commands.undo),
    Command("fork", "[TITLE]", "Go on in a copy of this conversation.", conversation_commands.fork),
    Command(
        "branches", "", "See the tree of this conversation, and change the branch.", conversation_commands.branches
    ),
    Command("title", "[TEXT]", "Show or change the title.", conversation_commands.title),
    Command("copy", "[code, all or N]", "Copy the last answer, or code in it.", output_commands.copy),
    Command("save", "[code] FILE", "Write the last answer, or its code, to a file.", output_commands.save),
    Command("export", "[FILE]", "Write the conversation to a .md, .html or .json file.", conversation_commands.export),
    Command("usage", "", "What this conversation, this day and this month cost.", output_commands.show_usage),
    Command("credits", "", "The balance of credits, the plan, and the calls left.", output_commands.show_credits),
    Command("sync", "[status]", "Sync with your other devices now, or see how things stand.", sync_commands.sync),
    Command("theme", "[auto, dark or light]", "Show or change the colours.", setup_commands.theme),
    Command("settings", "", "See and change every setting.", setup_commands.settings),
    Command("set", "NAME [VALUE]", "Show or change a setting.", setup_commands.set_),
    Command("delete", "[undo]", "Delete this conversation, or take that back.", conversation_commands.delete),
    Command("quit", "", "Leave.", lambda session, _: session.leave(), also=("exit",)),
)

KEY_HELP = (
    "Enter sends; Alt+Enter, Ctrl+J, Shift+Enter where the terminal tells it, or a backslash at the end: a new line.",
    "Ctrl+C stops an answer and keeps what arrived; at an empty prompt, twice leaves. Ctrl+D leaves, once the answer is complete.",
    "While an answer streams: Enter or Tab queues what you typed, Up takes it back.",
    "@path or @URL puts a file, folder or page in the message; !command runs it, and its output goes with the next message.",
    "Ctrl+R searches what you typed before, in every session. Ctrl+G or Ctrl+X Ctrl+E opens your editor.",
    "Ctrl+O shows what a model thinks, or hides it. F2 chats, F3 models, F4 settings.",
    "A line that begins with a blank is never a command.",
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
