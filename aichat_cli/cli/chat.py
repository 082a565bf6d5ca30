"""`aichat [PROMPT]`: one answer, or the REPL when there is nothing to answer and somebody to talk to."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from aichat_cli.app import App
from aichat_cli.chat.request import TurnDeps, TurnRequest
from aichat_cli.chat.turn import run
from aichat_cli.cli.common import DebugFlag, MaxCostOption, confirmed_on_terminal, opened, single_command
from aichat_cli.cli.question import read_question, say_what_goes_in
from aichat_cli.core.errors import NotConfirmed, UsageError
from aichat_cli.core.exits import EXIT_ERROR, EXIT_OK
from aichat_cli.core.messages import Conversation
from aichat_cli.providers.base import OptionValue
from aichat_cli.render.answer import (
    AnswerSink,
    HeldSink,
    abandon_stdout,
    code_blocks,
    stdout_sink,
)
from aichat_cli.render.diagnostics import Diagnostics, expensive_prompt
from aichat_cli.render.embedded import fetch_if_absent, say_who_answers
from aichat_cli.render.sinks import answer_sink
from aichat_cli.render.turn_view import TurnResult, show
from aichat_cli.storage import conversations

if TYPE_CHECKING:
    from aichat_cli.chat.payment import PromptEstimate
    from aichat_cli.config.roles import ChatRole


class ChatCommand(TyperCommand):
    """Reads `-o KEY VALUE` as users of llm write it; Typer has no repeated option of two words."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Join each pair to KEY=VALUE before Typer sees it."""
        return super().parse_args(ctx, with_joined_options(args))


app = single_command()


@app.command(cls=ChatCommand)
def chat(
    prompt: Annotated[
        list[str] | None, typer.Argument(help="What to ask; - waits for stdin.", metavar="PROMPT")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Model, alias or provider/model.")] = None,
    system: Annotated[str | None, typer.Option("--system", "-s", help="System prompt.")] = None,
    role: Annotated[str | None, typer.Option("--role", help="Role: a system prompt kept under a name.")] = None,
    file: Annotated[
        list[str] | None,
        typer.Option("--file", "-f", help="Text file, folder or URL to put in front; repeatable.", metavar="PATH"),
    ] = None,
    attach: Annotated[
        list[str] | None,
        typer.Option("--attach", "-a", help="Image, PDF or audio to send along; repeatable.", metavar="PATH"),
    ] = None,
    docs: Annotated[bool, typer.Option("--docs", help="Answer from your documents, with citations.")] = False,
    collection: Annotated[
        str | None, typer.Option("--collection", help="Answer from the documents of this collection.", metavar="NAME")
    ] = None,
    last: Annotated[bool, typer.Option("--continue", "-c", help="Go on with the last conversation.")] = False,
    resume: Annotated[str | None, typer.Option("--resume", "-r", help="Go on with this one: id or title.")] = None,
    no_log: Annotated[bool, typer.Option("--no-log", "-n", help="Keep no text; usage is still counted.")] = False,
    option: Annotated[
        list[str] | None, typer.Option("--option", "-o", help="Model option, as -o temperature 0.", metavar="KEY VALUE")
    ] = None,
    extract: Annotated[bool, typer.Option("--extract", "-x", help="Print the first code block only.")] = False,
    usage: Annotated[bool, typer.Option("--usage", "-u", help="Print tokens and cost, on stderr.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON; errors too, on stderr.")] = False,
    no_stream: Annotated[bool, typer.Option("--no-stream", help="Ask for the answer in one piece.")] = False,
    markdown: Annotated[
        bool | None, typer.Option("--md/--no-md", help="Render Markdown on a terminal, or show it as written.")
    ] = None,
    pager: Annotated[bool, typer.Option("--pager", help="Page the answer while it is being written.")] = False,
    key: Annotated[str | None, typer.Option("--key", help="Provider key for this run.", envvar="AICHAT_KEY")] = None,
    fallback: Annotated[
        list[str] | None, typer.Option("--fallback", help="Model to ask when the first fails; repeatable.")
    ] = None,
    max_cost: MaxCostOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before an expensive prompt is sent.")] = False,
    interactive: Annotated[bool, typer.Option("--interactive", "-i", help="Answer, then go on in the chat.")] = False,
    debug: DebugFlag = False,
) -> None:
    """Ask, or chat when no prompt is given."""
    with opened(as_json=as_json, debug=debug, key=key, max_cost=max_cost) as (house, diagnostics):
        question = read_question(
            prompt or [], diagnostics, files=file or [], attach=attach or [], readers=house.readers
        )
        conversation = _conversation(house, last=last, resume=resume)
        part = _role(house, role, system, conversation)
        named = model or (part.model if part else None)
        chosen = house.model(named or (conversation.model if conversation else None))
        if no_log and conversation:
            raise UsageError("-n keeps nothing, so it cannot go on with a conversation.")
        request = TurnRequest(
            model=chosen,
            prompt=question.text,
            conversation_id=conversation.id if conversation else None,
            parent_id=conversation.head_id if conversation else None,
            system=part.prompt or None if part else _system(house, system, conversation),
            options={**(part.options if part else {}), **parsed_options(option or [])},
            fallbacks=house.fallbacks(fallback or []),
            stream=not no_stream,
            question=question.topic,
            attachments=question.attachments,
            docs=collection or (house.settings.text("documents.collection") if docs else None),
        )
        if named is None and conversation is None:
            say_who_answers(house, chosen, diagnostics)
        say_what_goes_in(question, [chosen, *request.fallbacks], diagnostics)
        if question.text is None or interactive:
            _require_terminal(as_json=as_json or extract)
            from aichat_cli.repl.session import Session

            raise typer.Exit(Session(house, diagnostics, request, conversation, log=not no_log).run())
        with_usage = usage or house.settings.flag("show_usage")
        is_held = extract or as_json
        sink = HeldSink() if is_held else answer_sink(house.settings, diagnostics, markdown=markdown, pager=pager)
        deps = house.turn_deps(
            log=not no_log,
            prepare=lambda model: fetch_if_absent(house, model, diagnostics),
            confirm=None if yes else _require_consent,
        )
        raise typer.Exit(_answer(house, diagnostics, request, deps, sink, extract=extract, usage=with_usage))


def _answer(
    house: App,
    diagnostics: Diagnostics,
    request: TurnRequest,
    deps: TurnDeps,
    sink: AnswerSink,
    *,
    extract: bool,
    usage: bool,
) -> int:
    if request.conversation_id and request.system is not None:
        conversations.set_system_prompt(deps.transcript, request.conversation_id, request.system)
    result = show(run(request, deps), sink, diagnostics, show_reasoning=house.settings.flag("show_reasoning"))
    if isinstance(sink, HeldSink) and (sink.text or result.failure is None):
        _print_held(sink.text, result, diagnostics, extract=extract)
    if usage and result.settled is not None and result.settled.tokens and not diagnostics.as_json:
        diagnostics.usage(result.settled)
    return exit_code(result)


def _require_consent(estimate: PromptEstimate) -> None:
    question = expensive_prompt(estimate)
    if not confirmed_on_terminal(f"{question} Send it?"):
        raise NotConfirmed(
            f"{question} It was not sent.",
            hint="To send it unasked: --yes; to be asked from another amount on: aichat config set limits.confirm_usd AMOUNT",
        )


def exit_code(result: TurnResult) -> int:
    """The exit code of a turn."""
    if result.interruption is not None:
        return int(getattr(result.interruption, "exit_code", 130))
    if result.reader_left:
        abandon_stdout()
        return EXIT_OK
    if result.unwritable is not None:
        abandon_stdout()
    if result.failure is not None:
        return result.failure.exit_code
    if result.unwritable is not None or result.unsaved is not None:
        return EXIT_ERROR
    return EXIT_OK


def _print_held(text: str, result: TurnResult, diagnostics: Diagnostics, *, extract: bool) -> None:
    if extract:
        blocks = code_blocks(text)
        if not blocks:
            diagnostics.notice("There is no code block in the answer: this is all of it.")
        text = blocks[0] if blocks else text
    sink = stdout_sink()
    if diagnostics.as_json:
        from aichat_cli.render import json_shapes

        text = json_shapes.dumps(json_shapes.turn(result, text))
    sink.write(text)
    sink.end()


def _conversation(house: App, *, last: bool, resume: str | None) -> Conversation | None:
    if resume is not None and last:
        raise UsageError("-c and -r exclude each other.")
    if resume is not None:
        return conversations.find(house.readable_database, resume)
    return conversations.latest(house.readable_database) if last else None


def _role(house: App, typed: str | None, system: str | None, conversation: Conversation | None) -> ChatRole | None:
    """The role of `--role`, or, in a new conversation without a system prompt of its own, that of the setting."""
    if typed is not None and system is not None:
        raise UsageError("-s and --role exclude each other: a role is a system prompt.")
    if typed is None and (system is not None or conversation is not None):
        return None
    name = house.settings.text("role") if typed is None else typed
    return house.role(name) if name or typed is not None else None


def _system(house: App, typed: str | None, conversation: Conversation | None) -> str | None:
    if typed is not None or conversation is not None:
        return typed
    return house.settings.text("system_prompt") or None


def _require_terminal(*, as_json: bool) -> None:
    if as_json or not sys.stdout.isatty():
        raise UsageError("There is no prompt.", hint='Run: aichat "your question"')


def with_joined_options(arguments: list[str]) -> list[str]:
    """`-o KEY VALUE` as `-o KEY=VALUE`; `-o KEY=VALUE` and everything after `--` as they are."""
    joined: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        joined.append(argument)
        if argument == "--":
            break
        if argument in {"-o", "--option"}:
            name = next(rest, None)
            value = None if name is None or "=" in name else next(rest, None)
            joined += [part for part in [name if value is None else f"{name}={value}"] if part is not None]
    return joined + list(rest)


def parsed_options(pairs: list[str]) -> dict[str, OptionValue]:
    """KEY=VALUE pairs; a value that is JSON is taken as that, else as text.

    Raises:
        UsageError: a key has no value.
    """
    import json

    options: dict[str, OptionValue] = {}
    for pair in pairs:
        name, separator, raw = pair.partition("=")
        if not separator or not name:
            raise UsageError(f'-o takes a key and a value, "{pair}" has only one.', hint="As in: -o temperature 0")
        try:
            options[name] = json.loads(raw)
        except ValueError:
            options[name] = raw
    return options
