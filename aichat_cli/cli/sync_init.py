"""`aichat sync init`: from the address of a database to the first sync. What fails before that stores nothing."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from aichat_cli.app import App
from aichat_cli.cli.common import LONGEST_ADDRESS, DebugFlag, handed_on, opened
from aichat_cli.cli.sync_setup import agreed, begin, first_sync, keep_documents_here
from aichat_cli.core.errors import HostedUnavailable, UsageError
from aichat_cli.core.sync import SCHEMA_VERSION
from aichat_cli.render.answer import print_text
from aichat_cli.render.diagnostics import Diagnostics
from aichat_cli.storage import sync_state
from aichat_cli.sync_services import VARIABLE, SyncServices, other_side

if TYPE_CHECKING:
    from aichat_cli.core.secret import Secret
    from aichat_cli.hosted.connection import Connection, Place


def init(
    address: Annotated[
        str | None,
        typer.Argument(
            help=f"postgresql://USER@HOST/DATABASE; - reads it from stdin. Without it: ${VARIABLE}, or the gateway you are"
            " logged in to, or it is asked for, hidden.",
            metavar="[ADDRESS]",
        ),
    ] = None,
    print_: Annotated[bool, typer.Option("--print", help="Print what is applied to the database, and end.")] = False,
    no_documents: Annotated[bool, typer.Option("--no-documents", help="Keep documents on this device.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    debug: DebugFlag = False,
) -> None:
    """Set a Postgres database up, or take the gateway you are logged in to, and sync with it; on the next device the same
    command joins in.

    Once more, it brings the database forward after an upgrade.
    """
    with opened(debug=debug) as (house, diagnostics):
        if print_:
            from aichat_cli.hosted.setup import schema_text

            print_text(schema_text())
            return
        services = house.sync
        if address is None and not os.environ.get(VARIABLE, "").strip() and house.account.url:
            from aichat_cli.cli.sync_init_gateway import init_with_gateway

            init_with_gateway(house, diagnostics, no_documents=no_documents, yes=yes)
            return
        secret, place = services.guarded(*_given(address))
        _warn_of_history(address, secret, diagnostics)
        _Setup(house, diagnostics, services, secret, place).run(no_documents=no_documents, yes=yes)


def _given(typed: str | None) -> tuple[str, str]:
    """The address, wherever it comes from, and where that is."""
    if typed is None and os.environ.get(VARIABLE, "").strip():
        return os.environ[VARIABLE], f"${VARIABLE}"
    if typed is None:
        if not sys.stdin.isatty():
            raise UsageError(
                "The address of the database is missing.", hint=f"Name it, set {VARIABLE}, or pipe it to -"
            )
        return typer.prompt("Address of the database (hidden)", hide_input=True, err=True), "terminal"
    if typed == "-":
        return sys.stdin.read(LONGEST_ADDRESS), "stdin"
    return handed_on(typed), "argument"


def _warn_of_history(typed: str | None, address: Secret, diagnostics: Diagnostics) -> None:
    from aichat_cli.hosted.address import has_password

    if typed not in {None, "-"} and has_password(address):
        diagnostics.notice(
            "The password is in your shell's history now. Without an argument, aichat sync init asks for it, hidden."
        )


class _Setup:
    """One run of the command."""

    def __init__(
        self, house: App, diagnostics: Diagnostics, services: SyncServices, address: Secret, place: Place
    ) -> None:
        self._house = house
        self._diagnostics = diagnostics
        self._services = services
        self._address = address
        self._place = place

    def run(self, *, no_documents: bool, yes: bool) -> None:
        """From the connection to the first sync."""
        database = self._house.database
        is_on = sync_state.find(database) is not None
        with self._connected(is_on=is_on) as connection:
            self._require_the_same(connection)
            self._agree(connection, is_on=is_on, no_documents=no_documents, yes=yes)
            account = self._apply(connection)
        if no_documents:
            keep_documents_here(self._house)
        location = self._services.keep(self._address)
        if location.source != "keyring":
            self._diagnostics.notice(f"The address is kept in {location.source}: this machine has no keyring.")
        if is_on:
            sync_state.set_account(database, account)
        else:
            begin(self._house, account)
        first_sync(self._house, self._diagnostics)

    def _connected(self, *, is_on: bool) -> Connection:
        try:
            return self._services.connect(self._address)
        except HostedUnavailable as exc:
            if is_on:
                raise
            raise HostedUnavailable(exc.message, hint="Nothing was stored. Try again: aichat sync init") from None

    def _require_the_same(self, connection: Connection) -> None:
        """A device syncs with one database; raises SyncError where this is another."""
        from aichat_cli.hosted import setup
        from aichat_cli.sync.overview import Account

        state = sync_state.find(self._house.database)
        version = setup.version_before(connection)
        if state is None:
            return
        account = Account.of(state.account)
        if version is None or account.is_gateway:
            is_same = account.place == self._place.name
        else:
            is_same = str(connection.value("SELECT aichat.personal_user()")) == account.user_id
        if not is_same:
            raise other_side(account, self._place.name)

    def _agree(self, connection: Connection, *, is_on: bool, no_documents: bool, yes: bool) -> None:
        from aichat_cli.hosted import setup

        version = setup.version_before(connection)
        what = "is set up for aichat already" if version is not None else "is empty of aichat, and will be set up"
        if version is not None and version < SCHEMA_VERSION:
            what = f"has version {version} of aichat's tables, and will be brought to {SCHEMA_VERSION}"
        self._diagnostics.notice(f"The database {self._place.name} {what}.")
        question = None if is_on else f"Sync with {self._place.name}?"
        agreed(self._house, self._diagnostics, question, no_documents=no_documents, yes=yes)

    def _apply(self, connection: Connection) -> str:
        """Set the database up; the account there, as it is kept."""
        from aichat_cli.hosted import setup, sync_calls
        from aichat_cli.sync.overview import Account

        applied = setup.apply(connection)
        if applied.before is None:
            self._diagnostics.notice(f"Set up {self._place.name}.")
        elif applied.before < applied.after:
            self._diagnostics.notice(f"Brought {self._place.name} from version {applied.before} to {applied.after}.")
        return Account(self._place.name, sync_calls.personal_user(connection)).text
