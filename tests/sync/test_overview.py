"""How things stand, and what a sync would do, as data."""

from __future__ import annotations

from aichat_cli.storage import conversations, sync_overview
from aichat_cli.sync.overview import overview, plan
from tests.sync.conftest import NewDevice
from tests.sync.test_sync import chat


def test_what_is_here_and_what_waits_is_counted_by_things(new_device: NewDevice) -> None:
    device = new_device()
    conversation = chat(device)
    device.read("notes.md", "some text")
    device.ask("Still being answered", None, None)

    shown = overview(device.database, is_background=True)

    assert shown.status.pending == {"conversation": 2, "message": 3, "usage": 1, "document": 1}
    assert shown.writing == 1
    assert sync_overview.contents(device.database) == sync_overview.Contents(2, 4, 1)
    assert not sync_overview.where(device.database, conversation).is_deleted
    conversations.move_to_trash(device.database, conversation)
    assert sync_overview.where(device.database, conversation).is_deleted
    assert sync_overview.where(device.database, "gone").is_deleted


def test_a_plan_tells_what_a_sync_would_do_and_does_nothing(new_device: NewDevice) -> None:
    one, other = new_device(), new_device()
    conversation = chat(one)
    one.sync()
    other.sync()
    one.delete(conversation)
    one.sync()
    chat(one, "To come")
    one.sync()
    chat(other, "To go")
    other.read("notes.md", "some text")

    planned = plan(other.database, other.transport)

    assert (planned.titles, planned.documents) == (["About To go"], ["notes.md"])
    assert planned.sent == {"conversation": 1, "message": 2, "usage": 1, "document": 1}
    assert planned.received == {"conversation": 1, "message": 2, "usage": 1}
    assert (planned.deleted_here, planned.deleted_there) == (1, 0)
    assert conversation in other.conversation_ids()
