"""The words of mail about money, as plain text and as simple HTML: figures, what they mean, and what to do next.

Nothing of what was asked or answered is in them, and no title; of names only those of models.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from html import escape

from aichat_cli.core import periods
from aichat_cli.core.credits import credits_text
from aichat_cli.core.money import usd_text
from aichat_cli.core.struct import Struct, replace
from aichat_cli.integrations.alerts import CapAlert, CreditsAlert, KeyCapAlert, News, Summary

MODELS_SHOWN = 10
_FOOT = "aichat sends each of these mails once, from where you use it. To end them: aichat integrations disable resend"


_FOOT_OF_GATEWAY = "The gateway whose credits these are sends each of these mails once. To end them, ask its operator."


class Step(Struct, frozen=True):
    """Something to do, and the command that does it."""

    what: str
    command: str


class Table(Struct, frozen=True):
    """Figures; the first column names its row."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Mail(Struct, frozen=True):
    """A mail before it has a shape."""

    subject: str
    paragraphs: tuple[str, ...]
    steps: tuple[Step, ...]
    table: Table | None = None
    foot: str = _FOOT

    @property
    def text(self) -> str:
        """As plain text."""
        parts = [*self.paragraphs]
        if self.table is not None:
            parts.append(_text_table(self.table))
        parts.append("\n".join(["What you can do:", *(f"- {step.what}: {step.command}" for step in self.steps)]))
        return "\n\n".join([*parts, f"-- \n{self.foot}"]) + "\n"

    @property
    def html(self) -> str:
        """As HTML that a screen reader reads well: headings, a list, and a table with heads."""
        steps = "".join(f"<li>{escape(step.what)}:<br><code>{escape(step.command)}</code></li>" for step in self.steps)
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            f"<title>{escape(self.subject)}</title></head>"
            '<body style="font-family:sans-serif;line-height:1.5;max-width:40em">'
            f'<h1 style="font-size:1.25em">{escape(self.subject)}</h1>'
            + "".join(f"<p>{escape(each)}</p>" for each in self.paragraphs)
            + (_html_table(self.table) if self.table is not None else "")
            + f'<h2 style="font-size:1em">What you can do</h2><ul>{steps}</ul><p><small>{escape(self.foot)}</small></p></body></html>'
        )


def mail_of(news: News) -> Mail:
    """What is said of it."""
    if isinstance(news, CapAlert):
        return _of_cap(news)
    if isinstance(news, CreditsAlert):
        return _of_credits(news)
    if isinstance(news, KeyCapAlert):
        return _of_key_cap(news)
    return _of_month(news)


def mail_of_gateway(news: News) -> Mail:
    """What is said of it to a user of a gateway."""
    return replace(mail_of(news), foot=_FOOT_OF_GATEWAY)


def _of_key_cap(alert: KeyCapAlert) -> Mail:
    next_one = periods.span_of(alert.day, "month").last + timedelta(1)
    spent, cap = credits_text(alert.spent_nano), credits_text(alert.cap_nano)
    meaning = (
        f"The cap is reached: calls with this key are refused until {next_one.isoformat()} (UTC), or until it is raised."
        if alert.percent >= 100
        else f"Nothing is refused yet. What would go beyond {cap} credits will be, until {next_one.isoformat()} (UTC)."
    )
    return Mail(
        subject=f'aichat: {alert.percent} % of the cap of your key "{alert.key_name}" is spent',
        paragraphs=(
            f'{spent} of the {cap} credits that the key "{alert.key_name}" may cost this month are spent.',
            meaning,
        ),
        steps=(
            Step("See what is left", "aichat credits"),
            Step("For a higher cap", "ask the operator of the gateway"),
        ),
    )


def _of_cap(alert: CapAlert) -> Mail:
    is_daily = alert.cap == "daily"
    when = "today" if is_daily else "this month"
    unit: periods.Unit = "day" if is_daily else "month"
    next_one = periods.span_of(alert.day, unit).last + timedelta(1)
    spent, cap = usd_text(alert.spent_nano), usd_text(alert.cap_nano)
    share = alert.spent_nano * 100 // alert.cap_nano
    meaning = (
        f"What is left does not cover another call like the last: such calls are refused until {next_one.isoformat()}, or"
        " until you raise the cap. Models that cost nothing go on answering."
        if alert.percent >= 100 > share
        else f"The cap is reached: paid calls are refused until {next_one.isoformat()}, or until you raise it. Models that "
        "cost nothing go on answering."
        if alert.percent >= 100
        else f"Nothing is refused yet. What would go beyond {cap} will be, until {next_one.isoformat()}."
    )
    return Mail(
        subject=f"aichat: your {alert.cap} cap is reached"
        if alert.percent >= 100
        else f"aichat: {alert.percent} % of your {alert.cap} cap is spent",
        paragraphs=(f"You have spent {spent} of {cap} {when} ({alert.day.isoformat()}): {share} %.", meaning),
        steps=(
            Step(
                "See what it went to",
                f"aichat usage models --since {'today' if is_daily else alert.day.isoformat()[:7]}",
            ),
            Step("Raise the cap", f"aichat config set limits.{alert.cap}_usd AMOUNT"),
            Step("Ask a model that costs nothing", "aichat -m smollm2"),
        ),
    )


def _of_credits(alert: CreditsAlert) -> Mail:
    left = credits_text(alert.balance_nano)
    return Mail(
        subject=f"aichat: {left} credits are left",
        paragraphs=(
            f"Your balance is {left} credits.",
            "A paid call takes at least one. Without enough of them it is refused; models that cost nothing go on answering.",
        ),
        steps=(
            Step("Buy more", "aichat credits buy small"),
            Step("See what they went to", "aichat credits history"),
            Step("Ask a model that costs nothing", "aichat -m smollm2"),
        ),
    )


def _of_month(summary: Summary) -> Mail:
    month = periods.label(summary.month, "month")
    sums = summary.sums
    paragraphs = [
        f"In {month} you made {_count(sums.requests, 'call')} for {usd_text(sums.cost_nano)}, with "
        f"{sums.input_tokens:,} tokens in and {sums.output_tokens:,} out."
    ]
    if sums.unpriced:
        paragraphs.append(f"The price of {_count(sums.unpriced, 'call')} is not known, and not in that sum.")
    more = len(summary.models) - MODELS_SHOWN
    rows = tuple(
        (each.model, f"{each.sums.requests:,}", f"{each.sums.tokens:,}", _cost(each.sums.cost_nano, each.sums.unpriced))
        for each in summary.models[:MODELS_SHOWN]
    )
    caption = "By model" if more <= 0 else f"By model, the first {MODELS_SHOWN} of {len(summary.models)}"
    return Mail(
        subject=f"aichat: {month} cost {usd_text(sums.cost_nano)}",
        paragraphs=tuple(paragraphs),
        table=Table(caption, ("Model", "Calls", "Tokens", "Cost"), rows),
        steps=(
            Step("See all of it", f"aichat usage --since {month} --until {month}"),
            Step("Set a cap", "aichat config set limits.monthly_usd AMOUNT"),
        ),
    )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _cost(nano: int, unpriced: int) -> str:
    """At least so much, where not every price is known."""
    return usd_text(nano) if not unpriced else f"{usd_text(nano)} + ?"


def _text_table(table: Table) -> str:
    lines: Sequence[tuple[str, ...]] = (table.head, *table.rows)
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.head))]
    shown = [f"{table.caption}:"]
    for first, *others in lines:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        shown.append("  ".join(cells))
    return "\n".join(shown)


def _html_table(table: Table) -> str:
    head = "".join(
        f'<th scope="col" style="text-align:left;padding-right:1em">{escape(cell)}</th>' for cell in table.head
    )
    rows = "".join(
        f'<tr><th scope="row" style="text-align:left;font-weight:normal;padding-right:1em">{escape(first)}</th>'
        + "".join(f'<td style="padding-right:1em">{escape(cell)}</td>' for cell in others)
        + "</tr>"
        for first, *others in table.rows
    )
    return (
        f"<table><caption>{escape(table.caption)}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )
