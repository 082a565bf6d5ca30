"""Which sink an answer goes to, by what stdout is and what was asked for."""

from __future__ import annotations

import os
import sys

from aichat_cli.config.settings import Settings
from aichat_cli.core.errors import NotFound
from aichat_cli.core.struct import replace
from aichat_cli.render.answer import AnswerSink, PipeSink, TerminalSink
from aichat_cli.render.diagnostics import Diagnostics
from aichat_cli.render.theme import Theme, theme_for


def answer_sink(
    settings: Settings, diagnostics: Diagnostics, *, markdown: bool | None = None, pager: bool = False
) -> AnswerSink:
    """The sink for an answer. `markdown` and `pager` are the flags; None and False leave it to the settings.

    Raises:
        ConfigError: the theme cannot be used.
    """
    if not sys.stdout.isatty():
        return PipeSink()
    theme = answer_theme(settings, markdown=markdown)
    if (pager or settings.flag("pager")) and not _is_dumb():
        from aichat_cli.render.pager import PagerSink

        try:
            return PagerSink(replace(theme, hyperlinks=False) if theme else None)
        except NotFound as error:
            diagnostics.notice(f"{error.message} {error.hint}.")
    if theme is None:
        return TerminalSink()
    from aichat_cli.render.live import LiveSink

    return LiveSink(sys.stdout.buffer, theme)


def answer_theme(settings: Settings, *, markdown: bool | None = None) -> Theme | None:
    """How Markdown is drawn on stdout; None where it is shown as it is written."""
    is_wanted = settings.flag("markdown") if markdown is None else markdown
    return theme_for(settings) if is_wanted and sys.stdout.isatty() and not _is_dumb() else None


def _is_dumb() -> bool:
    return os.environ.get("TERM") == "dumb"
