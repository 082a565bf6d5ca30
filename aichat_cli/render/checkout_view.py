"""A purchase under way, for the one who buys: the browser or the address and its QR code, and what came of it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aichat_cli.core.checkout import Purchase
from aichat_cli.core.credits import NANO_PER_CREDIT, Package, credits_text
from aichat_cli.core.errors import AichatError, PurchaseFailed
from aichat_cli.render.credits_view import number
from aichat_cli.render.diagnostics import Diagnostics, wants_color
from aichat_cli.render.qr import qr_lines
from aichat_cli.render.sanitize import safe_line

if TYPE_CHECKING:
    from aichat_cli.account.buying import HostedEnding
    from aichat_cli.account.client import HostedPurchase
    from aichat_cli.billing.buying import Ending
    from aichat_cli.billing.purchases import Outcome
    from aichat_cli.billing.reversals import ReversalEntry

GRAPHICAL = ("DISPLAY", "WAYLAND_DISPLAY")

RESUME = "aichat credits buy --resume"


def offer_text(package: Package | Purchase, *, is_live: bool) -> str:
    """What is bought, and for how much."""
    mode = "" if is_live else " Test mode: no money moves."
    name = package.name if isinstance(package, Package) else package.package
    return f"{name}: {package.credits:,} credits for {price_text(package)}.{mode}"


def price_text(priced: Package | Purchase | HostedPurchase) -> str:
    """Such as `$20.00`."""
    whole, cents = divmod(priced.amount_cents, 100)
    amount = f"{whole:,}.{cents:02d}"
    return f"${amount}" if priced.currency == "usd" else f"{amount} {priced.currency.upper()}"


def show_address(diagnostics: Diagnostics, purchase: Purchase, *, in_browser: bool) -> None:
    """Where to pay: in the browser that is opened for it, else the address and its code."""
    price = {"amount_cents": purchase.amount_cents, "currency": purchase.currency, "live": purchase.is_live}
    facts = {"purchase": purchase.id, "package": purchase.package, **price, "url": purchase.url or ""}
    show_page(diagnostics, purchase.url or "", facts, in_browser=in_browser)


def show_page(diagnostics: Diagnostics, url: str, facts: Mapping[str, object], *, in_browser: bool) -> None:
    """The page to pay on, for a person, or with the facts for a program."""
    diagnostics.facts("checkout", facts)
    if in_browser and _opened_in_browser(url):
        diagnostics.notice("Pay in the browser. If it did not open:")
        diagnostics.notice(url)
        return
    diagnostics.notice("Pay here:")
    diagnostics.notice(url)
    is_colored = wants_color(sys.stderr)
    lines = qr_lines(url, columns=shutil.get_terminal_size().columns, is_colored=is_colored)
    diagnostics.drawing("".join(f"{line}\n" for line in lines))


def has_browser(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a browser would open before the eyes of the user: not over SSH, not in a log, not in the terminal itself."""
    if not sys.stderr.isatty():
        return False
    if environ.get("BROWSER") or any(environ.get(name) for name in GRAPHICAL):
        return True
    is_remote = any(environ.get(name) for name in ("SSH_CONNECTION", "SSH_TTY"))
    return sys.platform in {"darwin", "win32"} and not is_remote


def _opened_in_browser(url: str) -> bool:
    import webbrowser

    # A browser inherits stdout, and some of them talk.
    stdout = os.dup(1)
    try:
        os.dup2(2, 1)
        browser = webbrowser.get()
        is_textual = type(browser) is webbrowser.GenericBrowser and not os.environ.get("BROWSER")
        return not is_textual and browser.open(url)
    except (webbrowser.Error, OSError):
        return False
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


def ending_text(ending: Ending) -> str:
    """What came of a purchase, in one line."""
    name = f"{ending.purchase.package} for {price_text(ending.purchase)}"
    if ending.how == "paid" and ending.outcome is not None:
        return paid_text(ending.outcome)
    texts = {
        "processing": f"The bank is still processing the payment of {name}. Later, its credits are added by: {RESUME}",
        "expired": f"The purchase of {name} has expired; it was not paid.",
        "cancelled": f"The purchase of {name} was cancelled; it was not paid.",
        "timeout": f"The purchase of {name} is not paid yet. To go on with it: {RESUME}",
    }
    return texts[ending.how]


def error_of(ending: Ending) -> AichatError | None:
    """What a purchase that did not end well ends the program with."""
    if ending.error is not None:
        return ending.error
    return None if ending.how in {"paid", "processing"} else PurchaseFailed(ending_text(ending))


def paid_text(outcome: Outcome) -> str:
    """Such as `500 credits added. Balance: 598.`"""
    balance = f"Balance: {credits_text(outcome.balance_nano)}."
    if not outcome.is_granted:
        return f"{outcome.purchase.credits:,} credits had been added already. {balance}"
    return f"{outcome.purchase.credits:,} credits added. {balance}"


def reversal_text(entry: ReversalEntry) -> str:
    """Such as `250 credits taken back: refund re_123.`"""
    moved = credits_text(abs(entry.amount_nano))
    if entry.kind == "dispute_won":
        return f"{moved} credits given back: dispute {entry.ref} was won."
    uncovered = f" {credits_text(entry.uncovered_nano)} more were spent already." if entry.uncovered_nano else ""
    return f"{moved} credits taken back: {entry.kind} {entry.ref}.{uncovered}"


def ending(shown: Ending) -> dict[str, Any]:
    """A purchase, as `credits buy --json` prints it."""
    purchase = shown.purchase
    return {
        "id": purchase.id,
        "package": purchase.package,
        "credits": purchase.credits,
        "amount_cents": purchase.amount_cents,
        "currency": purchase.currency,
        "live": purchase.is_live,
        "session_id": purchase.session_id,
        "result": shown.how,
        "granted": shown.outcome is not None and shown.outcome.is_granted,
        "error": shown.error.message if shown.error else None,
    }


def report(endings: Sequence[Ending], reversals: Sequence[ReversalEntry], balance_nano: int) -> dict[str, Any]:
    """`credits buy --json`."""
    return {
        "purchases": [ending(each) for each in endings],
        "reversals": [
            {
                "kind": entry.kind,
                "ref": entry.ref,
                "purchase": entry.purchase_id,
                "credits": entry.amount_nano // NANO_PER_CREDIT,
                "uncovered": entry.uncovered_nano // NANO_PER_CREDIT,
            }
            for entry in reversals
        ],
        "balance": number(balance_nano),
    }


def hosted_text(ending: HostedEnding) -> str:
    """What came of a purchase through a gateway, in one line."""
    purchase = ending.purchase
    if ending.how == "paid":
        balance = "" if purchase.balance_nano is None else f" Balance: {credits_text(purchase.balance_nano)}."
        return f"{purchase.credits:,} credits added.{balance}"
    name = safe_line(f"{purchase.package} for {price_text(purchase)}")
    texts = {
        "processing": f"The bank is still processing the payment of {name}. The credits are added by themselves.",
        "expired": f"The purchase of {name} has expired; it was not paid.",
        "refused": f"The payment of {name} was not what was to be bought, and no credits were added. Ask the operator.",
        "timeout": f"The purchase of {name} is not paid yet. To go on with it: {RESUME}",
    }
    return texts[ending.how]


def hosted_report(endings: Sequence[HostedEnding], balance_nano: int) -> dict[str, Any]:
    """`credits buy --json`, through a gateway."""
    purchases = [
        {
            "id": each.purchase.id,
            "package": each.purchase.package,
            "credits": each.purchase.credits,
            "amount_cents": each.purchase.amount_cents,
            "currency": each.purchase.currency,
            "live": None,
            "session_id": None,
            "result": each.how,
            "granted": each.how == "paid",
            "error": None,
        }
        for each in endings
    ]
    return {"purchases": purchases, "reversals": [], "balance": number(balance_nano)}
