"""What leaves as JSON comes back as it was; Markdown is readable; a page is whole, safe and needs nothing."""

from __future__ import annotations

import json
import re
import stat
from base64 import b64decode, b64encode
from collections.abc import Iterator
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.chat.importing import import_archives
from aichat_cli.core.archive import ArchivedConversation, ArchivedFile, ArchivedMessage, ImportSummary
from aichat_cli.core.documents import DocumentId, Source
from aichat_cli.core.errors import ArchiveError
from aichat_cli.core.ids import ConversationId, MessageId, id_at
from aichat_cli.core.messages import Attachment, Conversation, Role
from aichat_cli.render.export import format_of, render_export, write_export
from aichat_cli.storage import conversations, exports, imports
from aichat_cli.storage.database import Database
from aichat_cli.storage.sources import extra_of
from tests import archives
from tests.storage.support import said

AT = "2026-11-25T02:00:00.000Z"


@pytest.fixture
def db() -> Iterator[Database]:
    with Database.in_memory() as database:
        yield database


def attached(name: str, content: bytes, media_type: str = "image/png") -> ArchivedFile:
    return ArchivedFile(name, lambda: Attachment(name, media_type, content))


def stored(
    db: Database, *messages: tuple[int, int | None, Role, str], head: int | None = None, **fields: Any
) -> Conversation:
    """A conversation of (number, parent, role, text); fields of the last message, and `title`, may be given."""
    title = fields.pop("title", "A talk")
    made = [
        ArchivedMessage(
            MessageId(id_at(number, number)),
            None if parent is None else MessageId(id_at(parent, parent)),
            role,
            text,
            AT,
        )
        for number, parent, role, text in messages
    ]
    if fields and made:
        last = made.pop()
        made.append(ArchivedMessage(last.id, last.parent_id, last.role, last.content, AT, **fields))
    tip = made[-1].id if head is None else MessageId(id_at(head, head))
    identifier = ConversationId(id_at(len(title) + 1, abs(hash((title, messages)))))
    archived = ArchivedConversation(identifier, title, "be <b>brief</b>", "gpt-4o", tip, AT, AT, tuple(made))
    assert imports.merge(db, [archived], source="test").new == 1
    return conversations.get(db, identifier)


def exported(db: Database, export_format: Any, *listed: Conversation) -> str:
    return "".join(render_export(db, listed or conversations.listing(db, limit=None), export_format))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TREES = st.lists(
    st.tuples(
        st.integers(0, 100), st.sampled_from(["user", "assistant", "system", "tool"]), TEXTS, TEXTS,
        st.sampled_from(["complete", "stopped", "failed"]), st.none() | TEXTS,
        st.none() | st.dictionaries(TEXTS, TEXTS, max_size=2), st.lists(st.binary(max_size=20), max_size=2),
    ),
    min_size=1, max_size=8,
)  # fmt: skip


@given(st.lists(TREES, min_size=1, max_size=3), st.data())
def test_an_export_imported_into_an_empty_database_gives_equal_trees(trees: list[Any], data: Any) -> None:
    with Database.in_memory() as source, Database.in_memory() as target:
        for number, tree in enumerate(trees):
            made: list[ArchivedMessage] = []
            for place, (above, role, text, reasoning, status, error, extra, files) in enumerate(tree):
                parent = made[above % len(made)].id if made and above % 7 else None
                held = tuple(attached(f"file {n}.bin", content) for n, content in enumerate(files))
                extra_json = None if extra is None else json.dumps(extra, ensure_ascii=False)
                identifier = MessageId(id_at(number + 1, place))
                made.append(ArchivedMessage(
                    identifier, parent, role, text, AT, reasoning, status, error, error, error, extra_json, held))  # fmt: skip
            head = data.draw(st.sampled_from([None, *(message.id for message in made)]))
            talk = ConversationId(id_at(number + 1000, number))
            archived = ArchivedConversation(talk, f"t{number}", None, "m", head, AT, AT, tuple(made))
            assert imports.merge(source, [archived], source="x").new == 1
        document = exported(source, "json")
        summary = ImportSummary()
        import_text(target, document, summary)
        assert (summary.new, summary.failures) == (len(trees), [])
        for talk_here in conversations.listing(source, limit=None):
            assert exports.read(target, talk_here.id) == exports.read(source, talk_here.id)
        again = ImportSummary()
        import_text(target, document, again)
        assert (again.unchanged, again.messages_new) == (len(trees), 0)


def import_text(db: Database, document: str, summary: ImportSummary) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder) / "export.json"
        path.write_text(document, "utf-8")
        import_archives(db, [path], summary)


def test_cost_is_in_the_json_for_reading_and_an_import_adds_nothing_to_the_books(db: Database) -> None:
    said(db, cost_nano=1_500)
    document = json.loads(exported(db, "json"))
    assert (document["format"], document["version"]) == ("aichat", 1)
    (question, answer) = document["conversations"][0]["messages"]
    assert (answer["input_tokens"], answer["output_tokens"], answer["cost_usd"]) == (10, 5, 0.0000015)
    assert question["cost_usd"] is None
    with Database.in_memory() as other:
        import_text(other, json.dumps(document), ImportSummary())
        assert conversations.count(other) == 1
        assert other.rows("SELECT count(*) FROM usage") == [(0,)]


def test_markdown_is_the_branch_in_use_with_what_was_said_unchanged(db: Database) -> None:
    code = "# not a heading of ours\n\n```python\nx = '<&>'\n```"
    talk = stored(db, (1, None, "user", "q"), (2, 1, "assistant", "unused"), (3, 1, "assistant", code), title="A *star*",
                  model="gpt-4o", reasoning="why\nso", error="cut", files=(attached("a_b.png", b"x" * 2048),))  # fmt: skip
    text = exported(db, "markdown", talk)
    assert text.startswith("# A \\*star\\*\n\n- Begun: 2026-11-25 02:00 UTC\n- Model: gpt-4o\n")
    assert "- Messages of other branches, not shown: 1\n" in text
    assert "## You (2026-11-25 02:00 UTC)\n\nq\n" in text
    assert f"> Reasoning:\n>\n> why\n> so\n\n{code}\n\n*cut*\n\n*Attached: a\\_b.png (2.0 kB)*\n" in text
    assert "unused" not in text


def test_sources_of_an_answer_are_in_every_export_and_come_back(db: Database) -> None:
    source = Source(2, DocumentId("d"), "a<b>.md", "/a", "Keys *", 12, None, 0, 5, is_cited=True, digest="00")
    extra = extra_of([source])
    conversation = stored(db, (1, None, "user", "keys?"), (2, 1, "assistant", "In the safe [2]."), extra=extra)

    assert "- \\[2\\] a\\<b\\>.md:12 Keys \\*\n" in exported(db, "markdown", conversation)
    assert '<p class="file">[2] a&lt;b&gt;.md:12  Keys *</p>' in exported(db, "html", conversation)
    assert (
        json.loads(extra or "")
        == json.loads(exported(db, "json", conversation))["conversations"][0]["messages"][1]["extra"]
    )
    assert exports.read(db, conversation.id).messages[1].message.sources == (source,)


@pytest.mark.parametrize(
    "extra", ['{"tool_calls": [{"name": "<b>", "input": {"q": "*"}}]}', "[1]", '{"tool_calls": 3}']
)
def test_what_an_answer_called_is_told(db: Database, extra: str) -> None:
    stored(db, (1, None, "assistant", ""), extra=extra)
    is_told = "<b>" in extra
    assert ('*Called:* \\<b\\>({"q": "\\*"})\n' in exported(db, "markdown")) == is_told
    assert ('Called: <b>({"q": "*"})' in page_of(exported(db, "html")).text) == is_told


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, and the text outside of style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        assert len(attrs) == len(dict(attrs)), f"an attribute twice in {tag}"
        if tag not in ("meta", "br", "hr", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ("meta", "br", "hr", "img"), f"a browser does not close {tag} here"
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)


ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "main", "header", "nav", "article", "h1", "h2", "h3", "h4", "h5",
    "h6", "p", "a", "ol", "ul", "li", "pre", "code", "span", "div", "em", "strong", "s", "blockquote", "table", "thead",
    "tbody", "tr", "th", "td", "hr", "br", "details", "summary", "figure", "figcaption", "img", "small", "time",
}  # fmt: skip
ATTRIBUTES = {
    "class", "id", "href", "rel", "src", "alt", "datetime", "lang", "charset", "name", "content", "http-equiv", "start",
    "title",
}  # fmt: skip


def page_of(text: str) -> Page:
    """A page that holds nothing a page may not hold."""
    page = Page(text)
    assert page.open == []
    for tag, attributes in page.elements:
        assert tag in ALLOWED
        assert set(attributes) <= ATTRIBUTES
        if tag == "a":
            assert re.match(r"#c-[0-9a-f-]+$|(?i:https?://|mailto:)", attributes["href"] or "")
            assert (attributes["href"] or "").startswith("#") or attributes.get("rel") == "noopener noreferrer"
        if tag == "img":
            assert re.match(r"data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+$", attributes["src"] or "")
    return page


HOSTILE = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[a](javascript:alert(1))", "[a](JaVaScRiPt:alert(1))",
    "[a](data:text/html,x)", "[a](vbscript:x)", "[a](//evil.example)", "[a](file:///etc/passwd)", "<javascript:alert(1)>",
    "![x](https://evil.example/pixel.png)", "![x](javascript:alert(1))", "![x](data:image/svg+xml;base64,PHN2Zz4=)",
    '[a](https://x.example/" onclick="alert(1))', '[a](https://x.example "t" onmouseover="x")', "<a href='javascript:x'>y</a>",
    "</article></main><script>1</script>", "<style>body{display:none}</style>", "</style><script>1</script>",
    '```html" onload="x\n</code></pre><script>1</script>\n```', "```python\n'''</pre><script>1\n```", "`</code><b>`",
    "&lt;script&gt;1&lt;/script&gt;", "[a]: javascript:alert(1)\n\n[a]", "<!-- <script> -->", "<svg onload=alert(1)>",
    "|<b>|x|\n|:-:|-|\n|<script>1</script>|![](//e)|", "<iframe srcdoc='<script>1</script>'>", "\x1b]8;;https://e\x07x", "\u202ex",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>", "<base href=//evil.example>", "<form action=//e>",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_inert_wherever_it_stands(db: Database, text: str) -> None:
    files = (
        attached(text, archives.PNG),
        attached("x.svg", text.encode(), "image/svg+xml"),
        attached("y.png", b"GIF8x"),
    )
    stored(db, (1, None, "user", text), (2, 1, "system", text), (3, 1, "tool", text), (4, 3, "assistant", text),
           title=text, model=text, reasoning=text, error=text, files=files)  # fmt: skip
    stored(db, (21, None, "user", "x"), title=text + "!")
    page = page_of(exported(db, "html"))
    assert [tag for tag, _ in page.elements].count("img") == 1
    assert "\x1b" not in page.text
    assert "\u202e" not in page.text


@given(
    st.lists(
        st.sampled_from([*HOSTILE, "*", "`", "\n", "> ", "- ", "|", "[", "](", ")", "<", '"', " ", "a"]), max_size=12
    )
)
def test_hostile_pieces_put_together_are_inert(pieces: list[str]) -> None:
    with Database.in_memory() as db:
        stored(db, (1, None, "user", "".join(pieces)), (2, 1, "assistant", "".join(pieces)))
        page_of(exported(db, "html"))


def test_the_policy_of_a_page_forbids_all_but_its_own_style(db: Database) -> None:
    stored(db, (1, None, "user", "hi"))
    text = exported(db, "html")
    page = Page(text)
    style = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert len(style) == 1
    digest = b64encode(sha256(style[0].encode()).digest()).decode()
    policies = [each["content"] for tag, each in page.elements if each.get("http-equiv") == "Content-Security-Policy"]
    assert policies == [
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    ]
    assert "url(" not in style[0]
    assert "@import" not in style[0]
    assert "prefers-color-scheme: dark" in style[0]
    assert "@media print" in style[0]


def test_markdown_code_tables_and_images_are_shown_in_a_page(db: Database) -> None:
    answer = "**bold** [x](https://x.example)\n\n```python\ndef f(): ...\n```\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n"
    stored(
        db,
        (1, None, "user", "*as typed*\n  <b>"),
        (2, 1, "assistant", answer),
        files=(attached("p.png", archives.PNG),),
    )
    page = page_of(exported(db, "html"))
    tags = [tag for tag, _ in page.elements]
    assert {"strong", "table", "pre", "img"} <= set(tags)
    assert ("td", {"class": "right"}) in page.elements
    assert ("span", {"class": "k"}) in page.elements
    assert "*as typed*\n  <b>" in page.text
    (source,) = [each["src"] for tag, each in page.elements if tag == "img"]
    assert b64decode((source or "").partition(",")[2]) == archives.PNG


def test_every_branch_is_in_a_page_and_the_one_in_use_is_open(db: Database) -> None:
    stored(db, (1, None, "user", "root"), (2, 1, "assistant", "used"), (3, 1, "assistant", "other"), (4, 3, "user", "deep"),
           (5, 3, "user", "deeper"), (6, 2, "user", "tip"), (7, None, "user", "second root"), head=6)  # fmt: skip
    page = page_of(exported(db, "html"))
    order = [text for text in ("root", "used", "other", "deep", "deeper", "tip", "second root") if text in page.texts]
    assert len(order) == 7
    summaries = [text for text in page.texts if text.startswith("Another branch")]
    assert summaries == [
        "Another branch, 1 message: second root", "Another branch, 3 messages: other", "Another branch, 1 message: deep",
    ]  # fmt: skip


def test_several_conversations_have_a_table_of_contents(db: Database) -> None:
    talks = [stored(db, (n, None, "user", "x"), title=f"Talk {n}") for n in (1, 2)]
    page = page_of(exported(db, "html", *talks))
    assert [each["href"] for tag, each in page.elements if tag == "a"] == [f"#c-{talk.id}" for talk in talks]
    assert [each["id"] for tag, each in page.elements if tag == "main"] == [f"c-{talk.id}" for talk in talks]


def test_a_file_is_private_whole_and_not_written_over(db: Database, tmp_path: Path) -> None:
    talk = stored(db, (1, None, "user", "x"))
    path = tmp_path / "talk.html"
    assert write_export(db, [talk], path) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text("utf-8").startswith("<!DOCTYPE html>")
    with pytest.raises(ArchiveError, match="is there already"):
        write_export(db, [talk], path)
    write_export(db, [talk], path, "json", overwrite=True)
    assert json.loads(path.read_text("utf-8"))["format"] == "aichat"
    with pytest.raises(ArchiveError, match="Cannot write"):
        write_export(db, [talk], tmp_path / "nowhere" / "x.md")
    conversations.delete(db, talk.id)
    with pytest.raises(Exception, match="There is no conversation"):
        write_export(db, [talk], tmp_path / "gone.md")
    assert [each.name for each in tmp_path.iterdir()] == ["talk.html"]


def test_a_folder_gets_a_file_for_each_conversation(db: Database, tmp_path: Path) -> None:
    talks = [
        stored(db, (n, None, "user", "x"), title=title)
        for n, title in ((1, "../../etc/passwd"), (2, "Ünï 日本 \x1b[2J"))
    ]
    written = write_export(db, talks, tmp_path, "json")
    assert [path.parent for path in written] == [tmp_path, tmp_path]
    assert [path.name.rpartition("-")[0] for path in written] == ["2026-11-25-etc-passwd", "2026-11-25-ünï-日本"]


def test_the_format_follows_the_suffix() -> None:
    named = {name: format_of(Path(name)) for name in ("a.json", "a.HTML", "a.htm", "a.md", "a")}
    assert list(named.values()) == ["json", "html", "html", "markdown", "markdown"]
    assert format_of(None) == "markdown"
    with pytest.raises(ArchiveError, match=r"There is no export to \.pdf files"):
        format_of(Path("a.pdf"))
