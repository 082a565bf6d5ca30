"""A thousand turns of every kind, through every wire: the books say what the provider counted, to the token."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from aichat_cli.billing.limits import Limits
from aichat_cli.chat.request import TurnDeps, TurnRequest
from aichat_cli.chat.turn import run
from aichat_cli.core.credits import NANO_PER_CREDIT, charge_nano
from aichat_cli.core.events import TextDelta
from aichat_cli.core.models import Model, Wire
from aichat_cli.core.money import Price, Rates, TokenUsage, cost_nano
from aichat_cli.core.secret import Secret
from aichat_cli.providers import tokens
from aichat_cli.providers.anthropic_wire import AnthropicWire
from aichat_cli.providers.base import Provider, Timeouts
from aichat_cli.providers.litellm_bridge import LiteLLMBridge
from aichat_cli.providers.openai_wire import OpenAIWire
from aichat_cli.providers.retry import RetryPolicy
from aichat_cli.storage import accounts, conversations, forks
from aichat_cli.storage.database import Database
from tests import blank
from tests.servers.script import Dialect
from tests.servers.scripted import RecordedRequest, ScriptedServer

pytestmark = [pytest.mark.xdist_group("litellm"), pytest.mark.no_cover]

PRICE = Price(Rates(2_500_000_000, 10_000_000_000, 1_250_000_000, 3_125_000_000, 12_000_000_000))
WORDS = ["one", " two", " three", " four", " five", " six", " Grüße", " 漢字", "!\n"]
TURNS: dict[tuple[Wire, Dialect], int] = {
    ("openai", "openai"): 400,
    ("anthropic", "anthropic"): 400,
    ("litellm", "openai"): 130,
    ("litellm", "anthropic"): 70,
}


@dataclass
class Meter:
    """What a provider would put on its bill."""

    calls: int = 0
    totals: Counter[str] = field(default_factory=Counter)
    costs: list[int] = field(default_factory=list)

    def add(self, counted: TokenUsage) -> None:
        self.calls += 1
        self.costs.append(cost_nano(counted, PRICE))
        for name in ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"):
            self.totals[name] += getattr(counted, name)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(blank.put(tmp_path / "aichat.db")) as opened:
        with opened.transaction():
            opened.execute("UPDATE profiles SET plan = 'enterprise'")
            accounts.add_entry(opened, "grant", "a test", 1_000_000 * NANO_PER_CREDIT)
        yield opened


@pytest.fixture
def deps(database: Database) -> Iterator[TurnDeps]:
    wires: dict[Wire, Provider] = {"openai": OpenAIWire(), "anthropic": AnthropicWire(), "litellm": LiteLLMBridge()}
    yield TurnDeps(
        transcript=database,
        provider_for=lambda asked: wires[asked.wire],
        key_for=lambda _: Secret("sk-test", "a test"),
        timeouts=Timeouts(connect=5, first_byte=5, idle=5),
        retry=RetryPolicy(attempts=2, base_delay=0),
        sleep=lambda _: None,
        limits=Limits(mode="credits"),
    )
    for wire in wires.values():
        wire.close()


class Turns:
    """Turns of one wire in one dialect, one after the other, in conversations that grow, fork and are asked again."""

    def __init__(self, wire: Wire, dialect: Dialect, server: ScriptedServer, deps: TurnDeps, meter: Meter) -> None:
        self._server = server
        self._deps = deps
        self._meter = meter
        self._dialect = dialect
        self._counts_early = dialect == "anthropic" and wire == "anthropic"
        self._chance = random.Random(f"{wire} {dialect}")
        name = f"{dialect}/model-a" if wire == "litellm" else "model-a"
        url = server.openai_url if dialect == "openai" else server.anthropic_url
        self._model = Model(
            "model-a", name, dialect, wire, url, "key", price=PRICE, context_tokens=100_000, max_output_tokens=1000
        )
        self._request = TurnRequest(self._model, "hello")

    def run(self, count: int) -> None:
        kinds: list[Callable[[], None]] = [
            self.complete,
            self.cached,
            self.interrupted,
            self.retried,
            self.forked,
            self.asked_again,
            self.failed,
            self.broken,
        ]
        for number in range(count):
            if number % 8 == 0:
                self._request = TurnRequest(self._model, f"question {number}")
                self.complete()
            else:
                self._chance.choice(kinds)()

    def complete(self, **usage: int) -> None:
        counted = {"input": self._chance.randint(5, 4000), "output": self._chance.randint(1, 900), **usage}
        self._meter.add(self._as_counted(counted))
        self._server.script = {"deltas": self._words(), "usage": counted}
        self._ask()

    def cached(self) -> None:
        cached = self._chance.randint(1, 2000)
        usage = {"input": cached + 2500, "cached": cached}
        usage |= (
            {"reasoning": 1, "output": 40}
            if self._dialect == "openai"
            else {"cache_write": self._chance.randint(0, 400)}
        )
        self.complete(**usage)

    def retried(self) -> None:
        counted = {"input": 50, "output": self._chance.randint(1, 90)}
        self._meter.add(self._as_counted(counted))
        self._server.script = [{"status": 500}, {"deltas": self._words(), "usage": counted}]
        self._ask()

    def failed(self) -> None:
        self._server.script = {"status": 400, "error": {"type": "invalid_request_error", "message": "no"}}
        self._ask()

    def forked(self) -> None:
        assert self._request.conversation_id is not None
        fork = conversations.get(
            self._deps.transcript, forks.fork(self._deps.transcript, self._request.conversation_id)
        )
        self._request = TurnRequest(self._model, "go on", conversation_id=fork.id, parent_id=fork.head_id)
        self.complete()

    def asked_again(self) -> None:
        assert self._request.conversation_id is not None
        [(question,)] = self._deps.transcript.rows(
            "SELECT id FROM messages WHERE conversation_id = ? AND role = 'user' ORDER BY seq DESC LIMIT 1",
            (self._request.conversation_id,),
        )
        self._request = TurnRequest(
            self._model, None, conversation_id=self._request.conversation_id, parent_id=question
        )
        self.complete()

    def interrupted(self) -> None:
        """The user stops after a word: the provider counts the prompt, and what it had written."""
        words = self._words()
        number = self._chance.randint(1, len(words))
        self._server.script = {
            "deltas": [*words, "never"],
            "stall_after": number,
            "usage": {"input": 77, "output": 9999},
        }
        with closing(run(self._request, self._deps)) as events:
            texts = 0
            for event in events:
                texts += isinstance(event, TextDelta)
                if texts == number:
                    break
        self._meter.add(self._counted_so_far("".join(words[:number])))
        self._server.release()
        self._go_on()

    def broken(self) -> None:
        """The provider breaks down in the middle."""
        words = self._words()
        error = {"type": "overloaded_error", "message": "broke down"}
        self._server.script = {"deltas": [*words, {"error": error}], "usage": {"input": 77, "output": 9999}}
        self._ask()
        self._meter.add(self._counted_so_far("".join(words)))

    def _ask(self) -> None:
        for _ in run(self._request, self._deps):
            pass
        self._go_on()

    def _go_on(self) -> None:
        [(conversation_id, head_id)] = self._deps.transcript.rows(
            "SELECT id, head_id FROM conversations ORDER BY updated_at DESC, seq DESC LIMIT 1"
        )
        self._request = TurnRequest(self._model, "and then?", conversation_id=conversation_id, parent_id=head_id)

    def _words(self) -> list[str]:
        return [self._chance.choice(WORDS) for _ in range(self._chance.randint(1, 6))]

    def _counted_so_far(self, text: str) -> TokenUsage:
        prompt = 77 if self._counts_early else self._prompt_tokens(self._server.requests[-1])
        return TokenUsage(prompt, tokens.count(text, self._model))

    def _prompt_tokens(self, request: RecordedRequest) -> int:
        """As OpenAI documents its count: four for each message and three for the answer."""
        system: Any = request.body.get("system")
        texts = [_text(message["content"]) for message in request.body["messages"]] + ([system] if system else [])
        return 3 + sum(4 + tokens.count(text, self._model) for text in texts)

    def _as_counted(self, usage: dict[str, int]) -> TokenUsage:
        return TokenUsage(
            usage["input"],
            usage["output"],
            usage.get("cached", 0),
            usage.get("cache_write", 0),
            usage.get("reasoning", 0),
        )


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def test_the_books_say_what_the_provider_counted(database: Database, deps: TurnDeps, server: ScriptedServer) -> None:
    meter = Meter()
    for (wire, dialect), count in TURNS.items():
        Turns(wire, dialect, server, deps, meter).run(count)
    names = list(meter.totals)
    [(calls, *totals)] = database.rows(f"SELECT count(*), {', '.join(f'sum({name})' for name in names)} FROM usage")
    assert calls == meter.calls
    assert dict(zip(names, totals, strict=True)) == dict(meter.totals)
    assert [row[0] for row in database.rows("SELECT cost_nano FROM usage ORDER BY rowid")] == meter.costs
    assert accounts.account(database).balance_nano == 1_000_100 * NANO_PER_CREDIT - sum(map(charge_nano, meter.costs))
    assert database.rows("SELECT count(*) FROM credit_holds") == [(0,)]
    assert database.rows("SELECT count(*) FROM rate_events") == [(sum(TURNS.values()),)]
