"""A loopback double of LangSmith's ingestion, spoken to by its own SDK as by the program.

    with LangSmithDouble() as langsmith:
        langsmith.traces        # {trace id: [its runs, parents first]}
        langsmith.refuses       # a function of a run: those it is true of make their request a 400

It takes `POST /runs/batch` (JSON) and `POST /runs/multipart` and is as strict as LangSmith is about what makes a trace: ids,
`dotted_order`, parents, times. A run that is there already makes the answer 409, "payloads already received". What becomes of the
others in the request LangSmith does not say; here none of them is taken.
"""

from __future__ import annotations

import email
import email.policy
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from tests.servers.scripted import RecordedRequest
from tests.servers.service import Reply, Service

KEY = "lsv2_pt_0f8e6c1d4b7a4e29_5a3c9f1e7b"
WORKSPACE = "8c2f3b1e-6a74-4d0e-9b51-2f7c3d9e8a10"

Run = dict[str, Any]

_SEGMENT = re.compile(r"(\d{8}T\d{6}\d{6}Z)([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_RUN_TYPES = {"tool", "chain", "llm", "retriever", "embedding", "prompt", "parser"}
_FIELDS = {
    "id", "trace_id", "parent_run_id", "dotted_order", "name", "run_type", "start_time", "end_time", "session_name",
    "session_id", "inputs", "outputs", "error", "extra", "events", "tags", "serialized", "reference_example_id",
    "dangerously_allow_filesystem",
}  # fmt: skip
_USAGE = {
    "input_tokens", "output_tokens", "total_tokens", "input_token_details", "output_token_details", "input_cost",
    "output_cost", "total_cost", "input_cost_details", "output_cost_details",
}  # fmt: skip
_INFO = {
    "version": "0.13.4",
    "batch_ingest_config": {
        "use_multipart_endpoint": True,
        "scale_up_qsize_trigger": 1000,
        "scale_up_nthreads_limit": 16,
        "scale_down_nempty_trigger": 4,
        "size_limit": 100,
        "size_limit_bytes": 20_971_520,
    },
}


class _Invalid(Exception):
    """What a request is refused for."""


class LangSmithDouble(Service):
    """One workspace. `wants_workspace` makes its key one of an organisation, which has to name the workspace."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: dict[str, Run] = {}
        self.repeated = 0
        self.wants_workspace = False
        self.refuses: Callable[[Run], bool] = lambda _: False

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        self.runs.clear()
        self.repeated = 0
        self.wants_workspace = False
        self.refuses = lambda _: False

    @property
    def traces(self) -> dict[str, list[Run]]:
        """The runs of each trace, as LangSmith orders them."""
        found: dict[str, list[Run]] = {}
        for run in sorted(self.runs.values(), key=lambda run: str(run["dotted_order"])):
            found.setdefault(run["trace_id"], []).append(run)
        return found

    def trace(self) -> list[Run]:
        """The runs of the only trace there is."""
        [runs] = self.traces.values()
        return runs

    def reply(self, request: RecordedRequest) -> Reply:  # noqa: PLR0911 (a line for each URL)
        """What LangSmith answers."""
        path = request.path.split("?")[0]
        if (request.method, path) == ("GET", "/info"):
            return Reply(200, _INFO)
        if request.headers.get("x-api-key") != KEY:
            return Reply(401, {"detail": "Invalid token"})
        if self.wants_workspace and request.headers.get("x-tenant-id") != WORKSPACE:
            return Reply(403, {"error": "org_scoped_key_requires_workspace"})
        match (request.method, path):
            case ("GET", "/sessions"):
                return Reply(200, [{"id": WORKSPACE, "name": "default", "tenant_id": WORKSPACE}])
            case ("POST", "/runs/batch"):
                return self._ingest(lambda: _of_batch(request))
            case ("POST", "/runs/multipart"):
                return self._ingest(lambda: _of_multipart(request))
        return Reply(404, {"detail": "Not Found"})

    def _ingest(self, read: Callable[[], list[Run]]) -> Reply:
        try:
            runs = read()
            for run in runs:
                _check(run, {**self.runs, **{str(each["id"]): each for each in runs}})
                if self.refuses(run):
                    raise _Invalid("this run is refused")
        except _Invalid as refusal:
            return Reply(400, {"detail": str(refusal)})
        known = [run for run in runs if run["id"] in self.runs]
        self.repeated += len(known)
        if known:
            return Reply(409, {"error": "Conflict: payload already received: payloads already received"})
        self.runs |= {run["id"]: run for run in runs}
        return Reply(202, {"message": "Runs batch ingested"})


def _of_batch(request: RecordedRequest) -> list[Run]:
    _demand(request.headers.get("content-type") == "application/json", "content-type")
    body = request.body
    _demand(body.keys() <= {"post", "patch"} and not body.get("patch"), "only new runs are understood here")
    return list(body["post"])


def _of_multipart(request: RecordedRequest) -> list[Run]:
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + request.raw_body, policy=email.policy.HTTP)
    runs: dict[str, Run] = {}
    for part in message.iter_parts():
        operation, run_id, *field = str(part.get_param("name", header="content-disposition")).split(".")
        _demand(operation == "post", "only new runs are understood here")
        _demand(part.get_content_type() == "application/json", "parts are JSON")
        data = part.get_payload(decode=True)
        assert isinstance(data, bytes)
        _demand(part["content-length"] == str(len(data)), "content-length of a part")
        value = json.loads(data)
        runs.setdefault(run_id, {}).update({field[0]: value} if field else value)
    return list(runs.values())


def _check(run: Run, known: Mapping[str, Run]) -> None:
    """Whether LangSmith would take a run."""
    _demand(run.keys() <= _FIELDS, f"unknown fields: {run.keys() - _FIELDS}")
    _demand(run.get("run_type") in _RUN_TYPES and bool(run.get("name")), "run_type and name")
    _demand(bool(run.get("session_name")), "session_name")
    for name in ("id", "trace_id"):
        _demand(str(UUID(run[name])) == run[name], name)
    segments = list(_segments(run["dotted_order"]))
    _demand(segments[0][1] == run["trace_id"], "the first part of dotted_order is the trace's")
    _demand(segments[-1][1] == run["id"], "the last part of dotted_order is the run's")
    _demand(segments[-1][0] == _time(run["start_time"]), "the last part of dotted_order begins with start_time")
    _demand(segments == sorted(segments, key=lambda segment: segment[0]), "a run begins after its parent")
    parent = run.get("parent_run_id")
    if parent is None:
        _demand(len(segments) == 1, "dotted_order must contain a single part for root runs")
    else:
        _demand(
            segments[-2][1] == parent and parent in known, "parent_run_id is the part before the last, and is there"
        )
        above = known[parent]
        _demand(run["dotted_order"].startswith(above["dotted_order"] + "."), "dotted_order begins with the parent's")
        _demand(run["session_name"] == above["session_name"], "a trace is in one project")
    _demand(_time(run["end_time"]) >= _time(run["start_time"]), "a run ends after it begins")
    for name, kind in (("inputs", dict), ("outputs", dict), ("extra", dict), ("events", list), ("tags", list)):
        _demand(isinstance(run.get(name, kind()), kind), name)
    _demand(run.get("error") is None or isinstance(run["error"], str), "error")
    usage = run.get("extra", {}).get("metadata", {}).get("usage_metadata", {})
    _demand(usage.keys() <= _USAGE, "usage_metadata")
    if usage:
        _demand(usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"], "total_tokens")


def _segments(dotted_order: str) -> Iterator[tuple[datetime, str]]:
    for part in dotted_order.split("."):
        found = _SEGMENT.fullmatch(part)
        if found is None:
            raise _Invalid(f"dotted_order: {part}")
        yield datetime.strptime(found[1], "%Y%m%dT%H%M%S%fZ").replace(tzinfo=UTC), found[2]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _demand(is_so: bool, what: str) -> None:
    if not is_so:
        raise _Invalid(what)
