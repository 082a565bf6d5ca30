from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.chat.context import build
from aichat_cli.core.errors import ContextTooLong, UsageError
from aichat_cli.core.ids import ConversationId, MessageId
from aichat_cli.core.messages import Attachment, ChatMessage, MediaKind, Message, Role
from aichat_cli.core.models import Model
from aichat_cli.core.struct import replace

SMALL = Model("small", "small", "test", "openai", context_tokens=400, max_output_tokens=100)
UNKNOWN = Model("unknown", "unknown", "test", "openai")


def message(role: Role, content: str, *files: Attachment) -> Message:
    return Message(
        id=MessageId(f"m of {content}"),
        conversation_id=ConversationId("c"),
        parent_id=None,
        role=role,
        content=content,
        reasoning="",
        status="complete",
        model=None,
        finish_reason=None,
        error=None,
        input_tokens=None,
        output_tokens=None,
        cost_nano=None,
        created_at="",
        attachments=tuple(file.summary for file in files),
    )


def exchange(number: int, words: int = 1) -> list[Message]:
    return [message("user", f"q{number} " * words), message("assistant", f"a{number} " * words)]


def test_a_short_conversation_is_shown_whole() -> None:
    context = build([*exchange(1), *exchange(2)], "q3", "be brief", SMALL)

    assert [m.content.strip() for m in context.messages] == ["q1", "a1", "q2", "a2", "q3"]
    assert context.left_out == 0


def test_the_oldest_messages_are_left_out_and_counted_where_the_window_is_full() -> None:
    context = build([*exchange(1, 200), *exchange(2, 20), *exchange(3, 20)], "q4", None, SMALL)

    assert [m.content.split()[0] for m in context.messages] == ["q2", "a2", "q3", "a3", "q4"]
    assert context.left_out == 2


def test_what_is_shown_never_begins_with_half_an_exchange() -> None:
    branch = [message("user", "long " * 300), message("assistant", "short")]

    context = build(branch, "next", None, SMALL)

    assert context.messages == (ChatMessage("user", "next"),)
    assert context.left_out == 2


def test_a_system_prompt_takes_its_share_of_the_window() -> None:
    branch = [*exchange(1, 60), *exchange(2, 10)]

    assert build(branch, "q", None, SMALL).left_out == 0
    assert build(branch, "q", "rule " * 200, SMALL).left_out > 0


def test_replies_without_a_word_are_not_shown() -> None:
    branch = [message("user", "q1"), message("assistant", "")]

    assert build(branch, "q2", None, SMALL).messages == (ChatMessage("user", "q1\n\nq2"),)


def test_speakers_alternate_as_many_servers_demand() -> None:
    branch = [message("user", "q1"), message("user", "q2"), message("assistant", "a"), message("user", "q3")]

    roles = [m.role for m in build(branch, "q4", None, SMALL).messages]

    assert roles == ["user", "assistant", "user"]


def test_a_branch_that_ends_with_the_question_needs_no_prompt() -> None:
    assert build([message("user", "q1")], None, None, SMALL).messages == (ChatMessage("user", "q1"),)


def test_a_model_of_unknown_window_is_shown_everything() -> None:
    assert build(exchange(1, 100_000), "q", None, UNKNOWN).left_out == 0


def test_a_prompt_that_cannot_fit_is_refused_with_both_sizes() -> None:
    with pytest.raises(ContextTooLong, match=r"about [\d,]+ tokens, and the window of small holds 400"):
        build([], "word " * 2000, None, SMALL)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=12), st.integers(1, 300))
def test_the_newest_is_always_shown_and_nothing_is_lost_uncounted(sizes: list[tuple[int, int]], last: int) -> None:
    branch = [m for q, a in sizes for m in (message("user", "w " * q), message("assistant", "w " * a))]

    context = build(branch, "w " * last, None, SMALL)

    with_text = [m for m in branch if m.content]
    assert context.messages[-1].content.endswith("w " * last)
    shown = sum(m.content.count("\n\n") + 1 for m in context.messages)
    assert shown + context.left_out == len(with_text) + 1
    assert context.messages[0].role == "user" or context.left_out == 0


IMAGE = Attachment("photo.png", "image/png", b"image")
PDF = Attachment("report.pdf", "application/pdf", b"pdf")
SOUND = Attachment("talk.wav", "audio/wav", b"sound")
BLIND = Model("blind", "blind", "test", "openai", reads_images=False, reads_pdf=False, reads_audio=False)


class Store:
    """Files by message; remembers what was asked for."""

    def __init__(self, **files: tuple[Attachment, ...]) -> None:
        self.files = {MessageId(f"m of {content}"): attached for content, attached in files.items()}
        self.loaded: list[MessageId] = []

    def __call__(self, ids: Sequence[MessageId]) -> dict[MessageId, tuple[Attachment, ...]]:
        self.loaded += ids
        return {identifier: self.files[identifier] for identifier in ids}


def test_files_go_with_the_message_they_were_attached_to_each_time() -> None:
    branch = [message("user", "q1", IMAGE), message("assistant", "a1")]

    context = build(branch, "q2", None, UNKNOWN, attachments=(PDF,), load=Store(q1=(IMAGE,)))

    assert [(m.content, m.attachments) for m in context.messages] == [("q1", (IMAGE,)), ("a1", ()), ("q2", (PDF,))]
    assert context.unread_files == ()


def test_joined_messages_keep_the_files_of_each() -> None:
    branch = [message("user", "q1", IMAGE), message("assistant", "")]

    context = build(branch, "q2", None, UNKNOWN, attachments=(PDF,), load=Store(q1=(IMAGE,)))

    assert context.messages == (ChatMessage("user", "q1\n\nq2", (IMAGE, PDF)),)


def test_a_message_that_is_a_file_alone_is_shown() -> None:
    branch = [message("user", "", IMAGE), message("assistant", "a")]

    assert build(branch, "q", None, UNKNOWN, load=Store(**{"": (IMAGE,)})).messages[0].attachments == (IMAGE,)


def test_files_take_room_in_the_window_and_only_those_that_are_sent_are_loaded() -> None:
    store = Store(q1=(IMAGE,), q2=(IMAGE,))
    branch = [message("user", "q1", IMAGE), message("assistant", "a1"), message("user", "q2", IMAGE)]
    room_for_one = Model("m", "m", "test", "openai", context_tokens=3000, max_output_tokens=10)

    context = build([*branch, message("assistant", "a2")], "q3", None, room_for_one, load=store)

    assert [m.content for m in context.messages] == ["q2", "a2", "q3"]
    assert context.left_out == 2
    assert store.loaded == ["m of q2"]


@pytest.mark.parametrize(("file", "kind"), [(IMAGE, "images"), (PDF, "PDF files"), (SOUND, "audio")])
def test_a_new_file_the_model_cannot_read_is_refused_with_models_that_do(file: Attachment, kind: str) -> None:
    with pytest.raises(UsageError, match=rf"blind cannot read {kind} \({file.name}\)") as error:
        build([], "q", None, BLIND, attachments=(file,))
    assert error.value.hint
    assert error.value.hint.startswith("Models that do: -m ")


def test_a_question_asked_again_needs_a_model_that_reads_its_files() -> None:
    with pytest.raises(UsageError, match="cannot read images"):
        build([message("user", "q", IMAGE)], None, None, BLIND, load=Store(q=(IMAGE,)))


def test_earlier_files_the_model_cannot_read_are_named_to_it_and_to_the_user() -> None:
    branch = [message("user", "q1", IMAGE, PDF), message("assistant", "a1")]

    context = build(branch, "q2", None, BLIND, load=Store(q1=(IMAGE, PDF)))

    assert context.unread_files == ("photo.png", "report.pdf")
    assert context.messages[0] == ChatMessage(
        "user",
        "[photo.png, image/png, cannot be shown to you]\n\n[report.pdf, application/pdf, cannot be shown to you]\n\nq1",
    )


def test_earlier_files_that_stayed_on_another_device_are_named_to_the_model_and_to_the_user() -> None:
    branch = [message("user", "q1", IMAGE, PDF), message("assistant", "a1")]

    context = build(branch, "q2", None, UNKNOWN, load=Store(q1=(PDF,)))

    assert context.unread_files == ("photo.png (on another device)",)
    assert context.messages[0] == ChatMessage("user", "[photo.png, image/png, cannot be shown to you]\n\nq1", (PDF,))


def test_imported_text_files_become_text_and_files_of_no_known_kind_are_named() -> None:
    text, archive = Attachment("a.csv", "text/csv", b"1,2\n"), Attachment("a.zip", "application/zip", b"PK")

    context = build([message("user", "q", text, archive)], "and?", None, UNKNOWN, load=Store(q=(text, archive)))

    assert context.messages[0].content == (
        '<file name="a.csv">\n1,2\n</file>\n\n[a.zip, application/zip, cannot be shown to you]\n\nq\n\nand?'
    )
    assert context.unread_files == ("a.zip",)


def test_images_of_an_imported_answer_are_named_for_no_wire_takes_them_there() -> None:
    branch = [message("user", "draw"), message("assistant", "here", IMAGE)]

    context = build(branch, "thanks", None, UNKNOWN, load=Store(here=(IMAGE,)))

    assert context.messages[1] == ChatMessage("assistant", "[photo.png, image/png, cannot be shown to you]\n\nhere")
    assert context.unread_files == ("photo.png",)


def test_what_tools_and_the_system_said_is_shown_labelled_from_the_users_side() -> None:
    branch = [
        message("system", "be kind"),
        message("user", "weather?"),
        message("assistant", ""),
        message("tool", '{"sky": "blue"}'),
        replace(message("tool", "12 °C"), tool_name="thermometer"),
        message("assistant", "blue"),
    ]

    context = build(branch, "sure?", None, UNKNOWN)

    assert [(m.role, m.content) for m in context.messages] == [
        (
            "user",
            '[system]\nbe kind\n[/system]\n\nweather?\n\n[tool]\n{"sky": "blue"}\n[/tool]\n\n'
            "[tool thermometer]\n12 °C\n[/tool]",
        ),
        ("assistant", "blue"),
        ("user", "sure?"),
    ]
    assert context.left_out == 0


KINDS: list[MediaKind] = ["image", "pdf", "audio"]


@given(
    st.lists(st.tuples(st.sampled_from(["user", "assistant", "tool", "system"]), st.integers(0, 3)), max_size=12),
    st.lists(st.sampled_from(KINDS), max_size=2),
)
def test_every_file_is_sent_or_named(speakers: list[tuple[Role, int]], blind_to: list[MediaKind]) -> None:
    model = replace(
        UNKNOWN,
        reads_images=None if "image" not in blind_to else False,
        reads_pdf=None if "pdf" not in blind_to else False,
        reads_audio=None if "audio" not in blind_to else False,
    )
    types = ["image/png", "application/pdf", "audio/wav", "application/zip"]
    files = {
        f"c{number}": tuple(Attachment(f"{number}-{n}", types[n], b"x") for n in range(count))
        for number, (_, count) in enumerate(speakers)
    }
    branch = [message(role, f"c{n}", *files[f"c{n}"]) for n, (role, _) in enumerate(speakers)]

    context = build([message("user", "hello"), *branch], "q", None, model, load=Store(**files))

    sent = [file.name for m in context.messages for file in m.attachments]
    assert sorted([*sent, *context.unread_files]) == sorted(
        file.name for attached in files.values() for file in attached
    )
    assert all(f"[{name}, " in "".join(m.content for m in context.messages) for name in context.unread_files)
