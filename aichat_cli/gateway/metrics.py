"""What the gateway counts, in Prometheus' text format. Everything happens in the event loop's thread."""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from aichat_cli.core.money import TokenUsage
from aichat_cli.core.struct import Struct, field

if TYPE_CHECKING:
    from aichat_cli.gateway.teller import Told

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Upper bounds of the histograms."""


class Histogram(Struct):
    """How often something took how long."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.total += seconds

    def lines(self, name: str, labels: str = "") -> Iterator[str]:
        """Its buckets, sum and count."""
        told = 0
        for bound, count in zip((*SECONDS, None), self.counts, strict=True):
            told += count
            limit = f'le="{"+Inf" if bound is None else bound}"'
            yield f"{name}_bucket{{{labels}{',' if labels else ''}{limit}}} {told}"
        suffix = f"{{{labels}}}" if labels else ""
        yield f"{name}_sum{suffix} {self.total:.6f}"
        yield f"{name}_count{suffix} {told}"


class Metrics:
    """The counters of one process. Labels are routes, statuses, and the names of models that are served: few."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self.took: dict[str, Histogram] = {}
        self.first_bytes = Histogram()
        self.calls_under_way = 0
        self.tokens: Counter[tuple[str, str]] = Counter()
        self.charged_nano: Counter[str] = Counter()
        self.cost_nano: Counter[str] = Counter()
        self.upstream_errors: Counter[tuple[str, str]] = Counter()

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self.requests[route, method, status] += 1
        taken = self.took.get(route)
        if taken is None:
            taken = self.took[route] = Histogram()
        taken.add(seconds)

    def began(self) -> None:
        """A call of a model was admitted."""
        self.calls_under_way += 1

    def first_byte(self, seconds: float) -> None:
        """The first byte of an answer is sent, so long after the request."""
        self.first_bytes.add(seconds)

    def failed(self, provider: str, code: str) -> None:
        """A provider failed, for good."""
        self.upstream_errors[provider, code] += 1

    def ended(self, model: str, tokens: TokenUsage | None, cost_nano: int, charged_nano: int) -> None:
        """A call was settled."""
        self.calls_under_way -= 1
        if tokens is not None:
            self.tokens[model, "input"] += tokens.input_tokens
            self.tokens[model, "cached"] += tokens.cached_tokens
            self.tokens[model, "output"] += tokens.output_tokens
            self.cost_nano[model] += cost_nano
            self.charged_nano[model] += charged_nano

    def text(self, *, desk_waiting: int, log_dropped: int, told: Sequence[Told]) -> str:
        """All of it, as Prometheus reads it."""
        lines: list[str] = []
        lines += _family("aichat_requests_total", "counter", "Requests answered.", self._requests())
        lines += _head("aichat_request_seconds", "histogram", "How long a request took, to the end of its answer.")
        for route, taken in sorted(self.took.items()):
            lines += taken.lines("aichat_request_seconds", f'route="{_escaped(route)}"')
        lines += _head("aichat_first_byte_seconds", "histogram", "How long a model took to begin its answer.")
        lines += self.first_bytes.lines("aichat_first_byte_seconds")
        lines += _family(
            "aichat_calls_under_way", "gauge", "Calls of models that have not ended.", [("", self.calls_under_way)]
        )
        lines += _family("aichat_refusals_total", "counter", "Requests refused, by reason.", self._refusals())
        lines += _family("aichat_tokens_total", "counter", "Tokens of calls that have ended.", self._tokens())
        credits_ = ((f'model="{_escaped(name)}"', nano / 1e7) for name, nano in sorted(self.charged_nano.items()))
        lines += _family("aichat_credits_charged_total", "counter", "Credits charged for calls.", credits_)
        dollars = ((f'model="{_escaped(name)}"', nano / 1e9) for name, nano in sorted(self.cost_nano.items()))
        lines += _family(
            "aichat_cost_dollars_total", "counter", "What calls cost the operator, by list price.", dollars
        )
        lines += _family("aichat_upstream_errors_total", "counter", "Failures of providers.", self._upstream())
        lines += _family(
            "aichat_desk_waiting", "gauge", "Questions to the accounts that nobody has taken yet.", [("", desk_waiting)]
        )
        lines += _family(
            "aichat_log_dropped_total", "counter", "Lines of the log that could not be written.", [("", log_dropped)]
        )
        lines += _family("aichat_deliveries_total", "counter", "What integrations were told of calls.", _told(told))
        waiting = ((f'integration="{_escaped(each.name)}"', each.waiting) for each in told)
        lines += _family("aichat_deliveries_waiting", "gauge", "What integrations have still to be told.", waiting)
        lines += _family("process_resident_memory_bytes", "gauge", "Memory in use.", [("", _memory())])
        lines += _family("aichat_uptime_seconds", "gauge", "Since the start.", [("", time.monotonic() - self._began)])
        return "\n".join(lines) + "\n"

    def _requests(self) -> Iterator[tuple[str, float]]:
        for (route, method, status), count in sorted(self.requests.items()):
            yield f'route="{_escaped(route)}",method="{_escaped(method)}",status="{status}"', count

    def _refusals(self) -> Iterator[tuple[str, float]]:
        refused: Counter[int] = Counter()
        for (_, _, status), count in self.requests.items():
            if status in _REASONS:
                refused[status] += count
        for status, reason in _REASONS.items():
            yield f'reason="{reason}"', refused[status]

    def _tokens(self) -> Iterator[tuple[str, float]]:
        for (model, kind), count in sorted(self.tokens.items()):
            yield f'model="{_escaped(model)}",kind="{kind}"', count

    def _upstream(self) -> Iterator[tuple[str, float]]:
        for (provider, code), count in sorted(self.upstream_errors.items()):
            yield f'provider="{_escaped(provider)}",error="{_escaped(code)}"', count


_REASONS = {401: "key", 402: "credits", 403: "forbidden", 429: "window"}


def _told(told: Iterable[Told]) -> Iterator[tuple[str, float]]:
    for each in told:
        outcomes = {"delivered": each.delivered, "failed": each.failed, "dropped": each.dropped}
        for outcome, count in outcomes.items():
            yield f'integration="{_escaped(each.name)}",outcome="{outcome}"', count


def _head(name: str, kind: str, help_text: str) -> list[str]:
    return [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]


def _family(name: str, kind: str, help_text: str, samples: Iterable[tuple[str, float]]) -> list[str]:
    lines = _head(name, kind, help_text)
    for labels, value in samples:
        shown = str(value) if isinstance(value, int) else f"{value:.9g}"
        lines.append(f"{name}{{{labels}}} {shown}" if labels else f"{name} {shown}")
    return lines


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _memory() -> int:
    """What this process holds in memory, in bytes; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
