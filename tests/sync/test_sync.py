"""Two devices and a hosted database: what goes over, what stays, and who wins."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aichat_cli.core.errors import SyncError
from aichat_cli.core.ids import ConversationId, MessageId
from aichat_cli.core.messages import Attachment
from aichat_cli.hosted.sync_calls import escaped, unescaped
from aichat_cli.storage import attachments, collections, conversations, messages, outbox, sync_state, sync_trash, turns
from aichat_cli.sync.protocol import NoDocuments
from tests.servers.postgres import Cluster, connect
from tests.sync.conftest import Ask, NewDevice
from tests.sync.devices import DAY_MS, LARGEST_FILE, DeviceSim
from tests.sync.sides import Sides

IMAGE = Attachment("photo.png", "image/png", b"\x89PNG" + bytes(100))


def chat(device: DeviceSim, question: str = "Why?", answer: str = "Because.", **options: object) -> ConversationId:
    turn = device.ask(question, None, None, **options)  # type: ignore[arg-type]
    device.answer(turn, answer)
    return turn.conversation_id


def contents(device: DeviceSim, conversation: str) -> list[str]:
    return [each.content for each in messages.of_conversation(device.database, ConversationId(conversation))]


def titles(device: DeviceSim) -> list[str]:
    return [each.title for each in conversations.listing(device.database, limit=None)]


def test_a_chat_goes_over_whole(new_device: NewDevice) -> None:
    one, other = new_device(), new_device()
    conversation = chat(one, files=[IMAGE])

    one.sync()
    report = other.sync()

    assert other.state() == one.state()
    assert report is not None
    assert report.received == {"conversation": 1, "message": 2, "usage": 1, "file": 1}
    [question, _] = messages.of_conversation(other.database, conversation)
    assert attachments.of_messages(other.database, [question.id]) == {question.id: (IMAGE,)}


def test_when_there_is_nothing_to_do_one_question_is_asked(new_device: NewDevice) -> None:
    device = new_device()
    chat(device)
    device.sync()
    before = device.transport.round_trips

    report = device.sync()

    assert device.transport.round_trips == before + 1
    assert report is not None
    assert (report.sent, report.received, report.deleted_here, report.deleted_there) == ({}, {}, 0, 0)


def test_nothing_is_noted_while_sync_is_off(new_device: NewDevice) -> None:
    device = new_device()
    sync_state.end(device.database)
    conversation = chat(device)
    conversations.rename(device.database, conversation, "Another")
    device.read("a.md", "some text")
    device.delete(conversation)

    assert device.database.rows("SELECT * FROM outbox") == []
    with pytest.raises(SyncError, match=r"^Sync is off\.$"):
        device.sync()


def test_what_was_there_before_sync_was_turned_on_is_sent(new_device: NewDevice) -> None:
    one, other = new_device(), new_device()
    sync_state.end(one.database)
    conversation = chat(one)
    one.fork(conversation)
    one.read("a.md", "what was read before")
    sync_state.begin(one.database, "test", with_documents=True)

    report = one.sync()
    other.sync()

    assert report is not None
    assert report.resync == "first"
    assert other.state() == one.state()
    assert len(other.conversation_ids()) == 2


def test_devices_that_had_the_same_before_keep_the_later_and_the_earlier_in_the_trash(new_device: NewDevice) -> None:
    one, other = new_device(), new_device()
    conversation = chat(one)
    one.sync()
    other.sync()
    sync_state.end(other.database)
    conversations.rename(other.database, conversation, "Named while it was off")
    turn = one.ask("More?", conversation, None)
    one.answer(turn, "More.")
    conversations.rename(one.database, conversation, "Named later")
    one.sync()
    sync_state.begin(other.database, "test", with_documents=True)

    report = other.sync()

    assert titles(other) == ["Named later"]
    assert report is not None
    assert [(each.kind, each.title) for each in report.kept] == [("title", "Named while it was off")]


def test_of_two_titles_the_later_wins_and_the_other_is_kept_on_its_device(new_device: NewDevice) -> None:
    one, other = new_device(), new_device()
    conversation = chat(one)
    one.sync()
    other.sync()
    conversations.rename(one.database, conversation, "Earlier")
    conversations.rename(other.database, conversation, "Later")

    other.sync()
    report = one.sync()
    other.sync()

    assert titles(one) == titles(other) == ["Later"]
    assert report is not None
    [entry] = report.kept
    assert (entry.kind, sync_trash.content(one.database, entry)) == ("title", {"value": "Earlier"})
    assert sync_trash.listing(other.database) == ()


def test_what_is_not_sent_yet_is_still_shown(new_device: NewDevice) -> None:
    one, other = new_device(), new_device()
    conversation = chat(one)
    one.sync()
    other.sync()
    conversations.rename(other.database, conversation, "Earlier")
    other.sync()
    conversations.rename(one.database, conversation, "Later, and not sent")

    assert one.sync(faults=["ok", "lost"]) is None
    assert titles(one) == ["Later, and not sent"]
    assert sync_trash.listing(one.database) == ()

    one.sync()
    other.sync()
    assert titles(one) == titles(other) == ["Later, and not sent"]


@pytest.mark.parametrize("offset_ms", [-30 * DAY_MS, 365 * DAY_MS])
def test_a_wrong_clock_neither_wins_forever_nor_loses_what_was_seen(new_device: NewDevice, offset_ms: int) -> None:
    wrong, right = new_device(offset_ms=offset_ms), new_device()
    conversation = chat(right)
    right.sync()
    wrong.sync()
    conversations.rename(wrong.database, conversation, "By the wrong clock")
    wrong.sync()
    right.sync()
    assert titles(right) == ["By the wrong clock"]

    conversations.rename(right.database, conversation, "By the right clock")
    right.sync()
    wrong.sync()

    assert titles(wrong) == titles(right) == ["By the right clock"]


def test_different_fields_of_one_conversation_are_both_kept(new_device: NewDevice) -> None:
    one, other = new_device(), new_device()
    conversation = chat(one)
    one.sync()
    other.sync()
    conversations.rename(one.database, conversation, "A title")
    conversations.set_model(other.database, conversation, "another-model")

    for device in (one, other, one):
        device.sync()

    assert one.state() == other.state()
    found = conversations.get(one.database, conversation)
    assert (found.title, found.model) == ("A title", "another-model")


def test_another_field_that_is_set_between_receiving_and_sending_comes_too(new_device: NewDevice) -> None:
    one, other = new_device(), new_device()
    conversation = chat(one)
    one.sync()
    other.sync()
    conversations.rename(one.database, conversation, "A title")

    def meanwhile() -> None:
        conversations.set_model(other.database, conversation, "another-model")
        other.sync()

    one.network.meanwhile = meanwhile
    one.sync(faults=["ok", "meanwhile"])

    assert conversations.get(one.database, conversation).model == "another-model"
    other.sync()
    assert one.state() == other.state()


def test_answers_on_two_devices_become_branches(new_device: NewDevice) -> None:
    one, other = new_device(), new_device()
    conversation = chat(one)
    one.sync()
    other.sync()
    head = conversations.get(one.database, conversation).head_id
    for device in (one, other):
        device.answer(device.ask(f"From {device.path.stem}", conversation, head), "Answered")

    for device in (one, other, one):
        device.sync()

    assert one.state() == other.state()
    assert {"From device-0", "From device-1"} < set(contents(one, conversation))
    assert len(messages.children(one.database, head, conversation)) == 2


def test_an_answer_that_is_being_written_stays_until_it_is_complete(new_device: NewDevice) -> None:
    one, other = new_device(), new_device()
    turn = one.ask("Why?", None, None)
    follow_up = one.ask("And then?", turn.conversation_id, turn.message_id)
    report = one.sync()
    other.sync()
    assert report is not None
    assert report.waiting == 1
    assert contents(other, turn.conversation_id) == ["Why?"]

    one.answer(turn, "Because.")
    one.sync()
    other.sync()
    assert contents(other, turn.conversation_id) == ["Why?", "Because.", "And then?"]

    one.answer(follow_up, "That.")
    one.sync()
    other.sync()
    assert other.state() == one.state()


def test_a_deletion_is_final_and_takes_the_content_along_there(new_device: NewDevice, there: Ask) -> None:
    one, other = new_device(), new_device()
    conversation = chat(one, "a secret question", "a secret answer", files=[IMAGE])
    one.sync()
    other.sync()

    one.delete(conversation)
    one.sync()
    report = other.sync()

    assert other.conversation_ids() == []
    assert report is not None
    assert (report.deleted_here, report.kept) == (1, [])
    assert there("SELECT count(*) FROM messages UNION ALL SELECT count(*) FROM blobs") == [(0,), (0,)]
    assert there("SELECT title, head_id FROM conversations") == [("", None)]
    assert [row[:3] for row in other.state()["usage"]] == [(row[0], None, None) for row in one.state()["usage"]]


def test_what_was_written_in_a_conversation_deleted_elsewhere_is_kept_and_can_be_restored(
    new_device: NewDevice,
) -> None:
    one, other = new_device(), new_device()
    conversation = chat(one)
    one.sync()
    other.sync()
    head = conversations.get(other.database, conversation).head_id
    other.answer(other.ask("Only here", conversation, head, files=[IMAGE]), "Only answered here")
    one.delete(conversation)
    one.sync()

    report = other.sync()

    assert other.conversation_ids() == []
    assert report is not None
    [entry] = report.kept
    assert sync_trash.find(other.database, entry.id[:20]) == entry
    restored = sync_trash.restore(other.database, entry)
    assert contents(other, restored) == ["Why?", "Because.", "Only here", "Only answered here"]
    asked = messages.of_conversation(other.database, restored)[2]
    assert attachments.of_messages(other.database, [asked.id])[asked.id] == (IMAGE,)
    assert conversations.get(other.database, restored).head_id is not None
    assert sync_trash.listing(other.database) == ()
    other.sync()
    one.sync()
    assert one.state() == other.state()


def test_what_another_device_does_between_receiving_and_sending_is_seen_before_anything_is_sent(
    new_device: NewDevice,
) -> None:
    one, other = new_device(), new_device()
    deleted, renamed = chat(one, "deleted"), chat(one, "renamed")
    one.sync()
    other.sync()
    head = conversations.get(one.database, deleted).head_id
    one.answer(one.ask("Only here", deleted, head), "Only answered here")
    conversations.rename(one.database, renamed, "Earlier")
    one.read("notes.md", "read here")

    def meanwhile() -> None:
        other.delete(deleted)
        conversations.rename(other.database, renamed, "Later")
        other.sync()

    one.network.meanwhile = meanwhile
    report = one.sync(faults=["ok", "ok", "meanwhile"])
    other.sync()

    assert report is not None
    assert sorted(each.kind for each in report.kept) == ["conversation", "title"]
    assert "Only answered here" in one.kept_texts()
    assert "Earlier" in one.kept_texts()
    assert one.state() == other.state()
    assert titles(one) == ["Later"]


def test_a_conversation_in_which_an_answer_is_written_is_deleted_when_it_is_complete(new_device: NewDevice) -> None:
    one, other = new_device(), new_device()
    conversation = chat(one)
    one.sync()
    other.sync()
    turn = other.ask("Still", conversation, conversations.get(other.database, conversation).head_id)
    one.delete(conversation)
    one.sync()

    other.sync()
    assert other.conversation_ids() == [conversation]
    other.answer(turn, "there")
    report = other.sync()

    assert other.conversation_ids() == []
    assert report is not None
    assert [each.kind for each in report.kept] == ["conversation"]
    assert "there" in other.kept_texts()
    assert outbox.pending(other.database) == {}


def test_the_trash_of_conversations_is_synced(new_device: NewDevice) -> None:
    one, other = new_device(), new_device()
    conversation = chat(one)
    conversations.move_to_trash(one.database, conversation)
    one.sync()
    other.sync()
    assert titles(other) == []
    conversations.restore(other.database, conversation)
    other.sync()
    one.sync()
    assert titles(one) == ["About Why?"]


def test_a_file_that_is_too_large_stays_and_its_name_goes(new_device: NewDevice) -> None:
    one, other = new_device(), new_device()
    large = Attachment("large.png", "image/png", b"x" * (LARGEST_FILE + 1))
    conversation = chat(one, files=[large, IMAGE])

    sent, received = one.sync(), other.sync()

    assert sent is not None
    assert received is not None
    assert sent.left_here == received.left_here == ["large.png"]
    [question, _] = messages.of_conversation(other.database, conversation)
    assert [each.name for each in question.attachments] == ["large.png", "photo.png"]
    assert attachments.of_messages(other.database, [question.id])[question.id] == (IMAGE,)
    other.delete(conversation)
    other.sync()
    one.sync()
    assert one.state() == other.state()


def test_a_copied_database_becomes_a_device_of_its_own(new_device: NewDevice, tmp_path: Path) -> None:
    one, copy = new_device(), new_device()
    chat(one, "before")
    one.sync()
    copy.database.close()
    copy.path.unlink()
    one.copy_to(copy.path)
    copy.reopen()
    chat(one, "on the original")
    chat(copy, "on the copy")
    assert sync_state.get(copy.database).device_id == sync_state.get(one.database).device_id

    one.sync()
    report = copy.sync()
    one.sync()

    assert report is not None
    assert report.resync == "copied"
    assert sync_state.get(copy.database).device_id != sync_state.get(one.database).device_id
    assert one.state() == copy.state()
    assert len(one.conversation_ids()) == 3


def test_a_copy_that_sends_at_the_same_time_as_the_original_is_noticed_by_the_other_side(new_device: NewDevice) -> None:
    one, copy = new_device(), new_device()
    chat(one, "before")
    one.sync()
    copy.database.close()
    copy.path.unlink()
    one.copy_to(copy.path)
    copy.reopen()
    chat(copy, "on the copy")
    chat(copy, "also on the copy: it has more to send than the original")
    chat(one, "on the original")

    copy.network.meanwhile = one.sync
    report = copy.sync(faults=["ok", "meanwhile"])
    one.sync()

    assert report is not None
    assert report.resync == "copied"
    assert one.state() == copy.state()
    assert len(one.conversation_ids()) == 4


def test_what_was_deleted_before_it_was_ever_sent_does_not_come_from_a_copy(new_device: NewDevice) -> None:
    one, copy = new_device(), new_device()
    conversation = chat(one)
    one.read("notes.md", "some text")
    copy.database.close()
    copy.path.unlink()
    one.copy_to(copy.path)
    copy.reopen()
    one.delete(conversation)
    one.forget_document("notes.md")

    for device in (one, copy, one):
        device.sync()

    assert one.state() == copy.state()
    assert one.conversation_ids() == []
    assert one.paths() == []
    assert "Because." in copy.kept_texts()


@pytest.mark.parametrize("fault", ["twice", "unanswered"])
def test_what_is_sent_again_is_taken_for_what_it_is(new_device: NewDevice, fault: str) -> None:
    one, other = new_device(), new_device()
    one.sync()
    device_id = sync_state.get(one.database).device_id
    chat(one)

    one.sync(faults=["ok", fault])
    report = one.sync()
    other.sync()

    assert report is not None
    assert report.resync == ""
    assert sync_state.get(one.database).device_id == device_id
    assert one.state() == other.state()
    assert len(one.state()["usage"]) == 1


def test_what_was_deleted_here_does_not_come_back_because_it_was_renamed_elsewhere(new_device: NewDevice) -> None:
    one, other = new_device(), new_device()
    conversation = chat(one)
    one.read("notes.md", "some text")
    one.sync()
    other.sync()
    conversations.rename(other.database, conversation, "Renamed")
    other.read("notes.md", "another text")
    other.sync()
    one.delete(conversation)
    one.forget_document("notes.md")

    one.sync()
    other.sync()

    assert one.conversation_ids() == other.conversation_ids() == []
    assert one.paths() == other.paths() == []
    assert one.state() == other.state()


def test_a_database_restored_from_a_backup_catches_up(new_device: NewDevice, tmp_path: Path) -> None:
    one, other = new_device(), new_device()
    deleted_since = chat(one, "deleted since")
    one.sync()
    one.copy_to(tmp_path / "backup.db")
    one.delete(deleted_since)
    chat(one, "since then")
    one.sync()
    one.database.close()
    (tmp_path / "backup.db").replace(one.path)
    one.reopen()
    chat(one, "after it was restored")

    report = one.sync()
    other.sync()

    assert report is not None
    assert report.resync == "copied"
    assert one.state() == other.state()
    assert sorted(titles(one)) == ["About after it was restored", "About since then"]


def test_a_hosted_database_restored_from_a_backup_gets_back_what_it_lost(
    new_device: NewDevice, sides: Sides, dsn: str, postgres18: Cluster
) -> None:
    one, other = new_device(), new_device()
    conversation = chat(one, "early")
    one.sync()
    other.sync()
    for device in (one, other):
        device.transport.close()
    name = urlsplit(dsn).path.removeprefix("/")
    with connect(postgres18.dsn()) as superuser:  # a copy is made of a database that nobody uses
        superuser.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", (name,))
    with postgres18.database(name) as backup:
        one.connect(sides.at(dsn))
        chat(one, "late")
        conversations.rename(one.database, conversation, "Renamed late")
        one.sync()
        for device in (one, other):
            device.connect(sides.at(backup))

        report = one.sync()
        other.sync()

        assert report is not None
        assert report.resync == "restored"
        assert one.state() == other.state()
        assert "About late" in titles(other)
        assert "Renamed late" in titles(other) or "Renamed late" in one.kept_texts()
        for device in (one, other):
            device.transport.close()


def test_who_was_away_for_longer_than_deletions_are_remembered_reads_everything(
    new_device: NewDevice, there: Ask
) -> None:
    one, other = new_device(), new_device()
    kept, deleted = chat(one, "kept"), chat(one, "deleted")
    one.sync()
    other.sync()
    one.delete(deleted)
    one.sync()
    there("SELECT aichat.sync_purge(user_id, '0 seconds') FROM sync_heads")
    chat(other, "begun while away")

    report = other.sync()
    one.sync()

    assert report is not None
    assert report.resync == "purged"
    assert one.state() == other.state()
    assert len(one.conversation_ids()) == 2
    assert kept in one.conversation_ids()
    assert "deleted" in other.kept_texts()


def test_once_a_day_what_is_no_longer_needed_goes(new_device: NewDevice, there: Ask) -> None:
    device = new_device()
    old, recent, kept = chat(device, "old"), chat(device, "recent"), chat(device, "kept", files=[IMAGE])
    device.sync()
    device.delete(old)
    device.delete(recent)
    device.sync()
    device.transport.put_file(sha256(b"orphan").hexdigest(), b"orphan")
    device.transport.stage_chunks(kept, "never sent", [{"chunk_index": 0, "content": "x"}])
    there("UPDATE conversations SET deleted_at = now() - interval '181 days' WHERE id = %s", (old,))
    there("UPDATE blobs SET created_at = now() - interval '8 days'")
    there("UPDATE aichat.staged_chunks SET staged_at = now() - interval '2 days'")

    chat(device)
    device.sync()
    assert there("SELECT count(*) FROM conversations WHERE deleted_at IS NOT NULL") == [(2,)]
    there("UPDATE sync_heads SET purged = now() - interval '25 hours'")
    chat(device)
    device.sync()

    assert there("SELECT id::text FROM conversations WHERE deleted_at IS NOT NULL") == [(recent,)]
    assert there("SELECT sha256 FROM blobs") == [(IMAGE.sha256,)]
    assert there("SELECT count(*) FROM aichat.staged_chunks") == [(0,)]
    assert there("SELECT horizon > 0 FROM sync_heads") == [(True,)]


def test_a_new_device_reads_past_deletions_that_are_forgotten(new_device: NewDevice, there: Ask) -> None:
    one, other = new_device(), new_device()
    for number in range(3):
        chat(one, f"kept {number}")
    one.sync()
    deleted = chat(one, "deleted")
    one.sync()
    one.delete(deleted)
    one.sync()
    there("SELECT aichat.sync_purge(user_id, '0 seconds') FROM sync_heads")

    assert other.sync(most_rows=1, faults=["ok", "ok", "lost"]) is None
    report = other.sync(most_rows=1)

    assert report is not None
    assert report.resync == "first"
    assert other.state() == one.state()


def test_only_one_process_syncs_a_database(new_device: NewDevice) -> None:
    device = new_device()
    with (
        sync_state.alone(device.database),
        pytest.raises(SyncError, match=r"^Another aichat is syncing this database\.$"),
    ):
        device.sync()
    assert device.sync() is not None


def test_documents_go_over_with_their_vectors(new_device: NewDevice) -> None:
    one, other = new_device(), new_device()
    one.read("notes.md", "Some text that is cut into several chunks.")
    one.read("empty.md", "")
    one.sync()

    report = other.sync()

    assert report is not None
    assert report.received == {"document": 2}
    assert report.without_vectors == set()
    assert one.state() == other.state()
    assert all(row[3] is not None for row in other.state()["chunks"])
    one.read("notes.md", "Another text.")
    one.forget_document("empty.md")
    one.sync()
    other.sync()
    assert one.state() == other.state()
    assert other.paths() == ["notes.md"]


def test_where_the_model_is_another_the_text_goes_over_and_the_vectors_are_to_be_made(new_device: NewDevice) -> None:
    one, other = new_device(), new_device()
    with other.database.transaction():
        collections.ensure(other.database, "default", embedding_model="larger", dimensions=3)
    one.read("notes.md", "Some text.")
    one.sync()

    report = other.sync()

    assert report is not None
    assert report.without_vectors == {"default"}
    assert [row[2:] for row in other.state()["chunks"]] == [("Some te", ""), ("xt.", "")]
    assert one.state()["documents"] == other.state()["documents"]


def test_two_devices_that_read_the_same_path_end_with_one_document(new_device: NewDevice) -> None:
    one, other = new_device(), new_device()
    one.read("notes.md", "as it was on the one")
    other.read("notes.md", "as it was on the other")
    one.sync()
    report = other.sync()
    one.sync()

    assert one.state() == other.state()
    assert one.paths() == ["notes.md"]
    assert report is not None
    assert [each.kind for each in report.kept] == ["document"]
    assert "as it was on the other" in other.kept_texts()


def test_documents_stay_where_they_are_not_to_be_synced(new_device: NewDevice) -> None:
    one, other = new_device(with_documents=False), new_device()
    one.read("here.md", "only here")
    other.read("there.md", "only there")
    for device in (one, other, one):
        device.sync()
    assert (one.paths(), other.paths()) == (["here.md"], ["there.md"])

    sync_state.set_with_documents(one.database, with_documents=True)
    for device in (one, other):
        device.sync()
    assert one.paths() == other.paths() == ["here.md", "there.md"]


def test_without_documents_there_is_nowhere_to_put_them() -> None:
    assert NoDocuments().store({}, []) is None
    assert NoDocuments().remove("x") is False


@given(st.text())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_any_text_is_escaped_and_back(text: str) -> None:
    sent = escaped({"content": [text, {"deep": text}], "number": 1, "none": None})
    assert "\x00" not in str(sent)
    assert unescaped(sent) == {"content": [text, {"deep": text}], "number": 1, "none": None}


ODD = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\x00\ue0000\ue0001\\u0000"), max_size=20)


@given(st.lists(ODD, min_size=1, max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
def test_any_text_goes_over(new_device: NewDevice, texts: list[str]) -> None:
    one, other = new_device(), new_device()
    conversation = chat(one, texts[0], "".join(texts))
    conversations.rename(one.database, conversation, texts[-1])
    one.sync()
    other.sync()
    assert other.state() == one.state()


def test_a_message_of_ten_megabytes_goes_over(new_device: NewDevice) -> None:
    one, other = new_device(), new_device()
    chat(one, "0123456789" * 1_000_000)
    chat(one, "short")
    one.sync()
    other.sync()
    assert other.state() == one.state()


def test_a_head_that_is_being_answered_stays(new_device: NewDevice) -> None:
    one, other = new_device(), new_device()
    conversation = chat(one)
    one.sync()
    other.sync()
    head = conversations.get(one.database, conversation).head_id
    turn = other.ask("Here", conversation, head)
    one.answer(one.ask("There", conversation, head), "said")
    one.sync()
    other.sync()
    assert conversations.get(other.database, conversation).head_id == turn.message_id
    other.answer(turn, "done")
    for device in (other, one):
        device.sync()
    assert one.state() == other.state()
    assert conversations.get(one.database, conversation).head_id == turn.message_id


def test_moving_the_head_goes_over_and_a_recovered_turn_as_well(new_device: NewDevice) -> None:
    one, other = new_device(), new_device()
    conversation = chat(one)
    first = MessageId(one.message_ids(conversation)[0])
    conversations.move_head(one.database, conversation, first)
    turn = one.ask("Cut off", conversation, first)
    turns.checkpoint(one.database, turn, "as far as it ca", "")
    one.close()
    one.reopen()
    one.sync()
    other.sync()
    assert one.state() == other.state()
