"""What crossed the wire, thing by thing: a change of a title is news too, and three changes of one conversation are one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aichat_cli.core.sync import SyncReport
from aichat_cli.sync.direct import DirectTransport
from aichat_cli.sync.protocol import Page, Receipt


class Tallied(DirectTransport):
    """A `DirectTransport` that remembers which conversations went over it."""

    _sent: frozenset[str] = frozenset()
    _received: frozenset[str] = frozenset()

    def pull(self, *given: Any, **named: Any) -> Page:
        """`Transport.pull`."""
        page = super().pull(*given, **named)
        self._received |= {
            str(row["id"]) for row in page.rows if row["kind"] == "conversation" and not row["is_deleted"]
        }
        return page

    def push(self, device: str, seen: int, changes: Sequence[dict[str, Any]]) -> Receipt:
        """`Transport.push`."""
        receipt = super().push(device, seen, changes)
        if receipt.status == "ok":
            self._sent |= {str(change["id"]) for change in changes if change["kind"] == "conversation"}
        return receipt

    def correct(self, report: SyncReport) -> None:
        """Count conversations rather than changes of them; those that were here and changed are counted apart."""
        if self._sent:
            report.sent["conversation"] = len(self._sent)
        changed = len(self._received - self._sent) - report.received.get("conversation", 0)
        if changed > 0:
            report.received["changed"] = changed
