"""What rendered Markdown looks like: styles by role, for dark, light and unknown backgrounds, and without colours.

`NO_COLOR` takes the colours and leaves bold, italic, underline and dim, which are no colours.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, TextIO

from aichat_cli.config.settings import Settings
from aichat_cli.core.errors import ConfigError
from aichat_cli.core.struct import Struct
from aichat_cli.render.diagnostics import wants_color

Background = Literal["ansi", "dark", "light"]
Role = Literal[
    "heading1", "heading2", "heading3", "heading", "strong", "emphasis", "strike", "code", "label", "link", "url",
    "quote", "marker", "rule", "border", "header", "math", "markup",
]  # fmt: skip

_ATTRIBUTES: Mapping[Role, str] = {
    "heading1": "1;4",
    "heading2": "1",
    "heading3": "1",
    "heading": "1;3",
    "strong": "1",
    "emphasis": "3",
    "strike": "9",
    "label": "2;3",
    "link": "4",
    "url": "2",
    "quote": "2",
    "rule": "2",
    "border": "2",
    "header": "1",
    "markup": "2",
}
_COLORS: Mapping[Background, Mapping[Role, str]] = {
    # The terminal's own palette, in the colours that palettes keep readable on black and on white.
    "ansi": {
        "heading1": "35", "heading2": "35", "heading3": "36", "heading": "36",
        "code": "36", "link": "34", "marker": "35", "math": "32",
    },
    "dark": {
        "heading1": "38;5;213", "heading2": "38;5;213", "heading3": "38;5;117", "heading": "38;5;117",
        "code": "38;5;115", "link": "38;5;111", "marker": "38;5;213", "math": "38;5;150",
    },
    "light": {
        "heading1": "38;5;90", "heading2": "38;5;90", "heading3": "38;5;24", "heading": "38;5;24",
        "code": "38;5;23", "link": "38;5;25", "marker": "38;5;90", "math": "38;5;22",
    },
}  # fmt: skip

_SHADES: Mapping[Background, tuple[str, ...]] = {
    "ansi": (),
    "dark": ("38;5;22", "38;5;28", "38;5;34", "38;5;46"),
    "light": ("38;5;151", "38;5;114", "38;5;34", "38;5;22"),
}

_LINKING_PROGRAMS = frozenset({"iTerm.app", "WezTerm", "vscode", "ghostty", "Hyper", "Tabby", "rio"})
_LINKING_TERMS = ("xterm-kitty", "xterm-ghostty", "alacritty", "foot", "wezterm", "contour")
_LINKING_VARIABLES = ("KITTY_WINDOW_ID", "WT_SESSION", "KONSOLE_VERSION", "WEZTERM_PANE", "ALACRITTY_WINDOW_ID")


class Theme(Struct, frozen=True):
    """How to draw.

    Attributes:
        background: what is behind the text; `ansi` where that is not known.
        is_colored: whether colours may be used.
        has_truecolor: whether the terminal takes 24-bit colours.
        hyperlinks: whether links are written as OSC 8, else their address follows the text.
        code_theme: the Pygments style for code; empty for the colours that fit the background.
    """

    background: Background = "ansi"
    is_colored: bool = True
    has_truecolor: bool = False
    hyperlinks: bool = False
    code_theme: str = ""

    def style(self, role: Role) -> str:
        """The SGR parameters of a role."""
        return _styles(self.background, self.is_colored)[role]

    @property
    def shades(self) -> tuple[str, ...]:
        """SGR parameters from little to much; none where the palette has too few colours, or none are wanted."""
        return _SHADES[self.background] if self.is_colored else ()


@lru_cache
def _styles(background: Background, is_colored: bool) -> Mapping[Role, str]:  # noqa: FBT001 (a key of the cache)
    colors = _COLORS[background] if is_colored else {}
    roles = {**_ATTRIBUTES, **_COLORS[background]}
    return {role: ";".join(filter(None, (_ATTRIBUTES.get(role), colors.get(role)))) for role in roles}


def theme_for(settings: Settings, stream: TextIO | None = None, environ: Mapping[str, str] = os.environ) -> Theme:
    """The theme for a terminal, which is stdout where no other stream is given.

    Raises:
        ConfigError: `code_theme` names no style.
    """
    chosen = settings.text("theme")
    background: Background = "dark" if chosen == "dark" else "light" if chosen == "light" else _background(environ)
    if background != "ansi" and "256color" not in environ.get("TERM", "") and not _has_truecolor(environ):
        background = "ansi"
    return Theme(
        background=background,
        is_colored=wants_color(stream or sys.stdout),
        has_truecolor=_has_truecolor(environ),
        hyperlinks=shows_hyperlinks(environ),
        code_theme=_known_style(settings.text("code_theme")),
    )


def _background(environ: Mapping[str, str]) -> Background:
    last = environ.get("COLORFGBG", "").rpartition(";")[2]
    if not last.isdecimal():
        return "ansi"
    return "light" if int(last) == 7 or 9 <= int(last) <= 15 else "dark"


def _has_truecolor(environ: Mapping[str, str]) -> bool:
    return environ.get("COLORTERM") in {"truecolor", "24bit"}


def shows_hyperlinks(environ: Mapping[str, str]) -> bool:
    """Whether the terminal is known to understand OSC 8. `FORCE_HYPERLINK` decides where it is set."""
    forced = environ.get("FORCE_HYPERLINK")
    if forced is not None:
        return forced not in {"", "0"}
    term, program = environ.get("TERM", ""), environ.get("TERM_PROGRAM", "")
    if term in {"", "dumb", "linux"}:
        return False
    version = [int(part) for part in re.findall(r"\d+", environ.get("TERM_PROGRAM_VERSION", ""))[:2]]
    if program == "tmux":
        return version >= [3, 4]
    vte = environ.get("VTE_VERSION", "")
    return (
        program in _LINKING_PROGRAMS
        or term.startswith(_LINKING_TERMS)
        or any(environ.get(name) for name in _LINKING_VARIABLES)
        or (vte.isdecimal() and int(vte) >= 5000)
    )


def reflows(environ: Mapping[str, str]) -> bool:
    """Whether the terminal wraps lines anew when it gets narrower; the others cut them off."""
    return not environ.get("TERM", "").startswith(("linux", "vt")) and "XTERM_VERSION" not in environ


def _known_style(name: str) -> str:
    if name:
        from pygments.styles import get_all_styles

        if name not in set(get_all_styles()):
            raise ConfigError(
                f'code_theme is "{name}", which is no Pygments style.',
                hint="Run: aichat config set code_theme monokai",
            )
    return name
