"""Archives that are broken or made to do harm: told in a line, bounded in memory and time, and never a crash."""

from __future__ import annotations

import json
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.chat.archives import chatgpt, claude, files, own
from aichat_cli.chat.archives.values import BadConversation
from aichat_cli.chat.importing import import_archives
from aichat_cli.core.archive import ArchivedConversation, ImportSummary
from aichat_cli.storage import conversations, messages
from aichat_cli.storage.database import Database
from tests import archives
from tests.archives import chatgpt_talk, claude_message, llm_logs, plain, said, zipped


@pytest.fixture
def db() -> Iterator[Database]:
    with Database.in_memory() as database:
        yield database


def imported(db: Database, *paths: Path) -> ImportSummary:
    summary = ImportSummary()
    import_archives(db, list(paths), summary)
    return summary


def no_files() -> files.Files:
    return files.Files(files.FolderContainer(Path("/nowhere"), []), 0)


def is_sound(conversation: ArchivedConversation) -> None:
    """What every reader promises: a tree, parents first, everything storable."""
    seen: set[str] = set()
    for message in conversation.messages:
        assert message.parent_id is None or message.parent_id in seen
        assert message.id not in seen
        seen.add(message.id)
    assert conversation.head_id is None or conversation.head_id in seen
    with Database.in_memory() as db:
        from aichat_cli.storage import imports

        assert imports.merge(db, [conversation], source="x").failure_count == 0


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5),
    st.sampled_from(["user", "assistant", "tool", "a", "b", "c", "\ud800", "\0", "text", "thoughts", "tool_result", 1e308]),
)  # fmt: skip
KEYS = st.sampled_from(
    [
        "id",
        "uuid",
        "title",
        "name",
        "mapping",
        "message",
        "parent",
        "children",
        "author",
        "role",
        "content",
        "content_type",
        "parts",
        "text",
        "metadata",
        "attachments",
        "create_time",
        "created_at",
        "sender",
        "chat_messages",
        "thoughts",
        "summary",
        "type",
        "asset_pointer",
        "file_name",
        "extracted_content",
        "head_id",
        "parent_message_uuid",
        "current_node",
        "status",
        "messages",
        "parent_id",
        "extra",
        "input",
        "a",
        "b",
        "c",
    ]
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=6)),
    max_leaves=25,
)
NODES = st.dictionaries(
    st.sampled_from("abcdef"),
    st.fixed_dictionaries({"parent": st.sampled_from([*"abcdefg", None, 3]), "message": ANYTHING}),
)


@given(ANYTHING, NODES, st.lists(ANYTHING, max_size=4))
def test_whatever_stands_where_a_value_should_be_a_conversation_is_sound_or_refused(
    item: Any, nodes: Any, listed: list[Any]
) -> None:
    fields = item if isinstance(item, dict) else {}
    attempts: list[Callable[[], ArchivedConversation]] = [
        lambda: chatgpt.conversation({**fields, "id": "x", "mapping": nodes}, no_files()),
        lambda: chatgpt.conversation(fields, no_files()),
        lambda: claude.conversation({**fields, "uuid": "x", "chat_messages": listed}),
        lambda: claude.conversation(fields),
        lambda: own.conversation(fields),
    ]
    for attempt in attempts:
        try:
            found = attempt()
        except BadConversation:
            continue
        is_sound(found)


AT = "2026-01-01T00:00:00.000Z"
IDS = [f"01900000-0000-7000-8000-{number:012d}" for number in range(4)]
OWN_VALUES = st.one_of(ANYTHING, st.sampled_from([*IDS, AT]))


@given(
    st.dictionaries(KEYS, OWN_VALUES, max_size=3), st.lists(st.dictionaries(KEYS, OWN_VALUES, max_size=2), max_size=3)
)
def test_whatever_stands_in_a_json_export_it_is_sound_or_refused(fields: Any, changes: list[Any]) -> None:
    listed = [
        {"id": IDS[place], "parent_id": IDS[place - 1] if place else None, "role": "user", "created_at": AT, **change}
        for place, change in enumerate(changes)
    ]
    whole = {"id": IDS[3], "title": "t", "head_id": None, "created_at": AT, "updated_at": AT, "messages": listed}
    try:
        found = own.conversation({**whole, **fields})
    except BadConversation:
        return
    is_sound(found)


def test_one_bad_conversation_does_not_stop_the_rest(db: Database, tmp_path: Path) -> None:
    bad: list[Any] = [
        {"mapping": 3, "id": "a", "title": "Broken"},
        {"mapping": {"a": 1}, "id": "b"},
        {"mapping": {}},
        7,
        {},
    ]
    summary = imported(db, plain(tmp_path / "c.json", [chatgpt_talk("one"), *bad, chatgpt_talk("two")]))
    assert (summary.new, summary.failure_count) == (2, 5)
    assert (summary.failures[0].conversation, summary.failures[0].reason) == ("Broken", "it has no mapping of nodes")


def test_a_chain_that_comes_back_to_itself_ends(db: Database, tmp_path: Path) -> None:
    nodes = {
        "a": ("c", said("user", "one")), "b": ("a", said("assistant", "two")), "c": ("b", said("user", "three")),
        "d": ("d", said("user", "self")), "e": ("gone", said("user", "orphan")),
    }  # fmt: skip
    summary = imported(db, plain(tmp_path / "c.json", [archives.chatgpt("x", nodes, head="c")]))
    assert (summary.new, summary.messages_new) == (1, 5)
    talk = conversations.listing(db, limit=1)[0]
    assert len(messages.branch(db, talk.head_id)) in (1, 2, 3)


def test_a_tree_of_ten_thousand_generations_is_read(db: Database, tmp_path: Path) -> None:
    nodes = {"n0": ("system", said("user", "0"))}
    nodes |= {f"n{i}": (f"n{i - 1}", said("user", str(i))) for i in range(1, 10_000)}
    backwards = dict(reversed(list(nodes.items())))
    summary = imported(db, plain(tmp_path / "c.json", [archives.chatgpt("deep", backwards, head="n9999")]))
    assert summary.messages_new == 10_000


@pytest.mark.parametrize(
    "at", [float("nan"), float("inf"), -1.0, 1e300, "yesterday", None, [], 10**400, "9999-99-99", True]
)
def test_a_time_that_is_none_becomes_that_of_the_message_above(db: Database, tmp_path: Path, at: Any) -> None:
    nodes = {"a": ("system", said("user", "one")), "b": ("a", said("assistant", "two", at=at))}
    imported(db, plain(tmp_path / "c.json", [archives.chatgpt("x", nodes, head="b", update_time=at)]))
    talk = conversations.listing(db, limit=1)[0]
    first, second = messages.of_conversation(db, talk.id)
    assert second.created_at == first.created_at


def test_half_characters_and_nul_are_stored_as_text(db: Database, tmp_path: Path) -> None:
    talk = archives.chatgpt("x", {"a": ("system", said("user", "half \ud83d nul \0 end"))}, head="a", title="t\ud83d\0")
    imported(db, plain(tmp_path / "c.json", [talk]))
    found = conversations.listing(db, limit=1)[0]
    assert messages.of_conversation(db, found.id)[0].content == "half \ufffd nul \0 end"


@pytest.mark.parametrize("cut", [1, 1000, 1400])
def test_a_file_that_was_cut_off_gives_what_is_whole_and_says_so(db: Database, tmp_path: Path, cut: int) -> None:
    path = plain(tmp_path / "c.json", [chatgpt_talk("one"), chatgpt_talk("two")])
    path.write_bytes(path.read_bytes()[:-cut])
    summary = imported(db, path)
    assert summary.new == (2 if cut == 1 else 1)
    assert "it is not whole JSON" in summary.failures[0].reason


@pytest.mark.parametrize(
    "content", [b"", b"\0\1\2", b"PK\x03\x04", b"SQLite format 3\0", b"SQLite format 3\0" + b"x" * 200, b"{", b"<html>"]
)
def test_a_file_of_no_known_kind_is_refused(db: Database, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "export.zip"
    path.write_bytes(content)
    summary = imported(db, path)
    assert (summary.new, summary.failure_count) == (0, 1)


def test_a_download_that_broke_off_is_called_that(db: Database, tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", [chatgpt_talk("t")])
    path.write_bytes(path.read_bytes()[:-30])
    (failure,) = imported(db, path).failures
    assert failure.reason.endswith("the end of the ZIP file is missing; download it again.")


def test_a_damaged_zip_and_one_of_something_else_are_refused(db: Database, tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", [chatgpt_talk(f"talk {number}") for number in range(20)])
    content = bytearray(path.read_bytes())
    content[200:400] = os.urandom(200)
    path.write_bytes(content)
    other = tmp_path / "b.zip"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("photo.png", b"png")
    first, second = imported(db, path, other).failures
    assert "cannot be read" in first.reason or "not whole JSON" in first.reason
    assert second.reason.startswith("There is no conversations.json")


def test_a_zip_bomb_is_stopped_at_the_limit(db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LARGEST_JSON", 4_000_000)
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", b"[" + b" " * 30_000_000 + b"]")
    assert path.stat().st_size < 50_000
    began = time.monotonic()
    summary = imported(db, path)
    assert "is larger than" in summary.failures[0].reason
    assert time.monotonic() - began < 5


def test_attached_files_share_a_budget_of_the_archives_size(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LARGEST_FILE", 1_000_000)
    content = {
        "content_type": "multimodal_text",
        "parts": [{"asset_pointer": f"sediment://file_{n}"} for n in range(9)],
    }
    talk = archives.chatgpt("x", {"a": ("system", said("user", "", content=content))}, head="a")
    bombs = {f"file_{n}": b"\0" * (900_000 + n) for n in range(8)} | {"file_8": b"\0" * 1_000_001}
    summary = imported(db, zipped(tmp_path / "bomb.zip", [talk], bombs))
    assert (summary.files_stored, summary.files_missing) == (1, 8)


@pytest.mark.parametrize(
    "name", ["../../../etc/cron.d/x", "C:\\windows\\evil.exe", "/etc/passwd", "a\0b\x1b[2J", "x" * 5000, ".."]
)
def test_the_name_of_a_file_is_only_ever_a_name(db: Database, tmp_path: Path, name: str) -> None:
    attached = [{"file_name": name, "extracted_content": "text"}]
    talk = archives.claude("c", [claude_message("m", "human", "hi", attachments=attached)])
    before = set(tmp_path.rglob("*"))
    path = zipped(tmp_path / "a.zip", [talk], {name.replace("\0", ""): b"evil"} if len(name) < 1000 else None)
    imported(db, path)
    assert set(tmp_path.rglob("*")) == before | {path}
    (row,) = db.rows("SELECT name FROM attachments")
    assert not set("/\\\0\x1b") & set(row[0])
    assert 0 < len(row[0]) <= 200


def test_a_link_in_an_unpacked_export_is_not_followed(db: Database, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    folder = tmp_path / "export"
    folder.mkdir()
    pointer = {"content_type": "multimodal_text", "parts": [{"asset_pointer": "sediment://file_1"}]}
    plain(
        folder / "conversations.json",
        [archives.chatgpt("x", {"a": ("system", said("user", "", content=pointer))}, head="a")],
    )
    (folder / "file_1").symlink_to(secret)
    assert imported(db, folder).missing == ["file_1"]


def test_a_path_in_the_database_of_llm_is_not_read(db: Database, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(archives.PNG)
    path = llm_logs(
        tmp_path / "logs.db", archives.LEGACY_TABLES, f"UPDATE attachments SET path = '{secret}', content = NULL"
    )
    assert imported(db, path).files_stored == 0


def test_strange_values_in_the_database_of_llm_do_no_harm(db: Database, tmp_path: Path) -> None:
    strange = """
    UPDATE responses SET prompt = x'FF00', response = 12, datetime_utc = 'never', options_json = '[[[' WHERE id = 'r1';
    UPDATE responses SET prompt = CAST(x'FFFE' AS TEXT) WHERE id = 'r4';
    UPDATE messages SET parent_hash = 'a2' WHERE hash = 's';
    UPDATE parts SET payload = '{"text_ref": [1, {"fragment": "x"}, {"fragment": 99}]}' WHERE message_hash = 'u1';
    CREATE VIEW logs AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n;
    """
    summary = imported(db, llm_logs(tmp_path / "logs.db", archives.LEGACY_TABLES, archives.THREAD_TABLES, strange))
    assert (summary.new, [failure.reason for failure in summary.failures]) == (2, ["a text in it is no UTF-8"])


def test_an_id_of_another_conversation_is_refused_and_the_rest_stored(db: Database, tmp_path: Path) -> None:
    def talk(number: int, message: int) -> dict[str, Any]:
        at = "2026-01-01T00:00:00.000Z"
        uuid = "01900000-0000-7000-8000-{:012d}".format
        said_here = {
            "id": uuid(message),
            "parent_id": None,
            "role": "user",
            "content": "x",
            "status": "complete",
            "created_at": at,
        }
        return {"id": uuid(number), "title": f"T{number}", "head_id": None, "created_at": at, "updated_at": at, "messages": [said_here]}  # fmt: skip

    document = {"format": "aichat", "version": 1, "conversations": [talk(1, 100), talk(2, 100), talk(3, 101)]}
    summary = imported(db, plain(tmp_path / "own.json", document))
    assert (summary.new, summary.messages_new) == (2, 2)
    assert summary.failures[0].reason == "a message of it is already in another conversation"
    assert [each.title for each in conversations.listing(db, limit=None)] == ["T3", "T1"]
    newer = imported(db, plain(tmp_path / "newer.json", {**document, "version": 2}))
    assert "a newer aichat wrote it" in newer.failures[0].reason


def test_failures_without_number_are_counted_and_named_up_to_a_limit(db: Database, tmp_path: Path) -> None:
    summary = imported(db, plain(tmp_path / "c.json", [{"mapping": 1, "title": "x" * 1000}] * 3000))
    assert (summary.failure_count, len(summary.failures)) == (3000, 1000)
    json.dumps([failure.conversation for failure in summary.failures])
