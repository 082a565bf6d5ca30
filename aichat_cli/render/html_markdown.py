"""Markdown as HTML that is safe to put into a page: no raw HTML, no images, links only to the web and to mail."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from aichat_cli.render.sanitize import safe_text

LARGEST_TEXT = 100_000
"""Characters of one message; a longer one is shown as it is written."""
LARGEST_CODE = 20_000
"""Characters of one code block; a longer one is not coloured."""
LONGEST_LINE = 1_000
"""Of code that is coloured: what some lexers need grows with the square of a line."""

_LINK = re.compile(r"(?:https?://|mailto:)", re.IGNORECASE)
_ALIGNMENT = re.compile(r"text-align:(left|center|right)")


class HtmlMarkdown:
    """A renderer, made once for a page."""

    def __init__(self) -> None:
        self._markdown = MarkdownIt("commonmark", {"html": False, "maxNesting": 50}).enable(["table", "strikethrough"])
        self._markdown.validateLink = lambda url: _LINK.match(url) is not None  # type: ignore[method-assign]
        for name, rule in _RULES.items():
            self._markdown.add_render_rule(name, rule)

    def html(self, text: str) -> str:
        """One message."""
        safe = safe_text(text)
        if len(safe) > LARGEST_TEXT:
            return f'<div class="said">{escape(safe)}</div>\n'
        return str(self._markdown.render(safe))


def _code(_renderer: RendererHTML, tokens: Sequence[Token], index: int, _options: Any, _env: Any) -> str:
    language = tokens[index].info.strip().split(" ", 1)[0] if tokens[index].type == "fence" else ""
    return f"<pre><code>{_coloured(tokens[index].content, language)}</code></pre>\n"


def _coloured(code: str, language: str) -> str:
    from pygments import highlight
    from pygments.formatters.html import HtmlFormatter
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    if not language or len(code) > LARGEST_CODE or max(map(len, code.splitlines()), default=0) > LONGEST_LINE:
        return escape(code)
    try:
        lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return escape(code)
    return str(highlight(code, lexer, HtmlFormatter(nowrap=True)))


def _image(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """An image would be a request to where it is: its name, as a link."""
    token = tokens[index]
    name = escape(renderer.renderInlineAsText(token.children, options, env) or "image")
    return f'<a href="{escape(str(token.attrGet("src")))}" rel="noopener noreferrer">{name}</a>'


def _link(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    tokens[index].attrSet("rel", "noopener noreferrer")
    return renderer.renderToken(tokens, index, options, env)


def _cell(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """The page's policy allows no style attributes: a class says how a cell is aligned."""
    aligned = _ALIGNMENT.search(str(tokens[index].attrs.pop("style", "")))
    if aligned:
        tokens[index].attrSet("class", aligned[1])
    return renderer.renderToken(tokens, index, options, env)


_RULES = {
    "fence": _code, "code_block": _code, "image": _image, "link_open": _link, "th_open": _cell, "td_open": _cell,
}  # fmt: skip
