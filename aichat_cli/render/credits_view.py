"""Balances, the window, the ledger and statements, in words and as JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from aichat_cli.billing.overview import Overview
from aichat_cli.core.clock import utc_text
from aichat_cli.core.credits import NANO_PER_CREDIT, credits_text
from aichat_cli.render import tables
from aichat_cli.render.answer import print_text
from aichat_cli.storage.accounts import Entry, Window
from aichat_cli.storage.statements import Statement


def print_overview(shown: Overview) -> None:
    """`aichat credits`."""
    rows = [
        ("balance", f"{credits_text(shown.account.balance_nano)} credits"),
        ("held", f"{credits_text(shown.account.held_nano)} for calls under way"),
        ("plan", shown.account.plan),
        ("who pays", _payer(shown.mode)),
        ("calls left", window_text(shown.window)),
    ]
    if shown.open_purchases:
        count = "1 purchase" if shown.open_purchases == 1 else f"{shown.open_purchases} purchases"
        rows.append(("open", f"{count}; go on with: aichat credits buy --resume"))
    tables.pairs(rows)
    if shown.recent:
        # On a terminal the table brings a blank line of its own.
        print_text("" if sys.stdout.isatty() else "\n")
        tables.credit_entries(shown.recent)


def overview_line(shown: Overview) -> str:
    """`/credits`."""
    held = f", {credits_text(shown.account.held_nano)} of them held" if shown.account.held_nano else ""
    balance = f"{credits_text(shown.account.balance_nano)} credits{held}"
    return f"{balance} | plan {shown.account.plan} | calls left: {window_text(shown.window)} | {_payer(shown.mode)} pay"


def window_text(window: Window) -> str:
    """Such as `17 of 20 within an hour; one more at 14:05`."""
    text = f"{window.remaining:,} of {window.limit:,} within an hour"
    if window.reset_at_ms is None:
        return text
    return f"{text}; one more at {_moment(window.reset_at_ms).astimezone():%H:%M}"


def overview(shown: Overview) -> dict[str, Any]:
    """`credits --json`."""
    reset_at = shown.window.reset_at_ms
    return {
        "balance": number(shown.account.balance_nano),
        "held": number(shown.account.held_nano),
        "plan": shown.account.plan,
        "mode": shown.mode,
        "window": {
            "limit": shown.window.limit,
            "remaining": shown.window.remaining,
            "reset_at": None if reset_at is None else utc_text(reset_at),
        },
        "open_purchases": shown.open_purchases,
    }


def entries(listed: Sequence[Entry]) -> list[dict[str, Any]]:
    """`credits history --json`."""
    return [
        {
            "id": entry.id,
            "kind": entry.kind,
            "ref": entry.ref,
            "credits": number(entry.amount_nano),
            "uncovered": number(entry.uncovered_nano),
            "balance": number(entry.balance_nano),
            "created_at": entry.created_at,
        }
        for entry in listed
    ]


def print_statement(shown: Statement) -> None:
    """`credits statement`."""
    balances = [
        ("opening balance", shown.opening_nano),
        ("+ granted", shown.grants_nano),
        ("+ bought", shown.purchases_nano),
        ("- refunds and disputes", shown.reversals_nano),
        ("- charges", shown.charges_nano),
        ("closing balance", shown.closing_nano),
    ]
    nano = [
        ("calls cost", shown.usage_nano),
        ("+ rounding up to credits", shown.rounding_nano),
        ("- not covered", shown.uncovered_nano),
        ("charges", shown.charges_nano),
    ]
    period = [_day(shown.since, "the beginning"), _day(shown.until, "now")]
    lines = [f"From {period[0]} to {period[1]}", ""]
    lines += _column([(name, credits_text(value)) for name, value in balances], "credits")
    lines += ["", f"The charges, of {_calls(shown.charged_calls)}"]
    lines += _column([(name, f"{value:,}") for name, value in nano], "nano-dollars")
    problems = "; ".join(shown.problems)
    lines += ["", f"Does not reconcile: {problems}." if problems else "It reconciles, to the nano-dollar."]
    print_text("\n".join(lines) + "\n")


def statement(shown: Statement) -> dict[str, Any]:
    """`credits statement --json`."""
    return {
        "since": shown.since,
        "until": shown.until,
        "opening": number(shown.opening_nano),
        "grants": number(shown.grants_nano),
        "purchases": number(shown.purchases_nano),
        "reversals": number(shown.reversals_nano),
        "charges": number(shown.charges_nano),
        "closing": number(shown.closing_nano),
        "charged_calls": shown.charged_calls,
        "charges_nano": shown.charges_nano,
        "usage_nano": shown.usage_nano,
        "rounding_nano": shown.rounding_nano,
        "uncovered_nano": shown.uncovered_nano,
        "reconciles": not shown.problems,
        "problems": list(shown.problems),
    }


def number(nano: int) -> int | float:
    """Credits for JSON, whole where they are."""
    return nano / NANO_PER_CREDIT if nano % NANO_PER_CREDIT else nano // NANO_PER_CREDIT


def _payer(mode: str) -> str:
    return "your credits" if mode == "credits" else "your own keys"


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _day(stored: str | None, otherwise: str) -> str:
    return tables.local_time(stored) if stored else otherwise


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count:,} calls"


def _column(rows: Sequence[tuple[str, str]], unit: str) -> list[str]:
    names, values = (max(len(row[part]) for row in rows) for part in (0, 1))
    return [f"  {name.ljust(names)}  {value.rjust(values)} {unit}" for name, value in rows]
