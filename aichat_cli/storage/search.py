"""Full-text search over what was said and what conversations are called.

Ranking by bm25 reads every occurrence of every word in the whole index, which for common words takes seconds in a
large history; so the newest matches are the candidates, and only words rarer than `RARE` rank them. Where all words
are common, newer comes first. Rows are picked out of one walk over the matches (`+rowid`): a lookup by row id would
begin the query, and bm25's reading, anew for each.
"""

from __future__ import annotations

import re
import unicodedata

from aichat_cli.core.ids import ConversationId, MessageId
from aichat_cli.core.messages import Role
from aichat_cli.core.struct import Struct
from aichat_cli.storage.database import Database

CANDIDATES = 1000
RARE = 5000
MOST_TERMS = 16
SHORTEST_STEM = 3
SNIPPET_TOKENS = 24

_TERM = re.compile(r'"([^"]*)"?|([^\s"]+)')


class SearchHit(Struct, frozen=True):
    """One message that matches, or one conversation by its title: then `message_id` and `role` are None."""

    conversation_id: ConversationId
    message_id: MessageId | None
    title: str
    role: Role | None
    snippet: str
    created_at: str


def search(
    db: Database,
    query: str,
    *,
    limit: int | None,
    mark_open: str = "",
    mark_close: str = "",
    titles: bool = True,
) -> list[SearchHit]:
    """The messages that hold all words of a query, and "quoted phrases" as they stand, the best first.

    Conversations found only by their title come before them, unless `titles` is False. Where nothing holds the last word, messages
    with a word that starts like it are found. Any text is a valid query.

    At most `limit` are returned, all where it is None. `mark_open` and `mark_close` are put around the words found,
    in the snippets.
    """
    terms = _terms(query)
    if not terms or limit == 0:
        return []
    marks = (mark_open, mark_close)
    found = _hits(db, terms, limit, marks, titles=titles)
    if not found and terms[-1].isalnum() and len(terms[-1]) >= SHORTEST_STEM:
        return _hits(db, terms, limit, marks, titles=titles, is_prefix=True)
    return found


def _hits(
    db: Database, terms: list[str], limit: int | None, marks: tuple[str, str], *, titles: bool, is_prefix: bool = False
) -> list[SearchHit]:
    expression = " AND ".join(map(_quoted, terms)) + ("*" if is_prefix else "")
    rare = [_quoted(term) for term in terms if _is_rare(db, _quoted(term))]
    if rare:
        in_messages = _message_hits(db, expression, _best(db, rare, expression, limit), marks)
    else:
        in_messages = _newest_hits(db, expression, limit, marks)
    if not titles:
        return in_messages
    seen = {hit.conversation_id for hit in in_messages}
    in_titles = [hit for hit in _title_hits(db, expression, limit, marks) if hit.conversation_id not in seen]
    return (in_titles + in_messages)[:limit]


def _terms(query: str) -> list[str]:
    """The words and quoted phrases of a query; what holds no letter and no digit is no term."""
    pieces = [match[1] or match[2] or "" for match in _TERM.finditer(query.replace("\0", " "))]
    return [piece for piece in pieces if any(unicodedata.category(c)[0] in "LN" for c in piece)][:MOST_TERMS]


def _quoted(term: str) -> str:
    return f'"{term}"'


def _best(db: Database, rare: list[str], expression: str, limit: int | None) -> list[int]:
    """The rows of the best matches, the best first; `rare` words rank them."""
    wanted = -1 if limit is None else max(limit, CANDIDATES)
    rows = db.rows(
        "SELECT rowid FROM messages_fts WHERE messages_fts MATCH ? ORDER BY rowid DESC LIMIT ?", (expression, wanted)
    )
    newest = [row[0] for row in rows]
    if len(newest) < 2:
        return newest[:limit]
    ranked = db.rows(
        "SELECT rowid FROM messages_fts WHERE messages_fts MATCH ? AND rowid BETWEEN ? AND ?"
        " AND +rowid IN (SELECT value FROM json_each(?)) ORDER BY bm25(messages_fts), rowid DESC",
        (" AND ".join(rare), newest[-1], newest[0], str(newest)),
    )
    return [row[0] for row in ranked][:limit]


def _is_rare(db: Database, term: str) -> bool:
    row = db.row(
        "SELECT count(*) FROM (SELECT 1 FROM messages_fts WHERE messages_fts MATCH ? LIMIT ?)", (term, RARE + 1)
    )
    return row is not None and 0 < row[0] <= RARE


def _newest_hits(db: Database, expression: str, limit: int | None, marks: tuple[str, str]) -> list[SearchHit]:
    """The newest matches, in one walk: what begins like a short word is costly to look up twice."""
    rows = db.rows(
        "SELECT m.conversation_id, m.id, c.title, m.role, snippet(messages_fts, 0, ?, ?, '…', ?), m.created_at"
        " FROM messages_fts CROSS JOIN messages m ON m.seq = messages_fts.rowid"
        " CROSS JOIN conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL"
        " WHERE messages_fts MATCH ? ORDER BY messages_fts.rowid DESC LIMIT ?",
        (*marks, SNIPPET_TOKENS, expression, -1 if limit is None else limit),
    )
    return [SearchHit(*row) for row in rows]


def _message_hits(db: Database, expression: str, seqs: list[int], marks: tuple[str, str]) -> list[SearchHit]:
    rows = db.rows(
        "SELECT m.seq, m.conversation_id, m.id, c.title, m.role, snippet(messages_fts, 0, ?, ?, '…', ?), m.created_at"
        " FROM messages_fts JOIN messages m ON m.seq = messages_fts.rowid"
        " JOIN conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL"
        " WHERE messages_fts MATCH ? AND messages_fts.rowid BETWEEN ? AND ?"
        " AND +messages_fts.rowid IN (SELECT value FROM json_each(?))",
        (*marks, SNIPPET_TOKENS, expression, min(seqs, default=0), max(seqs, default=0), str(seqs)),
    )
    by_seq = {row[0]: SearchHit(*row[1:]) for row in rows}
    return [by_seq[seq] for seq in seqs if seq in by_seq]


def _title_hits(db: Database, expression: str, limit: int | None, marks: tuple[str, str]) -> list[SearchHit]:
    rows = db.rows(
        "SELECT c.id, c.title, snippet(titles_fts, 0, ?, ?, '…', ?), c.created_at"
        " FROM titles_fts JOIN conversations c ON c.seq = titles_fts.rowid"
        " WHERE titles_fts MATCH ? AND c.deleted_at IS NULL ORDER BY titles_fts.rowid DESC LIMIT ?",
        (*marks, SNIPPET_TOKENS, expression, -1 if limit is None else limit),
    )
    return [SearchHit(row[0], None, row[1], None, row[2], row[3]) for row in rows]
