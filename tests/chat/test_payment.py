"""What a turn may cost, before it is sent: estimated never too low, asked about where it is much, limited where it must be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.billing.limits import Budget, Limits
from aichat_cli.chat.payment import Payment, PromptEstimate, call_of
from aichat_cli.core.errors import CapReached, DatabaseCorrupt, NotConfirmed
from aichat_cli.core.messages import Attachment, ChatMessage
from aichat_cli.core.models import Model
from aichat_cli.core.money import Price, Rates
from aichat_cli.providers import tokens
from aichat_cli.storage import accounts
from aichat_cli.storage.database import Database
from tests import blank
from tests.billing.books import leave_credits, settle

PRICE = Price(Rates(1_000_000_000, 10_000_000_000))
MODEL = Model("m", "gpt-4o", "openai", "openai", price=PRICE, max_output_tokens=1000)
CREDITS = Limits(mode="credits")


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Database]:
    with Database.open(blank.put(tmp_path / "a.db")) as opened:
        yield opened


def said(text: str, *files: Attachment) -> tuple[ChatMessage, ...]:
    return (ChatMessage("user", text, files),)


@given(st.text(max_size=300), st.text(max_size=100))
def test_a_prompt_is_never_estimated_lower_than_it_is_counted(text: str, system: str) -> None:
    call = call_of(MODEL, said(text), system or None, {}, "chat")
    counted = tokens.count_messages(said(text), system or None, MODEL)
    assert call.most_input >= counted
    assert call.count_input() >= counted
    assert call.input_tokens() >= counted


def test_a_long_prompt_is_counted_and_a_foreign_vocabulary_makes_more_of_it() -> None:
    text = "lorem ipsum " * 1000
    ours = call_of(MODEL, said(text), None, {}, "chat").input_tokens()
    theirs = call_of(Model("m", "m", "groq", "openai", price=PRICE), said(text), None, {}, "chat").input_tokens()
    assert ours < len(text) // 2
    assert theirs == pytest.approx(1.5 * ours, rel=0.01)


def test_files_count_and_an_image_counts_most_to_the_smallest_model() -> None:
    image = Attachment("a.png", "image/png", b"\x89PNG")
    plain = call_of(MODEL, said("what is this"), None, {}, "chat").most_input
    large = call_of(MODEL, said("what is this", image), None, {}, "chat").most_input
    mini = call_of(
        Model("m", "gpt-4o-mini", "openai", "openai"), said("what is this", image), None, {}, "chat"
    ).most_input
    assert plain + 3000 < large < mini


def test_a_file_that_the_provider_fetches_counts_as_the_largest_of_its_kind() -> None:
    def most_of(media_type: str, content: bytes) -> int:
        return call_of(MODEL, said("?", Attachment("a", media_type, content)), None, {}, "chat").most_input

    assert most_of("image/*", b"") == most_of("image/png", b"\x89PNG" * 1_000_000)
    assert most_of("application/pdf", b"") == most_of("application/pdf", b"%PDF" * 10_000_000)


@pytest.mark.parametrize(
    ("options", "longest", "is_given"),
    [
        ({}, 1000, False),
        ({"max_tokens": 50}, 50, True),
        ({"max_completion_tokens": 70}, 70, True),
        ({"max_tokens": 50, "max_completion_tokens": 70}, 70, True),
        ({"max_tokens": 49.5}, 50, True),
        ({"max_tokens": float("inf")}, 1000, False),
        ({"max_tokens": True}, 1000, False),
        ({"max_tokens": "many"}, 1000, False),
    ],
)
def test_the_longest_answer_is_the_users_or_the_models(options: dict[str, float], longest: int, is_given: bool) -> None:
    call = call_of(MODEL, said("hi"), None, options, "chat")
    assert (call.longest_answer, call.is_limit_given) == (longest, is_given)


def test_several_answers_are_held_for(books: Database) -> None:
    payment = Payment(CREDITS, books, None, None)
    payment.admit(call_of(MODEL, said("hi"), None, {"n": 3}, "chat"))
    assert accounts.account(books).held_nano == 40_000_000  # three answers of one cent, and the prompt
    payment.release()
    assert accounts.account(books).held_nano == 0


def test_what_is_expensive_is_asked_about_and_what_is_not_is_not(books: Database) -> None:
    asked: list[PromptEstimate] = []
    payment = Payment(Limits(confirm_nano=1_000_000), books, None, asked.append)
    payment.admit(call_of(MODEL, said("hi"), None, {}, "chat"))
    assert asked == []
    payment.admit(call_of(MODEL, said("lorem ipsum " * 600), None, {"max_tokens": 10}, "chat"))
    [estimate] = asked
    assert (estimate.model, estimate.answer_nano) == ("m", 100_000)
    assert 1_200 < estimate.tokens < 1_500
    assert estimate.prompt_nano == estimate.tokens * 1000


def test_many_bytes_that_are_few_tokens_are_not_asked_about(books: Database) -> None:
    asked: list[PromptEstimate] = []
    payment = Payment(Limits(confirm_nano=2_000_000), books, None, asked.append)
    payment.admit(call_of(MODEL, said("lorem ipsum " * 600), None, {}, "chat"))
    assert asked == []


def test_without_consent_nothing_is_admitted(books: Database) -> None:
    def refuse(_: PromptEstimate) -> None:
        raise NotConfirmed("No.")

    payment = Payment(Limits(mode="credits", confirm_nano=1), books, None, refuse)
    with pytest.raises(NotConfirmed):
        payment.admit(call_of(MODEL, said("hi"), None, {}, "chat"))
    payment.release()
    assert accounts.account(books).held_nano == 0
    assert books.rows("SELECT count(*) FROM rate_events") == [(0,)]


def test_an_answer_is_limited_to_what_is_left_and_a_limit_of_the_users_stands(books: Database) -> None:
    budget = Budget(6_000_000)
    payment = Payment(Limits(budget=budget), books, None, None)
    payment.admit(call_of(MODEL, said("hi"), None, {}, "chat"))
    limited = payment.limited({"temperature": 0})
    assert limited["temperature"] == 0
    assert 590 < int(str(limited["max_tokens"])) < 600
    assert payment.limited({"max_tokens": 7}) == {"max_tokens": 7}
    assert budget.left_nano < 10_000
    payment.settled(1_000_000)
    assert budget.left_nano == 5_000_000


def test_a_budget_is_free_again_when_nothing_was_sent(books: Database) -> None:
    budget = Budget(60_000_000)
    payment = Payment(Limits(budget=budget), books, None, None)
    payment.admit(call_of(MODEL, said("hi"), None, {}, "chat"))
    payment.release()
    assert budget.left_nano == 60_000_000
    assert books.rows("SELECT count(*) FROM credit_holds") == [(0,)]


def test_limits_need_books(books: Database) -> None:
    corrupt = DatabaseCorrupt("no")
    with pytest.raises(DatabaseCorrupt):
        Payment(CREDITS, books, corrupt, None).admit(call_of(MODEL, said("hi"), None, {}, "chat"))
    Payment(Limits(), books, corrupt, None).admit(call_of(MODEL, said("hi"), None, {}, "chat"))


def test_few_credits_are_told_when_a_call_has_made_them_few(books: Database) -> None:
    leave_credits(books, 11)
    payment = Payment(CREDITS, books, None, None)
    payment.admit(call_of(MODEL, said("hi"), None, {}, "chat"))
    assert list(payment.warnings()) == []
    settle(books, payment.request_id, 5)
    assert list(payment.warnings()) == ["10 credits are left. For more: aichat credits buy small"]


def test_a_month_that_is_spent_is_told_and_refuses_the_next_call(books: Database) -> None:
    limits = Limits(monthly_nano=20_000_000)
    payment = Payment(limits, books, None, None)
    payment.admit(call_of(MODEL, said("hi"), None, {}, "chat"))
    settle(books, payment.request_id, 20_000_000)
    assert list(payment.warnings()) == ["100 % of your cap is spent this month: $0.0200 of $0.0200."]
    with pytest.raises(CapReached, match="this month is reached"):
        Payment(limits, books, None, None).admit(call_of(MODEL, said("hi"), None, {}, "chat"))
