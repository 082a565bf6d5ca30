"""Inline Markdown to styled text: markdown-it parses, this module styles.

Beyond CommonMark: strikethrough, maths kept as it is written, bare web addresses as links. Nothing of the source is
dropped but the marks themselves. Entities can spell control characters, so what comes out of the parser is made safe again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from aichat_cli.render.markdown.cells import Row, Span
from aichat_cli.render.sanitize import safe_text
from aichat_cli.render.theme import Theme

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

WRAPPED_LINE = 50
"""A source line of so many characters was wrapped by its writer, so its line break is a blank; a shorter one (a poem,
an address) ends where its writer ended it, and so does one that ends a clause, where the next one begins anew."""

_MARKS = re.compile(r"[!$&*<\[\\\]_`~]|://")
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_ADDRESS = re.compile(r"https?://[^\s<>\"'`|]+")
_ENCODED = re.compile(r"(?:%[89A-Fa-f][0-9A-Fa-f])+")
_CLAUSE_END = re.compile(r"[.,;:!?…—。，；：！？][)\]\"'”’»]*$")  # noqa: RUF001 (these are meant)
_LINE_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_DOLLAR_MATH = re.compile(r"\$\$(?:[^$\\]|\\.)+\$\$|\$(?![\s$])(?:[^$\\\n`]|\\[^\n`])*(?<![\s\\])\$(?!\d)", re.DOTALL)
MATHS_SIGNS = re.compile(r"[\\^_={}<>+*/|-]")
_CLOSERS = {"\\(": "\\)", "\\[": "\\]"}
_MAX_URL = 2000
_LAST_MARK = re.compile(r"(?:(?<=\s)|^)[*`~]{1,3}$")
_CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
_OPEN_CODE = re.compile(r"(?<!`)`{1,2}(?!`)")
_STYLE_ROLES = {"strong": "strong", "em": "emphasis", "s": "strike"}


class InlineRenderer:
    """Styles inline text of one document. `references` are the link definitions read so far."""

    def __init__(self, theme: Theme) -> None:
        self._theme = theme
        self.references: dict[str, Any] = {}

    def copy(self) -> InlineRenderer:
        """One whose later definitions this one does not see."""
        twin = InlineRenderer(self._theme)
        twin.references = dict(self.references)
        return twin

    def spans(self, source: str, base: str = "") -> Row:
        """The text styled; line breaks that stay are newlines in it. `base` is the style it stands in."""
        if not _MARKS.search(source):
            return [Span(_joined_lines(_safe(source, keep="\n")), base)] if source else []
        tokens: list[Token] = []
        parser = _parser()
        parser.inline.parse(source, parser, {"references": self.references}, tokens)
        return _Styled(self._theme, base).of(tokens)


class _Styled:
    """The walk over the tokens of one text."""

    def __init__(self, theme: Theme, base: str) -> None:
        self._theme = theme
        self._styles = [base]
        self._spans: Row = []
        self._source_line = 0
        self._links: list[tuple[Token, int]] = []  # the open ones, and where each begins: an address may be in a link
        self._link_start = 0

    def of(self, tokens: Sequence[Token]) -> Row:
        for number, token in enumerate(tokens):
            if token.type == "softbreak":
                self._end_source_line(next(filter(None, (each.content for each in tokens[number + 1 :])), ""))
            else:
                self._take(token)
        return self._spans

    def _end_source_line(self, following: str) -> None:
        last = self._spans[-1].text if self._spans else ""
        self._put(_line_end(self._source_line, last, following))
        self._source_line = 0

    def _take(self, token: Token) -> None:
        kind, _, side = token.type.partition("_")
        if side in {"open", "close"} and kind in _STYLE_ROLES:
            self._change_style(_STYLE_ROLES[kind], is_open=side == "open")
        elif token.type == "link_open":
            self._open_link(token)
        elif token.type == "link_close":
            self._close_link()
        elif token.type == "hardbreak":
            self._put("\n")
            self._source_line = 0
        elif token.type == "code_inline":
            self._put(_safe(token.content), "code")
        elif token.type == "math":
            self._put(_safe(token.content, keep="\n"), "math")
        elif token.type == "image":
            self._image(token)
        elif token.type == "html_inline":
            is_break = _LINE_BREAK.fullmatch(token.content)
            self._put("\n") if is_break else self._put(_safe(token.content, keep="\n"), "markup")
        else:
            self._text(_safe(token.content))

    def _put(self, text: str, role: str = "") -> None:
        self._source_line += len(text)
        style = _added(self._styles[-1], self._theme.style(role) if role else "")  # type: ignore[arg-type]
        last = self._spans[-1] if self._spans else None
        if last is not None and last.style == style and not last.link and len(self._spans) > self._link_start:
            self._spans[-1] = Span(last.text + text, style)
        elif text:
            self._spans.append(Span(text, style))

    def _text(self, text: str) -> None:
        if self._links or "://" not in text:
            self._put(text)
            return
        end = 0
        for match in _ADDRESS.finditer(text):
            address = _trimmed(match.group())
            self._put(text[end : match.start()])
            end = match.start() + len(address)
            self._link_start = len(self._spans)
            self._put(address, "link")
            self._link_to(address, self._link_start)
        self._put(text[end:])

    def _change_style(self, role: str, *, is_open: bool) -> None:
        if is_open:
            self._styles.append(_added(self._styles[-1], self._theme.style(role)))  # type: ignore[arg-type]
        else:
            self._styles.pop()

    def _open_link(self, token: Token) -> None:
        self._link_start = len(self._spans)
        self._links.append((token, self._link_start))
        self._change_style("link", is_open=True)

    def _close_link(self) -> None:
        token, start = self._links.pop()
        href, title = str(token.attrs.get("href", "")), str(token.attrs.get("title", ""))
        self._change_style("link", is_open=False)
        shown = "".join(span.text for span in self._spans[start:])
        is_linked = self._link_to(href, start)
        self._link_start = len(self._spans)
        told = title and f'"{_safe(title)}"'
        # A text that looks like an address must not hide that the link goes elsewhere.
        address = _visible(href)
        is_elsewhere = "://" in shown and shown not in {href, address}
        if not is_linked or is_elsewhere:
            told = " ".join(filter(None, ("" if address in {shown, f"mailto:{shown}"} else address, told)))
        if told:
            self._put(f" ({told})" if shown else f"({told})", "url")
        self._link_start = len(self._spans)

    def _link_to(self, href: str, start: int) -> bool:
        target = link_target(href) if self._theme.hyperlinks else ""
        if target:
            self._spans[start:] = [Span(span.text, span.style, span.link or target) for span in self._spans[start:]]
        return bool(target)

    def _image(self, token: Token) -> None:
        inner = token.children or []
        alt = "".join("\n" if child.type.endswith("break") else child.content for child in inner)
        title = str(token.attrs.get("title", ""))
        told = " ".join(filter(None, (_visible(str(token.attrs.get("src", ""))), title and f'"{_safe(title)}"')))
        self._put(_safe(alt) or "image", "emphasis")
        self._put(f" ({told})", "url")


def link_target(href: str) -> str:
    """The address as it may stand in an OSC 8 sequence: printable ASCII, a scheme that only opens pages or mail; else empty."""
    scheme = href.partition(":")[0].lower()
    if scheme not in {"http", "https", "mailto"} or len(href) > _MAX_URL:
        return ""
    return "".join(
        character
        if "!" <= character <= "~"
        else "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "replace"))
        for character in href
    )


def _visible(href: str) -> str:
    """The address for reading: letters of any script instead of their bytes."""
    return "".join(_safe(_ENCODED.sub(_decoded, href)).split())


def _decoded(match: re.Match[str]) -> str:
    try:
        text = bytes.fromhex(match[0].replace("%", "")).decode("utf-8")
    except UnicodeDecodeError:
        return match[0]
    return text if text.isprintable() else match[0]


def _added(style: str, more: str) -> str:
    return f"{style};{more}" if style and more else style or more


def _safe(text: str, keep: str = "") -> str:
    """Text without control characters; line breaks, but those to keep, become blanks."""
    if not _UNSAFE.search(text):
        return text
    safe = safe_text(text).replace("\u2028", "\n").replace("\u2029", "\n").replace("\t", " ")
    return safe if keep else safe.replace("\n", " ")


def _joined_lines(source: str) -> str:
    if "\n" not in source:
        return source
    lines = source.split("\n")
    stripped = [line.strip(" ") for line in lines]
    joined = (
        text + ("\n" if line.endswith("  ") else _line_end(len(text), text, following))
        for line, text, following in zip(lines, stripped, stripped[1:], strict=False)
    )
    return "".join(joined) + stripped[-1]


def _line_end(size: int, line: str, following: str) -> str:
    """What stands between a source line, of that size, and the following one."""
    ends_clause = _CLAUSE_END.search(line[-4:]) is not None and not following[:1].islower()
    return "\n" if size < WRAPPED_LINE or ends_clause or following.startswith("[^") else " "


def _trimmed(address: str) -> str:
    """A bare address without the punctuation of the sentence it stands in."""
    while address and (address[-1] in ".,;:!?*_~" or (address[-1] == ")" and address.count(")") > address.count("("))):
        address = address[:-1]
    return address


def load_parser() -> None:
    """Import what parses, before there is text to parse."""
    _parser()


@lru_cache(1)
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark").enable("strikethrough")
    parser.inline.ruler.before("escape", "math", _math)
    return parser


def _math(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 (the parser calls it so)
    r"""Rule of the parser: `$..$`, `$$..$$`, `\(..\)` and `\[..\]`; a price is none."""
    source, start = state.src, state.pos
    end = _math_end(source, start)
    if not end:
        return False
    if not silent:
        state.push("math", "", 0).content = source[start:end]
    state.pos = end
    return True


def _math_end(source: str, start: int) -> int:
    """Where the maths ends that begins here, 0 where none does."""
    if source[start] == "$":
        match = None if start and source[start - 1].isalnum() else _DOLLAR_MATH.match(source, start)
        if match is None or (source[start + 1].isdigit() and not MATHS_SIGNS.search(match.group())):
            return 0
        return match.end()
    opener = source[start : start + 2]
    if opener not in _CLOSERS:
        return 0
    end = source.find(_CLOSERS[opener], start + 2)
    if end < 0 or (opener == "\\[" and not MATHS_SIGNS.search(source, start + 2, end)):
        return 0
    return end + 2


def with_closed_marks(text: str) -> str:
    """The beginning of a text as if its open marks were closed; a mark that nothing follows yet is left out."""
    text = _LAST_MARK.sub("", text)
    bare = _CODE_SPAN.sub(lambda match: " " * len(match[0]), text)
    opened = [(match.start(), match[0]) for match in [_OPEN_CODE.search(bare)] if match]
    end = opened[0][0] if opened else len(bare)
    for mark in ("**", "~~"):
        last = bare.rfind(mark, 0, end)
        if bare.count(mark, 0, end) % 2 and bare[last + 2 : last + 3].strip():
            opened.append((last, mark))
    closers = "".join(mark for _, mark in sorted(opened, reverse=True))
    return text.rstrip(" ") + closers if closers else text


def definitions(text: str, references: dict[str, Any]) -> int:
    """Read the link definitions that a paragraph begins with into `references`; how many lines they take."""
    if not text.startswith("[") or text.startswith("[^") or "]:" not in text:
        return 0
    tokens: list[Token] = []
    parser = _definition_parser()
    parser.block.parse(text, parser, {"references": references}, tokens)
    first = tokens[0].map if tokens else None
    return first[0] if first else text.count("\n") + 1


@lru_cache(1)
def _definition_parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark")
    parser.block.ruler.enableOnly(["reference", "paragraph"])
    return parser
