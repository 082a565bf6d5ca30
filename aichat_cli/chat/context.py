"""What the model is shown: the branch of the conversation, fitted to its window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aichat_cli.core.errors import ContextTooLong
from aichat_cli.core.messages import ChatMessage, Message
from aichat_cli.core.models import Model
from aichat_cli.providers.tokens import estimate

ANSWER_SHARE = 4
"""A quarter of the window is left for the answer."""

CERTAINLY_TOO_LONG = 2
"""Sizes are estimates; only what is twice the window is refused without asking the provider."""


@dataclass(frozen=True, slots=True)
class Context:
    """The messages to send, oldest first, and how many earlier ones the window has no room for."""

    messages: tuple[ChatMessage, ...]
    left_out: int


def build(branch: Sequence[Message], prompt: str | None, system: str | None, model: Model) -> Context:
    """Fit a branch and the new prompt (None when the branch ends with the one to answer) to the model's window.

    Replies without text (stopped or failed before a word came) are not shown. The newest message is always kept.

    Raises:
        ContextTooLong: the newest message alone is certainly larger than the window; sending it would be in vain.
    """
    shown = [ChatMessage(message.role, message.content) for message in branch if message.content]
    if prompt is not None:
        shown.append(ChatMessage("user", prompt))
    sizes = [estimate(message.content) + 4 for message in shown]
    budget = _room(model) - (estimate(system) if system else 0)
    kept, used = 0, 0
    for size in reversed(sizes):
        if kept and used + size > budget:
            break
        kept, used = kept + 1, used + size
    if model.context_tokens is not None and used > CERTAINLY_TOO_LONG * model.context_tokens:
        raise ContextTooLong(
            f"The prompt is about {used:,} tokens, and the window of {model.name} holds {model.context_tokens:,}.",
            hint="Shorten it, or choose a model with a larger window: aichat models list",
        )
    messages = shown[len(shown) - kept :]
    while len(messages) > 1 and messages[0].role == "assistant":
        # A window that opens with an answer would show the model half an exchange.
        messages = messages[1:]
    return Context(_joined(messages), len(shown) - len(messages))


def _joined(messages: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    """Neighbours of one speaker as one message: many servers' templates demand that user and assistant alternate."""
    joined: list[ChatMessage] = []
    for message in messages:
        if joined and joined[-1].role == message.role:
            joined[-1] = ChatMessage(message.role, f"{joined[-1].content}\n\n{message.content}")
        else:
            joined.append(message)
    return tuple(joined)


def _room(model: Model) -> int:
    window = model.context_tokens or 1_000_000_000
    answer = min(window // ANSWER_SHARE, model.max_output_tokens or window)
    return window - answer
