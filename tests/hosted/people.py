"""People with something in every table, and how a statement is seen to be refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from aichat_cli.core.sync import SCHEMA_VERSION

Connection = psycopg.Connection[Any]

CREDIT = 10_000_000

USED = '{"provider": "openai", "model": "gpt-4o", "input_tokens": 3}'
"""A call, as the service writes it down."""

READABLE = (
    "profiles",
    "credit_ledger",
    "credit_holds",
    "rate_events",
    "api_keys",
    "purchases",
    "sync_heads",
    "sync_devices",
    "conversations",
    "messages",
    "blobs",
    "usage",
    "documents",
    "document_chunks",
)
"""The tables of which a user may read rows of their own."""


@dataclass(frozen=True)
class Person:
    """A user, and the ids of what is theirs."""

    id: UUID
    conversation: UUID = field(default_factory=uuid4)
    message: UUID = field(default_factory=uuid4)
    answer: UUID = field(default_factory=uuid4)
    request: UUID = field(default_factory=uuid4)
    call: UUID = field(default_factory=uuid4)
    document: UUID = field(default_factory=uuid4)
    key: UUID = field(default_factory=uuid4)
    purchase: UUID = field(default_factory=uuid4)

    @property
    def key_hash(self) -> bytes:
        return hashlib.sha256(self.key.bytes).digest()

    @property
    def prefix(self) -> str:
        return f"sk-aichat-{self.key.hex[:8]}"


def sign_up(owner: Connection) -> UUID:
    """A new user, who has nothing but what everybody begins with."""
    user_id = uuid4()
    owner.execute("insert into auth.users (id, email) values (%s, %s)", (user_id, f"{user_id}@example.com"))
    return user_id


def settled_in(owner: Connection, *, version: int = SCHEMA_VERSION) -> Person:
    """A new user who has a row in every table that a version of the schema has."""
    someone = Person(sign_up(owner))
    with owner.transaction():
        _write_chat(owner, someone)
        _write_document(owner, someone)
        _write_account(owner, someone)
        if version >= 2:
            owner.execute(
                "select aichat.begin_purchase(%s, %s, 'small', 100, 500, 'usd', false, 'http://127.0.0.1:1')",
                (someone.purchase, someone.id),
            )
    return someone


def one(connection: Connection, query: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> object:
    """The single value a query yields."""
    row = connection.execute(query, parameters).fetchone()
    assert row is not None
    return row[0]


def count(connection: Connection, table: str, user_id: UUID | None = None) -> int:
    """How many rows of a table a role gets to see: all, or those of a user."""
    owner_column = "id" if table == "profiles" else "user_id"
    condition = sql.SQL("%(user)s::uuid is null or {} = %(user)s").format(sql.Identifier(owner_column))
    query = sql.SQL("select count(*) from {} where {}").format(sql.Identifier("public", table), condition)
    row = connection.execute(query, {"user": user_id}).fetchone()
    assert row is not None
    assert isinstance(row[0], int)
    return row[0]


def everything_of(owner: Connection, user_id: UUID) -> dict[str, list[str]]:
    """All that a user has, as text."""
    found = {}
    for table in (*READABLE, "aichat.staged_chunks"):
        key = "id" if table == "profiles" else "user_id"
        rows = owner.execute(f"select t::text from {table} t where {key} = %s order by 1", (user_id,)).fetchall()
        found[table] = [str(row) for (row,) in rows]
    return found


@dataclass
class Refusal:
    """Why a statement was refused."""

    message: str = ""
    detail: str | None = None


@contextmanager
def refused(state: str) -> Iterator[Refusal]:
    """Passes where what is inside is refused with this SQLSTATE, and fails otherwise."""
    refusal = Refusal()
    with pytest.raises(psycopg.Error) as raised:
        yield refusal
    assert raised.value.sqlstate == state, raised.value
    refusal.message = raised.value.diag.message_primary or ""
    refusal.detail = raised.value.diag.message_detail


FORBIDDEN = "42501"
"""insufficient_privilege: of a grant that is not there, or a row that a policy keeps out."""


def _write_chat(owner: Connection, someone: Person) -> None:
    owner.execute(
        "insert into conversations (user_id, id, seq, title, created_at, updated_at) values (%s, %s, 1, 'talk', now(), now())",
        (someone.id, someone.conversation),
    )
    for number, (message, parent, role) in enumerate(
        ((someone.message, None, "user"), (someone.answer, someone.message, "assistant"))
    ):
        owner.execute(
            "insert into messages (user_id, id, seq, conversation_id, parent_id, role, content, status, created_at)"
            " values (%s, %s, %s, %s, %s, %s, 'secret', 'complete', now())",
            (someone.id, message, 2 + number, someone.conversation, parent, role),
        )
    owner.execute(
        "insert into usage (user_id, request_id, seq, conversation_id, message_id, type, provider, model, input_tokens,"
        " cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost_nano, provenance, status, created_at)"
        " values (%s, %s, 4, %s, %s, 'chat', 'openai', 'gpt-4o', 1, 0, 0, 1, 0, 12500000, 'calculated', 'complete', now())",
        (someone.id, someone.request, someone.conversation, someone.answer),
    )
    owner.execute(
        "insert into blobs (user_id, sha256, content) values (%s, %s, 'secret')",
        (someone.id, hashlib.sha256(b"secret").hexdigest()),
    )


def _write_document(owner: Connection, someone: Person) -> None:
    owner.execute(
        "insert into documents (user_id, id, seq, stamp, created_at, updated_at) values (%s, %s, 5, '1', now(), now())",
        (someone.id, someone.document),
    )
    add_chunk(owner, someone.id, someone.document)
    owner.execute(
        "insert into aichat.staged_chunks (user_id, document_id, version, chunk_index, chunk) values (%s, %s, '2', 0, '{}')",
        (someone.id, someone.document),
    )


def add_chunk(connection: Connection, user_id: UUID, document_id: UUID, index: int = 0, dimensions: int = 3) -> None:
    """A chunk with a vector."""
    connection.execute(
        "insert into document_chunks (user_id, document_id, collection, chunk_index, content, start_char, end_char, line,"
        " token_count, hash, embedding_model, embedding, words)"
        " values (%s, %s, '', %s, 'secret', 0, 6, 1, 1, '', 'm', %s, to_tsvector('simple', 'secret'))",
        (user_id, document_id, index, str([1.0] * dimensions)),
    )


def _write_account(owner: Connection, someone: Person) -> None:
    admit(owner, someone.id, someone.call, CREDIT)
    owner.execute(
        "insert into api_keys (id, user_id, name, prefix, key_hash) values (%s, %s, 'laptop', %s, %s)",
        (someone.key, someone.id, someone.prefix, someone.key_hash),
    )
    owner.execute(
        "insert into sync_devices (user_id, id, name) values (%s, %s, 'laptop')", (someone.id, someone.conversation)
    )
    owner.execute("update sync_heads set head = 5 where user_id = %s", (someone.id,))
    owner.execute("update profiles set stripe_customer_id = %s where id = %s", (f"cus_{someone.id.hex}", someone.id))


def admit(connection: Connection, user_id: UUID, request_id: UUID, amount_nano: int, *, is_first: bool = True) -> int:
    """Admit a call; returns what is left to spend, in nano-dollars."""
    row = connection.execute(
        "select available_nano from aichat.admit(%s, %s, %s, %s, interval '1 minute', %s)",
        (user_id, request_id, amount_nano, '{"accrued_nano": 0}', is_first),
    ).fetchone()
    assert row is not None
    assert isinstance(row[0], int)
    return row[0]


def renew(connection: Connection, request_id: UUID, accrued_nano: int | None = None, lasts: str = "1 minute") -> bool:
    """A sign of life of a call; False where it has ended."""
    told: dict[str, object] = {"request_id": str(request_id)}
    if accrued_nano is not None:
        told["accrued_nano"] = accrued_nano
    ended = connection.execute("select aichat.renew(%s, %s::interval)", (json.dumps([told]), lasts)).fetchall()
    assert ended in ([], [(request_id,)])
    return not ended


def sums(owner: Connection, user_id: UUID) -> tuple[int, int]:
    """Balance and what is held, in nano-dollars, having looked that they are the sums they are said to be."""
    row = owner.execute(
        "select p.balance_nano, p.held_nano, p.credits,"
        " (select coalesce(sum(amount_nano), 0)::bigint from credit_ledger l where l.user_id = p.id),"
        " (select coalesce(sum(amount_nano), 0)::bigint from credit_holds h where h.user_id = p.id)"
        " from profiles p where p.id = %s",
        (user_id,),
    ).fetchone()
    assert row is not None
    balance, held, whole, ledger, holds = row
    assert isinstance(balance, int)
    assert isinstance(held, int)
    assert (balance, held) == (ledger, holds)
    assert whole == balance // CREDIT
    assert 0 <= held <= balance
    return balance, held
