"""Documents, chunks and search results as the whole house knows them."""

from __future__ import annotations

from typing import Literal, NewType

from aichat_cli.core.struct import Struct, field

CollectionSeq = NewType("CollectionSeq", int)
DocumentId = NewType("DocumentId", str)


class Heading(Struct, frozen=True):
    """A heading of a document: the character its line begins at, its level from 1, and its text."""

    start: int
    level: int
    text: str


TextKind = Literal["prose", "markdown", "code", "table"]
"""How a text is best split: at paragraphs and sentences, also at Markdown's blocks, at lines and blank lines, at rows."""


class LoadedDocument(Struct, frozen=True):
    r"""What a loader makes of a file or page. Every offset counts characters of `text`, which is what is stored.

    Attributes:
        text: valid text with `\n` line ends and without NUL; empty where there is none to find.
        media_type: what it was, such as `application/pdf`.
        headings: in the order of their starts.
        pages: the start of each page, where the source has pages.
        notes: what the user should know, such as a page that holds only an image.
    """

    text: str
    media_type: str
    kind: TextKind = "prose"
    title: str | None = None
    headings: tuple[Heading, ...] = ()
    pages: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


class Chunk(Struct, frozen=True):
    """A piece of a document, `text[start:end]`.

    Attributes:
        heading: the path of headings above it, such as `Install > From source`; empty where there are none.
        line: the line of its first character, from 1.
        page: the page of its first character, from 1, where the document has pages.
        tokens: of its text, by the tokenizer it was split with.
    """

    start: int
    end: int
    heading: str
    line: int
    page: int | None
    tokens: int


class Collection(Struct, frozen=True):
    """A set of documents that are searched together.

    `embedding_model` and `dimensions` are None where it is searched by its words alone. `searched_in` is where its vectors are
    searched: local, hosted, pinecone, or the name of another package's store.
    """

    seq: CollectionSeq
    id: str
    name: str
    embedding_model: str | None
    dimensions: int | None
    document_count: int
    chunk_count: int
    updated_at: str
    searched_in: str = "local"


class Document(Struct, frozen=True):
    """A stored document. `name` is what it is called in listings and citations, `path` where it came from."""

    seq: int
    id: DocumentId
    collection: str
    name: str
    path: str
    root: str | None
    title: str | None
    media_type: str
    size: int
    modified_ns: int | None
    etag: str | None
    sha256: bytes
    settings: str
    chunk_count: int
    embedding_model: str | None
    updated_at: str


def place_of(document: str, line: int, page: int | None) -> str:
    """A place in a document, as `aichat docs show` takes it: `notes.md:12`, or `report.pdf p.3` where it has pages."""
    return f"{document} p.{page}" if page is not None else f"{document}:{line}"


class Passage(Struct, frozen=True):
    """A stored chunk with its place, as search finds it and a citation names it."""

    chunk_seq: int
    document_id: DocumentId
    document: str
    path: str
    title: str | None
    heading: str
    start: int
    end: int
    line: int
    page: int | None
    text: str

    @property
    def place(self) -> str:
        """Where it is, in one word: `notes.md:12` or `report.pdf p.3`."""
        return place_of(self.document, self.line, self.page)


def digest_of(text: str) -> str:
    """What tells the text of a passage from any other: half of its SHA-256, in hexadecimal."""
    from hashlib import sha256

    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class Source(Struct, frozen=True):
    """A passage that an answer was given, as it is kept with the answer: its place outlives the document.

    `digest` tells whether the document still says the same at that place, as `digest_of` makes it of a text.
    """

    number: int
    document_id: DocumentId
    document: str
    path: str
    heading: str
    line: int
    page: int | None
    start: int
    end: int
    is_cited: bool
    digest: str = ""

    @property
    def place(self) -> str:
        """As `Passage.place`."""
        return place_of(self.document, self.line, self.page)


class Hit(Struct, frozen=True):
    """One result of a search, best first.

    Attributes:
        score: what it is ranked by, higher is better; comparable within one search only.
        similarity: the cosine of its vector with the query's, None where it has none.
        text_rank, vector_rank, rerank_rank: its places in the rankings that were fused, from 1, None where it is not
            in one.
        terms: words of the query that it holds.
    """

    passage: Passage
    score: float
    similarity: float | None = None
    text_rank: int | None = None
    vector_rank: int | None = None
    rerank_rank: int | None = None
    terms: tuple[str, ...] = ()


class SearchResult(Struct, frozen=True):
    """What a search found.

    Attributes:
        hits: best first; empty where nothing is relevant enough.
        considered: how many chunks were candidates.
        best_similarity: the best hit's cosine, None where there are no vectors.
        threshold: what it had to reach, where that was given.
        models: which models took part, such as `wordllama-256` and `all-MiniLM-L6-v2`.
        notices: what the user should know, such as that meaning was not compared.
    """

    hits: tuple[Hit, ...]
    considered: int = 0
    best_similarity: float | None = None
    threshold: float | None = None
    models: tuple[str, ...] = ()
    notices: tuple[str, ...] = field(default=())
