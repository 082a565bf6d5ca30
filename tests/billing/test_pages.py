"""The pages buyers come back to: they can be read by everybody, load nothing and run nothing."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import pytest

from aichat_cli.billing.pages import CANCELLED, HEADERS, THANKS, Page

RELOADING = Page("Being <processed>", ("One & two.", "Three."), reload_seconds=4)
EMPTY = {"meta", "link", "br", "img", "input", "hr"}


class Outline(HTMLParser):
    """What is in a page; it must close what it opens."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and data.strip():
            self.texts[self._open[-1]] = data


@pytest.mark.parametrize("page", [THANKS, CANCELLED, RELOADING])
def test_a_page_is_whole_has_a_language_a_title_and_one_heading_and_needs_nothing_else(page: Page) -> None:
    html = page.html
    outline = Outline(html)
    names = [tag for tag, _ in outline.tags]
    assert html.startswith("<!doctype html>\n")
    assert outline.tags[0] == ("html", {"lang": "en"})
    assert (names.count("h1"), names.count("title"), names.count("main")) == (1, 1, 1)
    assert outline.texts["h1"] == page.title
    assert outline.texts["title"] == f"{page.title} - aichat"
    assert set(names) <= {"html", "head", "meta", "title", "style", "body", "main", "h1", "p"}
    assert ("meta", {"charset": "utf-8"}) in outline.tags
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in outline.tags
    assert not {"src", "href", "style", "onload"} & {name for _, attributes in outline.tags for name in attributes}
    assert "url(" not in html
    assert "@import" not in html


def test_only_a_page_that_waits_reloads_itself() -> None:
    refresh = ("meta", {"http-equiv": "refresh", "content": "4"})
    assert refresh in Outline(RELOADING.html).tags
    assert "http-equiv" not in THANKS.html


def test_its_style_is_the_one_that_the_policy_lets_through() -> None:
    style = Outline(THANKS.html).texts["style"]
    policy = HEADERS["Content-Security-Policy"]
    assert f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'" in policy
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy


def test_the_text_stands_out_in_light_and_in_dark() -> None:
    colours = re.findall(r"--ink: #(\w{6}); --paper: #(\w{6})", THANKS.html)
    assert len(colours) == 2
    assert "@media (prefers-color-scheme: dark)" in THANKS.html
    for ink, paper in colours:
        darker, lighter = sorted((luminance(ink), luminance(paper)))
        assert (lighter + 0.05) / (darker + 0.05) >= 7  # WCAG AAA


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
