"""The session: what the next turn goes on from, and what each command changes of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from aichat_cli.app import App
from aichat_cli.chat.turn import TurnDeps, TurnRequest, run
from aichat_cli.core.errors import EXIT_OK, AichatError, UsageError
from aichat_cli.core.interrupts import leave_signals_to_the_main_thread
from aichat_cli.core.messages import Conversation, Message
from aichat_cli.core.models import Model
from aichat_cli.core.money import usd_text
from aichat_cli.render.answer import TerminalSink
from aichat_cli.render.diagnostics import Diagnostics
from aichat_cli.render.embedded import fetch_if_absent
from aichat_cli.render.sanitize import safe_line, safe_text
from aichat_cli.render.turn_view import TurnResult, show
from aichat_cli.repl.commands import dispatch, is_command
from aichat_cli.repl.prompt import Prompt, keys_kept_for_the_prompt
from aichat_cli.storage import conversations, messages, usage

MODEL_CHOICES = 8
RESUME_CHOICES = 10


class Session:
    """One interactive session.

    Args:
        request: the model, system prompt and options to begin with; its prompt is not used.
        conversation: the conversation to go on with, None for a new one.
        log: False keeps nothing beyond this session.
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
        self._house = house
        self._diagnostics = diagnostics
        self._log = log
        self._template = replace(request, prompt=None)
        self._deps: TurnDeps | None = None
        self._resumed = conversation
        self._prefilled = ""
        self._used_tokens: int | None = None
        self._cost_nano: int | None = 0
        self._is_leaving = False
        self._keep_keys: Callable[[], None] = lambda: None
        self._exit_code = EXIT_OK

    def run(self) -> int:
        """Read, answer, repeat; the exit code."""
        prompt = Prompt(self._house.paths.input_history if self._log else None, self.status)
        self._warm()
        if self._resumed is not None:
            self._go_on_with(self._resumed)
        else:
            self.say(f"{safe_line(self._template.model.name)} answers. /help lists the commands, Ctrl+D leaves.")
        with keys_kept_for_the_prompt() as self._keep_keys:
            self._converse(prompt)
        return self._exit_code

    def _converse(self, prompt: Prompt) -> None:
        while not self._is_leaving:
            try:
                prefilled, self._prefilled = self._prefilled, ""
                text = prompt.read(prefilled)
                self._take(text)
            except EOFError:
                break
            except AichatError as error:
                self._diagnostics.error(error)

    def status(self) -> str:
        """The status line: model, share of the window in use, cost of the conversation."""
        model = self._template.model
        parts = [safe_line(model.name)]
        if self._used_tokens is not None and model.context_tokens:
            parts.append(f"ctx {100 * self._used_tokens // model.context_tokens}%")
        parts.append(usd_text(self._cost_nano))
        if not self._log:
            parts.append("not kept")
        return " | ".join(parts)

    def say(self, text: str) -> None:
        """Print something of ours, safe for the terminal."""
        sink = TerminalSink()
        sink.write(text)
        sink.end()

    def begin_new(self) -> None:
        """Start over; what was said stays in the history."""
        self._template = replace(self._template, conversation_id=None, parent_id=None, system=self._system_text())
        self._used_tokens, self._cost_nano = None, 0
        self.say("A new conversation.")

    def use_model(self, name: str) -> None:
        """Change the model, or show it with the common ones."""
        if name:
            self._template = replace(self._template, model=self._house.registry.resolve(name))
            self._warm()
        current = self._template.model.name
        if name:
            self.say(f"{current} answers from now on.")
            return
        listed = [model.name for model in self._house.registry.listing(all=False)]
        others = [other for other in listed if other != current][:MODEL_CHOICES]
        self.say(f"{current}\nothers: {', '.join(others)}; all of them: aichat models list --all")

    def use_system(self, text: str) -> None:
        """Set, remove (with -) or show the system prompt."""
        if text:
            system = "" if text == "-" else text
            self._template = replace(self._template, system=system)
            if self._template.conversation_id is not None:
                conversations.set_system_prompt(
                    self._opened().transcript, self._template.conversation_id, system or None
                )
        self.say(self._system_text() or "There is no system prompt.")

    def retry(self) -> None:
        """Ask for the last answer once more."""
        question = self._last_question()
        self._answer(replace(self._template, prompt=None, parent_id=question.id))

    def undo(self) -> None:
        """Move back before the last exchange and offer its question for editing."""
        question = self._last_question()
        assert self._template.conversation_id is not None
        conversations.move_head(self._opened().transcript, self._template.conversation_id, question.parent_id)
        self._template = replace(self._template, parent_id=question.parent_id)
        self._prefilled = question.content
        self.say("Taken back. The question is in the prompt again.")

    def resume(self, reference: str) -> None:
        """Go on with an earlier conversation, or list the latest."""
        transcript = self._opened().transcript
        if reference:
            conversation = conversations.find(transcript, reference)
            if conversation.model:
                self._template = replace(self._template, model=self._house.registry.resolve(conversation.model))
            self._go_on_with(conversation)
            return
        listed = conversations.listing(transcript, limit=RESUME_CHOICES)
        lines = [f"{conversation.id[:13]}  {safe_line(conversation.title)}" for conversation in listed]
        self.say("\n".join([*lines, "/resume ID goes on with one."]) if lines else "There are none yet.")

    def leave(self) -> None:
        """End the session."""
        self._is_leaving = True

    def _take(self, text: str) -> None:
        if is_command(text):
            dispatch(self, text)
        elif text.strip():
            self._answer(replace(self._template, prompt=text.strip()))

    def _answer(self, request: TurnRequest) -> None:
        deps = self._opened()
        self._keep_keys()
        shows_reasoning = self._house.settings.flag("show_reasoning")
        result = show(run(request, deps), TerminalSink(), self._diagnostics, show_reasoning=shows_reasoning)
        self._remember(result)
        if not self._is_leaving:
            self.say("\n")

    def _remember(self, result: TurnResult) -> None:
        if result.started is not None and result.started.message_id is not None:
            self._template = replace(
                self._template,
                conversation_id=result.started.conversation_id,
                parent_id=result.started.message_id,
                system=None,
            )
        settled = result.settled
        if settled is not None and settled.tokens is not None:
            self._used_tokens = settled.tokens.input_tokens + settled.tokens.output_tokens
            known = self._cost_nano is not None and settled.cost_nano is not None
            self._cost_nano = (self._cost_nano or 0) + (settled.cost_nano or 0) if known else None
        if result.interruption is not None:
            code = getattr(result.interruption, "exit_code", 130)
            if code == 130:
                has_text = settled is not None and settled.tokens is not None
                self._diagnostics.notice("Stopped; what arrived is kept." if has_text else "Stopped.")
            else:
                self._exit_code, self._is_leaving = code, True
        if result.reader_left:
            self._is_leaving = True

    def _go_on_with(self, conversation: Conversation) -> None:
        transcript = self._opened().transcript
        self._template = replace(
            self._template, conversation_id=conversation.id, parent_id=conversation.head_id, system=None
        )
        self._used_tokens = None
        self._cost_nano = usage.conversation_cost(transcript, conversation.id)
        branch = messages.branch(transcript, conversation.head_id) if conversation.head_id else []
        self.say(f"{safe_line(conversation.title)} ({len(branch)} messages)")
        for message in branch[-2:]:
            speaker = "> " if message.role == "user" else ""
            self.say(safe_text(speaker + message.content))

    def _last_question(self) -> Message:
        head = self._template.parent_id
        transcript = self._opened().transcript
        branch = messages.branch(transcript, head) if head else []
        for message in reversed(branch):
            if message.role == "user":
                return message
        raise UsageError("There is nothing to take back or ask again yet.")

    def _system_text(self) -> str | None:
        if self._template.conversation_id is None or self._template.system is not None:
            return self._template.system
        return conversations.get(self._opened().transcript, self._template.conversation_id).system_prompt

    def _opened(self) -> TurnDeps:
        if self._deps is None:
            self._deps = self._house.turn_deps(log=self._log, prepare=self._prepare)
        return self._deps

    def _prepare(self, model: Model) -> None:
        fetch_if_absent(self._house, model, self._diagnostics)

    def _warm(self) -> None:
        """Connect to the provider while the user is still typing."""
        threading.Thread(target=self._connect, args=(self._template.model,), name="warm", daemon=True).start()

    def _connect(self, model: Model) -> None:
        leave_signals_to_the_main_thread()
        if model.wire not in {"local", "litellm"}:
            self._house.provider_for(model).warm(model, self._house.timeouts)
