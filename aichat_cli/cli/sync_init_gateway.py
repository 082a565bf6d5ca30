"""`aichat sync init` where the user is logged in to a gateway: from the account there to the first sync."""

from __future__ import annotations

from aichat_cli.app import App
from aichat_cli.cli.sync_setup import agreed, begin, first_sync, keep_documents_here
from aichat_cli.core.errors import SyncError
from aichat_cli.render.diagnostics import Diagnostics
from aichat_cli.storage import sync_state

OWN_DATABASE = "aichat sync init postgresql://USER@HOST/DATABASE"


def init_with_gateway(house: App, diagnostics: Diagnostics, *, no_documents: bool, yes: bool) -> None:
    """Sync with the account at the gateway; once more, that is where it is now.

    Raises:
        SyncError: this device syncs with something else, or there is no sync there.
        AccountError, ProviderError: the gateway refuses the key, or cannot be reached.
    """
    from aichat_cli.sync.overview import Account
    from aichat_cli.sync_services import other_side

    database = house.database
    state = sync_state.find(database)
    before = None if state is None else Account.of(state.account)
    url = house.account.url
    if before is not None and not before.is_gateway:
        raise SyncError(
            f"This device syncs with {before.place}, and you are logged in to {url}.",
            hint=f"To sync there: aichat sync off, and this again; to bring the database forward: {OWN_DATABASE}",
        )
    told = house.account.look()
    if not told.syncs:
        raise SyncError(
            f"The gateway {url} has no sync.", hint=f"Ask its operator, or use a database of your own: {OWN_DATABASE}"
        )
    if told.scopes and "sync" not in told.scopes:
        raise SyncError(
            f"The key of {told.user_name} at {url} may not be used for sync.",
            hint=f"Ask its operator for one that may, and: aichat login {url}",
        )
    if before is not None and before.user_id != told.user_id:
        raise other_side(before, url)
    diagnostics.notice(f"You are logged in to {url} as {told.user_name}.")
    question = f"Sync with {url} as {told.user_name}?" if before is None else None
    agreed(house, diagnostics, question, hint=OWN_DATABASE, no_documents=no_documents, yes=yes)
    if no_documents:
        keep_documents_here(house)
    account = Account(url, told.user_id).text
    if before is not None:
        sync_state.set_account(database, account)
    else:
        begin(house, account)
    first_sync(house, diagnostics)
