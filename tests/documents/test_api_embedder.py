"""Embedding through an API, from the name to the rows of usage, against a server on loopback."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aichat_cli import embedders
from aichat_cli.app import App
from aichat_cli.billing.estimates import Call
from aichat_cli.core.errors import (
    AichatError,
    EmbeddingError,
    KeyMissing,
    KeyRejected,
    ProviderUnavailable,
    RateLimited,
    UnknownModel,
)
from aichat_cli.core.ids import RequestId, new_id
from aichat_cli.core.models import Model
from aichat_cli.core.money import Price, Rates
from aichat_cli.core.secret import Secret
from aichat_cli.core.usage import UsageRecord
from aichat_cli.documents.embedding.api import ApiEmbedder, ApiModel
from aichat_cli.documents.embedding.calls import CallResult
from aichat_cli.documents.embedding.static import StaticEmbedder
from aichat_cli.providers.base import Timeouts
from aichat_cli.providers.retry import RetryPolicy
from tests.servers.script import embedding_of
from tests.servers.scripted import ScriptedServer

TEXTS = [f"text number {number}" for number in range(30)]
SMALL_PRICE = Price(Rates(20_000_000, 0))


def admitted(_: Call) -> RequestId:
    """Nothing is limited."""
    return RequestId(new_id())


THREE_TRIES = embedders.Access(
    Secret("sk-1", "test"),
    Timeouts(5, 5, 5),
    RetryPolicy(attempts=3, base_delay=0.01),
    admit=admitted,
    release=lambda _: None,
)


OPEN: list[ApiEmbedder] = []


@pytest.fixture(autouse=True)
def _closed_afterwards() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


def model_at(server: ScriptedServer, dimensions: int | None = 8) -> Model:
    return Model(
        "friendly",
        "m-1",
        "openai",
        "openai",
        server.openai_url,
        price=SMALL_PRICE,
        dimensions=dimensions,
        context_tokens=500,
    )


def embedder_of(
    server: ScriptedServer,
    rows: list[UsageRecord],
    access: embedders.Access = THREE_TRIES,
    dimensions: int | None = 8,
) -> ApiEmbedder:
    OPEN.append(embedders.api_embedder(model_at(server, dimensions), access, rows.append))
    return OPEN[-1]


def small_batches(server: ScriptedServer, rows: list[UsageRecord], texts: int = 2, tokens: int = 1000) -> ApiEmbedder:
    """The embedder of `embedder_of`, with calls of few texts."""
    known = ApiModel("friendly", 8, 500, texts, tokens)
    whole = embedder_of(server, rows)
    OPEN.append(ApiEmbedder(known, whole._connect, whole._count, rows.append))
    return OPEN[-1]


def test_rows_are_normalised_and_in_the_order_of_the_texts(server: ScriptedServer) -> None:
    server.script = {"first_byte_delay": 0.02}
    found = small_batches(server, []).embed(TEXTS)
    expected = np.array([embedding_of(text) for text in TEXTS], dtype=np.float32)
    assert np.allclose(found, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)
    assert len(server.requests) == 15
    assert 1 < server.connections <= 4


def test_calls_are_filled_by_tokens_and_by_texts(server: ScriptedServer) -> None:
    small_batches(server, [], texts=7).embed(TEXTS)
    small_batches(server, [], texts=100, tokens=20).embed(TEXTS)
    counts = [len(sent.body["input"]) for sent in server.requests]
    assert sorted(counts[:5]) == [2, 7, 7, 7, 7]
    assert set(counts[5:]) <= {4, 5}
    assert sum(counts[5:]) == 30


def test_blank_texts_are_not_sent_and_have_no_direction(server: ScriptedServer) -> None:
    found = embedder_of(server, []).embed(["", "word", " \n"])
    assert server.requests[0].body["input"] == ["word"]
    assert not found[0].any()
    assert np.isclose(np.linalg.norm(found[1]), 1)
    assert embedder_of(server, []).embed([]).shape == (0, 8)
    assert embedder_of(server, []).embed([" "]).shape == (1, 8)
    assert len(server.requests) == 1


def test_every_call_is_a_row_with_the_providers_numbers(server: ScriptedServer) -> None:
    rows: list[UsageRecord] = []
    small_batches(server, rows, texts=20).embed(TEXTS)
    assert [row.tokens.input_tokens for row in rows] == [60, 30] or [row.tokens.input_tokens for row in rows] == [
        30,
        60,
    ]
    assert sorted(row.cost_nano or 0 for row in rows) == [600, 1200]
    assert {(row.type, row.provenance, row.status, row.model) for row in rows} == {
        ("embedding", "calculated", "complete", "friendly")
    }
    assert len({row.request_id for row in rows}) == 2


def test_a_rate_limit_is_waited_for_and_costs_nothing(server: ScriptedServer) -> None:
    rows: list[UsageRecord] = []
    server.script = [{"status": 429, "headers": {"Retry-After": "0.2"}}, {"usage": {"input": 9}}]
    began = time.monotonic()
    embedder_of(server, rows).embed(["a b c"])
    assert time.monotonic() - began >= 0.2
    assert [row.tokens.input_tokens for row in rows] == [9]


def test_a_call_that_breaks_off_after_it_was_answered_is_in_the_books_and_tried_again(server: ScriptedServer) -> None:
    rows: list[UsageRecord] = []
    server.script = [{"cut_in_body": 50}, {"usage": {"input": 3}}]
    embedder_of(server, rows).embed(["one two three"])
    assert [(row.status, row.provenance, row.tokens.input_tokens) for row in rows] == [
        ("failed", "estimated", 3),
        ("complete", "calculated", 3),
    ]


def test_without_a_count_from_the_provider_ours_is_used(server: ScriptedServer) -> None:
    rows: list[UsageRecord] = []
    server.script = {"usage": None}
    embedder_of(server, rows).embed(["one two three"])
    assert [(row.provenance, row.tokens.input_tokens) for row in rows] == [("estimated", 3)]


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ({"status": 401}, KeyRejected),
        ({"status": 500}, ProviderUnavailable),
        ({"status": 429, "headers": {"Retry-After": "3600"}}, RateLimited),
        ({"embeddings": {"dimensions": 5}}, EmbeddingError),
        ({"embeddings": {"count": 1}}, EmbeddingError),
        ({"embeddings": {"count": 3}}, EmbeddingError),
    ],
    ids=str,
)
def test_a_failure_stops_what_was_not_sent_yet(
    server: ScriptedServer, script: dict[str, Any], error: type[AichatError]
) -> None:
    rows: list[UsageRecord] = []
    server.script = {"first_byte_delay": 0.02, **script}
    with pytest.raises(error):
        small_batches(server, rows).embed(TEXTS)
    assert len(server.requests) < 15
    assert len(rows) == (len(server.requests) if "embeddings" in script else 0)


def test_vectors_that_are_no_numbers_are_refused(server: ScriptedServer) -> None:
    server.script = {"body": {"data": [{"index": 0, "embedding": "AADAfwAAwH8AAMB/AADAfwAAwH8AAMB/AADAfwAAwH8="}]}}
    with pytest.raises(EmbeddingError, match="something else than numbers"):
        embedder_of(server, []).embed(["x"])


def test_a_text_longer_than_the_model_takes_is_not_sent(server: ScriptedServer) -> None:
    with pytest.raises(EmbeddingError, match="more than friendly takes, which is 500") as caught:
        embedder_of(server, []).embed(["fine", "word " * 600])
    assert caught.value.hint == "Use smaller chunks: aichat config set documents.chunk_tokens 250"
    assert server.requests == []


def test_unknown_dimensions_are_found_with_one_word(server: ScriptedServer) -> None:
    rows: list[UsageRecord] = []
    found = embedder_of(server, rows, dimensions=None)
    assert found.dimensions == 8
    assert found.dimensions == 8
    assert len(rows) == 1
    server.script = {"embeddings": {"dimensions": 9}}
    with pytest.raises(EmbeddingError, match="9 dimensions, not 8"):
        found.embed(["x"])


def test_after_a_failure_it_can_be_used_again(server: ScriptedServer) -> None:
    server.script = [{"status": 400}, {}]
    found = embedder_of(server, [])
    with pytest.raises(AichatError):
        found.embed(["x"])
    assert found.embed(["x"]).shape == (1, 8)


class _BrokenCall:
    def __call__(self, texts: object, *, is_query: bool, stop: threading.Event) -> CallResult:
        raise ZeroDivisionError

    def abandoned(self, texts: object) -> UsageRecord:
        raise AssertionError

    def close(self) -> None:
        pass


def test_a_fault_in_a_thread_is_raised_where_it_is_waited_for() -> None:
    broken = ApiEmbedder(ApiModel("x", 8, None, 1, 10), _BrokenCall, len, lambda _: None)
    with pytest.raises(ZeroDivisionError):
        broken.embed(["a", "b"])


INTERRUPTED = """
import sys, time
from aichat_cli import embedders
from aichat_cli.core.models import Model
from aichat_cli.providers.base import Timeouts
from aichat_cli.providers.retry import RetryPolicy

rows = []
model = Model("m", "m", "openai", "openai", sys.argv[1], dimensions=8)
access = embedders.Access(None, Timeouts(5, 100, 100), RetryPolicy(), lambda call: "request-1", lambda _: None)
try:
    embedders.api_embedder(model, access, rows.append).embed(["one two"])
except KeyboardInterrupt:
    print([(row.status, row.provenance, row.tokens.input_tokens) for row in rows])
"""


def test_ctrl_c_ends_at_once_and_what_was_sent_is_in_the_books(server: ScriptedServer) -> None:
    server.script = {"stall_after": -1}
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, server.openai_url], stdout=subprocess.PIPE, text=True
    )
    server.wait_for_requests(1)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=10)
    assert time.monotonic() - began < 2
    assert output == "[('stopped', 'estimated', 2)]\n"
    assert process.returncode == 0


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "OPENAI_API_KEY", "OPENAI_BASE_URL", "COHERE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    app = App()
    yield app
    app.close()


def test_our_own_model_needs_no_key_and_costs_nothing(app: App) -> None:
    for name in ("wordllama", "wordllama-256"):
        assert isinstance(app.documents.embedder(name), StaticEmbedder)
        assert app.documents.embedder(name).cost_nano(10**9) == 0


def test_a_model_behind_an_api_needs_its_key(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyMissing) as caught:
        app.documents.embedder("text-embedding-3-small")
    assert caught.value.hint == "Run: aichat keys set openai, or set OPENAI_API_KEY"
    with pytest.raises(UnknownModel, match="text-embedding-3-small"):
        app.documents.embedder("text-embeding-3-smal")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    found = app.documents.embedder("text-embedding-3-large")
    assert (found.name, found.dimensions, found.relevance) == ("text-embedding-3-large", 3072, 0.3)
    assert isinstance(app.documents.embedder("wordllama"), StaticEmbedder)


def test_prices_are_the_maps_and_unknown_where_it_has_none(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    monkeypatch.setenv("VOYAGE_API_KEY", "sk-1")
    assert app.documents.embedder("text-embedding-3-small").cost_nano(1_000_000) == 20_000_000
    assert app.documents.embedder("voyage/voyage-3-lite").cost_nano(1_000_000) == 20_000_000
    assert app.documents.embedder("openai/some-new-embedding").cost_nano(1_000_000) is None
    assert app.documents.embedder("ollama/nomic-embed-text").cost_nano(1_000_000) == 0


def test_usage_goes_to_the_database(app: App, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.openai_url)
    server.script = {"usage": {"input": 1000}, "embeddings": {"dimensions": 1536}}
    app.documents.embedder("text-embedding-3-small").embed(["hello"])
    [row] = app.database.rows("SELECT type, provider, model, input_tokens, cost_nano, status FROM usage")
    assert row == ("embedding", "openai", "text-embedding-3-small", 1000, 20_000, "complete")
