"""Code coloured line by line: the lexer's state is carried from one line to the next, so a finished line never changes."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from aichat_cli.render.markdown.cells import Row, Span
from aichat_cli.render.theme import Background, Theme

_OPENERS = re.compile(r"/\*|<!--|\"\"\"|'''|\{-|\(\*|--\[\[|<#|#\||=begin|#=|/\+|%\{|\[\[|[\"'`]")
_CLOSERS = {
    "/*": "*/", "<!--": "-->", '"""': '"""', "'''": "'''", "{-": "-}", "(*": "*)", "--[[": "]]", "<#": "#>", "#|": "|#",
    "=begin": "=end", "#=": "=#", "/+": "+/", "%{": "%}", "[[": "]]",
    '"': '"', "'": "'", "`": "`",
}  # fmt: skip
"""Comments and strings over several lines that lexers match in one piece, which a single line never shows them."""

_LONGEST_NAME = 40

# Pygments' token types, the nearest ancestor counts; the colours of the terminal's own palette.
_PALETTES: dict[Background, dict[str, str]] = {
    "ansi": {
        "Comment": "2;3", "Comment.Preproc": "35", "Keyword": "35", "Keyword.Type": "36", "Keyword.Constant": "33",
        "Operator.Word": "35", "Name.Builtin": "36", "Name.Function": "34", "Name.Class": "1;34", "Name.Namespace": "36",
        "Name.Exception": "36", "Name.Decorator": "35", "Name.Tag": "34", "Name.Attribute": "36", "Name.Constant": "33",
        "Name.Variable": "33", "String": "32", "String.Escape": "33", "String.Doc": "32;3", "Number": "33",
        "Generic.Deleted": "31", "Generic.Inserted": "32", "Generic.Heading": "1", "Generic.Subheading": "36",
        "Generic.Emph": "3", "Generic.Strong": "1", "Generic.Prompt": "2", "Generic.Error": "31",
        "Literal.Date": "33",
    },
    "dark": {
        "Comment": "3;38;5;245", "Comment.Preproc": "38;5;176", "Keyword": "38;5;176", "Keyword.Type": "38;5;80",
        "Keyword.Constant": "38;5;215", "Operator.Word": "38;5;176", "Name.Builtin": "38;5;80",
        "Name.Function": "38;5;111", "Name.Class": "1;38;5;111", "Name.Namespace": "38;5;80",
        "Name.Exception": "38;5;80", "Name.Decorator": "38;5;176", "Name.Tag": "38;5;111", "Name.Attribute": "38;5;80",
        "Name.Constant": "38;5;215", "Name.Variable": "38;5;215", "String": "38;5;114", "String.Escape": "38;5;215",
        "String.Doc": "3;38;5;114", "Number": "38;5;215", "Generic.Deleted": "38;5;203", "Generic.Inserted": "38;5;114",
        "Generic.Heading": "1", "Generic.Subheading": "38;5;80", "Generic.Emph": "3", "Generic.Strong": "1",
        "Generic.Prompt": "38;5;245", "Generic.Error": "38;5;203", "Literal.Date": "38;5;215",
    },
    "light": {
        "Comment": "3;38;5;243", "Comment.Preproc": "38;5;90", "Keyword": "38;5;90", "Keyword.Type": "38;5;24",
        "Keyword.Constant": "38;5;130", "Operator.Word": "38;5;90", "Name.Builtin": "38;5;24",
        "Name.Function": "38;5;25", "Name.Class": "1;38;5;25", "Name.Namespace": "38;5;24",
        "Name.Exception": "38;5;24", "Name.Decorator": "38;5;90", "Name.Tag": "38;5;25", "Name.Attribute": "38;5;24",
        "Name.Constant": "38;5;130", "Name.Variable": "38;5;130", "String": "38;5;28", "String.Escape": "38;5;130",
        "String.Doc": "3;38;5;28", "Number": "38;5;130", "Generic.Deleted": "38;5;124", "Generic.Inserted": "38;5;28",
        "Generic.Heading": "1", "Generic.Subheading": "38;5;24", "Generic.Emph": "3", "Generic.Strong": "1",
        "Generic.Prompt": "38;5;243", "Generic.Error": "38;5;124", "Literal.Date": "38;5;130",
    },
}  # fmt: skip


class _Unclosed(NamedTuple):
    """A comment or string that goes on in the next line."""

    kind: Any
    closer: str


class Highlighter:
    """Colours the lines of one code block, in order. A language nobody knows has one colour."""

    def __init__(self, language: str, theme: Theme) -> None:
        self._theme = theme
        self._lexer = _lexer(language) if theme.is_colored else None
        self._context: Any = _context(self._lexer) if self._lexer is not None else None
        self._unclosed: _Unclosed | None = None

    def line(self, text: str) -> Row:
        """The next line, without its newline."""
        if self._lexer is None:
            return [Span(text, self._theme.style("code"))] if text else []
        row: Row = []
        for kind, value in self._tokens(text):
            style = token_style(kind, self._theme)
            if value and row and row[-1].style == style:
                row[-1] = Span(row[-1].text + value, style)
            elif value:
                row.append(Span(value, style))
        return row

    def copy(self) -> Highlighter:
        """One that goes on from here without changing this one."""
        twin = copy.copy(self)
        twin._context = copy.deepcopy(self._context)  # noqa: SLF001 (its own class)
        return twin

    def _tokens(self, text: str) -> Iterator[tuple[Any, str]]:
        start = 0
        if self._unclosed is not None:
            kind, closer = self._unclosed
            end = text.find(closer)
            if end < 0:
                yield kind, text
                return
            start = end + len(closer)
            self._unclosed = None
            yield kind, text[:start]
        source = text + "\n"
        for kind, value in self._lexed(source, start):
            yield kind, value.rstrip("\n")

    def _lexed(self, source: str, start: int) -> Iterator[tuple[Any, str]]:
        from pygments.lexer import RegexLexer

        if not isinstance(self._lexer, RegexLexer):
            assert self._lexer is not None
            for _, kind, value in self._lexer.get_tokens_unprocessed(source[start:]):
                yield kind, value
            return
        yield from self._regex_lexed(source, start)

    def _regex_lexed(self, source: str, start: int) -> Iterator[tuple[Any, str]]:
        """What `RegexLexer.get_tokens_unprocessed` does, with the stack kept, and with what this line leaves unclosed."""
        context = self._context
        context.text, context.pos, context.end = source, start, len(source)
        rules = self._lexer._tokens  # type: ignore[union-attr]  # noqa: SLF001 (the documented format of lexers)
        while context.pos < context.end:
            if unclosed := self._unclosed_at(source, context.pos, rules[context.stack[-1]]):
                self._unclosed = unclosed
                yield unclosed.kind, source[context.pos :]
                return
            for matches, action, new_state in rules[context.stack[-1]]:
                match = matches(source, context.pos)
                if match is None:
                    continue
                yield from self._acted(action, match)
                if new_state is not None:
                    _change_state(context.stack, new_state)
                break
            else:
                if source[context.pos] == "\n":
                    context.stack = ["root"]
                yield None, source[context.pos]
                context.pos += 1

    def _acted(self, action: Any, match: re.Match[str]) -> Iterator[tuple[Any, str]]:
        context = self._context
        if action is None:
            context.pos = match.end()
        elif isinstance(action, tuple):  # a token type is a tuple of names
            context.pos = match.end()
            yield action, match.group()
        elif context.is_extended:
            for _, kind, value in action(self._lexer, match, context):
                yield kind, value
        else:
            context.pos = match.end()
            for _, kind, value in action(self._lexer, match):
                yield kind, value

    def _unclosed_at(self, source: str, position: int, rules: Any) -> _Unclosed | None:
        opener = _OPENERS.match(source, position)
        if opener is None:
            return None
        closer = _CLOSERS[opener.group()]
        if source.find(closer, opener.end()) >= 0:
            return None
        closed = source + closer
        for matches, action, _ in rules:
            match = matches(closed, position)
            if match is not None:
                is_whole = match.end() == len(closed) and isinstance(action, tuple)
                return _Unclosed(action, closer) if is_whole and action[:1] in {("Comment",), ("Literal",)} else None
        return None


def _change_state(stack: list[str], new_state: Any) -> None:
    """Apply a lexer's state transition: pop so many, push a state or several; one state always stays."""
    if isinstance(new_state, int):
        del stack[max(len(stack) + new_state, 1) if new_state < 0 else 1 :]
        return
    for state in new_state if isinstance(new_state, tuple) else (new_state,):
        if state == "#pop":
            if len(stack) > 1:
                stack.pop()
        else:
            stack.append(stack[-1] if state == "#push" else state)


@lru_cache(64)
def _lexer(language: str) -> Any:
    name = language.lower()
    if not name or len(name) > _LONGEST_NAME or name in {"text", "plain", "plaintext", "txt", "output"}:
        return None
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        return get_lexer_by_name(name, stripnl=False, startinline=True)
    except ClassNotFound:
        return None


def _context(lexer: Any) -> Any:
    from pygments.lexer import ExtendedRegexLexer, LexerContext, RegexLexer

    if not isinstance(lexer, RegexLexer):
        return None
    context: Any
    if type(lexer).__name__ == "YamlLexer":
        from pygments.lexers.data import YamlLexerContext

        context = YamlLexerContext("", 0)
    else:
        context = LexerContext("", 0)
    context.is_extended = isinstance(lexer, ExtendedRegexLexer)
    if type(lexer).__name__ == "PhpLexer":
        context.stack.append("php")
    return context


def token_style(kind: Any, theme: Theme) -> str:
    """The SGR parameters for a token type."""
    if kind is None:
        return ""
    if theme.code_theme:
        return _style_of_theme(kind, theme.code_theme, theme.has_truecolor)
    return _style_of_palette(kind, theme.background)


@lru_cache(1024)
def _style_of_palette(kind: Any, background: Background) -> str:
    palette = _PALETTES[background]
    names = list(kind)
    if names[:1] == ["Literal"] and names[1:2] in (["String"], ["Number"]):
        del names[0]
    while names:
        style = palette.get(".".join(names))
        if style is not None:
            return style
        names.pop()
    return ""


@lru_cache(1024)
def _style_of_theme(kind: Any, name: str, has_truecolor: bool) -> str:  # noqa: FBT001 (a key of the cache)
    from pygments.styles import get_style_by_name

    known = get_style_by_name(name)
    while not known.styles_token(kind):  # lexers have types of their own
        kind = kind.parent
    style = known.style_for_token(kind)
    parts = [number for number, key in (("1", "bold"), ("3", "italic"), ("4", "underline")) if style[key]]
    if style["color"]:
        red, green, blue = (int(style["color"][at : at + 2], 16) for at in (0, 2, 4))
        parts.append(f"38;2;{red};{green};{blue}" if has_truecolor else f"38;5;{_nearest_of_256(red, green, blue)}")
    return ";".join(parts)


def _nearest_of_256(red: int, green: int, blue: int) -> int:
    steps = (0, 95, 135, 175, 215, 255)
    cube = [min(range(6), key=lambda step, part=part: abs(steps[step] - part)) for part in (red, green, blue)]  # type: ignore[misc]
    grey = min(max((red + green + blue) // 3 - 3, 0) // 10, 23)
    in_cube = sum((steps[step] - part) ** 2 for step, part in zip(cube, (red, green, blue), strict=True))
    in_grey = sum((8 + 10 * grey - part) ** 2 for part in (red, green, blue))
    return 232 + grey if in_grey < in_cube else 16 + 36 * cube[0] + 6 * cube[1] + cube[2]
