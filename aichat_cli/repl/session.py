"""The session: reads, answers, repeats; what the next turn goes on from. Runs in the main thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from aichat_cli.app import App
from aichat_cli.chat.request import TurnDeps, TurnRequest
from aichat_cli.chat.turn import run
from aichat_cli.core.errors import AichatError, StorageError, UsageError
from aichat_cli.core.exits import EXIT_OK
from aichat_cli.core.ids import ConversationId
from aichat_cli.core.interrupts import Interrupted, leave_signals_to_the_main_thread, shielded
from aichat_cli.core.messages import Conversation, Message
from aichat_cli.core.models import Model
from aichat_cli.core.money import usd_text
from aichat_cli.core.struct import replace
from aichat_cli.render.diagnostics import Diagnostics
from aichat_cli.render.embedded import fetch_if_absent, is_absent
from aichat_cli.render.sanitize import safe_line, safe_text
from aichat_cli.render.theme import Theme, theme_for
from aichat_cli.render.turn_view import TurnResult, show
from aichat_cli.repl.carried import Carried, composed, labels
from aichat_cli.repl.commands import dispatch, is_command
from aichat_cli.repl.conversation_commands import lost_conversation
from aichat_cli.repl.input_commands import is_shell_command, run_shell_command
from aichat_cli.repl.live import LiveDiagnostics, SessionSink, Submission
from aichat_cli.repl.picker.cells import wrapped
from aichat_cli.repl.spending import Spending
from aichat_cli.repl.sync_commands import SessionSync
from aichat_cli.repl.terminals import new_terminal
from aichat_cli.storage import conversations, messages, usage
from aichat_cli.storage.database import Database

SIGINT_CODE = 130
BOLD, DIM, RESET = "\x1b[1m", "\x1b[2m", "\x1b[0m"


class Session:
    """One interactive session.

    Args:
        request: the model, system prompt and options to begin with; a prompt in it is asked at once.
        conversation: the conversation to go on with, None for a new one.
        log: False keeps nothing beyond this session.

    Attributes:
        template: the request the next message is put into.
        edited: after /edit, the request the changed message is put into instead.
        carried: what goes with the next message.
        deleted: what this session put in the trash, the last at the end; gone for good when it ends.
    """

    def __init__(
        self,
        house: App,
        diagnostics: Diagnostics,
        request: TurnRequest,
        conversation: Conversation | None,
        *,
        log: bool,
    ) -> None:
        self.house = house
        self.log = log
        self.template = replace(request, prompt=None, question=None, attachments=())
        self.deleted: tuple[ConversationId, ...] = ()
        self.edited: TurnRequest | None = None
        self.carried: list[Carried] = []
        self._first = request if request.prompt is not None else None
        self._resumed = conversation
        self._deps: TurnDeps | None = None
        self._used_tokens: int | None = None
        self._cost_nano: int | None = 0
        self._spending = Spending()
        self._is_leaving = False
        self._exit_code = EXIT_OK
        self.terminal = new_terminal(self)
        self.diagnostics = LiveDiagnostics(self.terminal, debug=diagnostics.debug, redact=house.keys.redact)
        self.sync = SessionSync(self)

    # ----- the loop

    def run(self) -> int:
        """Read, answer, repeat; the exit code."""
        self.terminal.start()
        try:
            self._warm()
            self._greet()
            self.sync.start()
            self._converse()
        finally:
            self.sync.background.stop()
            self.terminal.stop()
            self._empty_trash()
        return self._exit_code

    def _empty_trash(self) -> None:
        if self._deps is not None and self.log:
            from aichat_cli.chat.trash import purge

            with suppress(StorageError):  # the next session does it
                purge(self.transcript, self.deleted)

    def _greet(self) -> None:
        from aichat_cli.repl.welcome import first_run_lines

        if self._resumed is not None:
            system = self.template.system
            self.go_on_with(self._resumed)
            if system is not None:
                conversations.set_system_prompt(self.transcript, self._resumed.id, system or None)
        elif welcome := first_run_lines(self.house, self.template.model):
            self.terminal.say(welcome)
        elif self._first is None:
            self.say(f"{safe_line(self.template.model.name)} answers. /help lists the commands, Ctrl+D leaves.")
            self.terminal.say([""])

    def _converse(self) -> None:
        if self._first is not None:
            self._attempt(partial(self._ask_first, self._first))
        while not self._is_leaving:
            self.show_status()
            try:
                submission = self.terminal.next_input()
            except EOFError:
                return
            except Interrupted as interruption:
                self._take_interruption(interruption)
                continue
            self._attempt(partial(self._take, submission))

    def _attempt(self, action: Callable[[], None]) -> None:
        try:
            action()
        except AichatError as error:
            self.diagnostics.error(lost_conversation(self, error) or error)
            self.terminal.take_back_queue()
        except Interrupted as interruption:
            self._take_interruption(interruption)

    def _take_interruption(self, interruption: KeyboardInterrupt) -> None:
        code = int(getattr(interruption, "exit_code", SIGINT_CODE))
        if code == SIGINT_CODE:
            self.diagnostics.notice("Stopped.")
            self.terminal.take_back_queue()
        else:
            self._exit_code, self._is_leaving = code, True

    def _take(self, submission: Submission) -> None:
        self.sync.take_news()
        self._spending.entered(submission.text)
        if is_shell_command(submission.typed):
            run_shell_command(self, submission.text)
            self.terminal.say([""])
        elif is_command(submission.typed):
            dispatch(self, submission.text)
            self.terminal.say([""])
        else:
            self._send(submission)

    def _ask_first(self, request: TurnRequest) -> None:
        result = TurnResult()
        self._spending.entered(request.prompt or "")
        try:
            self.answer(request, result)
        finally:
            if result.started is None:
                self.terminal.prefill(request.prompt or "")

    def _send(self, submission: Submission) -> None:
        """Ask; a message that was not even stored goes back into the prompt."""
        edited, carried = self.edited, list(self.carried)
        result = TurnResult()
        try:
            request = composed(self, edited or self.template, submission)
            self.edited = None
            self.carried.clear()
            self.answer(request, result)
        finally:
            if result.started is None:
                self.edited, self.carried[:] = edited, carried
                self.terminal.prefill(submission.text)

    # ----- what commands use

    @property
    def deps(self) -> TurnDeps:
        """What turns need, opened on first use."""
        if self._deps is None:
            self._deps = self.house.turn_deps(
                log=self.log, prepare=self._prepare, confirm=self._spending.require_consent
            )
        return self._deps

    @property
    def transcript(self) -> Database:
        """Where this session's conversations are kept."""
        return self.deps.transcript

    def say(self, text: str) -> None:
        """Print something of ours, safe for the terminal and wrapped to it."""
        self.terminal.say(wrapped(text.rstrip("\n"), self.terminal.width))

    def answer(self, request: TurnRequest, result: TurnResult | None = None) -> None:
        """Run a turn and show it. A `result` that is handed in tells how far it came, whatever strikes it."""
        result = result or TurnResult()
        is_first = request.conversation_id is None
        self.terminal.begin_answer()
        try:
            self.sync.background.hold()
            show(
                run(request, self.deps),
                SessionSink(self.terminal),
                self.diagnostics,
                show_reasoning=True,
                result=result,
            )
        except Interrupted as struck:
            result.interruption = result.interruption or struck
        finally:
            self.terminal.end_answer()
            with shielded():
                self._remember(result)
                self.sync.background.release()
        if self.house.settings.flag("show_usage") and result.settled is not None and result.settled.tokens:
            self.diagnostics.usage(result.settled)
        self.terminal.say([""])
        if is_first and self.log and result.settled is not None and result.settled.status == "complete":
            self._name_conversation()

    def _name_conversation(self) -> None:
        if self.house.settings.text("titles.model") and self.template.conversation_id is not None:
            from aichat_cli.repl.title_writer import name_in_background

            question, answer = self.branch()[-2:]
            name_in_background(self.house, self.conversation(), question.content, answer.content)

    def go_on_with(self, conversation: Conversation) -> None:
        """Make a conversation the one in use, and show where it stands."""
        self.use_conversation(conversation)
        branch = messages.branch(self.transcript, conversation.head_id)
        count = f"{len(branch)} message{'' if len(branch) == 1 else 's'}"
        self.terminal.say([f"{BOLD}{safe_line(conversation.title)}{RESET} {DIM}({count}){RESET}", ""])
        for message in branch[-2:]:
            self.show_message(message)

    def use_conversation(self, conversation: Conversation) -> None:
        """Make a conversation the one in use."""
        self.edited = None
        self.template = replace(
            self.template, conversation_id=conversation.id, parent_id=conversation.head_id, system=None
        )
        self._used_tokens = None
        self._cost_nano = usage.conversation_cost(self.transcript, conversation.id)

    def show_message(self, message: Message) -> None:
        """Show a stored message as it looked when it came."""
        if message.role == "user":
            lines = safe_text(message.content).split("\n")
            self.terminal.say(
                [f"{BOLD}{'> ' if not number else '  '}{line}{RESET}" for number, line in enumerate(lines)]
            )
            return
        from aichat_cli.render.markdown.stream import render

        self.terminal.say([*render(message.content, self.terminal.width, self.theme()), ""])

    def begin_new(self) -> None:
        """Start over; what was said stays in the history."""
        system = self.system_prompt()
        self.edited = None
        self.template = replace(self.template, conversation_id=None, parent_id=None, system=system)
        self._used_tokens, self._cost_nano = None, 0

    def use_model(self, model: Model) -> None:
        """Who answers from now on."""
        self.template = replace(self.template, model=model)
        self._warm()

    def conversation(self) -> Conversation:
        """The conversation in use.

        Raises:
            UsageError: nothing was said yet.
        """
        if self.template.conversation_id is None:
            raise UsageError("There is no conversation yet.")
        return conversations.get(self.transcript, self.template.conversation_id)

    def branch(self) -> list[Message]:
        """The messages in use, oldest first."""
        return messages.branch(self.transcript, self.template.parent_id)

    def last_question(self) -> Message:
        """The last message of the user in the branch in use.

        Raises:
            UsageError: nothing was asked yet.
        """
        for message in reversed(self.branch()):
            if message.role == "user":
                return message
        raise UsageError("There is nothing to take back or ask again yet.")

    def system_prompt(self) -> str | None:
        """The system prompt of the turns to come."""
        if self.template.conversation_id is None or self.template.system is not None:
            return self.template.system
        return conversations.get(self.transcript, self.template.conversation_id).system_prompt

    def theme(self) -> Theme:
        """The colours in use."""
        return theme_for(self.house.settings)

    def apply_settings(self) -> None:
        """Take over settings that changed."""
        settings = self.house.settings
        if self._deps is not None:
            self._deps = replace(self._deps, limits=self.house.limits)
            self._spending.look(self._deps.books, self.house.limits, self.template.model)
        self.terminal.apply_settings(vi=settings.text("keys") == "vi", shows_reasoning=settings.flag("show_reasoning"))

    def leave(self) -> None:
        """End the session."""
        self._is_leaving = True

    def show_status(self) -> None:
        """The status line: model, share of the window in use, cost of the conversation."""
        model = self.template.model
        parts = [safe_line(model.name)]
        if self._used_tokens is not None and model.context_tokens:
            parts.append(f"ctx {100 * self._used_tokens // model.context_tokens}%")
        parts.append(usd_text(self._cost_nano))
        if self.sync.background.has_trouble:
            parts.append(self.sync.background.status)
        if self._spending.status:
            parts.append(self._spending.status)
        if self.template.docs is not None:
            parts.append(f"docs {safe_line(self.template.docs)}")
        if not self.log:
            parts.append("not kept")
        if self.sync.background.status and not self.sync.background.has_trouble:
            parts.append(self.sync.background.status)
        self.terminal.set_status(parts, labels(self.carried))

    # ----- one turn's end

    def _remember(self, result: TurnResult) -> None:
        if result.started is not None and result.started.message_id is not None:
            self.template = replace(
                self.template,
                conversation_id=result.started.conversation_id,
                parent_id=result.started.message_id,
                system=None,
            )
        settled = result.settled
        if settled is not None and settled.tokens is not None:
            self._used_tokens = settled.tokens.input_tokens + settled.tokens.output_tokens
            known = self._cost_nano is not None and settled.cost_nano is not None
            self._cost_nano = (self._cost_nano or 0) + (settled.cost_nano or 0) if known else None
        if result.started is not None:
            self._spending.sent()
            if settled is not None and not self._spending.took(settled):
                self._warm()
            self._spending.look(self.deps.books, self.house.limits, self.template.model)
        if result.interruption is not None:
            code = getattr(result.interruption, "exit_code", SIGINT_CODE)
            if code == SIGINT_CODE:
                has_text = settled is not None and settled.tokens is not None
                self.diagnostics.notice("Stopped; what arrived is kept." if has_text else "Stopped.")
            else:
                self._exit_code, self._is_leaving = code, True
        if result.interruption is not None or result.failure is not None:
            self.terminal.take_back_queue()

    # ----- behind the scenes

    def _prepare(self, model: Model) -> None:
        if is_absent(self.house, model):
            with self.terminal.suspended(for_program=True):
                fetch_if_absent(self.house, model, self.diagnostics)

    def _warm(self) -> None:
        """Connect to the provider, and load what draws answers and chats, while the user is still typing."""
        threading.Thread(target=self._connect, args=(self.template.model,), name="warm", daemon=True).start()

    def _connect(self, model: Model) -> None:
        leave_signals_to_the_main_thread()
        self._spending.look_early(self.house, model)
        self.show_status()
        if model.wire not in {"local", "litellm"}:
            self.house.provider_for(model).warm(model, self.house.timeouts)
        from aichat_cli.repl import answer_view  # noqa: F401 (loading it is the point)
        from aichat_cli.repl.picker import chats  # noqa: F401
