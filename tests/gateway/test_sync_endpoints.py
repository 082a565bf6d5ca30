"""The endpoints of sync: what they take, what they refuse, and that nobody reaches what is another's."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any
from uuid import uuid4

import httpx
import pytest

from aichat_cli.accounts.postgres import PostgresAccounts
from aichat_cli.core.secret import Secret
from aichat_cli.gateway import sync_desk
from aichat_cli.gateway.sync_bodies import MOST_FILE, MOST_JSON
from aichat_cli.gateway.sync_desk import SyncDesk
from tests.servers.gateway import RunningGateway
from tests.servers.postgres import Cluster, connect
from tests.servers.scripted import ScriptedServer
from tests.sync.conftest import apply_schema

DEVICE, OTHER_DEVICE = str(uuid4()), str(uuid4())
DOCUMENT, CONVERSATION = str(uuid4()), str(uuid4())
NAMED = {"device": DEVICE, "device_name": "laptop"}
PULL = {**NAMED, "after": 0, "horizon": -1, "most": 1000, "most_bytes": 8_000_000}
CHUNKS = {"document": DOCUMENT, "stamp": "0000000000000001-x", "after": -1, "most": 10, "most_bytes": 1000}
HASH = sha256(b"file").hexdigest()
CALLS: dict[str, dict[str, Any]] = {
    "pull": PULL,
    "push": {**NAMED, "seen": 0, "changes": []},
    "stage": {"document": DOCUMENT, "version": "v", "chunks": []},
    "chunks": CHUNKS,
    "missing-files": {"hashes": [HASH]},
    "devices": {},
    "forget": {"device": DEVICE},
}
REQUESTS = [*(("POST", name) for name in CALLS), ("PUT", f"files/{HASH}"), ("GET", f"files/{HASH}")]


@pytest.fixture(scope="module")
def dsn(postgres18: Cluster) -> Iterator[str]:
    with postgres18.database(postgres18.template("schema", apply_schema)) as made:
        yield made


@pytest.fixture(scope="module")
def hosted(dsn: str, provider: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    store = PostgresAccounts(Secret(dsn, "test"))
    with RunningGateway(tmp_path_factory.mktemp("hosted"), provider, store=store) as running:
        yield running


class Device:
    """One device of a user's."""

    def __init__(self, gateway: RunningGateway, key: str | None, *, name: str = DEVICE) -> None:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self.named = {"device": name, "device_name": "laptop"}
        self.http = httpx.Client(base_url=f"{gateway.url}/v1/sync/", headers=headers, trust_env=False)

    def ask(self, name: str, body: Any, **headers: str) -> httpx.Response:
        return self.http.post(name, json=body, headers=headers)

    def request(self, method: str, path: str, **headers: str) -> httpx.Response:
        content = None if method == "GET" else b"file" if method == "PUT" else json.dumps(CALLS[path])
        return self.http.request(method, path, content=content, headers=headers)

    def push(self, *changes: dict[str, Any], seen: int = 0) -> httpx.Response:
        numbered = [{"mid": n, "uid": f"u{n}", "clock": n, **each} for n, each in enumerate(changes, 1)]
        return self.ask("push", {**self.named, "seen": seen, "changes": numbered})

    def pull(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.ask("pull", {**PULL, **self.named}).json()["rows"]
        return rows


NewDevice = Callable[..., Device]


@pytest.fixture
def device_of() -> Iterator[NewDevice]:
    """Makes devices."""
    made: list[Device] = []

    def make(gateway: RunningGateway, key: str | None, *, name: str = DEVICE) -> Device:
        made.append(Device(gateway, key, name=name))
        return made[-1]

    yield make
    for device in made:
        device.http.close()


def conversation(title: str) -> dict[str, Any]:
    now = "2026-01-01T00:00:00.000Z"
    return {
        "kind": "conversation",
        "id": CONVERSATION,
        "fields": {"title": title},
        "created_at": now,
        "updated_at": now,
    }


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize(("method", "path"), REQUESTS)
def test_without_a_key_for_sync_or_a_postgres_nothing_is_done(
    device_of: NewDevice, gateway: RunningGateway, hosted: RunningGateway, method: str, path: str
) -> None:
    assert code(device_of(hosted, None).request(method, path)) == (401, "invalid_api_key")
    assert code(device_of(hosted, hosted.key("chris", scopes=("chat",))).request(method, path)) == (
        403,
        "scope_missing",
    )
    refused = device_of(gateway, gateway.key("anna")).request(method, path)
    assert code(refused) == (501, "sync_unavailable")
    assert "aichat serve --database" in refused.json()["error"]["message"]


def test_the_account_tells_whether_there_is_sync(gateway: RunningGateway, hosted: RunningGateway) -> None:
    for running, has_sync in ((gateway, False), (hosted, True)):
        headers = {"Authorization": f"Bearer {running.key('anna')}"}
        told = httpx.get(f"{running.url}/v1/account", headers=headers, trust_env=False).json()
        assert told["sync"] is has_sync


@pytest.mark.parametrize(("method", "path"), REQUESTS)
def test_a_key_of_somebody_else_than_the_device_means_is_refused(
    device_of: NewDevice, hosted: RunningGateway, method: str, path: str
) -> None:
    device = device_of(hosted, hosted.key("anna"))
    refused = device.request(method, path, **{"X-Aichat-User": str(uuid4())})
    assert code(refused) == (409, "sync_other_user")


MALFORMED: list[tuple[str, dict[str, Any]]] = [
    ("pull", {"device": "x"}),
    ("pull", {"device": DEVICE.upper()}),
    ("pull", {"device": 7}),
    ("pull", {"device_name": ""}),
    ("pull", {"device_name": "x" * 101}),
    ("pull", {"device_name": "a\x1b[31mb"}),
    ("pull", {"device_name": "a\x00b"}),
    ("pull", {"after": -1}),
    ("pull", {"after": 2**63}),
    ("pull", {"after": 1.5}),
    ("pull", {"after": True}),
    ("pull", {"most": 0}),
    ("pull", {"most_bytes": "8"}),
    ("push", {"seen": None}),
    ("push", {"changes": {}}),
    ("push", {"changes": [1]}),
    ("push", {"changes": [{}] * 10_001}),
    ("push", {"changes": [{"mid": 0, "uid": "u", "clock": 1, "kind": "nothing"}]}),
    ("push", {"changes": [{"mid": 1, "uid": "u", "clock": -1, "kind": "nothing"}]}),
    ("push", {"changes": [{"mid": 1, "uid": "u", "clock": 2**63, "kind": "nothing"}]}),
    ("push", {"changes": [{"mid": 1, "uid": "u" * 101, "clock": 1, "kind": "nothing"}]}),
    ("push", {"changes": [{"mid": 1, "uid": "u", "clock": 1, "kind": "table"}]}),
    ("push", {"changes": [{"mid": 1, "uid": "u", "clock": 1, "kind": "message", "id": "x"}]}),
    ("stage", {"document": "x"}),
    ("stage", {"version": "a\x00"}),
    ("stage", {"chunks": [{"content": "x"}]}),
    ("stage", {"chunks": [{"chunk_index": -1}]}),
    ("chunks", {"stamp": ""}),
    ("chunks", {"after": 2**31}),
    ("missing-files", {"hashes": ["x"]}),
    ("missing-files", {"hashes": HASH}),
    ("forget", {"device": None}),
]


@pytest.mark.parametrize(("name", "wrong"), MALFORMED)
def test_what_a_device_says_of_itself_is_looked_at(
    device_of: NewDevice, hosted: RunningGateway, name: str, wrong: dict[str, Any]
) -> None:
    refused = device_of(hosted, hosted.key("anna")).ask(name, {**CALLS[name], **wrong})
    assert code(refused) == (400, "sync_field")
    assert refused.json()["error"]["param"].startswith(next(iter(wrong)))


BAD_CHANGES: list[dict[str, Any]] = [
    {"kind": "conversation", "id": CONVERSATION, "fields": "title"},
    {"kind": "conversation", "id": CONVERSATION, "fields": {"head_id": "x"}, "created_at": "now", "updated_at": "now"},
    {"kind": "conversation", "id": DOCUMENT, "fields": {"title": "x"}},
    {"kind": "usage", "id": CONVERSATION, "type": "chat"},
    {"kind": "usage", "id": CONVERSATION, "input_tokens": 10**30},
    {"kind": "document", "id": DOCUMENT, "chunk_count": 3, "version": "v", "created_at": "now", "updated_at": "now"},
    {"kind": "message", "id": DOCUMENT, "conversation_id": [], "content": {}},
]


@pytest.mark.parametrize("change", BAD_CHANGES)
def test_what_the_tables_cannot_hold_is_the_callers_mistake(
    device_of: NewDevice, hosted: RunningGateway, change: dict[str, Any]
) -> None:
    device = device_of(hosted, hosted.key("ben"))
    refused = device.push(conversation("not kept"), change)
    assert refused.json()["error"]["code"] == "sync_refused"
    assert refused.status_code in {400, 409}
    assert device.pull() == []


def test_bodies_are_bounded_also_once_they_are_unpacked(device_of: NewDevice, hosted: RunningGateway) -> None:
    device = device_of(hosted, hosted.key("anna"))
    packed = {"Content-Encoding": "gzip"}

    def send(content: bytes, **headers: str) -> httpx.Response:
        return device.http.post("devices", content=content, headers=headers)

    assert send(gzip.compress(b"{}"), **packed).json() == device.ask("devices", {}).json()
    assert code(send(gzip.compress(bytes(MOST_JSON + 1)), **packed)) == (413, "body_too_large")
    assert code(send(gzip.compress(b"{}")[:-4], **packed)) == (400, "not_gzip")
    assert code(send(b"{}", **packed)) == (400, "not_gzip")
    assert code(send(gzip.compress(b"{}") * 2, **packed)) == (400, "not_gzip")
    assert code(send(b"{}", **{"Content-Encoding": "br"})) == (415, "encoding_unknown")
    assert code(send(b"x" * (MOST_JSON + 1))) == (413, "body_too_large")
    assert code(send(b"[" * 100_000)) == (400, "not_json")
    assert code(send(b"[]")) == (400, "not_json")
    assert code(send(b"\xff")) == (400, "not_json")
    assert code(device.http.put(f"files/{HASH}", content=bytes(MOST_FILE + 1))) == (413, "body_too_large")


def test_a_file_is_what_its_name_says(device_of: NewDevice, hosted: RunningGateway) -> None:
    device = device_of(hosted, hosted.key("fay"))
    assert code(device.http.get(f"files/{HASH}")) == (404, "sync_no_file")
    assert device.ask("missing-files", {"hashes": [HASH]}).json() == [HASH]
    assert code(device.http.put(f"files/{HASH}", content=b"another")) == (400, "sync_hash")
    assert code(device.http.put("files/x", content=b"file")) == (400, "sync_hash")
    for _ in range(2):
        assert device.http.put(f"files/{HASH}", content=b"file").status_code == 204
    kept = device.http.get(f"files/{HASH}")
    assert (kept.content, kept.headers["cache-control"]) == (b"file", "no-store")
    assert device.ask("missing-files", {"hashes": [HASH]}).json() == []


def test_a_page_is_as_large_as_it_may_be_and_packed_where_that_is_worth_it(
    device_of: NewDevice, hosted: RunningGateway
) -> None:
    device = device_of(hosted, hosted.key("gil"))
    assert device.push(conversation("long " * 1000)).json()["status"] == "ok"
    other = device_of(hosted, hosted.key("gil"), name=OTHER_DEVICE)
    answer = other.ask("pull", {**PULL, **other.named, "most": 2**40, "most_bytes": 2**40})
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) < 1000
    assert answer.json()["rows"][0]["title"] == "long " * 1000
    plain = other.ask("pull", {**PULL, **other.named}, **{"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers


def test_nobody_reaches_what_is_anothers(device_of: NewDevice, hosted: RunningGateway) -> None:
    mine, theirs = device_of(hosted, hosted.key("mia")), device_of(hosted, hosted.key("tom"), name=OTHER_DEVICE)
    message = {
        "kind": "message",
        "id": str(uuid4()),
        "conversation_id": CONVERSATION,
        "role": "user",
        "content": "mine",
        "reasoning": "",
        "status": "complete",
        "created_at": "2026-01-01T00:00:00.000Z",
    }
    assert mine.push(conversation("Mine"), message).json()["status"] == "ok"
    assert mine.http.put(f"files/{HASH}", content=b"file").status_code == 204
    assert mine.ask("stage", {**CALLS["stage"], "chunks": [{"chunk_index": 0, "content": "mine"}]}).status_code == 200

    assert theirs.pull() == []
    assert theirs.ask("missing-files", {"hashes": [HASH]}).json() == [HASH]
    assert code(theirs.http.get(f"files/{HASH}")) == (404, "sync_no_file")
    assert theirs.ask("chunks", CHUNKS).json() == []
    assert [each["id"] for each in theirs.ask("devices", {}).json()] == [OTHER_DEVICE]
    assert theirs.ask("forget", {"device": DEVICE}).status_code == 200
    # The same ids are of something else for another user; what hangs on what only I have is not written.
    assert theirs.push({**message, "id": str(uuid4())}).json()["status"] == "ok"
    document = {"kind": "document", "id": DOCUMENT, "chunk_count": 1, "version": "v"}
    assert theirs.push({"kind": "nothing"}, document).json()["error"]["code"] == "sync_refused"
    assert theirs.push({"kind": "nothing"}, {"kind": "conversation_delete", "id": CONVERSATION}).status_code == 200

    assert [each["id"] for each in mine.ask("devices", {}).json()] == [DEVICE]
    again = device_of(hosted, hosted.key("mia"), name=OTHER_DEVICE)
    assert [(row["kind"], row.get("title"), row.get("content")) for row in again.pull()] == [
        ("conversation", "Mine", None),
        ("message", None, "mine"),
    ]


def test_too_much_at_once_is_put_off() -> None:
    desk = SyncDesk(lambda: pytest.fail("nothing is asked"))
    with desk.place("a") as room, pytest.raises(Exception, match="busy"):
        room.take(sync_desk.MOST_BYTES + 1)
    assert desk.held_bytes == 0
    places = [desk.place("a") for _ in range(sync_desk.MOST_OF_A_USER)]
    for place in places:
        place.__enter__()
    with pytest.raises(Exception, match="busy"), desk.place("a"):
        pass
    with desk.place("b"):
        pass
    for place in places:
        place.__exit__(None, None, None)
    with desk.place("a"):
        pass
    desk.close()


def test_a_key_that_was_revoked_opens_nothing_from_then_on(
    device_of: NewDevice, hosted: RunningGateway, dsn: str
) -> None:
    device = device_of(hosted, hosted.key("ria"))
    assert device.ask("devices", {}).status_code == 200
    with connect(dsn) as connection:
        connection.execute(
            "UPDATE api_keys SET revoked_at = now() WHERE user_id = (SELECT id FROM profiles WHERE name = 'ria')"
        )
    assert code(device.ask("devices", {})) == (401, "invalid_api_key")
