"""A turn from its first commit to its last, and what is left when its process dies."""

from __future__ import annotations

from pathlib import Path

import pytest

from aichat_cli.core.errors import NotFound, StorageError
from aichat_cli.core.ids import ConversationId, MessageId
from aichat_cli.core.struct import replace
from aichat_cli.storage import conversations, liveness, messages, search, turns, usage
from aichat_cli.storage.database import Database
from tests.storage.support import (
    finish,
    first_line,
    index_agrees,
    kill,
    opening,
    outcome,
    said,
    start,
    usage_record,
)


def test_a_begun_turn_is_stored_with_its_prompt_and_an_empty_answer(db: Database) -> None:
    turn = turns.begin(db, opening("what is up?"))
    question, answer = messages.branch(db, turn.message_id)
    assert (question.id, question.role, question.content, question.status, question.model) == (
        turn.user_message_id,
        "user",
        "what is up?",
        "complete",
        None,
    )
    assert (answer.role, answer.content, answer.status, answer.model) == ("assistant", "", "streaming", "gpt-4o-mini")
    talk = conversations.get(db, turn.conversation_id)
    assert (talk.title, talk.system_prompt, talk.model, talk.head_id, talk.created_at) == (
        "A talk",
        "be brief",
        "gpt-4o-mini",
        turn.message_id,
        turn.created_at,
    )


def test_a_turn_goes_on_under_the_message_it_is_given(db: Database) -> None:
    first = said(db)
    second = said(db, "and then?", conversation_id=first.conversation_id, parent_id=first.message_id, title="ignored")
    branch = [message.id for message in messages.branch(db, second.message_id)]
    assert branch == [first.user_message_id, first.message_id, second.user_message_id, second.message_id]
    assert conversations.get(db, first.conversation_id).title == "A talk"


def test_answering_once_more_adds_a_second_answer_to_the_same_question(db: Database) -> None:
    first = said(db)
    again = turns.begin(db, opening(None, conversation_id=first.conversation_id, parent_id=first.user_message_id))
    assert again.user_message_id == first.user_message_id
    answers = messages.children(db, first.user_message_id, first.conversation_id)
    assert [message.id for message in answers] == [first.message_id, again.message_id]


def test_a_turn_that_cannot_begin_stores_nothing_and_holds_nothing(db: Database) -> None:
    first, other = said(db), said(db)
    talk = first.conversation_id
    before = db.rows("SELECT * FROM messages"), db.rows("SELECT * FROM conversations")
    nowhere, nobody = ConversationId("nowhere"), MessageId("nobody")
    for kind, turn in (
        (NotFound, opening(conversation_id=nowhere)),
        (NotFound, opening(conversation_id=talk, parent_id=nobody)),
        (NotFound, opening(conversation_id=talk, parent_id=other.message_id)),
        (NotFound, opening(parent_id=first.message_id)),
        (StorageError, opening(None, conversation_id=talk, parent_id=first.message_id)),
        (StorageError, opening(None)),
    ):
        with pytest.raises(kind):
            turns.begin(db, turn)
    assert (db.rows("SELECT * FROM messages"), db.rows("SELECT * FROM conversations")) == before


def test_a_turn_undone_while_it_begins_is_not_held(db: Database) -> None:
    db.execute("CREATE TEMP TRIGGER no BEFORE UPDATE OF head_id ON conversations BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(StorageError, match="no"):
        turns.begin(db, opening())
    assert db.row("SELECT count(*) FROM messages") == (0,)
    assert not liveness.is_own(db.path, 2)


def test_a_checkpoint_keeps_the_text_without_touching_the_index(db: Database) -> None:
    turn = turns.begin(db, opening())
    before = db.rows("SELECT * FROM messages_fts_data")
    turns.checkpoint(db, turn, "so far zebra", "thinking")
    answer = messages.get(db, turn.message_id)
    assert (answer.content, answer.reasoning, answer.status) == ("so far zebra", "thinking", "streaming")
    assert db.rows("SELECT * FROM messages_fts_data") == before
    assert search.search(db, "zebra", limit=5) == []
    index_agrees(db)


def test_a_settled_turn_holds_its_text_its_end_and_its_usage(db: Database) -> None:
    turn = turns.begin(db, opening())
    record = usage_record(cost_nano=1_500)
    turns.settle(db, turn, replace(outcome("done", usage=record), status="failed", error="gone"))
    answer = messages.get(db, turn.message_id)
    assert (answer.content, answer.reasoning, answer.status) == ("done", "because", "failed")
    assert (answer.finish_reason, answer.error) == ("stop", "gone")
    assert (answer.input_tokens, answer.output_tokens, answer.cost_nano) == (10, 5, 1_500)
    assert db.row("SELECT request_id, conversation_id, message_id FROM usage") == (
        record.request_id,
        turn.conversation_id,
        turn.message_id,
    )
    assert not liveness.is_own(db.path, turn.seq)
    index_agrees(db)


def test_settling_twice_changes_nothing_the_second_time(db: Database) -> None:
    turn = turns.begin(db, opening())
    record = usage_record()
    turns.settle(db, turn, outcome("first", usage=record))
    tables = ("messages", "usage", "conversations")
    before = [db.rows(f"SELECT * FROM {table}") for table in tables]
    turns.settle(db, turn, outcome("second", usage=record))
    turns.settle(db, turn, outcome("third"))
    turns.checkpoint(db, turn, "fourth", "")
    assert [db.rows(f"SELECT * FROM {table}") for table in tables] == before
    index_agrees(db)


def test_a_turn_of_a_conversation_deleted_meanwhile_is_still_paid_for(db: Database) -> None:
    turn = turns.begin(db, opening())
    conversations.delete(db, turn.conversation_id)
    turns.settle(db, turn, outcome(usage=usage_record()))
    assert db.rows("SELECT conversation_id, message_id, cost_nano FROM usage") == [(None, None, 1_500)]
    assert db.row("SELECT count(*) FROM messages") == (0,)


def test_a_conversation_in_the_trash_that_goes_on_is_taken_out_of_it(db: Database) -> None:
    turn = turns.begin(db, opening())
    turns.settle(db, turn, outcome())
    conversations.move_to_trash(db, turn.conversation_id)
    turns.begin(db, opening(conversation_id=turn.conversation_id, parent_id=turn.message_id))
    assert conversations.purge(db, before="9999", also=[turn.conversation_id]) == 0
    assert conversations.latest(db) is not None


def test_a_turn_that_another_machine_took_for_dead_still_settles_with_its_whole_text(db: Database) -> None:
    turn = turns.begin(db, opening())
    turns.checkpoint(db, turn, "half giraffe", "")
    db.execute("UPDATE messages SET status = 'stopped' WHERE seq = ?", (turn.seq,))
    turns.settle(db, turn, outcome("half zebra and the rest", usage=usage_record()))
    assert messages.get(db, turn.message_id).status == "complete"
    assert search.search(db, "giraffe", limit=5) == []
    assert len(search.search(db, "zebra", limit=5)) == 1
    index_agrees(db)


def test_a_turn_that_could_not_be_settled_is_recovered_with_what_was_kept(db: Database) -> None:
    said(db)
    turn = turns.begin(db, opening())
    turns.checkpoint(db, turn, "kept", "")
    taken = db.row("SELECT request_id FROM usage")
    assert taken is not None
    broken = replace(usage_record(), status="streaming")
    with pytest.raises(StorageError):
        turns.settle(db, turn, outcome("lost", usage=broken))
    assert turns.recover(db) == 1
    assert (messages.get(db, turn.message_id).content, messages.get(db, turn.message_id).status) == ("kept", "stopped")


def test_nothing_is_recovered_while_it_is_written_here(db: Database, memory: Database) -> None:
    for database in (db, memory):
        turn = turns.begin(database, opening())
        assert turns.recover(database) == 0
        with database.reopen() as other:
            assert turns.recover(other) == 0
        assert messages.get(database, turn.message_id).status == "streaming"
    liveness.release(db.path, 2)


def test_the_place_of_a_deleted_turn_is_never_given_to_another(db: Database) -> None:
    deleted = said(db)
    conversations.delete(db, deleted.conversation_id)
    assert said(db).seq > deleted.seq


STREAMER = """
import sys
from pathlib import Path
from aichat_cli.storage import turns
from aichat_cli.storage.database import Database
db = Database.open(Path(sys.argv[1]))
turn = turns.begin(db, turns.BeginTurn(None, None, "question " + sys.argv[2], "T", None, "m"))
turns.checkpoint(db, turn, "half of " + sys.argv[2], "thought")
print(turn.message_id, flush=True)
sys.stdin.readline()
turns.settle(db, turn, turns.TurnOutcome("all of " + sys.argv[2], "", "complete", "m", "stop", None, None))
db.close()
"""

RECOVER = """
import sys
from pathlib import Path
from aichat_cli.storage import turns
from aichat_cli.storage.database import Database
with Database.open(Path(sys.argv[1])) as db:
    print(turns.recover(db))
"""


def test_a_killed_turn_keeps_its_text_and_a_live_one_in_another_process_is_not_touched(path: Path) -> None:
    doomed, alive = start(STREAMER, path, "doomed"), start(STREAMER, path, "alive")
    doomed_id, alive_id = MessageId(first_line(doomed)), MessageId(first_line(alive))
    assert finish(start(RECOVER, path)) == "0"
    kill(doomed)
    assert finish(start(RECOVER, path)) == "1"
    with Database.open(path) as db:
        stopped, streaming = messages.get(db, doomed_id), messages.get(db, alive_id)
        assert (stopped.content, stopped.reasoning, stopped.status) == ("half of doomed", "thought", "stopped")
        assert (streaming.content, streaming.status) == ("half of alive", "streaming")
        assert [hit.message_id for hit in search.search(db, "half", limit=9)] == [doomed_id]
        assert alive.stdin is not None
        alive.stdin.write("go\n")
        finish(alive)
        assert messages.get(db, alive_id).content == "all of alive"
        assert turns.recover(db) == 0
        index_agrees(db)


def test_many_processes_that_recover_at_once_recover_each_turn_once(path: Path) -> None:
    killed = [start(STREAMER, path, str(number)) for number in range(3)]
    for process in killed:
        first_line(process)
    for process in killed:
        kill(process)
    recoverers = [start(RECOVER, path) for _ in range(6)]
    assert sum(int(finish(process)) for process in recoverers) == 3


WHOLE_TURNS = """
import os
import sys
from pathlib import Path
from aichat_cli.storage import turns
from aichat_cli.storage.database import Database
from aichat_cli.core.ids import new_id
from aichat_cli.core.money import TokenUsage
from aichat_cli.core.usage import UsageRecord
count = int(sys.argv[2])
gate, opener = os.pipe()
number = next((number for number in range(count) if os.fork() == 0), None)
os.close(opener)
if number is None:
    sys.exit(any([os.wait()[1] for _ in range(count)]))
os.read(gate, 1)  # until all have closed the other end
with Database.open(Path(sys.argv[1])) as db:
    turns.recover(db)
    turn = turns.begin(db, turns.BeginTurn(None, None, f"q{number}", "T", None, "m"))
    turns.checkpoint(db, turn, "half", "")
    used = UsageRecord(new_id(), "chat", "p", "m", None, None, TokenUsage(1, 1), 7, "calculated", "complete")
    turns.settle(db, turn, turns.TurnOutcome(f"a{number}", "", "complete", "m", "stop", None, used))
"""
"""Run by many processes that begin in the same moment: one that has loaded it forks them."""


def test_fifty_processes_at_once_on_no_database_at_all_store_fifty_turns(path: Path) -> None:
    finish(start(WHOLE_TURNS, path, "50"))
    with Database.open(path) as db:
        stored = [messages.of_conversation(db, talk.id) for talk in conversations.listing(db, limit=None)]
        pairs = {(question.content, answer.content, answer.status) for question, answer in stored}
        assert pairs == {(f"q{number}", f"a{number}", "complete") for number in range(50)}
        assert usage.spent_since(db, "2000") == 350
        index_agrees(db)
    assert {entry.name for entry in path.parent.iterdir()} == {"aichat.db", "aichat.db-live"}
