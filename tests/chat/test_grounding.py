"""Turns that answer from documents: what is looked up, sent, shown and stored, and what happens when that fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.chat.request import TurnDeps, TurnRequest
from aichat_cli.chat.turn import run
from aichat_cli.core.documents import DocumentId, Hit, Passage, SearchResult, Source, digest_of
from aichat_cli.core.errors import EmbeddingError
from aichat_cli.core.events import Citation, Failed, Notice, Retrieved, Settled, Started, TextDelta, TurnEvent
from aichat_cli.core.models import Model
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import replace
from aichat_cli.providers.base import Timeouts
from aichat_cli.providers.openai_wire import OpenAIWire
from aichat_cli.providers.retry import RetryPolicy
from aichat_cli.storage import messages, sources
from aichat_cli.storage.database import Database
from tests import blank
from tests.servers.scripted import ScriptedServer


def hit(number: int, text: str) -> Hit:
    """A passage of `ops.md` that says this and was found by its words."""
    passage = Passage(
        number, DocumentId(f"d{number}"), "ops.md", "/notes/ops.md", None, "Keys", 0, len(text), number, None, text
    )
    return Hit(passage, 1.0, similarity=0.8, terms=("keys",))


class Documents:
    """Documents in which every question finds the same, and the questions that were asked."""

    def __init__(self, *hits: Hit) -> None:
        self.hits = hits
        self.asked: list[tuple[str, str]] = []

    def retrieve(self, collection: str, question: str) -> SearchResult:
        """What `TurnDeps.retrieve` is."""
        self.asked.append((collection, question))
        return SearchResult(self.hits)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(blank.put(tmp_path / "aichat.db")) as opened:
        yield opened


@pytest.fixture
def model(server: ScriptedServer) -> Model:
    return Model("model-a", "model-a", "openai", "openai", server.openai_url, "openai", context_tokens=1000)


@pytest.fixture
def documents() -> Documents:
    return Documents(hit(1, "Keys are rotated every ninety days.\n"), hit(2, "Keys are kept in the safe.\n"))


@pytest.fixture
def deps(database: Database, documents: Documents) -> Iterator[TurnDeps]:
    wire = OpenAIWire()
    yield TurnDeps(
        transcript=database,
        provider_for=lambda _: wire,
        key_for=lambda _: Secret("sk-test", "a test"),
        timeouts=Timeouts(connect=5, first_byte=5, idle=5),
        retry=RetryPolicy(attempts=1, base_delay=0),
        retrieve=documents.retrieve,
    )
    wire.close()


def shown(events: list[TurnEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def answer_of(database: Database, events: list[TurnEvent]) -> tuple[str, tuple[Source, ...]]:
    """What is stored of an answer."""
    [started] = [event for event in events if isinstance(event, Started)]
    assert started.message_id is not None
    message = messages.branch(database, started.message_id)[-1]
    return message.content, message.sources


def test_passages_stand_before_the_question_and_the_stored_message_is_what_was_typed(
    database: Database, deps: TurnDeps, model: Model, server: ScriptedServer, documents: Documents
) -> None:
    server.script = {"text": "Every ninety days[1], in the safe [2, 9].【7】", "split": 1}
    events = list(run(TurnRequest(model, "piped in\n\nkeys?", question="keys?", docs="work"), deps))

    assert documents.asked == [("work", "keys?")]
    sent = server.requests[0].body["messages"][-1]["content"]
    assert '<passage number="2" source="ops.md:2" heading="Keys">\nKeys are kept in the safe.\n</passage>' in sent
    assert sent.endswith("</passage>\n\npiped in\n\nkeys?")
    assert database.rows("SELECT content FROM messages WHERE role = 'user'") == [("piped in\n\nkeys?",)]
    assert shown(events) == "Every ninety days[1], in the safe [2]."
    content, kept = answer_of(database, events)
    assert content == shown(events)
    assert [(each.number, each.place, each.is_cited) for each in kept] == [(1, "ops.md:1", True), (2, "ops.md:2", True)]
    assert kept[0].digest == digest_of("Keys are rotated every ninety days.\n")
    [found] = [event for event in events if isinstance(event, Retrieved)]
    assert [event.number for event in events if isinstance(event, Citation)] == [1, 2]
    assert [event.passage for event in events if isinstance(event, Citation)] == list(found.passages)


def test_a_citation_that_is_held_back_when_the_connection_dies_is_kept_and_counted(
    database: Database, deps: TurnDeps, model: Model, server: ScriptedServer
) -> None:
    server.script = {"deltas": ["In the safe ", "[2]", {"error": {"message": "broken"}}]}
    events = list(run(TurnRequest(model, "keys?", docs="work"), deps))

    assert isinstance(events[-2], Failed)
    content, kept = answer_of(database, events)
    assert shown(events) == content == "In the safe [2]"
    assert [each.number for each in kept if each.is_cited] == [2]
    assert [event.number for event in events if isinstance(event, Citation)] == [2]


def test_a_search_that_fails_refuses_the_turn_before_anything_is_stored_or_sent(
    database: Database, deps: TurnDeps, model: Model, server: ScriptedServer
) -> None:
    def fail(collection: str, question: str) -> SearchResult:
        raise EmbeddingError(f"{collection} has another model for {question}.")

    with pytest.raises(EmbeddingError):
        list(run(TurnRequest(model, "keys?", docs="work"), replace(deps, retrieve=fail)))

    assert server.requests == []
    assert database.rows("SELECT count(*) FROM messages") == [(0,)]


def test_nothing_relevant_is_said_to_the_user_and_to_the_model_and_no_number_comes_out(
    database: Database, deps: TurnDeps, model: Model, server: ScriptedServer, documents: Documents
) -> None:
    documents.hits = ()
    server.script = {"text": "It says so [1]."}
    events = list(run(TurnRequest(model, "keys?", docs="work"), deps))

    assert 'Nothing relevant was found in "work"' in next(each.text for each in events if isinstance(each, Notice))
    assert "hold nothing relevant" in server.requests[0].body["messages"][-1]["content"]
    assert (shown(events), answer_of(database, events)[1]) == ("It says so.", ())


def test_a_question_that_goes_on_is_looked_up_with_the_one_before_it_and_a_retry_as_it_was(
    deps: TurnDeps, model: Model, documents: Documents
) -> None:
    first = list(run(TurnRequest(model, "Who rotates the keys of the safe?", docs="work"), deps))
    [started] = [event for event in first if isinstance(event, Started)]
    conversation, parent = started.conversation_id, started.message_id
    again = TurnRequest(model, "and why?", conversation_id=conversation, parent_id=parent, docs="work")
    list(run(again, deps))
    question = messages.branch(deps.transcript, parent)[0].id if parent else None
    list(run(replace(again, prompt=None, parent_id=question), deps))

    assert [asked for _, asked in documents.asked] == [
        "Who rotates the keys of the safe?",
        "Who rotates the keys of the safe?\nand why?",
        "Who rotates the keys of the safe?",
    ]


def test_passages_the_window_has_no_room_for_are_named_and_not_sent(
    deps: TurnDeps, model: Model, server: ScriptedServer, documents: Documents
) -> None:
    documents.hits = tuple(hit(number, f"word{number} " * 240) for number in (1, 2, 3))
    events = list(run(TurnRequest(model, "keys?", docs="work"), deps))

    assert isinstance(events[-1], Settled)
    notices = [event.text for event in events if isinstance(event, Notice)]
    assert notices == ["Passages that do not fit in the window of model-a: ops.md:2, ops.md:3."]
    assert "word2" not in server.requests[0].body["messages"][-1]["content"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
SOURCE = Source(1, DocumentId("d"), "ops.md", "/ops.md", "Keys", 1, None, 0, 5, is_cited=True, digest="00")


@given(st.sampled_from([*Source.__struct_fields__, "more"]), JSON)
def test_sources_that_are_not_as_we_write_them_are_left_out(name: str, value: object) -> None:
    written = sources.extra_of([SOURCE])
    assert written is not None
    [fields] = json.loads(written)["passages"]
    assert sources.parsed(json.dumps([fields])) == (SOURCE,)
    for source in sources.parsed(json.dumps([{**fields, name: value}, value])):
        assert f"{source.place} {source.heading} {source.path}".startswith(source.document)
        assert source.start + source.end + source.number >= 0
