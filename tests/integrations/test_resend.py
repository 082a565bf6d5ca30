"""Mail about money: what is due, and that each is sent once, whoever sees that it is due."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from pathlib import Path

import pytest
import resend as sdk

from aichat_cli.billing.limits import Limits
from aichat_cli.config.secrets import KeyStore
from aichat_cli.config.settings import Settings
from aichat_cli.core import periods
from aichat_cli.core.credits import NANO_PER_CREDIT
from aichat_cli.core.errors import ConfigError, KeyRejected, ProviderUnavailable
from aichat_cli.core.ids import LOCAL_PROFILE, new_id
from aichat_cli.core.money import NANO_PER_DOLLAR
from aichat_cli.core.struct import from_json
from aichat_cli.integrations.alerts import CapAlert, CreditsAlert, Due, Summary, Watch
from aichat_cli.integrations.mails import mail_of
from aichat_cli.integrations.observer import Delivery
from aichat_cli.integrations.resend import Resend
from aichat_cli.integrations.services import IntegrationServices
from aichat_cli.storage import accounts, deliveries, sync_state
from aichat_cli.storage.database import Database
from tests import blank
from tests.integrations.turns import a_turn, surroundings
from tests.runner import Cli
from tests.servers.resend_double import KEY, SENDING_KEY, ResendDouble
from tests.servers.scripted import ScriptedServer

DAY = periods.today(None)
MONTH = DAY.isoformat()[:7]
LAST_MONTH = (DAY.replace(day=1) - timedelta(1)).isoformat()[:7]
POST = {"resend.from": "aichat <aichat@example.org>", "resend.to": "anna@example.com"}


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Database]:
    with Database.open(blank.put(tmp_path / "aichat.db")) as database:
        yield database


@contextmanager
def made(
    resend: ResendDouble, key: str | None = KEY, settings: Mapping[str, str] = POST, profile: str = "anna"
) -> Iterator[Resend]:
    observer = Resend(surroundings("resend", {"resend.url": resend.url, **settings}, key, profile))
    try:
        yield observer
    finally:
        observer.close()


def spend(books: Database, dollars: float, *, at: date = DAY, model: str = "gpt-4o") -> None:
    """One call that cost so much, at the beginning of a day."""
    books.execute(
        "INSERT INTO usage (request_id, user_id, type, provider, model, input_tokens, cached_tokens, cache_write_tokens,"
        " output_tokens, reasoning_tokens, cost_nano, provenance, status, created_at)"
        " VALUES (?, ?, 'chat', 'openai', ?, 100, 0, 0, 20, 0, ?, 'calculated', 'complete', ?)",
        (new_id(), LOCAL_PROFILE, model, round(dollars * NANO_PER_DOLLAR), periods.begin_of(at, None)),
    )


def keep(books: Database, due: list[Due]) -> None:
    """As the hub does with what is to be delivered."""
    with books.transaction():
        deliveries.add(books, "resend", [Delivery(each.id, b"{}") for each in due], claimed_ms=60_000)


def due(books: Database, limits: Limits, watch: Watch | None = None, *, is_refused: bool = False) -> list[Due]:
    """What a process that begins now has to tell, or one that watches already."""
    return list((watch or Watch("resend", "anna")).due(books, limits, is_refused=is_refused))


def monthly(dollars: int) -> Limits:
    return Limits(monthly_nano=dollars * NANO_PER_DOLLAR)


def test_the_double_takes_what_resends_own_client_sends(resend: ResendDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdk, "api_key", KEY)
    monkeypatch.setattr(sdk, "api_url", resend.url)
    mail: sdk.Emails.SendParams = {
        "from": POST["resend.from"],
        "to": "anna@example.com",
        "subject": "Hi",
        "text": "Hi.",
    }

    first = sdk.Emails.send(mail, {"idempotency_key": "one"})
    assert sdk.Emails.send(mail, {"idempotency_key": "one"})["id"] == first["id"] == resend.mails[0].id
    for changed, key, kind in (
        ({**mail, "subject": "Ho"}, "one", "invalid_idempotent_request"),
        ({**mail, "from": "a@pending.example"}, "two", "validation_error"),
        ({**mail, "to": "nobody"}, "three", "validation_error"),
    ):
        with pytest.raises(sdk.exceptions.ResendError) as refused:
            sdk.Emails.send(changed, {"idempotency_key": key})
        assert refused.value.error_type == kind
    assert [each["name"] for each in sdk.Domains.list()["data"]] == ["example.org", "pending.example"]
    assert len(resend.mails) == 1


def test_each_share_of_a_cap_is_told_once(books: Database) -> None:
    told: list[str] = []
    for dollars in (7.9, 0.1, 1.0, 1.0, 1.0):
        spend(books, dollars)
        found = due(books, monthly(10))
        keep(books, found)
        told.append(" ".join(each.id for each in found))

    assert told == ["", f"alert-{MONTH}-anna-monthly-80-of-10", "", f"alert-{MONTH}-anna-monthly-100-of-10", ""]


def test_a_cap_that_is_spent_at_once_is_told_as_that_alone(books: Database) -> None:
    spend(books, 12)
    [only] = due(books, monthly(10))
    assert only == Due(
        f"alert-{MONTH}-anna-monthly-100-of-10",
        CapAlert("monthly", 100, 12 * NANO_PER_DOLLAR, 10 * NANO_PER_DOLLAR, DAY),
    )
    keep(books, [only])
    assert due(books, monthly(10)) == []


def test_a_cap_whose_rest_does_not_cover_a_call_is_as_good_as_spent(books: Database) -> None:
    spend(books, 7)
    assert due(books, monthly(10), is_refused=True) == []
    spend(books, 2.5)
    [refused] = due(books, monthly(10), is_refused=True)
    assert refused.id == f"alert-{MONTH}-anna-monthly-100-of-10"
    mail = mail_of(refused.news)
    assert mail.subject == "aichat: your monthly cap is reached"
    assert "You have spent $9.50 of $10.00" in mail.text
    assert "does not cover another call" in mail.text
    keep(books, [refused])
    assert due(books, monthly(10), is_refused=True) == []


def test_nobody_who_was_told_of_all_of_a_cap_is_told_of_four_fifths_of_it(books: Database) -> None:
    """As where another device, whose usage is not here yet, has told."""
    id_ = f"alert-{MONTH}-anna-monthly-100-of-10"
    keep(books, [Due(id_, CreditsAlert(0))])
    spend(books, 8)
    assert due(books, monthly(10)) == []


def test_a_cap_that_is_raised_is_another_one(books: Database) -> None:
    spend(books, 10)
    keep(books, due(books, monthly(10)))

    assert due(books, monthly(20)) == []
    spend(books, 6)
    assert [each.id for each in due(books, monthly(20))] == [f"alert-{MONTH}-anna-monthly-80-of-20"]
    assert due(books, monthly(10)) == []


def test_the_cap_of_a_day_is_told_each_day(books: Database) -> None:
    spend(books, 0.45)
    limits = Limits(daily_nano=NANO_PER_DOLLAR // 2)
    assert [each.id for each in due(books, limits)] == [f"alert-{DAY}-anna-daily-80-of-0.5"]
    tomorrow = Watch("resend", "anna", lambda: DAY + timedelta(1))
    assert not [each for each in tomorrow.due(books, limits) if each.id.startswith("alert")]


def test_few_credits_are_told_once_until_there_are_more(books: Database) -> None:
    limits = Limits(mode="credits")

    def change(kind: accounts.EntryKind, amount: int) -> list[str]:
        """The balance changes by so many credits."""
        with books.transaction():
            accounts.add_entry(books, kind, new_id(), amount * NANO_PER_CREDIT)
        found = due(books, limits)
        keep(books, found)
        return [each.id for each in found]

    filled = accounts.times_filled(books)
    assert due(books, limits) == []
    assert change("charge", -90) == [f"alert-{MONTH}-anna-credits-10-after-{filled}"]
    assert change("charge", -5) == []
    assert change("purchase", 100) == []
    assert change("charge", -100) == [f"alert-{MONTH}-anna-credits-10-after-{filled + 1}"]
    assert due(books, Limits()) == []


def test_a_month_is_summed_up_in_the_next_one_where_anything_was_used_in_it(books: Database) -> None:
    assert due(books, Limits()) == []
    spend(books, 2, at=date.fromisoformat(f"{LAST_MONTH}-01"))
    spend(books, 1, at=date.fromisoformat(f"{LAST_MONTH}-28"), model="<b>mine</b>")
    spend(books, 5)
    watch = Watch("resend", "anna")
    [only] = due(books, Limits(), watch)
    assert only.id == f"summary-{LAST_MONTH}-anna"
    assert isinstance(only.news, Summary)
    assert [(each.model, each.sums.requests) for each in only.news.models] == [("gpt-4o", 1), ("<b>mine</b>", 1)]
    mail = mail_of(only.news)
    assert f"In {LAST_MONTH} you made 2 calls for $3.00, with 200 tokens in and 40 out." in mail.text
    assert "<b>mine" not in mail.html
    assert "&lt;b&gt;mine&lt;/b&gt;" in mail.html
    assert due(books, Limits(), watch) == [only]  # until it is kept
    keep(books, [only])
    assert due(books, Limits(), watch) == []


def test_what_was_told_is_not_asked_for_again(books: Database, tmp_path: Path) -> None:
    """Without caps a turn costs no query, once the month is known."""
    watch = Watch("resend", "anna")
    spend(books, 10)
    keep(books, due(books, monthly(10), watch))
    assert due(books, monthly(10), watch) == []
    closed = Database.open(tmp_path / "closed.db")
    closed.close()
    assert due(closed, monthly(10), watch) == []
    assert due(closed, Limits(), watch) == []


@pytest.mark.parametrize(
    "news",
    [
        CapAlert("monthly", 80, 16_200_000_000, 20 * NANO_PER_DOLLAR, DAY),
        CapAlert("daily", 100, 2_000_000_000, 2 * NANO_PER_DOLLAR, DAY),
        CreditsAlert(9 * NANO_PER_CREDIT),
    ],
)
def test_a_mail_says_the_figures_and_what_to_do_in_text_and_in_html(news: CapAlert | CreditsAlert) -> None:
    mail = mail_of(news)
    figures = (
        ["9 credits"]
        if isinstance(news, CreditsAlert)
        else {80: ["$16.20", "$20.00", "81 %"], 100: ["$2.00"]}[news.percent]
    )
    for shape in (mail.text, mail.html):
        assert all(each in shape for each in figures)
        assert all(step.command in shape for step in mail.steps)
    assert re.search(r"<html lang=\"en\">.*<h1 .*</h1>.*<li>", mail.html)
    assert max(map(len, mail.subject.splitlines())) < 60


def test_two_observers_of_one_user_send_one_mail_though_their_figures_differ(
    resend: ResendDouble, tmp_path: Path
) -> None:
    """On two devices, each with books of its own."""
    with ExitStack() as stack:
        for device, dollars in (("phone", 8), ("desk", 9)):
            books = stack.enter_context(Database.open(blank.put(tmp_path / f"{device}.db")))
            observer = stack.enter_context(made(resend))
            spend(books, dollars)
            observer.deliver(observer.deliveries(a_turn(books, monthly(10))))

    assert len(resend.requests) == 2
    [mail] = resend.mails
    assert mail.key == f"alert-{MONTH}-anna-monthly-80-of-10"
    assert (mail.body["from"], mail.body["to"]) == (POST["resend.from"], ["anna@example.com"])


def test_a_mail_whose_sending_is_under_way_elsewhere_is_tried_again(resend: ResendDouble, books: Database) -> None:
    spend(books, 8)
    with made(resend) as observer:
        [mail] = observer.deliveries(a_turn(books, monthly(10)))
        assert set(from_json(mail.payload)) == {"subject", "text", "html"}
        resend.is_busy = True
        with pytest.raises(ProviderUnavailable):
            observer.deliver([mail])
        resend.is_busy = False
        observer.deliver([mail])
    assert len(resend.mails) == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"resend.from": ""}, r"Mail has no sender: resend\.from is not set"),
        ({"resend.to": ""}, r"Mail has no recipient: resend\.to is not set"),
        ({"resend.to": "anna"}, r'"anna" in resend\.to is no mail address'),
        ({"resend.to": "a@b.example, "}, None),
        ({"resend.to": "Anna <a@b.example>, bob@b.example"}, None),
        ({"resend.from": "a@b.example\nBcc: c@d.example"}, r"in resend\.from is no mail address"),
        ({"resend.from": "aichat <nobody>"}, r"in resend\.from is no mail address"),
        ({"resend.to": ",".join(["a@b.example"] * 51)}, "there may be 1 to 50"),
    ],
)
def test_what_is_no_address_is_told_before_anything_is_sent(
    resend: ResendDouble, settings: dict[str, str], said: str | None
) -> None:
    with made(resend, settings={**POST, **settings}) as observer:
        if said is None:
            observer.warm()
        else:
            with pytest.raises(ConfigError, match=said):
                observer.warm()
    assert resend.requests == []


def test_a_domain_that_is_not_verified_is_told_as_that_and_not_as_a_bad_key(resend: ResendDouble) -> None:
    mail = Delivery("one", b'{"subject":"a","text":"b","html":"c"}')
    with made(resend, settings={**POST, "resend.from": "a@pending.example"}) as observer:
        with pytest.raises(ConfigError, match=r"The pending\.example domain is not verified"):
            observer.deliver([mail])
        with pytest.raises(ConfigError, match=r"Resend has not verified the domain pending\.example"):
            observer.check()
    with made(resend, "re_wrong") as observer:
        for attempt in (observer.check, lambda: observer.deliver([mail])):
            with pytest.raises(KeyRejected, match="Resend refuses the key from the test"):
                attempt()


def test_a_check_sends_no_mail(resend: ResendDouble) -> None:
    with made(resend) as observer:
        assert observer.check() == "mail goes to anna@example.com"
    with made(resend, SENDING_KEY) as observer:
        assert observer.check() == "mail goes to anna@example.com; the key may only send"
    assert resend.mails == []


def program(cli: Cli, resend: ResendDouble) -> Cli:
    """A user with a cap of $10 a month, of which the next call takes a little more than four fifths."""
    cli.environ |= {
        "AICHAT_INTEGRATIONS": "resend",
        "AICHAT_RESEND_URL": resend.url,
        "AICHAT_RESEND_FROM": POST["resend.from"],
        "AICHAT_RESEND_TO": POST["resend.to"],
        "RESEND_API_KEY": KEY,
        "AICHAT_LIMITS_MONTHLY_USD": "10",
    }
    with Database.open(cli.database) as books:
        spend(books, 7.999)
    return cli


def test_two_processes_that_cross_a_threshold_at_once_send_one_mail(
    cli: Cli, server: ScriptedServer, resend: ResendDouble
) -> None:
    program(cli, resend)
    server.script = {"text": "The answer.", "usage": {"input": 1_000, "output": 1_000}, "first_byte_delay": 0.3}
    with cli.start("-m", "gpt-4o", "question one") as first, cli.start("-m", "gpt-4o", "question two") as second:
        for process in (first, second):
            out, err = process.communicate(timeout=30)
            assert (process.returncode, out) == (0, b"The answer."), err
            assert KEY.encode() not in out + err

    [mail] = resend.mails
    [(install,)] = cli.rows("SELECT id FROM install")
    assert mail.key == f"alert-{MONTH}-{install}-monthly-80-of-10"
    assert "question" not in str(mail.body)
    assert "The answer" not in str(mail.body)
    assert cli.rows("SELECT id, payload FROM deliveries") == [(mail.key, None)]
    assert KEY.encode() not in cli.database.read_bytes()

    resend.a_day_passes()
    assert cli.run("-m", "gpt-4o", "question three").returncode == 0
    assert len(resend.mails) == 1


def test_mail_that_nobody_would_get_is_told_after_the_answer(
    cli: Cli, server: ScriptedServer, resend: ResendDouble
) -> None:
    server.script = {"text": "The answer."}
    program(cli, resend).environ.pop("AICHAT_RESEND_TO")
    done = cli.run("-m", "gpt-4o", "the question")

    assert (done.returncode, done.stdout) == (0, b"The answer.")
    assert b"Mail has no recipient: resend.to is not set. Run: aichat config set resend.to" in done.stderr
    assert resend.requests == []


def test_devices_that_sync_or_are_logged_in_have_one_id(tmp_path: Path, books: Database) -> None:
    spend(books, 8)

    def told_as(gateway_user: str) -> str:
        services = IntegrationServices(
            KeyStore(tmp_path / "keys.json", lambda _: ()),
            lambda: Settings(tmp_path / "config.toml", {}),
            lambda: books,
            lambda: gateway_user,
        )
        [mail] = services.observer("resend").deliveries(a_turn(books, monthly(10)))
        return mail.id.removeprefix(f"alert-{MONTH}-").removesuffix("-monthly-80-of-10")

    assert told_as("") == deliveries.install_id(books)
    assert told_as("at-the-gateway") == "at-the-gateway"
    sync_state.begin(books, "db.example.com/aichat#on-the-database", with_documents=False)
    assert told_as("at-the-gateway") == "on-the-database"
