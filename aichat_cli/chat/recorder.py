"""One turn on its way into the database: opened before anything is sent, checkpointed by a thread, settled once.

A database that fails never stops the answer: the failure is handed back and the turn goes on unsaved.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from aichat_cli.core.errors import StorageError
from aichat_cli.core.ids import RequestId
from aichat_cli.core.interrupts import leave_signals_to_the_main_thread
from aichat_cli.core.messages import Status
from aichat_cli.core.usage import UsageRecord
from aichat_cli.storage import accounts, turns, usage
from aichat_cli.storage.database import Database

if TYPE_CHECKING:
    from aichat_cli.core.documents import Source

CHECKPOINT_SECONDS = 0.8
"""Under a second, so that with the write itself `kill -9` loses less than a second of text."""


class Recorder:
    """Collects the deltas of one answer and keeps them.

    Args:
        database: where the turn was opened; None when it could not be.
        turn: the open turn in it.
        ledger: where usage is recorded when `database` is not the user's own (a `--no-log` turn).
    """

    def __init__(self, database: Database | None, turn: turns.OpenTurn | None, ledger: Database | None) -> None:
        self._database = database
        self._turn = turn
        self._ledger = ledger
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._ended = threading.Event()
        self._checkpoints: threading.Thread | None = None

    @property
    def text(self) -> str:
        """The answer so far."""
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        """What the model thought so far."""
        return "".join(self._reasoning)

    @property
    def has_content(self) -> bool:
        """Whether anything arrived."""
        return bool(self._text or self._reasoning)

    def add_text(self, delta: str) -> None:
        """Append to the answer."""
        self._text.append(delta)
        if self._checkpoints is None:
            self._start_checkpoints()

    def add_reasoning(self, delta: str) -> None:
        """Append to the reasoning."""
        self._reasoning.append(delta)
        if self._checkpoints is None:
            self._start_checkpoints()

    def settle(
        self,
        *,
        status: Status,
        model: str,
        finish_reason: str | None,
        error: str | None,
        request_id: RequestId,
        record: UsageRecord | None,
        sources: tuple[Source, ...] = (),
    ) -> StorageError | None:
        """Write the end of the turn in one transaction; the error when that failed."""
        self._ended.set()
        if self._checkpoints is not None:
            self._checkpoints.join()
        outcome = turns.TurnOutcome(
            text=self.text,
            reasoning=self.reasoning,
            status=status,
            model=model,
            finish_reason=finish_reason,
            error=error,
            usage=record,
            sources=sources,
            request_id=request_id if self._ledger is None else None,
        )
        try:
            if self._database is not None and self._turn is not None:
                turns.settle(self._database, self._turn, outcome)
            if self._ledger is not None:
                _account(self._ledger, request_id, record)
        except StorageError as failure:
            return failure
        return None

    def _start_checkpoints(self) -> None:
        self._checkpoints = threading.Thread(target=self._checkpoint_until_ended, name="checkpoints", daemon=True)
        self._checkpoints.start()

    def _checkpoint_until_ended(self) -> None:
        leave_signals_to_the_main_thread()
        if self._database is None or self._turn is None or not self._database.is_persistent:
            return
        if self._ended.wait(CHECKPOINT_SECONDS):
            return
        saved = (0, 0)
        try:
            with self._database.reopen() as database:
                while True:
                    size = (len(self._text), len(self._reasoning))
                    if size != saved:
                        turns.checkpoint(database, self._turn, self.text, self.reasoning)
                        saved = size
                    if self._ended.wait(CHECKPOINT_SECONDS):
                        return
        except StorageError:
            # Settling writes the same text again and reports what is wrong with the database.
            return


def _account(ledger: Database, request_id: RequestId, record: UsageRecord | None) -> None:
    """What a turn that is kept elsewhere, or nowhere, cost."""
    if record is None and accounts.open_hold(ledger, request_id) is None:
        return
    with ledger.transaction(durable=True):
        if record is not None:
            usage.insert(ledger, record, conversation_id=None, message_id=None)
        accounts.close(ledger, request_id, record)
