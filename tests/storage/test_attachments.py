from __future__ import annotations

import pytest

from aichat_cli.core.errors import NotFound
from aichat_cli.core.ids import ConversationId, MessageId
from aichat_cli.core.messages import Attachment, AttachmentSummary
from aichat_cli.storage import attachments, conversations, messages, turns
from aichat_cli.storage.database import Database
from tests.storage.support import opening, outcome

PHOTO = Attachment("photo.png", "image/png", b"\x89PNG\0" * 1000)
REPORT = Attachment("report.pdf", "application/pdf", b"%PDF-")


def asked(db: Database, *files: Attachment, conversation_id: ConversationId | None = None) -> turns.OpenTurn:
    turn = turns.begin(db, opening(conversation_id=conversation_id, attachments=files))
    turns.settle(db, turn, outcome())
    return turn


def blobs(db: Database) -> int:
    return len(db.rows("SELECT 1 FROM blobs"))


def test_files_are_stored_with_the_question_and_given_back_in_order(db: Database) -> None:
    first, second = asked(db, REPORT, PHOTO), asked(db)

    found = attachments.of_messages(db, [first.user_message_id, first.message_id, second.user_message_id])

    assert found == {first.user_message_id: (REPORT, PHOTO)}


def test_messages_name_their_files_without_reading_them(db: Database) -> None:
    turn = asked(db, PHOTO, REPORT)
    db.execute("UPDATE blobs SET content = x'00'")
    named = (AttachmentSummary("photo.png", "image/png", 5000), AttachmentSummary("report.pdf", "application/pdf", 5))

    for listed in (messages.branch(db, turn.message_id), messages.of_conversation(db, turn.conversation_id)):
        assert [message.attachments for message in listed] == [named, ()]
    assert messages.get(db, turn.user_message_id).attachments == named
    assert [m.attachments for m in messages.children(db, None, turn.conversation_id)] == [named]


def test_names_and_types_of_files_come_back_as_they_were(db: Database) -> None:
    odd = Attachment('a "quoted", [odd]\n名前', "image/png", b"1")

    turn = asked(db, odd)

    assert messages.get(db, turn.user_message_id).attachments == (odd.summary,)
    assert attachments.of_messages(db, [turn.user_message_id]) == {turn.user_message_id: (odd,)}


def test_a_content_is_kept_once_however_often_it_is_attached(db: Database) -> None:
    again = Attachment("another name.png", "image/png", PHOTO.content)
    turn = asked(db, PHOTO, again)
    asked(db, PHOTO, conversation_id=turn.conversation_id)

    assert blobs(db) == 1
    assert attachments.of_messages(db, [turn.user_message_id])[turn.user_message_id] == (PHOTO, again)


def test_a_content_goes_with_the_last_message_that_has_it(db: Database) -> None:
    first, second = asked(db, PHOTO, REPORT), asked(db, PHOTO)

    conversations.delete(db, first.conversation_id)
    assert blobs(db) == 1
    assert attachments.of_messages(db, [second.user_message_id]) == {second.user_message_id: (PHOTO,)}

    conversations.delete(db, second.conversation_id)
    assert (blobs(db), db.rows("SELECT * FROM attachments")) == (0, [])


def test_the_trash_keeps_files_until_it_is_emptied(db: Database) -> None:
    turn = asked(db, PHOTO)

    conversations.move_to_trash(db, turn.conversation_id)
    assert blobs(db) == 1
    conversations.purge(db, before="9999")
    assert blobs(db) == 0


def test_files_of_a_question_that_cannot_be_stored_are_not_stored_either(db: Database) -> None:
    with pytest.raises(NotFound):
        turns.begin(db, opening(conversation_id=ConversationId("none"), attachments=[PHOTO]))
    turn = asked(db)
    with pytest.raises(NotFound):
        turns.begin(
            db,
            opening(conversation_id=turn.conversation_id, parent_id=MessageId("none"), attachments=[PHOTO]),
        )

    assert blobs(db) == 0


def test_a_question_answered_once_more_keeps_its_files_and_gets_no_others(db: Database) -> None:
    turn = asked(db, PHOTO)
    again = opening(None, conversation_id=turn.conversation_id, parent_id=turn.user_message_id)

    second = turns.begin(db, again)

    assert second.user_message_id == turn.user_message_id
    assert attachments.of_messages(db, [turn.user_message_id]) == {turn.user_message_id: (PHOTO,)}
