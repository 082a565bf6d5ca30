"""What a sync is made of, as it is set: where the other side is, the way there, and where documents go.

The other side is a Postgres database, whose address is in the keyring, or the gateway that the user is logged in to. Until
something is synced nothing is opened, and nothing of Postgres is imported.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing, suppress
from typing import TYPE_CHECKING, TypeVar

from aichat_cli.config.secrets import KeyStore
from aichat_cli.config.settings import Settings
from aichat_cli.core.errors import AichatError, ConfigError, EmbeddingError, SyncError
from aichat_cli.core.interrupts import leave_signals_to_the_main_thread
from aichat_cli.core.sync import SyncProgress, SyncReport
from aichat_cli.storage import sync_state
from aichat_cli.storage.database import Database

if TYPE_CHECKING:
    from aichat_cli.account.services import AccountServices
    from aichat_cli.config.secrets import KeyLocation
    from aichat_cli.core.ingest import IngestProgress
    from aichat_cli.core.secret import Secret
    from aichat_cli.documents.hosted_corpus import HostedCorpora
    from aichat_cli.documents.library import Library
    from aichat_cli.documents.moving import Moved
    from aichat_cli.hosted.connection import Connection, Place
    from aichat_cli.sync.engine import SyncDeps
    from aichat_cli.sync.overview import Account
    from aichat_cli.sync.protocol import Transport

T = TypeVar("T")

PATIENCE_SECONDS = 4.0
"""With the other side, where its answer is only half of what is told."""
KEY_NAME = "sync"
"""What the address is called among the keys."""
VARIABLE = "AICHAT_SYNC_DSN"
"""The variable that may hold it."""


class SyncServices:
    """What one run of the program does with sync.

    Args:
        keys: where the address is kept.
        settings: as they are now.
        library_on: the documents of a database, through a connection of the calling thread.
        login: the account at a gateway.
    """

    def __init__(
        self,
        keys: KeyStore,
        settings: Callable[[], Settings],
        library_on: Callable[[Database], Library],
        login: Callable[[], AccountServices],
    ) -> None:
        self._keys = keys
        self._settings = settings
        self._library_on = library_on
        self._login = login

    def guarded(self, typed: str, source: str) -> tuple[Secret, Place]:
        """An address that was given, as it is kept, and where it leads; from here on it is taken out of every message.

        Raises:
            UsageError: it is no address of a Postgres database.
            ConfigError: psycopg is not installed.
        """
        from aichat_cli.hosted import address

        return address.guarded(typed, source, self._keys.hide)

    def kept(self) -> tuple[Secret, Place]:
        """The address that is kept; raises SyncError where there is none."""
        found = self._keys.find(KEY_NAME, by_flag=False)
        if found is None:
            raise SyncError(
                "The address of the database is not in the keyring any more.",
                hint="Give it again: aichat sync init",
            )
        return self.guarded(found.reveal(), found.source)

    def keep(self, address: Secret) -> KeyLocation:
        """Keep an address in the keyring, or in the private file where there is none."""
        return self._keys.store(KEY_NAME, address.reveal())

    def drop(self) -> bool:
        """Forget the address that is kept; whether there was one."""
        from aichat_cli.core.errors import NotFound

        try:
            self._keys.remove(KEY_NAME)
        except NotFound:
            return False
        return True

    def connect(self, address: Secret) -> Connection:
        """Connect; `hosted.connection.Connection.open` tells the errors."""
        from aichat_cli.hosted.connection import Connection

        return Connection.open(address)

    def transport(self, database: Database) -> Transport:
        """The other side of a database; close it.

        Raises:
            SyncError: sync is off, or leads elsewhere than it was set up with.
            KeyMissing: the key of the account at a gateway is gone.
            HostedError: the other side cannot be reached, or is not set up.
            AccountError, ProviderError: a gateway that has moved does not tell whose account it is.
        """
        from aichat_cli.sync.overview import Account

        account = Account.of(sync_state.get(database).account)
        transport, now = self._way(account)()
        if now != account:  # it has moved
            sync_state.set_account(database, now.text)
        return transport

    def ask(self, database: Database, question: Callable[[Transport], T]) -> T:
        """Ask the other side something beside the point, with little patience.

        Raises:
            AichatError: as `transport` does, and where the answer takes too long.
        """
        from aichat_cli.core.errors import HostedUnavailable
        from aichat_cli.sync.overview import Account

        account = Account.of(sync_state.get(database).account)
        way = self._way(account)
        answers: list[T] = []
        errors: list[AichatError] = []

        def work() -> None:
            leave_signals_to_the_main_thread()
            try:
                transport, _ = way()
                with closing(transport):
                    answers.append(question(transport))
            except AichatError as exc:
                errors.append(exc)

        thread = threading.Thread(target=work, name="ask", daemon=True)
        thread.start()
        thread.join(PATIENCE_SECONDS)
        if errors:
            raise errors[0]
        if not answers:
            raise HostedUnavailable(f"{account.place} did not answer within {PATIENCE_SECONDS:.0f} s.")
        return answers[0]

    def corpora(self, database: Database) -> HostedCorpora:
        """The documents of the other side, to be searched there; nothing is opened before the first question.

        Raises:
            SyncError: sync is off, or its address is gone.
            ConfigError: the other side is a gateway.
        """
        from uuid import UUID

        from aichat_cli.documents.hosted_corpus import HostedCorpora
        from aichat_cli.documents.library import NO_MODEL
        from aichat_cli.hosted.connection import QuestionConnection
        from aichat_cli.sync.overview import Account

        account = Account.of(sync_state.get(database).account)
        if account.is_gateway:
            raise ConfigError(
                "documents.search_in is hosted, and documents cannot be searched through a gateway.",
                hint="They are on this device as well: aichat config set documents.search_in local",
            )
        address, _ = self.kept()

        def default_model() -> str | None:
            name = self._settings().text("documents.embedding_model")
            return None if name == NO_MODEL else name

        return HostedCorpora(QuestionConnection(lambda: self.connect(address)), UUID(account.user_id), default_model)

    def move_to_hosted(self, database: Database, name: str, progress: Callable[[SyncProgress], None]) -> Moved:
        """Sync, and have a collection searched on the hosted database once all of it is there.

        Raises:
            SyncError: sync is off, or not all of it is there.
            ConfigError: the other side is a gateway, or documents are not synced.
            HostedError: the other side cannot be reached.
        """
        from aichat_cli.documents import moving
        from aichat_cli.storage import collections
        from aichat_cli.sync.overview import Account

        account = Account.of(sync_state.get(database).account)
        if account.is_gateway:
            raise ConfigError(f"This device syncs with the gateway {account.place}, which searches no documents.")
        if not self.with_documents:
            raise ConfigError(
                "The documents of this device are not synced.", hint="Run: aichat config set sync.documents true"
            )
        collection = collections.get(database, name)
        self.run(database, progress)
        with closing(self.corpora(database)) as corpora:
            return moving.to_hosted(database, collection, corpora.fingerprints, account.place)

    def _way(self, account: Account) -> Callable[[], tuple[Transport, Account]]:
        """What connects, with the account where it is now; what only this thread may read is read before."""
        if account.is_gateway:
            return self._way_through_gateway(account)
        address, place = self.kept()
        return lambda: self._direct(account, address, place)

    def _direct(self, account: Account, address: Secret, place: Place) -> tuple[Transport, Account]:
        from aichat_cli.hosted import sync_calls
        from aichat_cli.sync.direct import DirectTransport
        from aichat_cli.sync.overview import Account

        connection = self.connect(address)
        if account.user_id and account.place == place.name:
            # Whether this user is still there, the first answer tells.
            return DirectTransport(connection, user_id=account.user_id), account
        try:
            user_id = sync_calls.personal_user(connection)
            if account.user_id and user_id != account.user_id:
                raise other_side(account, place.name)
        except BaseException:
            connection.close()
            raise
        return DirectTransport(connection, user_id=user_id), Account(place.name, user_id)

    def _way_through_gateway(self, account: Account) -> Callable[[], tuple[Transport, Account]]:
        from aichat_cli.account.sync_transport import GatewayTransport
        from aichat_cli.providers.base import Timeouts
        from aichat_cli.sync.overview import Account

        login = self._login()
        url = login.url
        if not url:
            raise SyncError(
                f"This device syncs with {account.place}, and you are not logged in there any more.",
                hint=f"Run: aichat login {account.place}",
            )
        key, number = login.key(), self._settings().number
        timeouts = Timeouts(number("timeouts.connect"), number("timeouts.first_byte"), number("timeouts.idle"))

        def through() -> tuple[Transport, Account]:
            now = account
            if url != account.place:
                now = Account(url, login.look().user_id)
                if now.user_id != account.user_id:
                    raise other_side(account, url)
            # Whether it is still this user's key, the first answer tells.
            return GatewayTransport(url, key, user_id=account.user_id, timeouts=timeouts), now

        return through

    def sync(self, database: Database, transport: Transport, progress: Callable[[SyncProgress], None]) -> SyncReport:
        """Bring both sides to the same state; `sync.engine.sync` tells the errors."""
        from aichat_cli.storage import collections, namespaces
        from aichat_cli.sync.engine import SyncOptions, sync

        self._follow_setting(database)
        before = transport.round_trips
        largest_file = min(self._largest_file, transport.largest_file)
        report = sync(self._deps(database, transport, progress), SyncOptions(largest_file=largest_file))
        report.round_trips = transport.round_trips - before
        if elsewhere := namespaces.in_state(database, "searched"):
            # What cannot be brought to where it is searched stays noted; a sync is none the worse for it.
            names = {each.seq: each.name for each in collections.listing(database)}
            self._library_on(database).settled(names[each.collection] for each in elsewhere if each.collection in names)
        return report

    def run(self, database: Database, progress: Callable[[SyncProgress], None]) -> SyncReport:
        """Connect, sync, and close; what keeps it from connecting is noted like any other failure."""
        from aichat_cli.core.errors import AccountError, ApiKeyError, HostedError, ProviderError

        try:
            transport = self.transport(database)
        except (HostedError, ApiKeyError, AccountError, ProviderError) as exc:
            sync_state.note(database, problem=exc.message)
            raise
        try:
            return self.sync(database, transport, progress)
        finally:
            transport.close()

    def complete(self, database: Database, collection: str, progress: Callable[[IngestProgress], None]) -> int:
        """Make the vectors of documents that came without; how many were made. `is_free` tells whether it costs nothing."""
        from aichat_cli.storage import collections

        target = collections.get(database, collection)
        library = self._library_on(database)
        return library.reindex(target, None, embed_only=True, progress=progress, confirm=lambda _: True)

    def complete_free(self, database: Database, report: SyncReport) -> None:
        """Make the vectors of what came where our own models make them, as far as they are here."""
        for name in sorted(report.without_vectors):
            with suppress(EmbeddingError):
                if is_free(database, name):
                    self.complete(database, name, lambda _: None)

    @property
    def with_documents(self) -> bool:
        """Whether documents are to be synced on this device."""
        return self._settings().flag("sync.documents")

    @property
    def is_background(self) -> bool:
        """Whether a chat syncs by itself."""
        return self._settings().flag("sync.background")

    @property
    def seconds_between(self) -> float:
        """How long a chat waits from one sync to the next."""
        return 60 * self._settings().number("sync.every_minutes")

    @property
    def _largest_file(self) -> int:
        return int(self._settings().number("sync.attachments_max_mb")) * 1_000_000

    def _follow_setting(self, database: Database) -> None:
        """The setting decides, also where it was changed after sync was turned on."""
        if sync_state.get(database).with_documents != self.with_documents:
            sync_state.set_with_documents(database, with_documents=self.with_documents)

    def _deps(self, database: Database, transport: Transport, progress: Callable[[SyncProgress], None]) -> SyncDeps:
        from aichat_cli.documents import synced
        from aichat_cli.sync.engine import SyncDeps
        from aichat_cli.sync.protocol import DocumentSink, NoDocuments

        sink: DocumentSink = NoDocuments()
        if self.with_documents:
            sink = synced.SyncedDocuments(database, self._library_on(database).store_for)
        return SyncDeps(database, transport, sink, synced.vector_text, progress)


def is_free(database: Database, collection: str) -> bool:
    """Whether the vectors of a collection are made here, without a provider and without money."""
    from aichat_cli.document_services import MINILM_NAMES, STATIC_NAMES
    from aichat_cli.storage import collections

    return collections.get(database, collection).embedding_model in STATIC_NAMES | MINILM_NAMES


def other_side(account: Account, place: str) -> SyncError:
    """A device syncs with one other side, and another is meant now."""
    also = "" if account.place != place else ", which is another account than it was"
    return SyncError(
        f"This device syncs with {account.place}, and is to sync with {place}{also}.",
        hint="Turn sync off first: aichat sync off",
    )
