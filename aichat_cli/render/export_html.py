"""Conversations as one HTML page that needs nothing from outside and runs nothing.

Everything that was said is hostile here: it is escaped, or goes through Markdown without HTML. Links go only to http,
https and mailto; images are shown only where they are attached and their bytes are those of a raster image; and the
page's own policy forbids all else: no script, no request, no style but the one whose hash it names.
"""

from __future__ import annotations

from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterator, Sequence
from hashlib import sha256
from html import escape

from aichat_cli.core.export import ExportedConversation, ExportedMessage
from aichat_cli.core.media import RASTER_IMAGES, sniffed_type
from aichat_cli.core.messages import Attachment, Conversation
from aichat_cli.core.money import usd_text
from aichat_cli.render.export_markdown import Read, branch_of, calls_of, speaker, stored_time
from aichat_cli.render.export_style import style_sheet
from aichat_cli.render.html_markdown import HtmlMarkdown
from aichat_cli.render.sanitize import safe_line, safe_text
from aichat_cli.render.sources_view import stored_lines
from aichat_cli.render.tables import size_text

_SUMMARY_LENGTH = 70


def page(listed: Sequence[Conversation], read: Read) -> Iterator[str]:
    """The page, in pieces; with several conversations a table of contents comes first."""
    style = style_sheet()
    digest = b64encode(sha256(style.encode()).digest()).decode("ascii")
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    title = listed[0].title if len(listed) == 1 else f"{len(listed)} conversations"
    yield (
        '<!DOCTYPE html>\n<html lang="">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<meta name="color-scheme" content="light dark">\n'
        f'<meta name="generator" content="aichat">\n<title>{_line(title)}</title>\n<style>{style}</style>\n'
        "</head>\n<body>\n"
    )
    if len(listed) > 1:
        yield f"<header><h1>{_line(title)}</h1></header>\n<nav><ol>\n"
        for conversation in listed:
            day = f'<time datetime="{escape(conversation.created_at)}">{escape(conversation.created_at[:10])}</time>'
            yield f'<li><a href="#c-{escape(conversation.id)}">{_line(conversation.title)}</a> {day}</li>\n'
        yield "</ol></nav>\n"
    markdown = HtmlMarkdown()
    for conversation in listed:
        yield from _conversation(read(conversation), markdown)
    yield "</body>\n</html>\n"


def _conversation(exported: ExportedConversation, markdown: HtmlMarkdown) -> Iterator[str]:
    conversation = exported.conversation
    told = [stored_time(conversation.created_at)]
    if conversation.model:
        told.append(conversation.model)
    costs = [each.message.cost_nano for each in exported.messages if each.message.cost_nano is not None]
    if costs:
        told.append(usd_text(sum(costs)))
    yield f'<main id="c-{escape(conversation.id)}">\n<h1>{_line(conversation.title)}</h1>\n'
    yield f'<p class="meta">{_line(" · ".join(told))}</p>\n'
    if conversation.system_prompt:
        text = escape(safe_text(conversation.system_prompt))
        yield f'<details class="system"><summary>System prompt</summary><pre>{text}</pre></details>\n'
    yield from _tree(exported, markdown)
    yield "</main>\n"


def _tree(exported: ExportedConversation, markdown: HtmlMarkdown) -> Iterator[str]:
    """The branch in use, open; where others leave it, each of them folded below the message it is beside."""
    children: dict[str | None, list[ExportedMessage]] = defaultdict(list)
    for each in exported.messages:
        children[each.message.parent_id].append(each)
    size = _sizes(exported)
    in_use = {each.message.id for each in branch_of(exported)}
    stack: list[str | list[ExportedMessage]] = [children[None]]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            yield item
            continue
        if not item:
            continue
        shown = next((each for each in item if each.message.id in in_use), item[-1])
        yield _article(shown, markdown)
        stack.append(children[shown.message.id])
        for other in reversed([each for each in item if each is not shown]):
            stack += ["</details>\n", [*children[other.message.id]], _article(other, markdown), _fold(other, size)]


def _sizes(exported: ExportedConversation) -> dict[str, int]:
    """How many messages there are from each one on. Parents come before their children."""
    size: dict[str, int] = {each.message.id: 1 for each in exported.messages}
    for each in reversed(exported.messages):
        if each.message.parent_id in size:
            size[each.message.parent_id] += size[each.message.id]
    return size


def _fold(first: ExportedMessage, size: dict[str, int]) -> str:
    count = size[first.message.id]
    words = safe_line(first.message.content)[:_SUMMARY_LENGTH] or speaker(first)
    return (
        f'<details class="branch"><summary>Another branch, {count} message{"s" if count > 1 else ""}: '
        f"{escape(words)}</summary>\n"
    )


def _article(exported: ExportedMessage, markdown: HtmlMarkdown) -> str:
    message = exported.message
    told = f'<time datetime="{escape(message.created_at)}">{escape(stored_time(message.created_at))}</time>'
    if message.status != "complete":
        told += f" · {escape(message.status)}"
    if message.cost_nano is not None:
        told += f" · {escape(usd_text(message.cost_nano))}"
    pieces = [
        f'<article class="{escape(message.role)}">\n<h2>{_line(speaker(exported))} <small>{told}</small></h2>\n',
        *map(_attachment, exported.attachments),
    ]
    if message.reasoning.strip():
        body = markdown.html(message.reasoning)
        pieces.append(f'<details class="reasoning"><summary>Reasoning</summary>\n{body}</details>\n')
    if message.role == "user":
        pieces.append(f'<div class="said">{escape(safe_text(message.content))}</div>\n' if message.content else "")
    else:
        pieces.append(markdown.html(message.content))
    pieces.extend(f'<p class="file">Called: <code>{_line(call)}</code></p>\n' for call in calls_of(exported))
    pieces.extend(f'<p class="file">{escape(line)}</p>\n' for line in stored_lines(message.sources))
    if message.error:
        pieces.append(f'<p class="error">{_line(message.error)}</p>\n')
    return "".join([*pieces, "</article>\n"])


def _attachment(attachment: Attachment) -> str:
    name = f"{_line(attachment.name)} ({escape(size_text(len(attachment.content)))})"
    media_type = sniffed_type(attachment.content)
    if media_type not in RASTER_IMAGES:
        return f'<p class="file">Attached: {name}</p>\n'
    data = b64encode(attachment.content).decode("ascii")
    return (
        f'<figure><img src="data:{media_type};base64,{data}" alt="{_line(attachment.name)}">'
        f"<figcaption>{name}</figcaption></figure>\n"
    )


def _line(text: str) -> str:
    return escape(safe_line(text))
