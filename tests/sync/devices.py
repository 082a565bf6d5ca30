"""Devices that sync, simulated: each a real database with a clock of its own, on a real Postgres, with everything going
wrong on the way: requests that are lost, done without an answer, repeated or late, and processes that die at any statement.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import apsw

from aichat_cli.core.documents import Chunk
from aichat_cli.core.errors import HostedUnavailable
from aichat_cli.core.ids import ConversationId, MessageId, RequestId, new_id
from aichat_cli.core.messages import Attachment
from aichat_cli.core.money import TokenUsage
from aichat_cli.core.sync import SyncReport
from aichat_cli.core.usage import UsageRecord
from aichat_cli.documents.sqlite_vectors import SqliteVectors
from aichat_cli.documents.synced import SyncedDocuments, vector_text
from aichat_cli.storage import chunks, collections, conversations, documents, forks, sync_state, turns
from aichat_cli.storage.chunks import NewChunk
from aichat_cli.storage.database import Database
from aichat_cli.storage.documents import NewDocument
from aichat_cli.storage.turns import BeginTurn, OpenTurn, TurnOutcome
from aichat_cli.sync.engine import SyncDeps, SyncOptions, sync
from aichat_cli.sync.protocol import Transport
from tests.sync.sides import Side

LARGEST_FILE = 2_000
DAY_MS = 86_400_000


class Crash(BaseException):
    """The process of a device dies."""


class _Clock(apsw.VFS):
    """The file system of a device, which is asked for the time as well."""

    def __init__(self, offset_ms: int) -> None:
        self.name = f"clock-{offset_ms}"
        self._offset_ms = offset_ms
        super().__init__(self.name, "")

    def xCurrentTimeInt64(self) -> int:  # noqa: N802 (SQLite's name)
        return int(super().xCurrentTimeInt64()) + self._offset_ms


_USUAL = apsw.vfs_names()[0]
_opening = threading.Lock()
"""What a connection opens with is the whole process's: one is opened at a time."""


@cache
def _clock(offset_ms: int) -> _Clock:
    return _Clock(offset_ms)


def open_at(path: Path, offset_ms: int) -> Database:
    """Open a database on a device whose clock is wrong by so much."""
    with _opening:
        apsw.set_default_vfs(_clock(offset_ms).name)
        try:
            return Database.open(path)
        finally:
            apsw.set_default_vfs(_USUAL)


@dataclass
class Network:
    """What happens to the requests of a sync, one fault for each in turn; `ok` where there are none left.

    Attributes:
        faults: `lost` before it arrives, `unanswered` after it was done, `twice`, `late`: not done now, but at some later
            time, or `meanwhile`: another device syncs just before it.
        late: requests that are done later.
        meanwhile: what another device does.
        received: ids of messages that the other side has received.
    """

    faults: list[str] = field(default_factory=list)
    late: list[Callable[[], Any]] = field(default_factory=list)
    meanwhile: Callable[[], Any] = lambda: None
    received: set[str] = field(default_factory=set)

    def carry(self, request: Callable[[], Any]) -> Any:
        fault = self.faults.pop(0) if self.faults else "ok"
        if fault == "lost":
            raise HostedUnavailable("The request was lost.")
        if fault == "meanwhile":
            self.meanwhile()
        if fault == "late":
            self.late.append(request)
            raise HostedUnavailable("The request is late.")
        answer = request()
        if fault == "unanswered":
            raise HostedUnavailable("The answer was lost.")
        if fault == "twice":
            answer = request()
        return answer

    def deliver_late(self) -> None:
        """Do what was late: nobody waits for the answers."""
        while self.late:
            self.late.pop(0)()


class FaultyTransport:
    """A transport on such a network."""

    def __init__(self, transport: Transport, network: Network) -> None:
        self._transport = transport
        self._network = network

    def push(self, device: str, seen: int, changes: Sequence[dict[str, Any]]) -> Any:
        def request() -> Any:
            receipt = self._transport.push(device, seen, changes)
            if receipt.status == "ok":
                self._network.received |= {each["id"] for each in changes if each["kind"] == "message"}
            return receipt

        return self._network.carry(request)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self._transport, name)
        return lambda *arguments, **options: self._network.carry(lambda: call(*arguments, **options))


class DeviceSim:
    """One device: what its user does, and its sync."""

    def __init__(self, path: Path, transport: Transport, network: Network, *, offset_ms: int = 0) -> None:
        self.path = path
        self.transport = transport
        self.network = network
        self.offset_ms = offset_ms
        self.open_turns: list[OpenTurn] = []
        self.database = open_at(path, offset_ms)

    @classmethod
    def new(
        cls,
        path: Path,
        transport: Transport,
        network: Network,
        *,
        template: Path,
        offset_ms: int = 0,
        with_documents: bool = True,
    ) -> DeviceSim:
        """A fresh device with sync turned on."""
        shutil.copy(template, path)
        device = cls(path, transport, network, offset_ms=offset_ms)
        sync_state.begin(device.database, "test", with_documents=with_documents)
        return device

    def connect(self, side: Side) -> None:
        """Sync with another side from here on."""
        self.transport.close()
        self.transport = side.transport(self.path.stem)

    def close(self) -> None:
        """The process ends; turns that were being written are not, any more."""
        for turn in self.open_turns:
            turns.settle(self.database, turn, _outcome("cut off", None, status="stopped"))
        self.open_turns.clear()
        self.database.close()

    def reopen(self) -> None:
        """The process is started again."""
        self.database.close()
        self.database = open_at(self.path, self.offset_ms)

    def copy_to(self, path: Path) -> None:
        """Copy the database, as somebody copies a file of a program that is not running."""
        target = apsw.Connection(str(path))
        source = apsw.Connection(str(self.path))
        with target.backup("main", source, "main") as backup:
            backup.step()
        source.close()
        target.close()

    def sync(
        self,
        *,
        faults: Sequence[str] = (),
        most_rows: int = 1000,
        most_applied: int = 20_000,
        most_changes: int = 1000,
        dies_at: int | None = None,
    ) -> SyncReport | None:
        """Sync once; None where something on the way kept it from ending. `dies_at`: the statement at which it dies."""
        self.network.faults = list(faults)
        sink = SyncedDocuments(self.database, SqliteVectors)
        transport: Any = FaultyTransport(self.transport, self.network)
        deps = SyncDeps(self.database, transport, sink, vector_text)
        options = SyncOptions(
            largest_file=LARGEST_FILE, most_rows=most_rows, most_applied=most_applied, most_changes=most_changes
        )
        if dies_at is not None:
            self.database._connection.exec_trace = _Fuse(dies_at)
        try:
            return sync(deps, options)
        except HostedUnavailable:
            return None
        except Crash:
            self.database._connection.exec_trace = None
            self.reopen()
            return None
        finally:
            self.network.faults = []
            self.database._connection.exec_trace = None

    # What its user does.

    def ask(
        self, text: str, conversation: str | None, parent: str | None, *, files: Sequence[Attachment] = ()
    ) -> OpenTurn:
        """Begin a turn."""
        turn = turns.begin(
            self.database,
            BeginTurn(
                ConversationId(conversation) if conversation else None,
                MessageId(parent) if parent else None,
                text,
                f"About {text}",
                None,
                "model",
                attachments=tuple(files),
            ),
        )
        self.open_turns.append(turn)
        return turn

    def answer(self, turn: OpenTurn, text: str) -> str:
        """End a turn; the id of its request in the books."""
        self.open_turns.remove(turn)
        request_id = RequestId(new_id())
        turns.settle(self.database, turn, _outcome(text, request_id))
        return request_id

    def fork(self, conversation: str) -> str:
        """Fork a conversation."""
        return forks.fork(self.database, ConversationId(conversation))

    def delete(self, conversation: str) -> None:
        """Delete a conversation for good."""
        conversations.delete(self.database, ConversationId(conversation))

    def read(self, path: str, text: str) -> None:
        """Read a document, or read it anew."""
        database = self.database
        with database.transaction():
            collection = collections.ensure(database, "default", embedding_model="toy", dimensions=2)
            known = documents.of_paths(database, collection.seq, [path]).get(path)
            store = SqliteVectors(database, collection)
            if known is not None:
                gone = chunks.seqs_of(database, known.seq)
                store.remove(gone)
                chunks.delete(database, collection.seq, gone)
            pieces = [text[start : start + 7] for start in range(0, len(text), 7)]
            digest = sha256(text.encode()).digest()
            new = NewDocument(path, path, None, None, "text/plain", len(text), None, None, digest, "s")
            seq = documents.store(database, collection.seq, new, chunk_count=len(pieces))
            made = [
                NewChunk(Chunk(7 * n, 7 * n + len(piece), "", 1, None, 1), piece, sha256(piece.encode()).digest()[:16])
                for n, piece in enumerate(pieces)
            ]
            seqs = chunks.insert(database, [(seq, made)])
            chunks.index_words(database, collection.seq, seqs)
            store.add(seqs, _toy_vectors(pieces))

    def forget_document(self, path: str) -> None:
        """Remove a document."""
        from aichat_cli.documents.ingest.run import remove_documents

        with self.database.transaction():
            collection = collections.get(self.database, "default")
            found = documents.of_paths(self.database, collection.seq, [path])
            remove_documents(self.database, collection, list(found.values()), SqliteVectors)

    # What can be seen of it.

    def conversation_ids(self) -> list[str]:
        """All conversations, those in the trash too."""
        return [row[0] for row in self.database.rows("SELECT id FROM conversations ORDER BY id")]

    def message_ids(self, conversation: str) -> list[str]:
        """The complete messages of a conversation."""
        rows = self.database.rows(
            "SELECT id FROM messages WHERE conversation_id = ? AND status <> 'streaming' ORDER BY id", (conversation,)
        )
        return [row[0] for row in rows]

    def paths(self) -> list[str]:
        """Where its documents came from."""
        return [row[0] for row in self.database.rows("SELECT path FROM documents ORDER BY path")]

    def state(self) -> dict[str, Any]:
        """All that is synced, for comparing devices."""
        rows = self.database.rows
        return {
            "conversations": rows(
                "SELECT id, title, system_prompt, model, deleted_at, head_id, updated_at FROM conversations ORDER BY id"
            ),
            "messages": rows(
                "SELECT id, conversation_id, parent_id, role, content, reasoning, status, model, finish_reason, error,"
                " extra, created_at FROM messages ORDER BY id"
            ),
            "files": rows("SELECT id, message_id, sha256, name, media_type, bytes FROM attachments ORDER BY id"),
            "usage": rows(
                "SELECT request_id, conversation_id, message_id, model, input_tokens, cost_nano, created_at FROM usage"
                " ORDER BY request_id"
            ),
            "documents": rows("SELECT id, path, hex(sha256), chunk_count FROM documents ORDER BY id"),
            "chunks": rows(
                "SELECT d.id, c.chunk_index, c.content, hex(v.vector) FROM document_chunks c"
                " JOIN documents d ON d.seq = c.document_seq LEFT JOIN chunk_vectors v ON v.chunk_seq = c.seq"
                " ORDER BY d.id, c.chunk_index"
            ),
        }

    def kept_texts(self) -> str:
        """All that is in the trash of sync."""
        return "\n".join(row[0].decode() for row in self.database.rows("SELECT content FROM sync_trash"))


class _Fuse:
    def __init__(self, statements: int) -> None:
        self._left = statements

    def __call__(self, *_: object) -> bool:
        self._left -= 1
        if self._left < 0:
            raise Crash
        return True


def _outcome(text: str, request_id: RequestId | None, *, status: Any = "complete") -> TurnOutcome:
    record = None
    if request_id is not None:
        tokens = TokenUsage(input_tokens=10, output_tokens=20)
        record = UsageRecord(request_id, "chat", "test", "model", None, None, tokens, 30, "calculated", "complete")
    return TurnOutcome(text, "", status, "model", "stop", None, record)


def _toy_vectors(pieces: Sequence[str]) -> Any:
    import numpy as np

    made = np.array([[1.0, (sum(piece.encode()) % 50) / 25 - 1] for piece in pieces], dtype=np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True) if len(pieces) else made.reshape(0, 2)
