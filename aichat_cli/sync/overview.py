"""How things stand with sync, and what one would do, as data. It sends nothing and applies nothing."""

from __future__ import annotations

from collections.abc import Sequence

from aichat_cli.core.struct import Struct, field
from aichat_cli.core.sync import Device, Resync, SyncStatus
from aichat_cli.storage import sync_overview, sync_state, sync_trash
from aichat_cli.storage.database import Database
from aichat_cli.sync.incoming import pages_from
from aichat_cli.sync.protocol import Transport

TITLES_SHOWN = 3
_SEPARATOR = "#"


class Account(Struct, frozen=True):
    """The other side: where it is, as it may be shown, and whose rows are synced there.

    Attributes:
        place: a database such as `db.example.com/aichat`, or the URL of a gateway.
    """

    place: str
    user_id: str

    @property
    def is_gateway(self) -> bool:
        """Whether it is an account at a gateway, and not a database of one's own."""
        return self.place.startswith(("https://", "http://"))

    @property
    def text(self) -> str:
        """As it is kept in the database."""
        return f"{self.place}{_SEPARATOR}{self.user_id}"

    @classmethod
    def of(cls, text: str) -> Account:
        """What `text` was made of."""
        place, _, user_id = text.rpartition(_SEPARATOR)
        return cls(place or text, user_id if place else "")


class Overview(Struct, frozen=True):
    """`aichat sync status`.

    Attributes:
        status: as this device knows it.
        writing: answers being written here, which wait for their end.
        devices: asked from the other side; None where it was not reached.
        trouble: why it was not.
    """

    status: SyncStatus
    place: str
    writing: int
    is_background: bool
    devices: tuple[Device, ...] | None = None
    trouble: str | None = None


class Plan(Struct):
    """What a sync would do, as far as it can be told before it is done.

    Attributes:
        sent, received: how many of each kind.
        titles, documents: the first of what would be sent.
        is_everything: whether all there is here is compared, as in a first sync: what is sent is then no more than that.
        writing: answers being written, which wait.
    """

    sent: dict[str, int] = field(default_factory=dict)
    received: dict[str, int] = field(default_factory=dict)
    deleted_there: int = 0
    deleted_here: int = 0
    titles: list[str] = field(default_factory=list)
    documents: list[str] = field(default_factory=list)
    resync: Resync = ""
    writing: int = 0

    @property
    def is_everything(self) -> bool:
        """Whether all there is here is compared: no more than `sent` is sent then."""
        return self.resync != ""

    @property
    def is_nothing(self) -> bool:
        """Whether both sides are alike."""
        return not (self.sent or self.received or self.deleted_there or self.deleted_here)


def status(database: Database) -> SyncStatus:
    """How things stand on this device; raises SyncError where sync is off."""
    state = sync_state.get(database)
    return SyncStatus(
        account=state.account,
        device_id=state.device_id,
        synced_at=state.synced_at,
        tried_at=state.tried_at,
        problem=state.problem,
        pending=sync_overview.pending(database),
        trash=sync_trash.listing(database),
        resync=state.resync,
        with_documents=state.with_documents,
    )


def overview(database: Database, *, is_background: bool) -> Overview:
    """How things stand, without asking the other side."""
    known = status(database)
    return Overview(known, Account.of(known.account).place, sync_overview.writing(database), is_background)


def plan(database: Database, transport: Transport) -> Plan:
    """What a sync would do. Only that this device asked is noted there.

    Raises:
        SyncError: sync is off.
        HostedError: the other side failed.
    """
    state = sync_state.get(database)
    planned = Plan(resync=state.resync, writing=sync_overview.writing(database))
    _count_outgoing(database, planned)
    for page in pages_from(transport, state.device_id, 0 if state.resync else state.cursor):
        if page.status == "purged" and not planned.resync:
            planned = _plan_of_everything(database, planned)
            break
        _count_incoming(database, planned, page.rows, with_documents=state.with_documents)
    else:
        return planned
    for page in pages_from(transport, state.device_id, 0):
        _count_incoming(database, planned, page.rows, with_documents=state.with_documents)
    return planned


def _plan_of_everything(database: Database, planned: Plan) -> Plan:
    """After a device was away for too long all is compared."""
    anew = Plan(resync="purged", writing=planned.writing)
    _count_outgoing(database, anew)
    return anew


def _count_outgoing(database: Database, planned: Plan) -> None:
    if planned.is_everything:
        there = sync_overview.contents(database)
        counts = {"conversation": there.conversations, "message": there.messages, "document": there.documents}
        planned.sent = {kind: count for kind, count in counts.items() if count}
        return
    for kind, count in sync_overview.pending(database).items():
        if kind.endswith("_delete"):
            planned.deleted_there += count
        else:
            planned.sent[kind] = count
    planned.titles = sync_overview.pending_titles(database, limit=TITLES_SHOWN)
    planned.documents = sync_overview.pending_documents(database, limit=TITLES_SHOWN)


def _count_incoming(
    database: Database, planned: Plan, rows: Sequence[dict[str, object]], *, with_documents: bool
) -> None:
    gone: dict[str, list[str]] = {"conversation": [], "document": []}
    for row in rows:
        kind = str(row["kind"])
        if kind == "document" and not with_documents:
            continue
        if row.get("is_deleted"):
            gone[kind].append(str(row["id"]))
        else:
            planned.received[kind] = planned.received.get(kind, 0) + 1
    for kind, ids in gone.items():
        if ids:
            planned.deleted_here += sync_overview.present(database, kind, ids)
