"""A mail as text: who wrote to whom, when and about what, and what it says. Attachments are named, not opened."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.errors import MessageError
from email.message import EmailMessage

from aichat_cli.core.documents import LoadedDocument
from aichat_cli.core.errors import DocumentError
from aichat_cli.documents.loading.html import html
from aichat_cli.documents.loading.text import decoded, normalised

_HEADERS = ("Subject", "From", "To", "Cc", "Date")
_HEADER_CHARS = 1000
_MOST_PARTS = 1000


def mail(content: bytes, media_type: str) -> LoadedDocument:
    """The mail's text, its subject as title.

    Raises:
        DocumentError: it is no mail, or a damaged one.
    """
    try:
        message = message_from_bytes(content, policy=policy.default)
        lines = [f"{name}: {value}" for name in _HEADERS if (value := _header(message, name))]
        texts, attachments = _texts(message)
    except (MessageError, LookupError, ValueError, AttributeError, TypeError, IndexError, RecursionError) as exc:
        raise DocumentError("It is damaged: no mail that can be read.") from exc
    if not lines:
        raise DocumentError("It is damaged: no mail that can be read.")
    text = normalised("\n\n".join(("\n".join(lines), *texts)) + "\n")
    title = normalised(_header(message, "Subject"))[:200] or None
    notes = (f"Its attachments are not read: {', '.join(attachments[:5])}.",) if attachments else ()
    return LoadedDocument(text, media_type, "prose", title, notes=notes)


def _header(message: EmailMessage, name: str) -> str:
    return " ".join(str(message.get(name, "")).split())[:_HEADER_CHARS]


def _texts(message: EmailMessage) -> tuple[list[str], list[str]]:
    """What its parts say, plain rather than as a page where they come as both; and the names of its attachments."""
    plain, pages, attachments = [], [], []
    for count, part in enumerate(message.walk()):
        if count >= _MOST_PARTS:
            break
        kind = part.get_content_type()
        if part.is_multipart():
            continue
        if part.get_filename() or kind not in {"text/plain", "text/html"}:
            attachments.append(normalised(str(part.get_filename() or kind)))
            continue
        payload = part.get_payload(decode=True)
        if not isinstance(payload, bytes):
            continue
        charset = part.get_content_charset()
        if kind == "text/html":
            pages.append(html(payload, kind, charset).text.strip())
        else:
            plain.append(decoded(payload, charset).text.strip())
    return [text for text in plain or pages if text], attachments
