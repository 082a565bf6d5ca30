"""`aichat sync`: conversations and documents on several devices, through a Postgres database of one's own or a gateway."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from aichat_cli.cli import sync_init
from aichat_cli.cli.common import DebugFlag, JsonFlag, command_group, confirmed, opened
from aichat_cli.cli.sync_run import synced
from aichat_cli.core.errors import AichatError, NotFound, SyncError, UsageError
from aichat_cli.core.ids import ConversationId
from aichat_cli.core.struct import replace
from aichat_cli.render import json_shapes, sync_view, tables
from aichat_cli.render.answer import print_text, stdout_sink
from aichat_cli.render.diagnostics import Diagnostics, one_line
from aichat_cli.storage import conversations, sync_state, sync_trash
from aichat_cli.storage.database import Database
from aichat_cli.sync_services import SyncServices

if TYPE_CHECKING:
    from aichat_cli.app import App
    from aichat_cli.core.sync import Device, TrashEntry

app = command_group(
    "Conversations and documents on several devices, through a Postgres database of your own or a gateway."
)
app.command("init")(sync_init.init)


@app.command()
def now(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be done; change nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Sync once."""
    with opened(as_json=as_json, debug=debug) as (house, diagnostics):
        services = house.sync
        if not dry_run:
            synced(house, diagnostics, services, as_json=as_json, is_quiet=quiet)
            return
        from aichat_cli.sync.overview import plan

        with closing(services.transport(house.database)) as transport:
            planned = plan(house.database, transport)
        print_text(json_shapes.dumps(sync_view.plan(planned)) if as_json else sync_view.plan_text(planned) + "\n")


@app.command()
def status(as_json: JsonFlag = False, debug: DebugFlag = False) -> None:
    """Show where this device syncs to, what waits to be sent, and the other devices."""
    with opened(as_json=as_json, debug=debug) as (house, _):
        from aichat_cli.sync.overview import overview

        services = house.sync
        shown = overview(house.readable_database, is_background=services.is_background)
        try:
            devices = services.ask(house.readable_database, lambda transport: transport.devices())
            shown = replace(shown, devices=_marked(devices, shown.status.device_id))
        except AichatError as exc:
            shown = replace(shown, trouble=house.keys.redact(exc.message))
        if as_json:
            print_text(json_shapes.dumps(sync_view.overview(shown)))
        else:
            sync_view.print_overview(shown)


@app.command()
def off(
    forget: Annotated[
        bool, typer.Option("--forget", help="Only where the database can be told that this device is gone.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    debug: DebugFlag = False,
) -> None:
    """Stop syncing on this device. Nothing is deleted, neither here nor there."""
    with opened(debug=debug) as (house, diagnostics):
        from aichat_cli.sync.overview import Account, status

        services = house.sync
        state = sync_state.find(house.database)
        if state is None:
            services.drop()
            raise SyncError("Sync is off.")
        unsent = sum(status(house.database).pending.values())
        if unsent:
            changes = "1 change was" if unsent == 1 else f"{unsent:,} changes were"
            diagnostics.warning(
                f"{changes} never sent, and will be on this device alone. To send first: aichat sync now"
            )
        place = Account.of(state.account).place
        if not confirmed(f"Stop syncing with {place}?", yes=yes):
            raise UsageError("Sync stays on.", hint="To turn it off without being asked: --yes")
        is_told = _tell_of_leaving(house, services, diagnostics, state.device_id, must=forget)
        sync_state.end(house.database)
        services.drop()
        listed = "" if is_told else " This device stays in its list."
        diagnostics.notice(f"Sync is off. Nothing was deleted, here or in {place}.{listed}")


@app.command()
def trash(
    reference: Annotated[str | None, typer.Argument(help="Show this one.", metavar="[ID]")] = None,
    restore: Annotated[bool, typer.Option("--restore", help="Take it out again.")] = False,
    delete: Annotated[bool, typer.Option("--delete", help="Delete it for good.")] = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """List what lost to a later change of another device, and is kept on this one; take it out, or delete it."""
    with opened(as_json=as_json, debug=debug) as (house, diagnostics):
        if reference is None:
            if restore or delete:
                raise UsageError("Say which.", hint="aichat sync trash lists them")
            _list_trash(house, diagnostics, as_json=as_json)
            return
        if restore and delete:
            raise UsageError("Either --restore or --delete.")
        database = house.database
        entry = sync_trash.find(database, reference)
        if restore:
            diagnostics.notice(_restored(database, entry))
        elif delete:
            sync_trash.remove(database, entry)
            diagnostics.notice(f'Deleted "{entry.title}" from the trash.')
        else:
            _show_entry(database, entry, as_json=as_json)


def _marked(devices: list[Device], this: str) -> tuple[Device, ...]:
    return tuple(replace(device, is_this=device.id == this) for device in devices)


def _tell_of_leaving(
    house: App, services: SyncServices, diagnostics: Diagnostics, device_id: str, *, must: bool
) -> bool:
    """Have this device taken from the list of the other side, where it can be reached; whether that was done."""
    try:
        services.ask(house.database, lambda transport: transport.forget(device_id))
    except AichatError as exc:
        if must:
            raise
        diagnostics.warning(f"The other side could not be told: {one_line(exc)}")
        return False
    return True


def _list_trash(house: App, diagnostics: Diagnostics, *, as_json: bool) -> None:
    listed = sync_trash.listing(house.readable_database)
    if as_json:
        print_text(json_shapes.dumps([sync_view.trash_row(entry) for entry in listed]))
    elif listed:
        tables.sync_trash(listed)
    else:
        diagnostics.notice("The trash of sync is empty: no change here lost to another device.")


def _show_entry(database: Database, entry: TrashEntry, *, as_json: bool) -> None:
    kept = sync_trash.content(database, entry)
    if as_json:
        print_text(json_shapes.dumps({**sync_view.trash_row(entry), "content": sync_view.trash_text(entry, kept)}))
        return
    sink = stdout_sink()
    sink.write(sync_view.trash_text(entry, kept))
    sink.end()


def _restored(database: Database, entry: TrashEntry) -> str:
    """Take an entry out: a conversation as a new one, a title or system prompt as a change of today; what was done."""
    if entry.kind == "document":
        raise UsageError(
            "A document's text is shown, not put back: its file is the original.",
            hint=f"Run: aichat sync trash {entry.id[:18]} > FILE",
        )
    if entry.kind == "conversation":
        conversation_id = sync_trash.restore(database, entry)
        return f'Restored "{entry.title}" as a new conversation: aichat -r {conversation_id}'
    value = str(sync_trash.content(database, entry)["value"] or "")
    conversation = ConversationId(entry.conversation_id)
    try:
        if entry.kind == "title":
            conversations.rename(database, conversation, value)
        else:
            conversations.set_system_prompt(database, conversation, value or None)
    except NotFound:
        raise NotFound(
            f"The conversation of this {entry.kind.replace('_', ' ')} is gone.",
            hint=f"Run: aichat sync trash {entry.id}",
        ) from None
    sync_trash.remove(database, entry)
    return f"Set the {entry.kind.replace('_', ' ')} again, on every device."
