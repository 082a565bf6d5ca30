"""One table: which function reads which format. Runs in this process and in the worker's alike."""

from __future__ import annotations

from aichat_cli.core.documents import LoadedDocument
from aichat_cli.core.errors import DocumentError
from aichat_cli.documents.loading import plugged
from aichat_cli.documents.loading.data import json_text, table, xml_text
from aichat_cli.documents.loading.formats import Format
from aichat_cli.documents.loading.html import declared_charset, html
from aichat_cli.documents.loading.mail import mail
from aichat_cli.documents.loading.markdown import code, markdown
from aichat_cli.documents.loading.notebook import notebook
from aichat_cli.documents.loading.office import office
from aichat_cli.documents.loading.pdf import pdf
from aichat_cli.documents.loading.text import Decoded, decoded

MEMORY_REASON = "It needs more memory than reading a file may take."

_OF_TEXT = {
    "markdown": markdown,
    "code": code,
    "table": table,
    "json": json_text,
    "xml": xml_text,
    "notebook": notebook,
}


def read(content: bytes, kind: Format, charset: str | None = None) -> LoadedDocument:
    """Read a document of a known format.

    Args:
        charset: what its server said its encoding is.

    Raises:
        DocumentError: it cannot be read.
    """
    try:
        if kind.reader == "pdf":
            return pdf(content, kind.media_type)
        if kind.reader == "office":
            return office(content, kind.media_type)
        if kind.reader == "plugin":
            return plugged.load(kind.plugin, content)
        if kind.reader == "html":
            return html(content, kind.media_type, charset)
        if kind.reader == "mail":
            return mail(content, kind.media_type)
        if kind.reader == "xml":
            charset = charset or declared_charset(content)
        source = decoded(content, charset)
        return _OF_TEXT.get(kind.reader, _plain)(source, kind.media_type)
    except MemoryError as exc:
        raise DocumentError(MEMORY_REASON) from exc


def _plain(source: Decoded, media_type: str) -> LoadedDocument:
    return LoadedDocument(source.text, media_type, "prose", notes=source.notes)
