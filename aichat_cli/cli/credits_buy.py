"""`aichat credits buy`: pay with Stripe, wait, and go on with what was cut off."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from aichat_cli.app import App
from aichat_cli.cli import credits_hosted
from aichat_cli.cli.common import DebugFlag, JsonFlag, opened
from aichat_cli.cli.credits_hosted import LocalFlag
from aichat_cli.core.credits import PACKAGES, Package
from aichat_cli.core.errors import AichatError, UsageError
from aichat_cli.core.interrupts import Interrupted
from aichat_cli.render import checkout_view, json_shapes, progress
from aichat_cli.render.answer import print_text
from aichat_cli.render.diagnostics import Diagnostics, one_line
from aichat_cli.storage import accounts, purchases

if TYPE_CHECKING:
    from aichat_cli.billing.buying import Ending, Watched
    from aichat_cli.billing.checkout import StripeCheckout
    from aichat_cli.billing.return_page import ReturnPage
    from aichat_cli.billing.reversals import ReversalEntry

LINGER_SECONDS = 5.0
"""How long the page waits for the browser after the poll was quicker than it."""


def buy(
    package: Annotated[str | None, typer.Argument(help="small, medium or large.", metavar="PACKAGE")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with open purchases; look for refunds.")] = False,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address instead of opening it.")] = False,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0, help="Stop waiting after so many seconds.", metavar="SECONDS")
    ] = None,
    local: LocalFlag = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Buy credits through Stripe: for your account on the gateway you are logged in to, else for this machine's profile.

    Packages: small (100 for $5), medium (500 for $20) and large (2,000 for $70).
    """
    with opened(as_json=as_json, debug=debug) as (house, diagnostics), _told_how_to_go_on(house, diagnostics):
        chosen = _chosen(package, resume=resume)
        if credits_hosted.is_meant(house, local=local):
            in_browser = not no_browser and checkout_view.has_browser()
            credits_hosted.HostedBuyer(house, diagnostics, in_browser=in_browser, timeout=timeout).buy(chosen)
            return
        buyer = _Buyer(house, diagnostics, in_browser=not no_browser, timeout=timeout)
        if chosen is None:
            buyer.resume()
        else:
            buyer.buy(chosen)


def _chosen(name: str | None, *, resume: bool) -> Package | None:
    packages = ", ".join(
        f"{each.name} ({each.credits:,} for ${each.amount_cents // 100})" for each in PACKAGES.values()
    )
    if resume == (name is not None):
        raise UsageError("Name a package, or --resume.", hint=f"There are {packages}")
    if name is not None and name not in PACKAGES:
        raise UsageError(f'No package is called "{name}".', hint=f"There are {packages}")
    return PACKAGES[name] if name is not None else None


@contextmanager
def _told_how_to_go_on(house: App, diagnostics: Diagnostics) -> Iterator[None]:
    try:
        yield
    except Interrupted:
        if "database" in house.__dict__ and purchases.unsettled(house.database):
            diagnostics.warning(f"Stopped waiting. Paid or not, go on with: {checkout_view.RESUME}")
        raise


class _Buyer:
    """One run of the command: what it waits for, and what it tells."""

    def __init__(self, house: App, diagnostics: Diagnostics, *, in_browser: bool, timeout: float | None) -> None:
        from aichat_cli.billing.till import SqliteTill

        self._db = house.database
        self._till = SqliteTill(self._db)
        self._open_checkout = house.checkout
        self._diagnostics = diagnostics
        self._in_browser = in_browser and checkout_view.has_browser()
        self._timeout = timeout
        self._bell = threading.Event()
        self._endings: list[Ending] = []
        self._reversals: list[ReversalEntry] = []

    def buy(self, package: Package) -> None:
        """A package, from the price to the balance."""
        from aichat_cli.billing import buying

        with ExitStack() as stack:
            checkout = stack.enter_context(closing(self._open_checkout()))
            self._diagnostics.notice(checkout_view.offer_text(package, is_live=checkout.is_live))
            started = buying.start(self._till, checkout, package, self._bell)
            if started.page is not None:
                stack.callback(started.page.close)
            if not started.is_new:
                self._diagnostics.notice("This purchase was begun before, and is gone on with.")
            ending = buying.ending_of(started.outcome)
            if ending is not None:
                self._tell(ending)
            else:
                purchase = started.outcome.purchase
                checkout_view.show_address(self._diagnostics, purchase, in_browser=self._in_browser)
                self._wait(checkout, [buying.Watched(purchase, started.page)])
            if self._in_browser and started.page is not None and self._endings[0].how == "paid":
                _linger(started.page)
        self._end()

    def resume(self) -> None:
        """The refunds of what was paid, and every purchase that is open."""
        from aichat_cli.billing import buying
        from aichat_cli.billing.return_page import ReturnPage

        with ExitStack() as stack:
            checkout = stack.enter_context(closing(self._open_checkout()))
            watched = []
            for found in buying.resume(self._till, checkout):
                if isinstance(found, buying.Ending):
                    self._tell(found)
                    continue
                page = ReturnPage.again(found.purchase.return_url, self._bell)
                if page is not None:
                    stack.callback(page.close)
                watched.append(buying.Watched(found.purchase, page))
            for entry in buying.reversed_since(self._till, checkout):
                self._tell_of_reversal(entry)
            for each in watched:
                self._diagnostics.notice(checkout_view.offer_text(each.purchase, is_live=checkout.is_live))
                checkout_view.show_address(self._diagnostics, each.purchase, in_browser=False)
            self._wait(checkout, watched)
            self._tell_of_others(is_live=checkout.is_live)
        self._end()

    def _wait(self, checkout: StripeCheckout, watched: Sequence[Watched]) -> None:
        from aichat_cli.billing import buying

        if not watched:
            return
        if self._timeout != 0:
            self._diagnostics.notice("Waiting for the payment; Ctrl+C stops waiting, and loses nothing.")
        with progress.spinner("Waiting for the payment") as aside:

            def tell(error: AichatError) -> None:
                aside(lambda: self._diagnostics.warning(f"{one_line(error)} Still trying."))

            for ending in buying.endings(
                self._till, checkout, watched, self._bell, timeout=self._timeout, on_trouble=tell
            ):
                aside(partial(self._tell, ending))

    def _tell(self, ending: Ending) -> None:
        self._endings.append(ending)
        if not self._diagnostics.as_json and ending.how in {"paid", "processing"}:
            print_text(checkout_view.ending_text(ending) + "\n")

    def _tell_of_reversal(self, entry: ReversalEntry) -> None:
        self._reversals.append(entry)
        if not self._diagnostics.as_json:
            print_text(checkout_view.reversal_text(entry) + "\n")

    def _tell_of_others(self, *, is_live: bool) -> None:
        others = [each for each in purchases.unsettled(self._db) if each.is_live != is_live]
        if others:
            mode = "test" if is_live else "live"
            self._diagnostics.warning(f"{len(others)} open purchases were begun in {mode} mode: set that key for them.")
        elif not self._endings and not self._reversals:
            self._diagnostics.notice("No purchase is open, and nothing was refunded.")

    def _end(self) -> None:
        """The JSON, where it was asked for; then the first purchase that did not end well decides the exit code."""
        if self._diagnostics.as_json:
            balance = accounts.account(self._db).balance_nano
            print_text(json_shapes.dumps(checkout_view.report(self._endings, self._reversals, balance)))
        errors = [error for ending in self._endings if (error := checkout_view.error_of(ending)) is not None]
        for error in errors[1:]:
            self._diagnostics.error(error)
        if errors:
            raise errors[0]


def _linger(page: ReturnPage) -> None:
    """Let the browser come back to a page that is still there; whoever does not want to wait for it need not."""
    end = time.monotonic() + LINGER_SECONDS
    with suppress(Interrupted):
        while page.visit is None and time.monotonic() < end:
            time.sleep(0.1)
