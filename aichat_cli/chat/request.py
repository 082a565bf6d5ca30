"""What a turn is asked for, and what it needs from the house."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from aichat_cli.billing.limits import NO_LIMITS, Limits
from aichat_cli.chat.payment import Confirm
from aichat_cli.core.errors import StorageError
from aichat_cli.core.ids import ConversationId, MessageId
from aichat_cli.core.messages import Attachment
from aichat_cli.core.models import Model
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import Struct, field
from aichat_cli.core.usage import UsageType
from aichat_cli.providers.base import OptionValue, Provider, Timeouts
from aichat_cli.providers.retry import RetryPolicy
from aichat_cli.storage.database import Database

if TYPE_CHECKING:
    from aichat_cli.chat.grounding import Retrieve
    from aichat_cli.chat.observing import Observe


class TurnRequest(Struct, frozen=True):
    """What the user asked for.

    Attributes:
        model: who answers, and `fallbacks` who does when that fails before a word came.
        prompt: the new user message; None answers `parent_id`, a user message, once more.
        conversation_id: the conversation to go on with, None for a new one.
        parent_id: the message the new one hangs under, None for the root.
        attachments: files that go with `prompt`.
        system: the system prompt; None keeps the conversation's own.
        question: what the user typed, where `prompt` also holds what was piped in or pasted; a new conversation is named
            after it, or after the answer where it is empty. None: the prompt is what was typed.
        docs: the collection to answer from, None to answer without documents.
        usage_type: what it is in the books: `completion` where it belongs to no conversation of the user's.
    """

    model: Model
    prompt: str | None
    conversation_id: ConversationId | None = None
    parent_id: MessageId | None = None
    system: str | None = None
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    fallbacks: tuple[Model, ...] = ()
    stream: bool = True
    question: str | None = None
    attachments: tuple[Attachment, ...] = ()
    docs: str | None = None
    usage_type: UsageType = "chat"


class TurnDeps(Struct, frozen=True):
    """What a turn needs from the house.

    Attributes:
        transcript: where the turn is kept: the user's database, or one in memory for `--no-log`.
        ledger: where usage is recorded if `transcript` is not the user's database, else None.
        storage_error: why `transcript` is only in memory, where that was not asked for.
        provider_for, key_for: the wire and the key of a model; `key_for` raises `KeyMissing`.
        prepare: makes a model ready before it is asked, such as by fetching its weights; raises what keeps it from that.
        sleep: waits between attempts.
        retrieve: searches documents, None where there are none.
        limits: what may be spent.
        confirm: asks before an expensive prompt is sent; None never asks.
        is_kept: whether the user wants the turn kept, also where it cannot be.
        observe: is told of the turn once it is stored; None where nobody wants to know.
    """

    transcript: Database
    provider_for: Callable[[Model], Provider]
    key_for: Callable[[Model], Secret | None]
    ledger: Database | None = None
    storage_error: StorageError | None = None
    timeouts: Timeouts = Timeouts()
    retry: RetryPolicy = RetryPolicy()
    prepare: Callable[[Model], None] = lambda _: None
    sleep: Callable[[float], None] = time.sleep
    retrieve: Retrieve | None = None
    limits: Limits = NO_LIMITS
    confirm: Confirm | None = None
    is_kept: bool = True
    observe: Observe | None = None

    @property
    def books(self) -> Database:
        """Where usage and money are kept."""
        return self.transcript if self.ledger is None else self.ledger
