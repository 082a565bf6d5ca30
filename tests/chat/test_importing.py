"""Archives of each format become trees of messages; a second import adds only what is new."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aichat_cli.chat.importing import import_archives
from aichat_cli.core.archive import ImportSummary
from aichat_cli.core.ids import MessageId
from aichat_cli.core.messages import Conversation, Message
from aichat_cli.storage import attachments, conversations, messages, turns
from aichat_cli.storage.database import Database
from tests import archives
from tests.archives import chatgpt, chatgpt_talk, claude, claude_message, llm_logs, plain, said, zipped
from tests.storage.support import index_agrees, opening


@pytest.fixture
def db() -> Iterator[Database]:
    with Database.in_memory() as database:
        yield database


def imported(db: Database, *paths: Path, **options: Any) -> ImportSummary:
    summary = ImportSummary()
    import_archives(db, list(paths), summary, **options)
    return summary


def only(db: Database) -> tuple[Conversation, list[Message]]:
    """The one conversation, and all its messages."""
    (found,) = conversations.listing(db, limit=None)
    return found, messages.of_conversation(db, found.id)


def used(db: Database) -> list[tuple[str, str]]:
    """Role and text along the branch in use of the one conversation."""
    found, _ = only(db)
    return [(message.role, message.content) for message in messages.branch(db, found.head_id)]


def extra(db: Database, message: Message) -> Any:
    text = db.rows("SELECT extra FROM messages WHERE id = ?", (message.id,))[0][0]
    return json.loads(text) if text else None


def everything(db: Database) -> list[Any]:
    """All that an import writes, but for the ids and times of attachments."""
    return [
        db.rows("SELECT * FROM conversations ORDER BY id"),
        db.rows("SELECT * FROM messages ORDER BY id"),
        db.rows("SELECT message_id, sha256, name, media_type FROM attachments ORDER BY message_id, seq"),
    ]


def test_a_chatgpt_tree_keeps_its_branches_times_and_head(db: Database, tmp_path: Path) -> None:
    summary = imported(db, zipped(tmp_path / "export.zip", [chatgpt_talk("herons", turns=2)]))

    assert (summary.new, summary.messages_new, summary.branches, summary.failures) == (1, 5, 1, [])
    assert summary.skipped == {"empty messages": 1}
    talk, every = only(db)
    assert (talk.title, talk.model) == ("About herons", "gpt-4o")
    assert (talk.created_at, talk.updated_at) == ("2023-11-14T22:13:20.250Z", "2023-11-14T22:14:20.250Z")
    assert used(db) == [
        ("user", "question 0 about herons"), ("assistant", "answer 0 about herons"),
        ("user", "question 1 about herons"), ("assistant", "answer 1 about herons"),
    ]  # fmt: skip
    question = every[0]
    assert (question.parent_id, question.created_at) == (None, "2023-11-14T22:13:20.250Z")
    beside = messages.children(db, question.id, talk.id)
    assert [(each.content, each.model) for each in beside] == [
        ("another answer", "gpt-4o"), ("answer 0 about herons", "gpt-4o"),
    ]  # fmt: skip


def test_chatgpt_thoughts_go_with_the_answer_and_tools_keep_their_role(db: Database, tmp_path: Path) -> None:
    code = {"content_type": "code", "language": "python", "text": "print(1)"}
    talk = chatgpt(
        "t",
        {
            "ctx": ("system", said("user", "", content={
                "content_type": "user_editable_context", "user_profile": "I am Ada", "user_instructions": "Be brief"},
                metadata={"is_visually_hidden_from_conversation": True})),
            "q": ("ctx", said("user", "one?")),
            "th": ("q", said("assistant", "", content={
                "content_type": "thoughts", "thoughts": [{"summary": "Counting", "content": "It is one."}]})),
            "rr": ("th", said("assistant", "", content={"content_type": "reasoning_recap", "content": "Thought for 2s"})),
            "call": ("rr", said("assistant", "", content=code, recipient="python")),
            "out": ("call", said("tool", "", author={"role": "tool", "name": "python"},
                    content={"content_type": "execution_output", "text": "1"})),
            "web": ("out", said("tool", "", author={"role": "tool", "name": "browser"},
                    content={"content_type": "tether_quote", "url": "https://x.example", "title": "X", "text": "quoted"})),
            "a": ("web", said("assistant", "It is one. \ue200cite\ue202turn0\ue201", status="finished_partial_completion",
                  metadata={"model_slug": "o3", "finish_details": {"type": "max_tokens"}, "content_references": [
                      {"matched_text": "\ue200cite\ue202turn0\ue201", "alt": "([X](https://x.example))",
                       "items": [{"title": "X", "url": "https://x.example"}]}]})),
            "odd": ("a", said("assistant", "", content={"content_type": "hologram"})),
        },
        head="odd",
    )  # fmt: skip
    summary = imported(db, plain(tmp_path / "conversations.json", [talk]))

    assert summary.skipped == {"empty messages": 2, 'messages of type "hologram"': 1}
    _, every = only(db)
    assert used(db) == [
        ("system", "I am Ada\n\nBe brief"), ("user", "one?"), ("assistant", "```python\nprint(1)\n```"),
        ("tool", "```\n1\n```"), ("tool", "[X](https://x.example)\n\nquoted"),
        ("assistant", "It is one. ([X](https://x.example))"),
    ]  # fmt: skip
    context, _, call, output, _, answer = every
    assert extra(db, context) == {"content_type": "user_editable_context", "hidden": True}
    assert call.reasoning == "Counting\nIt is one."
    assert extra(db, call) == {"recipient": "python", "content_type": "code", "recap": "Thought for 2s"}
    assert extra(db, output) == {"name": "python", "content_type": "execution_output"}
    assert (answer.model, answer.status, answer.finish_reason, answer.reasoning) == ("o3", "stopped", "max_tokens", "")
    assert extra(db, answer) == {"sources": [{"title": "X", "url": "https://x.example"}]}


def test_files_of_chatgpt_are_stored_once_and_missing_ones_are_named(db: Database, tmp_path: Path) -> None:
    image = {"content_type": "image_asset_pointer", "asset_pointer": "sediment://file_00ab", "width": 1}
    gone = {"content_type": "audio_asset_pointer", "asset_pointer": "sediment://file_00ff"}
    voice = {"content_type": "audio_transcription", "text": "what is this?"}
    uploaded = [{"id": "file_00ab", "name": "../../my photo.png", "mime_type": "image/png"},
                {"id": "file-Doc1", "name": "notes.txt"}]  # fmt: skip
    content = {"content_type": "multimodal_text", "parts": [image, gone, voice, "look"]}
    talk = chatgpt(
        "t", {"q": ("system", said("user", "", content=content, metadata={"attachments": uploaded}))}, head="q"
    )
    files = {"user-x/file_00ab-1234.dat": archives.PNG, "file-Doc1-notes.txt": b"notes", "../../etc/file-x": b"no"}
    summary = imported(db, zipped(tmp_path / "export.zip", [talk], files))

    assert (summary.files_stored, summary.files_missing, summary.missing) == (2, 1, ["file_00ff"])
    _, (question,) = only(db)
    assert question.content == "what is this?\nlook"
    stored = attachments.of_messages(db, [question.id])[question.id]
    assert [(each.name, each.media_type, each.content) for each in stored] == [
        ("my photo.png", "image/png", archives.PNG), ("notes.txt", "text/plain", b"notes"),
    ]  # fmt: skip
    again = imported(db, tmp_path / "export.zip")
    assert (again.unchanged, again.files_stored, again.files_missing) == (1, 0, 0)


@pytest.mark.parametrize(
    ("pointer", "file", "name"),
    [
        ("file-service://file-Pic1", "dalle-generations/file-Pic1-3f2a.png", "file-Pic1-3f2a.png"),
        ("sediment://file_00ab", "file_00ab.dat", "the logo.png"),
        ("sediment://file_00cd", "file_00cd.dat", "file_00cd.dat"),
    ],
)
def test_a_file_is_found_by_its_pointer_alone_and_gets_the_name_it_had(
    db: Database, tmp_path: Path, pointer: str, file: str, name: str
) -> None:
    content = {"content_type": "multimodal_text", "parts": [{"asset_pointer": pointer}, {"asset_pointer": pointer}]}
    talk = chatgpt("t", {"made": ("system", said("tool", "", content=content))}, head="made")
    names = json.dumps({"file_00ab.dat": "logos/the logo.png", "file_00cd.dat": 7}).encode()
    files = {file: archives.PNG, "conversation_asset_file_names.json": names}
    summary = imported(db, zipped(tmp_path / "export.zip", [talk], files))

    assert (summary.files_stored, summary.files_missing) == (1, 0)
    _, (made,) = only(db)
    (stored,) = attachments.of_messages(db, [made.id])[made.id]
    assert (stored.name, stored.media_type) == (name, "image/png")


def test_references_that_the_export_does_not_explain_leave_no_marks_in_the_text(db: Database, tmp_path: Path) -> None:
    text = 'Up \ue200cite\ue202turn9search9\ue201, says \ue200entity\ue202["company","Acme"]\ue201\ue200entity\ue202{\ue201.'
    talk = chatgpt("t", {"a": ("system", said("assistant", text))}, head="a")
    imported(db, plain(tmp_path / "conversations.json", [talk]))
    assert used(db) == [("assistant", "Up , says Acme.")]


def test_numbered_parts_and_unpacked_folders_are_read_as_one_archive(db: Database, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    for number in range(3):
        plain(folder / f"conversations-00{number}.json", [chatgpt_talk(f"talk {number}")])
    (folder / "user.json").write_text("{}")
    (folder / "conversations-link.json").symlink_to("/etc/passwd")
    assert imported(db, folder).new == 3
    assert imported(db, folder / "conversations-001.json").unchanged == 1


def test_a_claude_message_with_tools_becomes_one_message_for_each_step(db: Database, tmp_path: Path) -> None:
    blocks = [
        {"type": "thinking", "thinking": "Let me look."},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "tu1", "name": "search", "input": {"q": "herons"}},
        {"type": "tool_result", "tool_use_id": "tu1", "name": "search", "content": [{"type": "text", "text": "found"}],
         "is_error": False},
        {"type": "token_budget"},
        {"type": "hologram", "data": 1},
        {"type": "text", "text": "They are birds.", "citations": [{"title": "X", "url": "https://x.example"}]},
    ]  # fmt: skip
    root = "00000000-0000-4000-8000-000000000000"
    talk = claude("c1", [
        claude_message("m1", "human", "herons?", parent_message_uuid=root, attachments=[
            {"file_name": "long.txt", "file_type": "txt", "file_size": 4, "extracted_content": "text"}],
            files=[{"file_name": "photo.png", "file_uuid": "u"}]),
        claude_message("m2", "assistant", "This block is not supported", content=blocks, parent_message_uuid="m1"),
        claude_message("m3", "assistant", "Fish.", parent_message_uuid="m1"),
        claude_message("m4", "human", "thanks", parent_message_uuid="m2"),
    ])  # fmt: skip
    summary = imported(db, zipped(tmp_path / "claude.zip", [talk]))

    assert summary.skipped == {'parts of type "hologram"': 1}
    assert (summary.branches, summary.files_stored, summary.missing) == (1, 1, ["photo.png"])
    _, every = only(db)
    assert used(db) == [
        ("user", "herons?"), ("assistant", "I look."), ("tool", "found"), ("assistant", "They are birds."),
        ("user", "thanks"),
    ]  # fmt: skip
    by_text = {message.content: message for message in every}
    assert by_text["I look."].reasoning == "Let me look."
    assert extra(db, by_text["I look."]) == {"tool_calls": [{"id": "tu1", "name": "search", "input": {"q": "herons"}}]}
    assert extra(db, by_text["found"]) == {"name": "search", "tool_call_id": "tu1"}
    assert by_text["Fish."].parent_id == by_text["herons?"].id
    stored = attachments.of_messages(db, [by_text["herons?"].id])[by_text["herons?"].id]
    assert [(each.name, each.content) for each in stored] == [("long.txt", b"text")]


def test_an_older_claude_export_without_parents_or_blocks_is_one_line_of_messages(db: Database, tmp_path: Path) -> None:
    old = [{"uuid": name, "sender": sender, "text": text, "created_at": f"2023-09-0{day}T00:00:00+00:00"}
           for name, sender, text, day in (("a", "human", "hi", 1), ("b", "assistant", "hello", 2))]  # fmt: skip
    imported(db, plain(tmp_path / "conversations.json", [claude("c", old, name="")]))
    assert used(db) == [("user", "hi"), ("assistant", "hello")]
    assert only(db)[0].title == "hi"


def test_the_older_tables_of_llm_are_read_with_tools_fragments_and_files(db: Database, tmp_path: Path) -> None:
    path = llm_logs(tmp_path / "logs.db", archives.LEGACY_TABLES)
    summary = imported(db, path)

    assert (summary.new, summary.files_stored, summary.missing) == (2, 1, ["secret.png"])
    talk = conversations.find(db, "Old talk")
    assert (talk.system_prompt, talk.created_at) == ("be brief", "2025-01-01T10:00:00.123Z")
    branch = messages.branch(db, talk.head_id)
    assert [(each.role, each.content) for each in branch] == [
        ("user", "a fragment\nfirst question"), ("assistant", "first answer"), ("user", "use a tool"), ("assistant", ""),
        ("tool", "X"), ("assistant", "it says X"),
    ]  # fmt: skip
    assert (branch[1].model, branch[-1].model) == ("gpt-4o", "gpt-4o-2024")
    assert extra(db, branch[1]) == {"options": {"temperature": 0}}
    assert extra(db, branch[3]) == {"tool_calls": [{"id": "tc1", "name": "up", "input": {"s": "x"}}]}
    assert conversations.find(db, "alone").system_prompt is None


def test_threads_of_llm_are_read_with_their_branches(db: Database, tmp_path: Path) -> None:
    summary = imported(db, llm_logs(tmp_path / "logs.db", archives.LEGACY_TABLES, archives.THREAD_TABLES))

    assert (summary.new, summary.branches) == (3, 1)
    talk = conversations.find(db, "New talk")
    assert talk.system_prompt == "be kind"
    branch = messages.branch(db, talk.head_id)
    assert [(each.role, each.content) for each in branch] == [
        ("user", "a fragment\nlook"), ("assistant", ""), ("tool", "X"), ("assistant", "it is X"),
    ]  # fmt: skip
    assert (branch[1].reasoning, branch[3].model) == ("hm", "mock-2")
    assert extra(db, branch[1]) == {"tool_calls": [{"id": "tc1", "name": "up", "input": {"s": "x"}}]}
    assert len(attachments.of_messages(db, [branch[0].id])[branch[0].id]) == 1


def test_a_talk_that_llm_went_on_with_in_its_new_tables_is_continued_not_doubled(db: Database, tmp_path: Path) -> None:
    imported(db, llm_logs(tmp_path / "old.db", archives.LEGACY_TABLES))
    before = messages.branch(db, conversations.find(db, "Old talk").head_id)
    scripts = (archives.LEGACY_TABLES, archives.THREAD_TABLES, archives.CONTINUED)
    summary = imported(db, llm_logs(tmp_path / "new.db", *scripts))

    assert (summary.new, summary.updated, summary.unchanged) == (1, 1, 1)
    after = messages.branch(db, conversations.find(db, "Old talk").head_id)
    assert after[: len(before)] == before
    assert [each.content for each in after[len(before) :]] == ["and now?", "still X"]


@pytest.mark.parametrize("in_wal", [False, True])
def test_the_database_of_llm_and_its_folder_stay_as_they_are(db: Database, tmp_path: Path, in_wal: bool) -> None:
    import apsw

    folder = tmp_path / "llm"
    folder.mkdir()
    path = llm_logs(folder / "logs.db", archives.LEGACY_TABLES)
    writer = apsw.Connection(str(path))
    if in_wal:
        writer.pragma("journal_mode", "wal")
        writer.execute("UPDATE responses SET response = 'from the log' WHERE id = 'r1'")
    before = {each.name: each.read_bytes() for each in folder.iterdir()}
    imported(db, path)
    assert {each.name: each.read_bytes() for each in folder.iterdir()} == before
    branch = messages.branch(db, conversations.find(db, "Old talk").head_id)
    assert branch[1].content == ("from the log" if in_wal else "first answer")
    writer.close()


def test_a_second_import_changes_nothing(db: Database, tmp_path: Path) -> None:
    paths = [
        zipped(tmp_path / "a.zip", [chatgpt_talk(f"talk {number}") for number in range(5)]),
        plain(tmp_path / "claude.json", [claude("c", [claude_message("m", "human", "hi")])]),
        llm_logs(tmp_path / "logs.db", archives.LEGACY_TABLES, archives.THREAD_TABLES),
    ]
    first = imported(db, *paths)
    before = everything(db)
    second = imported(db, *paths)

    assert everything(db) == before
    assert (second.new, second.updated, second.unchanged) == (0, 0, first.new)
    assert (second.messages_new, second.messages_known) == (0, first.messages_new)
    assert second.branches == first.branches
    index_agrees(db)


def test_a_rehearsal_counts_and_stores_nothing(db: Database, tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", [chatgpt_talk("herons")])
    assert imported(db, path, is_rehearsal=True).messages_new == 11
    assert conversations.count(db) == 0
    assert imported(db, path).messages_new == 11


def test_a_conversation_that_grew_gets_its_new_messages_and_its_head_moves_on(db: Database, tmp_path: Path) -> None:
    imported(db, plain(tmp_path / "a.json", [chatgpt_talk("t", turns=2)]))
    conversations.rename(db, only(db)[0].id, "My own title")
    longer = chatgpt_talk("t", turns=3)
    longer["mapping"]["t-a0"]["message"]["content"]["parts"] = ["rewritten there"]
    summary = imported(db, plain(tmp_path / "b.json", [longer]))

    assert (summary.updated, summary.messages_new, summary.messages_known, summary.messages_kept) == (1, 2, 4, 1)
    assert only(db)[0].title == "My own title"
    assert [text for _, text in used(db)][-1] == "answer 2 about t"
    assert ("assistant", "answer 0 about t") in used(db)


@pytest.mark.parametrize("moved_to", ["other branch", "undone", "continued here"])
def test_a_head_that_was_moved_here_stays_when_the_conversation_grew(
    db: Database, tmp_path: Path, moved_to: str
) -> None:
    imported(db, plain(tmp_path / "a.json", [chatgpt_talk("t", turns=2)]))
    talk, every = only(db)
    by_text = {message.content: message.id for message in every}
    head: MessageId
    if moved_to == "continued here":
        head = turns.begin(db, opening("more", conversation_id=talk.id, parent_id=talk.head_id)).message_id
    else:
        head = by_text["another answer" if moved_to == "other branch" else "answer 0 about t"]
        conversations.move_head(db, talk.id, head)
    summary = imported(db, plain(tmp_path / "b.json", [chatgpt_talk("t", turns=3)]))
    assert (summary.updated, only(db)[0].head_id) == (1, head)


def test_what_is_in_the_trash_stays_there_and_what_was_deleted_comes_back(db: Database, tmp_path: Path) -> None:
    path = plain(tmp_path / "a.json", [chatgpt_talk("a"), chatgpt_talk("b")])
    imported(db, path)
    trashed, deleted = conversations.find(db, "About a"), conversations.find(db, "About b")
    conversations.move_to_trash(db, trashed.id)
    conversations.delete(db, deleted.id)
    summary = imported(db, path)

    assert (summary.new, summary.in_trash, summary.unchanged) == (1, 1, 0)
    assert [each.id for each in conversations.listing(db, limit=None)] == [deleted.id]


def test_the_format_that_was_asked_for_is_demanded(db: Database, tmp_path: Path) -> None:
    path = plain(tmp_path / "a.json", [chatgpt_talk("a")])
    summary = imported(db, path, archive_format="claude")
    assert (summary.new, summary.failures[0].reason) == (0, "it is of chatgpt, not of claude")
    assert imported(db, path, archive_format="llm").failures[0].reason.endswith("is not the database of llm.")
    assert imported(db, path, archive_format="chatgpt").new == 1
