"""Accounts in Postgres: several gateways at once, connections that are lost, and databases of every age."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from aichat_cli.accounts.opening import opened
from aichat_cli.accounts.postgres import PostgresAccounts, PostgresCalls
from aichat_cli.accounts.protocol import CallBooks, Uncovered
from aichat_cli.core.accounts import NewCall, Progress
from aichat_cli.core.errors import AichatError, HostedLogin, HostedSchema, HostedUnavailable, UsageError
from aichat_cli.core.ids import RequestId, new_id
from aichat_cli.core.secret import Secret
from aichat_cli.core.sync import SCHEMA_VERSION
from aichat_cli.hosted import lasting
from aichat_cli.hosted.setup import Applied
from tests.accounts.places import CREDIT, Customer, PostgresPlace, call, progress, record
from tests.hosted import database
from tests.hosted.test_schema import OLDER
from tests.servers.postgres import BARE, Cluster, own_cluster


class Gateway:
    """A gateway's threads, each with a connection of its own."""

    def __init__(self, place: PostgresPlace) -> None:
        store = PostgresAccounts(Secret(place.dsn, "test"))
        self._local = threading.local()
        self._books = [store.calls() for _ in range(store.workers)]
        self._idle = list(self._books)
        self._pool = ThreadPoolExecutor(store.workers, initializer=self._take)

    def ask(self, task: Callable[[CallBooks], Any]) -> Future[Any]:
        return self._pool.submit(lambda: task(self._local.books))

    def close(self) -> None:
        self._pool.shutdown()
        for books in self._books:
            books.close()

    def _take(self) -> None:
        self._local.books = self._idle.pop()


@pytest.fixture
def gateways(hosted: PostgresPlace) -> Iterator[tuple[Gateway, Gateway]]:
    both = (Gateway(hosted), Gateway(hosted))
    yield both
    for gateway in both:
        gateway.close()


def came(gateways: tuple[Gateway, Gateway], calls: list[NewCall]) -> Counter[str]:
    """What came of calls that two gateways were asked to admit at once."""

    def outcome(books: CallBooks, new: NewCall) -> str:
        try:
            books.admit(new)
        except Uncovered as exc:
            return exc.of
        except AichatError as exc:
            return exc.code
        return "admitted"

    asked = [
        gateways[number % 2].ask(lambda books, new=new: outcome(books, new))  # type: ignore[misc]
        for number, new in enumerate(calls)
    ]
    return Counter(each.result() for each in asked)


def test_two_gateways_admit_together_as_many_as_one(hosted: PostgresPlace, gateways: tuple[Gateway, Gateway]) -> None:
    window, poor = hosted.customer(), hosted.customer("pro")
    assert came(gateways, [call(window, 0) for _ in range(60)]) == {"admitted": 20, "rate_limited": 40}
    assert came(gateways, [call(poor, 10) for _ in range(26)]) == {"admitted": 10, "credits": 16}
    assert hosted.sums(poor.user.id) == (100 * CREDIT, 100 * CREDIT)
    capped = hosted.customer("pro", credits_=1000, monthly_cap_nano=70 * CREDIT)
    other = hosted.key_of(capped.user, plan="free")
    asked = [call(capped, 10) for _ in range(20)] + [call(other, 0) for _ in range(40)]
    assert came(gateways, asked) == {"admitted": 7 + 20, "cap": 13, "rate_limited": 20}
    assert hosted.sums(capped.user.id) == (1000 * CREDIT, 70 * CREDIT)


def test_calls_that_two_gateways_tell_of_and_end_at_once_never_wait_in_a_circle(
    hosted: PostgresPlace, gateways: tuple[Gateway, Gateway]
) -> None:
    customers = [hosted.customer("enterprise", credits_=10_000) for _ in range(4)]
    owners: dict[RequestId, Customer] = {}
    for number in range(120):
        new = call(customers[number % 4])
        hosted.books.admit(new)
        hosted.books.note([progress(new.request_id, 2000)])
        owners[new.request_id] = customers[number % 4]
    ids = list(owners)
    asked: list[Future[Any]] = []
    for number in range(0, 120, 6):
        some = [progress(each, 2000) for each in ids]
        hosted.kill(*ids[number + 4 : number + 6])
        for order, gateway in ((some, gateways[0]), (some[::-1], gateways[1])):
            asked += [
                gateway.ask(lambda books, order=order: books.note(order)),  # type: ignore[misc]
                gateway.ask(CallBooks.settle_the_dead),
            ]
        for each in ids[number : number + 4]:
            for gateway in gateways:
                asked.append(gateway.ask(lambda books, each=each: books.settle(each, record(each, CREDIT))))  # type: ignore[misc]
    for answer in asked:
        answer.result()
    for gateway in gateways:
        gateway.close()
    hosted.owner.execute("select pg_stat_clear_snapshot()")
    deadlocks = hosted.owner.execute("select deadlocks from pg_stat_database where datname = current_database()")
    assert deadlocks.fetchone() == (0,)
    for each in ids:
        hosted.books.settle(each, record(each, CREDIT))
    for customer in customers:
        used = hosted.usage(customer.user.id)
        assert len(used) == 30
        charged = sum(CREDIT if each.cost_nano == CREDIT else 3 * CREDIT for each in used if each.cost_nano)
        assert hosted.sums(customer.user.id) == (10_000 * CREDIT - charged, 0)


def test_each_question_about_a_call_is_one_round_trip(hosted: PostgresPlace) -> None:
    anna = hosted.customer()
    books = hosted.another()
    assert isinstance(books, PostgresCalls)
    connection = books._connection._connection
    assert connection is not None

    def trips(ask: Callable[[], object]) -> int:
        before = connection.round_trips
        ask()
        return connection.round_trips - before

    calls = [call(anna) for _ in range(5)]
    assert trips(lambda: books.authenticate(*anna.presented)) == 1
    assert [trips(lambda new=new: books.admit(new)) for new in calls] == [1] * 5  # type: ignore[misc]
    assert trips(lambda: books.note([progress(new.request_id, 5) for new in calls])) == 1
    assert trips(lambda: books.settle(calls[0].request_id, record(calls[0].request_id, CREDIT))) == 1
    assert trips(lambda: books.settle(calls[1].request_id, None)) == 1
    assert trips(lambda: books.balance(anna.user.id)) == 1


def test_a_call_that_no_gateway_wrote_does_not_keep_others_from_ending(hosted: PostgresPlace) -> None:
    anna = hosted.customer()
    strange, plain = RequestId(new_id()), call(anna)
    hosted.owner.execute(
        "select aichat.admit(%s, %s, 10000000, '{\"accrued_nano\": 5}', '1 minute')", (anna.user.id, strange)
    )
    hosted.books.admit(plain)
    # What was charged is what the books say it cost, whoever reckoned it.
    hosted.books.note([Progress(plain.request_id, 2000, 4 * CREDIT)])
    hosted.kill(strange, plain.request_id)
    assert hosted.books.settle_the_dead() >= 2
    assert [(used.request_id, used.cost_nano) for used in hosted.usage(anna.user.id)] == [
        (plain.request_id, 4 * CREDIT)
    ]
    assert hosted.sums(anna.user.id) == (95 * CREDIT, 0)


def test_what_was_done_outlives_who_it_was_done_to(hosted: PostgresPlace) -> None:
    anna = hosted.customer()
    new = call(anna)
    hosted.books.admit(new)
    hosted.books.settle(new.request_id, record(new.request_id, CREDIT))
    hosted.books.admit(call(anna))
    hosted.owner.execute("delete from auth.users where id = %s", (anna.user.id,))
    assert [
        (event.action, event.user_name, event.key_prefix) for event in hosted.users.audit(user_id=anna.user.id)
    ] == [
        ("key.created", None, None),
        ("user.created", None, None),
    ]
    assert hosted.users.keys(user_id=anna.user.id) == []
    assert hosted.sums(anna.user.id) == (0, 0)


def test_somebody_without_a_name_is_named_by_their_id(hosted: PostgresPlace) -> None:
    someone = uuid4()
    hosted.owner.execute("insert into auth.users (id) values (%s)", (someone,))
    assert hosted.users.user(str(someone)).name == str(someone)
    signed_up = hosted.key_of(hosted.users.user(str(someone).upper()))
    assert hosted.books.authenticate(*signed_up.presented).user_name == str(someone)


# Connections that are lost.


def hang_up(place: PostgresPlace) -> None:
    """End every connection of gateways, as a database does that is started anew."""
    ended = place.owner.execute(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
        " where application_name = 'aichat serve' and datname = current_database()"
    ).fetchall()
    assert ended
    assert all(has_ended for (has_ended,) in ended)


def test_a_connection_that_was_lost_while_nobody_asked_is_replaced(postgres_place: PostgresPlace) -> None:
    place = postgres_place
    anna = place.customer()
    noted = call(anna)
    place.books.admit(noted)
    for ask in (
        lambda: place.books.admit(call(anna)),
        lambda: place.books.authenticate(*anna.presented),
        lambda: place.books.note([progress(noted.request_id, 1)]),
        lambda: place.books.settle(noted.request_id, None),
        place.books.settle_the_dead,
        lambda: place.users.set_plan(anna.user.id, "pro", actor="test"),
    ):
        hang_up(place)
        ask()


def test_what_may_be_done_twice_is_asked_again_where_the_connection_is_lost_over_it(
    postgres_place: PostgresPlace,
) -> None:
    place = postgres_place
    anna = place.customer()
    new, other = call(anna), call(anna)
    place.books.admit(new)
    with ThreadPoolExecutor(1) as pool:
        with locked(place, anna):
            settled = pool.submit(lambda: place.books.settle(new.request_id, record(new.request_id, CREDIT)))
            wait_for_one_that_waits(place)
            hang_up(place)
        assert settled.result().balance_nano == 99 * CREDIT
        with locked(place, anna):
            admitted = pool.submit(lambda: place.books.admit(other))
            wait_for_one_that_waits(place)
            hang_up(place)
        with pytest.raises(HostedUnavailable) as lost:
            admitted.result()
    assert lost.value.hint is not None
    assert "sync" not in lost.value.hint
    assert place.sums(anna.user.id) == (99 * CREDIT, 0)
    assert place.books.admit(other).available_nano == 98 * CREDIT


def locked(place: PostgresPlace, customer: Customer) -> Any:
    """A transaction of somebody else's that has this user."""
    transaction = psycopg.connect(place.dsn)
    transaction.execute("select from profiles where id = %s for update", (customer.user.id,))
    return transaction


def wait_for_one_that_waits(place: PostgresPlace) -> None:
    query = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    deadline = time.monotonic() + 20
    while place.owner.execute(query).fetchone() == (0,):
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_database_that_is_away_is_not_tried_by_everybody_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with own_cluster(16) as cluster, cluster.database(database.template(cluster)) as dsn:
        place = PostgresPlace(dsn)
        anna = place.customer()
        place.books.authenticate(*anna.presented)
        cluster.stop("immediate")
        for _ in range(2):
            with pytest.raises(HostedUnavailable, match="cannot be reached") as away:
                place.books.authenticate(*anna.presented)
        assert away.value.hint == "See whether the database runs, and can be reached from here"
        cluster.start()
        # Within the second nobody looks.
        with pytest.raises(HostedUnavailable):
            place.books.admit(call(anna))
        monkeypatch.setattr(lasting, "PAUSE_SECONDS", 0.0)
        assert place.books.admit(call(anna)).available_nano == 99 * CREDIT
        place.close()


# Databases of every age.


def test_a_database_that_is_not_set_up_says_how_and_is_set_up_once(postgres16: Cluster) -> None:
    with postgres16.database() as dsn:
        store = opened(Secret(dsn, "test"))
        assert isinstance(store, PostgresAccounts)
        for open_ in (store.calls, store.users, lambda: store.till().__enter__()):
            with pytest.raises(HostedSchema, match="not set up") as missing:
                open_()
            assert missing.value.hint is not None
            assert missing.value.hint.startswith("Run: aichat serve --database")
        assert [store.prepare() for _ in range(2)] == [
            Applied(None, SCHEMA_VERSION),
            Applied(SCHEMA_VERSION, SCHEMA_VERSION),
        ]
        users = store.users()
        assert users.users(limit=None) == []
        users.close()
        with psycopg.connect(dsn) as owner:
            owner.execute("insert into aichat.schema_versions (version) values (%s)", (SCHEMA_VERSION + 1,))
        for refuses in (store.calls, store.prepare):
            with pytest.raises(HostedSchema, match=f"this aichat knows up to {SCHEMA_VERSION}") as newer:
                refuses()
            assert newer.value.hint == "Run: pip install --upgrade aichat-terminal"


def test_a_database_of_the_first_version_is_brought_forward(supabase18: Cluster) -> None:
    with supabase18.database() as dsn:
        database.apply_schema(dsn, OLDER[1])
        store = PostgresAccounts(Secret(dsn, "test"))
        with pytest.raises(HostedSchema, match="schema version 1, this aichat needs") as older:
            store.calls()
        assert older.value.hint is not None
        assert older.value.hint.startswith("Run: aichat serve --database")
        assert store.prepare() == Applied(1, SCHEMA_VERSION)
        place = PostgresPlace(dsn)
        assert place.books.admit(call(place.customer())).window.remaining == 19
        place.close()


def test_a_database_that_refuses_the_address_says_what_to_do(postgres16: Cluster) -> None:
    with postgres16.database() as dsn:
        missing = dsn.replace("/t_", "/no_")
        with pytest.raises(HostedLogin, match="There is no database") as refused:
            PostgresAccounts(Secret(missing, "test")).prepare()
        assert refused.value.hint == "Create it first, or check the address"


def test_what_keeps_it_from_being_set_up_is_said(postgres18: Cluster) -> None:
    with postgres18.database(BARE) as dsn, pytest.raises(HostedSchema, match='"vector" is not in the database'):
        PostgresAccounts(Secret(dsn, "test")).prepare()


def test_an_address_is_shown_without_its_password() -> None:
    store = PostgresAccounts(Secret("postgresql://anna:secret@db.example.com/aichat", "test"))
    assert store.name == "db.example.com/aichat"
    assert "secret" not in repr(vars(store))
    with pytest.raises(UsageError) as refused:
        PostgresAccounts(Secret("secret", "test"))
    assert "secret" not in refused.value.message
