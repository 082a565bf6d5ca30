"""Pages and completions, told by the program itself: the command tree, the settings table, the slash commands."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import typer.main
from typer.completion import get_completion_script

from aichat_cli.cli.main import EPILOG, root
from aichat_cli.config.settings import as_text
from aichat_cli.config.settings_table import TABLE
from aichat_cli.core import errors
from aichat_cli.providers.endpoints import KEY_NAMES, key_environment_variables
from aichat_cli.repl.commands import COMMANDS, KEY_HELP

GENERATED = "<!-- Made by scripts/generate.py from the program: edit that, not this. -->"

CONVENTIONS = """An unknown first word is a prompt: `aichat "why?"` is `aichat chat "why?"`, and every option of `chat` may
follow `aichat` at once. Every command takes `-h` and `--help`. Without a command, on a terminal, `aichat` is a
chat."""

SETTINGS_INTRO = """Settings are kept in one TOML file; `aichat config path` prints where. A value in the environment
comes before the file, and the file before the default. `aichat config list` shows every value in force and where it
came from."""

SETTINGS_OUTRO = """Besides settings the file holds your own models and short names, which `aichat models add` and
`aichat models alias` write:

```toml
[aliases]
fast = "gpt-4o-mini"

[models.lab]
base_url = "http://localhost:8080/v1"
model_id = "qwen2.5"
context_tokens = 32768
```"""

ENVIRONMENT_OTHERS = (
    ("OPENAI_BASE_URL", "Endpoint of OpenAI's models; no key is required with it."),
    ("ANTHROPIC_BASE_URL", "Endpoint of Anthropic's models; no key is required with it."),
    ("OLLAMA_HOST", "Where Ollama listens, when not at `127.0.0.1:11434`."),
    ("AICHAT_KEY", "The provider key for this run, as `--key`."),
    ("HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY", "The proxy, and the hosts that are reached without it."),
    ("SSL_CERT_FILE, SSL_CERT_DIR", "The certificates to trust."),
    ("NO_COLOR, FORCE_COLOR, TERM=dumb", "No colour; colour also in a pipe; a terminal that can do nothing."),
    ("COLORTERM, COLORFGBG, FORCE_HYPERLINK", "24-bit colours; the background's; hyperlinks on (1) or off (0)."),
    ("PAGER, LESS", "What `--pager` starts, and how `less` behaves in it."),
    ("COLUMNS", "The width of tables."),
    ("BROWSER, DISPLAY, WAYLAND_DISPLAY", "Whether `aichat credits buy` opens a browser, and which."),
    ("AICHAT_SYNC_DSN", "The address of the database to sync with, in place of the one in the keyring."),
    ("AICHAT_SERVER_DATABASE", "Where the accounts of `aichat serve` are: a file, or an address."),
    ("AICHAT_METRICS_TOKEN", "What whoever reads `/metrics` of `aichat serve` has to show."),
    ("AICHAT_STRIPE_API_BASE", "For tests: a loopback address in place of Stripe's."),
    ("VISUAL, EDITOR", "The editor of `aichat config edit`, of `aichat roles edit` and of the prompt."),
    ("XDG_CONFIG_HOME, XDG_DATA_HOME, XDG_STATE_HOME", "Where files are kept, on Linux."),
)


ZSH_TAIL = "compdef _aichat_completion aichat\n"
ZSH_TAIL_FOR_FPATH = f"""if [[ $funcstack[1] == _aichat ]]; then
  _aichat_completion "$@"
else
  {ZSH_TAIL}fi
"""


def completion(shell: str) -> str:
    """The script that completes `aichat` in a shell: it asks the program, so it need not be renewed with it."""
    script = get_completion_script(prog_name="aichat", complete_var="_AICHAT_COMPLETE", shell=shell).strip() + "\n"
    # Found in a folder of $fpath the file is the body of the function _aichat, and must complete when that is called.
    return script.replace(ZSH_TAIL, ZSH_TAIL_FOR_FPATH) if shell == "zsh" else script


def commands() -> str:
    """Every command with its arguments and options."""
    tree = typer.main.get_command(root)
    parts = [GENERATED, "# Commands", CONVENTIONS]
    for name, command, context in _leaves(tree, tree.context_class(tree, info_name="aichat"), "aichat"):
        params = [param for param in command.get_params(context) if param.name != "help" and not _is_hidden(param)]
        arguments = [_argument(param) for param in params if param.param_type_name == "argument"]
        parts += [f"## `{name}`", inspect.cleandoc(command.help or "")]
        parts.append(f"```\n{' '.join([name, '[OPTIONS]', *arguments])}\n```")
        parts.append(_table(("", ""), [(f"`{_term(param)}`", _described(param)) for param in params]))
    return _page(parts)


def _is_hidden(param: Any) -> bool:
    return bool(getattr(param, "hidden", False))


def _argument(param: Any) -> str:
    name = str(param.metavar or param.name.upper()).strip("[]").removesuffix("...")
    shown = f"{name}..." if param.nargs == -1 else name
    return shown if param.required else f"[{shown}]"


def _term(param: Any) -> str:
    """As it is typed: `-m, --model MODEL`."""
    if param.param_type_name == "argument":
        return _argument(param)
    names = sorted(param.opts, key=len)
    if param.is_flag:
        return ", ".join(names)
    return f"{', '.join(names)} {param.metavar or names[-1].removeprefix('--').upper()}"


def _described(param: Any) -> str:
    notes = [f"default {param.default}"] if param.default and not getattr(param, "is_flag", False) else []
    if param.envvar:
        notes.append(f"or `{param.envvar}`")
    if param.required and param.param_type_name == "option":
        notes.append("required")
    return f"{param.help or ''} ({', '.join(notes)})" if notes else str(param.help or "")


def _leaves(group: Any, context: Any, prefix: str) -> Iterator[tuple[str, Any, Any]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        inner = command.context_class(command, info_name=name, parent=context)
        if hasattr(command, "list_commands"):
            if command.invoke_without_command:
                yield f"{prefix} {name}", command, inner
            yield from _leaves(command, inner, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command, inner


def settings() -> str:
    """The settings table."""
    rows = [
        (f"`{setting.name}`", f"`{as_text(setting.default)}`" if as_text(setting.default) else "", setting.help)
        for setting in TABLE
    ]
    table = _table(("setting", "default", "what it does"), rows)
    return _page([GENERATED, "# Settings", SETTINGS_INTRO, table, SETTINGS_OUTRO])


def environment() -> str:
    """Every environment variable that is read."""
    keys = [(f"`{'`, `'.join(key_environment_variables(name))}`", name) for name in KEY_NAMES]
    own = [(f"`{setting.variable}`", f"`{setting.name}`") for setting in TABLE]
    others = [(", ".join(f"`{name}`" for name in names.split(", ")), text) for names, text in ENVIRONMENT_OTHERS]
    return _page(
        [
            GENERATED,
            "# Environment variables",
            "## Endpoints, network and terminal",
            _table(("variable", "what it does"), others),
            "## Keys",
            "The first that is set counts, and comes before a stored key.",
            _table(("variable", "key"), keys),
            "## Settings",
            _table(("variable", "[setting](settings.md)"), own),
        ]
    )


def slash_commands() -> str:
    """The commands of the interactive session, and its keys."""
    rows = [
        (", ".join(f"`{usage}`" for usage in (command.usage, *(f"/{name}" for name in command.also))), command.help)
        for command in COMMANDS
    ]
    keys = "\n".join(f"- {line}" for line in KEY_HELP)
    return _page([GENERATED, "# In the chat", _table(("command", "what it does"), rows), "## Keys", keys])


def exit_codes() -> str:
    """Exit codes, and every class of error with its code."""
    classes = sorted(_error_classes(errors.AichatError), key=lambda each: (each.exit_code, each.code))
    rows = [(f"`{each.code}`", str(each.exit_code), (inspect.getdoc(each) or "").splitlines()[0]) for each in classes]
    intro = (
        "With `--json` an error is one JSON object on stderr, with the code of the second table; see [JSON](json.md)."
    )
    codes = _exit_code_rows()
    return _page(
        [GENERATED, "# Exit codes", _table(("code", "meaning"), codes), intro, _table(("error", "exit", "what"), rows)]
    )


def _exit_code_rows() -> list[tuple[str, str]]:
    listed = " ".join(EPILOG.split()).removeprefix("Exit codes: ").rstrip(".")
    rows = [tuple(part.split(" ", 1)) for part in listed.split(", ")]
    return [(f"`{row[0]}`", row[1]) for row in rows]


def _error_classes(base: type[errors.AichatError]) -> Iterator[type[errors.AichatError]]:
    yield base
    for derived in base.__subclasses__():
        yield from _error_classes(derived)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    if not cells:
        return ""
    lines = [heads, ["---"] * len(heads), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _page(parts: Iterable[str]) -> str:
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"
