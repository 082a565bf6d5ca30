"""Several devices, everything that can happen between them, and what must be true afterwards.

What is demanded when all have synced in peace: every device shows the same; nothing that was ever written is lost, unless
somebody deleted it for good after having seen it; nothing is there twice; nothing is left to send.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from aichat_cli.core.ids import ConversationId, MessageId, new_id
from aichat_cli.core.messages import Attachment
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import to_json
from aichat_cli.core.sync import SyncReport
from aichat_cli.hosted.connection import Connection, json_text
from aichat_cli.storage import conversations, outbox
from aichat_cli.sync.direct import DirectTransport
from aichat_cli.sync.protocol import Transport
from tests import memory
from tests.sync.devices import DAY_MS, DeviceSim, Network
from tests.sync.sides import Side

OFFSETS = (0, -30 * DAY_MS, 365 * DAY_MS)
FAULTS = st.lists(st.sampled_from(["ok", "meanwhile", "lost", "unanswered", "twice", "late"]), max_size=6)
NUMBERS = st.integers(0, 1000)
MOST_DEVICES = 5


class Devices(RuleBasedStateMachine):
    """The machine. `dsn` is of a database with the schema, in which every example has a user of its own: the next of
    `users`, where they have another way there than a connection.
    """

    dsn: ClassVar[str]
    users: ClassVar[Iterator[tuple[str, Side]] | None] = None
    template: ClassVar[Path]
    idle: ClassVar[list[Connection]]
    """Connections for the next example: a new one has to read and plan every function anew, which takes most of the time."""
    with_documents: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="aichat-devices-", dir=memory.folder()))
        self.connections: list[Connection] = []
        self.owner = self._connection()
        self.side: Side | None = None
        if self.users is None:
            self.user = str(self.owner.value("INSERT INTO auth.users (id) VALUES (gen_random_uuid()) RETURNING id"))
        else:
            self.user, self.side = next(self.users)
        self.devices: list[DeviceSim] = []
        self.networks: list[Network] = []
        self.texts: dict[str, str] = {}
        """What was written in each complete message, by id."""
        self.deleted: set[str] = set()
        """Conversations that somebody deleted for good."""
        self.known_to_deleter: set[str] = set()
        """Messages that were there, on the device that deleted their conversation."""
        self.copies: list[DeviceSim] = []
        """Devices that have the same identity as another, or had."""
        self.purged = False
        self.overwritten: set[tuple[str, str]] = set()
        """Titles, prompts and models that somebody saw and set to something else, with the conversation: a fork keeps its own."""
        self.requests: set[str] = set()
        self.written = 0

    @initialize()
    def begin(self) -> None:
        for number, offset_ms in enumerate(OFFSETS):
            self._join(f"device-{number}", offset_ms)

    def _connection(self) -> Connection:
        """One of this example's own."""
        connection = self.idle.pop() if self.idle else Connection.open(Secret(self.dsn, "test"))
        self.connections.append(connection)
        return connection

    def _join(self, name: str, offset_ms: int, *, copied_from: DeviceSim | None = None) -> None:
        transport: Transport
        if self.side is None:
            transport = DirectTransport(self._connection(), user_id=self.user, device_name=name)
        else:
            transport = self.side.transport(name)
        network = Network()
        path = self.folder / f"{name}-{len(self.devices)}.db"
        if copied_from is None:
            device = DeviceSim.new(
                path,
                transport,
                network,
                template=self.template,
                offset_ms=offset_ms,
                with_documents=self.with_documents,
            )
        else:
            copied_from.copy_to(path)
            device = DeviceSim(path, transport, network, offset_ms=offset_ms)
            self.copies += [copied_from, device]
        self.devices.append(device)
        self.networks.append(network)

    def _text(self) -> str:
        self.written += 1
        return f"text-{self.written}-{new_id()}"

    def _one(self, listed: list[Any], number: int) -> Any:
        return listed[number % len(listed)] if listed else None

    def _note(self, device: DeviceSim, conversation: str) -> None:
        rows = device.database.rows(
            "SELECT id, content FROM messages WHERE conversation_id = ? AND status <> 'streaming'", (conversation,)
        )
        self.texts |= dict(rows)

    @rule(which=NUMBERS, chosen=NUMBERS, at=NUMBERS, is_new=st.booleans(), size=st.sampled_from([None, 10, 5_000]))
    def ask_and_answer(self, which: int, chosen: int, at: int, is_new: bool, size: int | None) -> None:
        turn = self._ask(which, chosen, at, is_new, size)
        if turn is not None:
            device = self._one(self.devices, which)
            self.requests.add(device.answer(turn, self._text()))
            self._note(device, turn.conversation_id)

    @rule(which=NUMBERS, chosen=NUMBERS, at=NUMBERS, is_new=st.booleans())
    def begin_an_answer(self, which: int, chosen: int, at: int, is_new: bool) -> None:
        turn = self._ask(which, chosen, at, is_new, None)
        if turn is not None:
            self._note(self._one(self.devices, which), turn.conversation_id)

    def _ask(self, which: int, chosen: int, at: int, is_new: bool, size: int | None) -> Any:
        device = self._one(self.devices, which)
        conversation = None if is_new else self._one(device.conversation_ids(), chosen)
        # Also below an answer that is still being written.
        parents = [
            row[0]
            for row in device.database.rows("SELECT id FROM messages WHERE conversation_id = ?", (conversation or "",))
        ]
        parent = self._one(sorted(parents), at)
        files = [] if size is None else [Attachment("a.bin", "image/png", bytes([at % 250]) * size)]
        return device.ask(self._text(), conversation, parent, files=files)

    @rule(which=NUMBERS, chosen=NUMBERS)
    def end_an_answer(self, which: int, chosen: int) -> None:
        device = self._one(self.devices, which)
        turn = self._one(device.open_turns, chosen)
        if turn is not None:
            self.requests.add(device.answer(turn, self._text()))
            self._note(device, turn.conversation_id)

    @rule(which=NUMBERS, chosen=NUMBERS, what=st.sampled_from(["title", "prompt", "model", "trash", "restore", "head"]))
    def change(self, which: int, chosen: int, what: str) -> None:
        device = self._one(self.devices, which)
        id_ = self._one(device.conversation_ids(), chosen)
        if id_ is None:
            return
        conversation = ConversationId(id_)
        if what in {"title", "prompt", "model"}:
            before = conversations.get(device.database, conversation)
            column = {"title": before.title, "prompt": before.system_prompt, "model": before.model}[what]
            if column is not None and column.startswith("text-"):
                self.overwritten.add((conversation, column))
        if what == "title":
            conversations.rename(device.database, conversation, self._text())
        elif what == "prompt":
            conversations.set_system_prompt(device.database, conversation, self._text())
        elif what == "model":
            conversations.set_model(device.database, conversation, self._text())
        elif what == "trash":
            conversations.move_to_trash(device.database, conversation)
        elif what == "restore":
            conversations.restore(device.database, conversation)
        else:
            message = self._one(device.message_ids(id_), chosen)
            conversations.move_head(device.database, conversation, MessageId(message) if message else None)

    @rule(which=NUMBERS, chosen=NUMBERS)
    def fork(self, which: int, chosen: int) -> None:
        device = self._one(self.devices, which)
        conversation = self._one(device.conversation_ids(), chosen)
        if conversation is not None:
            self._note(device, device.fork(conversation))

    @rule(which=NUMBERS, chosen=NUMBERS)
    def delete(self, which: int, chosen: int) -> None:
        device = self._one(self.devices, which)
        conversation = self._one(device.conversation_ids(), chosen)
        if conversation is None:
            return
        self.known_to_deleter |= set(device.message_ids(conversation))
        self.deleted.add(conversation)
        for turn in [turn for turn in device.open_turns if turn.conversation_id == conversation]:
            self.requests.add(device.answer(turn, self._text()))
            self._note(device, conversation)
            self.known_to_deleter |= set(device.message_ids(conversation))
        device.delete(conversation)

    @precondition(lambda self: self.with_documents)
    @rule(which=NUMBERS, path=st.sampled_from(["a.md", "b.md", "c.md"]), length=st.integers(0, 40))
    def read_document(self, which: int, path: str, length: int) -> None:
        self._one(self.devices, which).read(path, f"{self._text()[:12]}{'x' * length}")

    @precondition(lambda self: self.with_documents)
    @rule(which=NUMBERS, chosen=NUMBERS)
    def forget_document(self, which: int, chosen: int) -> None:
        device = self._one(self.devices, which)
        path = self._one(device.paths(), chosen)
        if path is not None:
            device.forget_document(path)

    @rule(
        which=NUMBERS,
        other=NUMBERS,
        faults=FAULTS,
        rows=st.sampled_from([1, 2, 3, 1000]),
        changes=st.sampled_from([1, 2, 3, 1000]),
        applied=st.sampled_from([1, 2, 20_000]),
        dies_at=st.none() | st.integers(0, 150),
    )
    def sync(
        self, which: int, other: int, faults: list[str], rows: int, changes: int, applied: int, dies_at: int | None
    ) -> None:
        device = self._one(self.devices, which)
        another = self._one([each for each in self.devices if each is not device], other)
        device.network.meanwhile = lambda: self._sync(another)
        if dies_at is not None and device.open_turns:
            dies_at = None  # its turns would die with it: that is another rule
        self._sync(device, faults=faults, most_rows=rows, most_changes=changes, most_applied=applied, dies_at=dies_at)

    def _sync(self, device: DeviceSim, **options: Any) -> SyncReport | None:
        """Sync; nobody has to read everything again who has no reason to."""
        report = device.sync(**options)
        if report is not None:
            expected = {
                "",
                "first",
                *(["copied"] if device in self.copies else []),
                *(["purged"] if self.purged else []),
            }
            assert report.resync in expected
        return report

    @rule(which=NUMBERS, chosen=NUMBERS)
    def a_gateway_writes_a_call_down(self, which: int, chosen: int) -> None:
        """It does so for each call through it, and knows all of it but what it belongs to."""
        device = self._one(self.devices, which)
        request = self._one([row[0] for row in device.database.rows("SELECT request_id FROM usage ORDER BY 1")], chosen)
        if request is not None:
            used = outbox.usage_to_send(device.database, [request])[request]
            del used["conversation_id"], used["message_id"]
            values = (self.user, request, used["cost_nano"], json_text(to_json(used).decode()))
            self.owner.rows("SELECT aichat.record_usage(%s, %s, %s, %s)", values)

    @rule(which=NUMBERS)
    def something_late_arrives(self, which: int) -> None:
        self._one(self.networks, which).deliver_late()

    @rule(which=NUMBERS)
    def die(self, which: int) -> None:
        device = self._one(self.devices, which)
        streaming = {turn.conversation_id for turn in device.open_turns}
        device.close()
        device.reopen()
        for conversation in streaming:
            self._note(device, conversation)

    @precondition(lambda self: len(self.devices) < MOST_DEVICES)
    @rule(which=NUMBERS, is_copy=st.booleans(), offset_ms=st.sampled_from(OFFSETS))
    def join(self, which: int, is_copy: bool, offset_ms: int) -> None:
        original = self._one(self.devices, which)
        if not is_copy:
            self._join("another", offset_ms)
        elif not original.open_turns:
            self._join("copy", original.offset_ms, copied_from=original)

    @rule()
    def purge(self) -> None:
        self.purged = True
        self.owner.rows("SELECT aichat.sync_purge(%s, '0 seconds')", (self.user,))

    def teardown(self) -> None:
        try:
            if self.devices:
                self._settle()
                self._check()
        finally:
            for device in self.devices:
                device.database.close()
                if self.side is not None:
                    device.transport.close()
            self.idle.extend(self.connections)
            shutil.rmtree(self.folder)

    def _settle(self) -> None:
        """End all that is under way, and sync in peace until nothing changes."""
        for device in self.devices:
            for turn in list(device.open_turns):
                self.requests.add(device.answer(turn, self._text()))
                self._note(device, turn.conversation_id)
        for network in self.networks:
            network.deliver_late()
        for size in (2, 1000, 1000):
            for device in self.devices:
                assert self._sync(device, most_changes=size) is not None

    def _check(self) -> None:
        for device in self.devices:
            assert outbox.pending(device.database) == {}
            assert device.database.rows("PRAGMA foreign_key_check") == []
        states = [device.state() for device in self.devices]
        for state in states[1:]:
            for kind, rows in state.items():
                assert rows == states[0][kind], kind
        self._check_server(states[0])
        present = {row[0] for row in states[0]["messages"]}
        kept = "\n".join(device.kept_texts() for device in self.devices)
        received = set[str]().union(*(network.received for network in self.networks))
        for message, text in self.texts.items():
            is_safe = message in present or message in self.known_to_deleter or message in received or text in kept
            assert is_safe, f"{text} is lost"
        if not self.copies:  # a copy sends again what it never saw overwritten
            shown = {(row[0], value) for row in states[0]["conversations"] for value in row[1:4]}
            assert not shown & self.overwritten
        conversations_left = {row[0] for row in states[0]["conversations"]}
        assert not conversations_left & self.deleted
        assert {row[0] for row in states[0]["usage"]} == self.requests

    def _check_server(self, state: dict[str, Any]) -> None:
        rows = self.owner.rows
        listed = rows(
            "SELECT id::text, title, system_prompt, model, aichat.iso(trashed_at), head_id::text, aichat.iso(updated_at)"
            " FROM public.conversations WHERE user_id = %s AND deleted_at IS NULL ORDER BY id",
            (self.user,),
        )
        assert listed == state["conversations"]
        assert [
            row[0] for row in rows("SELECT id::text FROM messages WHERE user_id = %s ORDER BY id", (self.user,))
        ] == [row[0] for row in state["messages"]]
        chunks = rows(
            "SELECT document_id::text, chunk_index, content FROM document_chunks WHERE user_id = %s ORDER BY 1, 2",
            (self.user,),
        )
        assert chunks == [row[:3] for row in state["chunks"]]
        [(beyond,)] = rows(
            "SELECT count(*) FROM messages m JOIN sync_heads h USING (user_id) WHERE user_id = %s AND m.seq > h.head",
            (self.user,),
        )
        assert beyond == 0


@contextmanager
def machine(name: str, dsn: str, template: Path, **options: Any) -> Iterator[type[Devices]]:
    """The machine on a database."""
    idle: list[Connection] = []
    try:
        yield type(name, (Devices,), {"dsn": dsn, "template": template, "idle": idle, **options})
    finally:
        for connection in idle:
            connection.close()
