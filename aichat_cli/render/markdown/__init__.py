"""Markdown for a terminal, rendered while it arrives."""

from aichat_cli.render.markdown.stream import MarkdownStream, render
from aichat_cli.render.theme import Theme, theme_for

__all__ = ["MarkdownStream", "Theme", "render", "theme_for"]
