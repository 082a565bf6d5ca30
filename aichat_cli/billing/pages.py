"""The pages a buyer comes back to from Stripe, on this machine and on a gateway. They say nothing of the buyer: whoever has
the address sees them.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from html import escape

from aichat_cli.core.struct import Struct

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1f; --paper: #fdfdfc }
@media (prefers-color-scheme: dark) { :root { --ink: #ececf0; --paper: #17171a } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1.125rem/1.6 system-ui, sans-serif }
main { box-sizing: border-box; max-width: 34rem; margin: 0 auto; padding: 18vh 1.25rem 3rem; overflow-wrap: break-word }
h1 { margin: 0 0 1rem; font-size: 1.75rem; line-height: 1.25 }
p { margin: 0 0 1rem }
"""
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{refresh}<title>{title} - aichat</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{paragraphs}
</main>
</body>
</html>
"""
_STYLE_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()

HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    # The address holds what must not be guessed.
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
}
"""What each page is sent with: it loads nothing, runs nothing, is shown in no frame, and is not kept."""

BACK = "You can close this page and go back to the terminal."


class Page(Struct, frozen=True):
    """A page of a few sentences. `reload_seconds` is when the browser asks for it again, None for never."""

    title: str
    sentences: tuple[str, ...]
    reload_seconds: int | None = None

    @property
    def html(self) -> str:
        """The whole page."""
        refresh = f'<meta http-equiv="refresh" content="{self.reload_seconds}">\n' if self.reload_seconds else ""
        paragraphs = "\n".join(f"<p>{escape(each)}</p>" for each in self.sentences)
        return _PAGE.format(title=escape(self.title), refresh=refresh, style=_STYLE, paragraphs=paragraphs)


THANKS = Page("Thank you", ("Your credits are on their way.", BACK))
CANCELLED = Page("Cancelled", ("You have not been charged.", BACK))
