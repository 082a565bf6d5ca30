"""`aichat credits` and `aichat credits buy` where the account on a gateway is meant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from aichat_cli.app import App
from aichat_cli.core.credits import Package
from aichat_cli.core.errors import AichatError, KeyMissing, PurchaseFailed
from aichat_cli.core.interrupts import Interrupted
from aichat_cli.render import checkout_view, json_shapes, progress, tables
from aichat_cli.render.answer import print_text
from aichat_cli.render.diagnostics import Diagnostics, one_line

if TYPE_CHECKING:
    from aichat_cli.account.buying import HostedEnding
    from aichat_cli.account.client import GatewayClient, HostedPurchase

GOOD_ENDS = ("paid", "processing")

LocalFlag = Annotated[
    bool | None,
    typer.Option("--local/--gateway", help="The profile on this machine, or the account on the gateway."),
]


def is_meant(house: App, *, local: bool | None) -> bool:
    """Whether the account on the gateway is meant: unless told otherwise, while the user is logged in to one.

    Raises:
        KeyMissing: it is asked for, and the user is not.
    """
    is_logged_in = bool(house.settings.text("gateway.url"))
    if local is False and not is_logged_in:
        raise KeyMissing("You are not logged in to a gateway.", hint="Run: aichat login URL")
    return is_logged_in and not local


def show(house: App, diagnostics: Diagnostics) -> None:
    """The account's credits as they are now; without a network, as they were, and the exit code is 6."""
    from aichat_cli.render import account_view

    account, failure = house.account.current()
    if diagnostics.as_json:
        print_text(json_shapes.dumps(account_view.credits_json(account, is_live=failure is None)))
    else:
        tables.pairs(account_view.credit_rows(account, is_live=failure is None))
        if house.account.profile and house.account.profile.purchases:
            diagnostics.notice(f"Purchases were begun and not seen to their end: {checkout_view.RESUME}")
    if failure is not None:
        diagnostics.error(failure, consequence="This is what was last known. ")
        raise typer.Exit(failure.exit_code)


class HostedBuyer:
    """One run of `credits buy` through a gateway: what it waits for, and what it tells."""

    def __init__(self, house: App, diagnostics: Diagnostics, *, in_browser: bool, timeout: float | None) -> None:
        self._account = house.account
        self._diagnostics = diagnostics
        self._in_browser = in_browser
        self._timeout = timeout
        self._endings: list[HostedEnding] = []

    def buy(self, package: Package | None) -> None:
        """A package, or, without one, whatever is open."""
        from aichat_cli.account import buying

        with self._account.client() as client, self._told_how_to_go_on():
            if package is not None:
                begun = [buying.start(self._account, client, package.name)]
            else:
                begun = buying.open_purchases(self._account, client)
            for each in begun:
                self._offer(each)
            self._wait(client, begun)
        self._end()

    def _offer(self, purchase: HostedPurchase) -> None:
        if purchase.state not in {"created", "open"}:
            return
        price = checkout_view.price_text(purchase)
        self._diagnostics.notice(
            f"{purchase.package}: {purchase.credits:,} credits for {price}, for your account on {self._account.url}."
        )
        facts = {
            "purchase": purchase.id,
            "package": purchase.package,
            "amount_cents": purchase.amount_cents,
            "currency": purchase.currency,
            "live": None,
            "url": purchase.url or "",
        }
        checkout_view.show_page(self._diagnostics, purchase.url or "", facts, in_browser=self._in_browser)

    def _wait(self, client: GatewayClient, purchases: list[HostedPurchase]) -> None:
        from aichat_cli.account import buying

        if not purchases:
            self._diagnostics.notice("No purchase is open.")
            return
        if self._timeout != 0:
            self._diagnostics.notice("Waiting for the payment; Ctrl+C stops waiting, and loses nothing.")
        with progress.spinner("Waiting for the payment") as aside:

            def tell(error: AichatError) -> None:
                aside(lambda: self._diagnostics.warning(f"{one_line(error)} Still trying."))

            for ending in buying.endings(self._account, client, purchases, timeout=self._timeout, on_trouble=tell):
                aside(partial(self._tell, ending))

    def _tell(self, ending: HostedEnding) -> None:
        self._endings.append(ending)
        if not self._diagnostics.as_json and ending.how in GOOD_ENDS:
            print_text(checkout_view.hosted_text(ending) + "\n")

    def _end(self) -> None:
        """The JSON, where it was asked for; then the first purchase that did not end well decides the exit code."""
        if self._endings or self._diagnostics.as_json:
            account, _ = self._account.current()
            if self._diagnostics.as_json:
                print_text(json_shapes.dumps(checkout_view.hosted_report(self._endings, account.balance_nano)))
        failed = [
            PurchaseFailed(checkout_view.hosted_text(each)) for each in self._endings if each.how not in GOOD_ENDS
        ]
        for error in failed[1:]:
            self._diagnostics.error(error)
        if failed:
            raise failed[0]

    @contextmanager
    def _told_how_to_go_on(self) -> Iterator[None]:
        try:
            yield
        except Interrupted:
            if self._account.profile is not None and self._account.profile.purchases:
                self._diagnostics.warning(
                    f"Stopped waiting. What is paid is added all the same; to see: {checkout_view.RESUME}"
                )
            raise
