"""Whatever is done to the trees: branches are paths, the index agrees, and no usage is lost."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aichat_cli.core.messages import Attachment, Message
from aichat_cli.storage import conversations, messages, turns, usage
from aichat_cli.storage.database import Database
from tests.storage.support import index_agrees, opening, outcome, usage_record

TEXTS = st.text(max_size=20)
FILES = st.builds(Attachment, st.sampled_from("ab"), st.just("image/png"), st.sampled_from([b"1", b"2", b"3"]))
PICKS = st.integers(min_value=0, max_value=1_000)


class Trees(RuleBasedStateMachine):
    """Turns begun, written, settled and moved over at random, in one database."""

    @initialize()
    def open_database(self) -> None:
        self.db = Database.in_memory()
        self.open_turns: list[turns.OpenTurn] = []
        self.spent = 0
        self.calls = 0

    def _message(self, pick: int) -> Message | None:
        everything = [
            message
            for talk in conversations.listing(self.db, limit=None)
            for message in messages.of_conversation(self.db, talk.id)
        ]
        return everything[pick % len(everything)] if everything else None

    @rule(prompt=TEXTS, pick=PICKS, files=st.lists(FILES, max_size=3))
    def ask(self, prompt: str, pick: int, files: list[Attachment]) -> None:
        above = self._message(pick) if pick % 4 else None
        conversation_id = above.conversation_id if above else None
        parent_id = above.id if above and pick % 3 else None
        turn = opening(prompt, conversation_id=conversation_id, parent_id=parent_id, title=prompt, attachments=files)
        self.open_turns.append(turns.begin(self.db, turn))

    @rule(pick=PICKS)
    def answer_again(self, pick: int) -> None:
        question = self._message(pick)
        if question is not None and question.role == "user":
            turn = opening(None, conversation_id=question.conversation_id, parent_id=question.id)
            self.open_turns.append(turns.begin(self.db, turn))

    @precondition(lambda self: self.open_turns)
    @rule(text=TEXTS, pick=PICKS)
    def checkpoint(self, text: str, pick: int) -> None:
        turns.checkpoint(self.db, self.open_turns[pick % len(self.open_turns)], text, "")

    @precondition(lambda self: self.open_turns)
    @rule(text=TEXTS, pick=PICKS, cost=st.integers(min_value=0, max_value=10**9))
    def settle(self, text: str, pick: int, cost: int) -> None:
        turn = self.open_turns.pop(pick % len(self.open_turns))
        end = outcome(text, status=("complete", "stopped", "failed")[pick % 3], usage=usage_record(cost_nano=cost))
        for _ in range(1 + pick % 2):
            turns.settle(self.db, turn, end)
        self.spent += cost
        self.calls += 1

    @rule(pick=PICKS)
    def move_head(self, pick: int) -> None:
        message = self._message(pick)
        if message is not None:
            target = message.id if pick % 5 else None
            conversations.move_head(self.db, message.conversation_id, target)

    @rule(pick=PICKS)
    def delete(self, pick: int) -> None:
        message = self._message(pick)
        if message is not None and pick % 4 == 0:
            conversations.delete(self.db, message.conversation_id)

    @invariant()
    def every_branch_is_a_path_from_a_root_to_the_head(self) -> None:
        for talk in conversations.listing(self.db, limit=None):
            branch = messages.branch(self.db, talk.head_id)
            assert [message.parent_id for message in branch] == [None, *[message.id for message in branch]][
                : len(branch)
            ]
            assert (branch[-1].id if branch else None) == talk.head_id
            assert {message.conversation_id for message in branch} <= {talk.id}

    @invariant()
    def the_index_agrees_with_the_tables(self) -> None:
        index_agrees(self.db)

    @invariant()
    def each_content_is_kept_once_and_only_as_long_as_it_is_attached(self) -> None:
        attached = self.db.rows("SELECT DISTINCT sha256 FROM attachments ORDER BY sha256")
        assert self.db.rows("SELECT sha256 FROM blobs ORDER BY sha256") == attached

    @invariant()
    def no_usage_is_lost_or_counted_twice(self) -> None:
        assert usage.spent_since(self.db, "2000") == self.spent
        assert self.db.row("SELECT count(*) FROM usage") == (self.calls,)

    def teardown(self) -> None:
        assert self.db.rows("PRAGMA foreign_key_check") == []
        self.db.close()


TestTrees = Trees.TestCase
TestTrees.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
