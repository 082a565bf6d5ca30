"""A loopback double of Pinecone, as its official client 10 speaks to it: REST and JSON, API version 2026-07.

    with PineconeDouble() as pinecone:
        Pinecone(pinecone.key, host=pinecone.url)       # the control plane
        pinecone.faults[3] = "rate_limit"               # what becomes of the fourth request
        pinecone.vectors("aichat-8")                    # {namespace: {id: values}}

Each index is served at a port of its own, which its description names without a scheme, as Pinecone Local does. Its limits
are those of Pinecone. Writes are seen after `delay` seconds.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

KEY = "pcsk_4Tq8vN_9mWz2RkLbXyD7sHfGcPjE5aUoQ1iVt6"
VERSION = "2026-07"
MOST_BYTES = 2_097_152

Fault = Literal["hang", "cut", "garbage", "rate_limit", "error"]


class _Refused(Exception):
    """An error answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"code": str(status), "message": message}, "status": status}


@dataclass(slots=True)
class Request:
    """One request as it arrived."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes


@dataclass
class _Namespace:
    vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    late: list[tuple[float, str, NDArray[np.float32] | None]] = field(default_factory=list)
    matrix: NDArray[np.float32] | None = None

    def write(self, id_: str, values: NDArray[np.float32] | None, at: float) -> None:
        self.late.append((at, id_, values))

    def catch_up(self, now: float) -> None:
        """Show what is due."""
        if not self.late or self.late[0][0] > now:
            return
        due = [each for each in self.late if each[0] <= now]
        self.late = self.late[len(due) :]
        for _, id_, values in due:
            if values is None:
                self.vectors.pop(id_, None)
            else:
                self.vectors[id_] = values
        self.matrix = None

    def nearest(self, query: NDArray[np.float32], limit: int) -> list[tuple[str, float]]:
        if not self.vectors:
            return []
        if self.matrix is None:
            rows = np.stack(list(self.vectors.values()))
            self.matrix = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        scores = self.matrix @ (query / np.linalg.norm(query))
        best = np.argsort(-scores, kind="stable")[:limit]
        ids = list(self.vectors)
        return [(ids[place], float(scores[place])) for place in best]


@dataclass
class _Index:
    name: str
    dimension: int
    metric: str
    deployment: dict[str, Any]
    server: ThreadingHTTPServer
    namespaces: dict[str, _Namespace] = field(default_factory=dict)

    def described(self, *, is_ready: bool) -> dict[str, Any]:
        return {
            "name": self.name,
            "host": f"127.0.0.1:{self.server.server_address[1]}",
            "deletion_protection": "disabled",
            "deployment": self.deployment,
            "schema": {
                "fields": {"_values": {"type": "dense_vector", "dimension": self.dimension, "metric": self.metric}}
            },
            "read_capacity": {"mode": "OnDemand", "status": {"state": "Ready"}},
            "status": {"ready": is_ready, "state": "Ready" if is_ready else "Initializing"},
            "tags": None,
        }


@dataclass
class PineconeDouble:
    """One project. `faults` maps the number of a request, from 0, to what becomes of it, `fault` is of every one."""

    key: str = KEY
    delay: float = 0.0
    is_ready: bool = True
    faults: dict[int, Fault] = field(default_factory=dict)
    fault: Fault | None = None
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._indexes: dict[str, _Index] = {}
        self._closing = threading.Event()
        self._server = self._served(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing.set()
        for server in (self._server, *(index.server for index in self._indexes.values())):
            server.shutdown()
            server.server_close()

    @property
    def url(self) -> str:
        """Of the control plane."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def host(self, index: str) -> str:
        """Of an index, with its scheme."""
        return f"http://127.0.0.1:{self._indexes[index].server.server_address[1]}"

    def vectors(self, index: str) -> dict[str, dict[str, NDArray[np.float32]]]:
        """What an index shows now, by namespace and id."""
        with self._lock:
            found = self._indexes[index].namespaces
            for namespace in found.values():
                namespace.catch_up(time.monotonic())
            return {name: dict(namespace.vectors) for name, namespace in found.items()}

    def lose(self, index: str, count: int) -> None:
        """Some vectors of every namespace of an index are gone."""
        with self._lock:
            for namespace in self._indexes[index].namespaces.values():
                for id_ in list(namespace.vectors)[:count]:
                    del namespace.vectors[id_]
                namespace.matrix = None

    def make(self, name: str, dimension: int, metric: str = "cosine") -> None:
        """Make an index, as on Pinecone's own page."""
        with self._lock:
            self._indexes[name] = _Index(name, dimension, metric, _DEPLOYMENT, self._served(name))

    def unmake(self, name: str) -> None:
        """Delete an index."""
        with self._lock:
            gone = self._indexes.pop(name)
        gone.server.shutdown()
        gone.server.server_close()

    def answer(self, index: str | None, request: Request) -> Any:
        """The body of the answer to a request to the control plane, or to an index; raises _Refused."""
        if request.headers.get("api-key") != self.key:
            raise _Refused(401, f"Invalid API Key: {request.headers.get('api-key', '')[:8]}")
        if request.headers.get("x-pinecone-api-version") != VERSION:
            raise _Refused(400, "Unknown API version")
        with self._lock:
            parts = [unquote(part) for part in request.path.strip("/").split("/")]
            sent = json.loads(request.body) if request.body else {}
            if index is None:
                return self._control(request.method, parts, sent)
            if index not in self._indexes:
                raise _Refused(404, "Not found")
            return self._data(self._indexes[index], request, parts, sent)

    def _control(self, method: str, parts: list[str], sent: dict[str, Any]) -> Any:
        if (method, parts) == ("GET", ["indexes"]):
            return {"indexes": [index.described(is_ready=self.is_ready) for index in self._indexes.values()]}
        if (method, parts) == ("POST", ["indexes"]):
            if sent["name"] in self._indexes:
                raise _Refused(409, "Resource already exists")
            [(name, dense)] = sent["schema"]["fields"].items()
            assert (name, dense["type"]) == ("_values", "dense_vector"), sent
            self.make(sent["name"], dense["dimension"], dense["metric"])
            self._indexes[sent["name"]].deployment = sent["deployment"]
            return self._indexes[sent["name"]].described(is_ready=self.is_ready)
        if method == "GET" and len(parts) == 2 and parts[1] in self._indexes:
            return self._indexes[parts[1]].described(is_ready=self.is_ready)
        raise _Refused(404, f"Resource {parts[-1]} not found")

    def _data(self, index: _Index, request: Request, parts: list[str], sent: dict[str, Any]) -> Any:  # noqa: PLR0911 (one for each question)
        for each in index.namespaces.values():
            each.catch_up(time.monotonic())
        query = request.query
        match (request.method, *parts):
            case ("POST", "vectors", "upsert"):
                return self._upsert(index, sent, len(request.body))
            case ("POST", "vectors", "delete"):
                return self._delete(index, sent)
            case ("POST", "query"):
                return _queried(index, sent)
            case ("POST", "describe_index_stats"):
                counts = {name: len(each.vectors) for name, each in index.namespaces.items()}
                return {
                    "namespaces": {name: {"vectorCount": count} for name, count in counts.items()},
                    "dimension": index.dimension,
                    "indexFullness": 0,
                    "totalVectorCount": sum(counts.values()),
                    "metric": index.metric,
                    "vectorType": "dense",
                }
            case ("GET", "vectors", "list"):
                return _listed(index, query)
            case ("GET", "vectors", "fetch"):
                name = query.get("namespace", [""])[0]
                held = index.namespaces.get(name, _Namespace()).vectors
                found = {id_: {"id": id_, "values": held[id_].tolist()} for id_ in query["ids"] if id_ in held}
                return {"vectors": found, "namespace": name, "usage": {"readUnits": 1}}
            case ("GET", "namespaces", name) if name in index.namespaces:
                return {"name": name, "record_count": str(len(index.namespaces[name].vectors))}
            case ("DELETE", "namespaces", name) if name in index.namespaces:
                del index.namespaces[name]
                return {}
        raise _Refused(404, f"{' '.join(parts)} not found")

    def _upsert(self, index: _Index, sent: dict[str, Any], size: int) -> Any:
        if size > MOST_BYTES:
            raise _Refused(413, "Request size exceeds the limit of 2 MB")
        if len(sent["vectors"]) > 1000:
            raise _Refused(400, "Vector upsert batch size exceeds the limit of 1000")
        rows = [(each["id"], np.array(each["values"], np.float32)) for each in sent["vectors"]]
        for _, values in rows:
            if len(values) != index.dimension:
                raise _Refused(
                    400, f"Vector dimension {len(values)} does not match the dimension of the index {index.dimension}"
                )
            if not values.any():
                raise _Refused(400, "Dense vectors must contain at least one non-zero value")
        namespace = index.namespaces.setdefault(sent.get("namespace", ""), _Namespace())
        for id_, values in rows:
            namespace.write(id_, values, time.monotonic() + self.delay)
        return {"upsertedCount": len(rows)}

    def _delete(self, index: _Index, sent: dict[str, Any]) -> Any:
        namespace = index.namespaces.get(sent["namespace"])
        if namespace is None:
            raise _Refused(404, "Namespace not found")
        if len(sent["ids"]) > 1000:
            raise _Refused(400, "The number of ids exceeds the limit of 1000")
        for id_ in sent["ids"]:
            namespace.write(id_, None, time.monotonic() + self.delay)
        return {}

    def _served(self, index: str | None) -> ThreadingHTTPServer:
        server = _Server(("127.0.0.1", 0), _handler_for(self, index))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server

    def next_fault(self, request: Request) -> Fault | None:
        """Record a request; what becomes of it."""
        with self._lock:
            self.requests.append(request)
            return self.faults.get(len(self.requests) - 1, self.fault)

    def hold(self) -> None:
        """Say nothing until it closes."""
        self._closing.wait(60)


_DEPLOYMENT = {"deployment_type": "managed", "cloud": "aws", "region": "us-east-1"}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64


def _queried(index: _Index, sent: dict[str, Any]) -> Any:
    if not 1 <= sent["topK"] <= 10_000:
        raise _Refused(400, "topK must be from 1 to 10000")
    if len(sent["vector"]) != index.dimension:
        raise _Refused(400, f"Vector dimension {len(sent['vector'])} does not match the dimension of the index")
    namespace = index.namespaces.get(sent.get("namespace", ""), _Namespace())
    found = namespace.nearest(np.array(sent["vector"], np.float32), sent["topK"])
    return {
        "matches": [{"id": id_, "score": score, "values": []} for id_, score in found],
        "namespace": sent.get("namespace", ""),
        "usage": {"readUnits": 1},
    }


def _listed(index: _Index, query: Mapping[str, list[str]]) -> Any:
    limit = int(query.get("limit", ["100"])[0])
    if not 1 <= limit <= 100:
        raise _Refused(400, "limit must be from 1 to 100")
    name = query.get("namespace", [""])[0]
    ids = sorted(index.namespaces.get(name, _Namespace()).vectors)
    first = int(query.get("paginationToken", ["0"])[0])
    page: dict[str, Any] = {"vectors": [{"id": id_} for id_ in ids[first : first + limit]], "namespace": name}
    if first + limit < len(ids):
        page["pagination"] = {"next": str(first + limit)}
    return page


def _handler_for(double: PineconeDouble, index: str | None) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, url.path, parse_qs(url.query), headers, body)
            fault = double.next_fault(request)
            if fault == "hang":
                double.hold()
            if fault in {"hang", "cut"}:
                self.close_connection = True
                return
            if fault == "garbage":
                self._send(200, b"<html>Welcome to our hotel's network")
                return
            if fault is not None:
                status = 429 if fault == "rate_limit" else 500
                self._send(status, json.dumps({"code": 8, "message": "Not now", "details": []}).encode())
                return
            try:
                status, answer = 200, double.answer(index, request)
            except _Refused as refused:
                status, answer = refused.status, refused.body
            self._send(status, json.dumps(answer).encode())

        do_POST = do_DELETE = do_GET  # noqa: N815

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing goes to the terminal."""

    return Handler
