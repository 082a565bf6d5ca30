"""Pinecone as it is spoken to, by its official client, which takes a quarter of a second to load and is loaded when
something is asked first.

Only vectors, their numbers and the names of namespaces go there. What leaves this module are values, and errors of ours
that never hold the key. No question waits longer than its time, whatever the other side does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from aichat_cli.core.errors import AichatError, BadResponse, ConfigError, ProviderUnavailable, TimedOut
from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import Struct
from aichat_cli.documents.abandonable import Abandonable
from aichat_cli.documents.elsewhere.place import FoundIndex
from aichat_cli.documents.embedding.base import Matrix
from aichat_cli.documents.pinecone.failures import require_package, translated, unless_missing

if TYPE_CHECKING:
    from pinecone import Index as Client
    from pinecone import IndexModel, Pinecone
    from pinecone.models.vectors.responses import ListResponse

Result = TypeVar("Result")

KEY_NAME = "pinecone"
"""What its key is called among the keys."""
MOST_AT_ONCE = 1000
"""Vectors that it takes in one request, and ids in one deletion."""
MOST_BYTES = 1_900_000
"""Of one request; it takes 2 MB."""
BYTES_A_VALUE, BYTES_A_VECTOR = 10, 64
"""At most, as JSON."""
DECIMALS = 6
"""Of a value that is sent: more make no difference to a cosine, and every one costs a byte."""
MOST_NEIGHBOURS = 10_000
LISTED_AT_ONCE = 100
FETCHED_AT_ONCE = 100
TOLERANCE = 1e-3
"""Of a value that is read back: it is stored there as float32."""
IN_FLIGHT = 4
"""Requests that write at the same time."""

ATTEMPT_SECONDS = 10.0
"""For one attempt of the client's, which tries thrice more."""
ASK_SECONDS = 15.0
"""For an answer, further attempts included."""
WRITE_SECONDS = 60.0
MAKE_SECONDS = 180.0
"""For an index to be made."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Access(Struct, frozen=True):
    """How Pinecone is reached, as it is set.

    Attributes:
        url: of the service that knows the indexes.
        index: the name of the index to move vectors to; empty for one named by its dimensions.
        cloud, region: where an index is made.
    """

    key: Secret
    url: str
    index: str
    cloud: str
    region: str

    def index_name(self, dimensions: int) -> str:
        """The name of the index for vectors of some dimensions: an index has those of its first day for good."""
        return self.index or f"aichat-{dimensions}"


class PineconeService:
    """Pinecone as a `Place`, for any thread. What is asked raises, besides what is told at the question:

    - ConfigError: its client is not installed, or there is no such index.
    - KeyMissing, KeyRejected: there is no key, or it was refused.
    - RateLimited, ProviderError: it is busy, cannot be reached, or does not answer as it should.

    Args:
        access: read when something is asked first; raises AichatError.
        patience: seconds that an answer to a question is waited for, further attempts included.
    """

    def __init__(self, access: Callable[[], Access], *, patience: float = ASK_SECONDS) -> None:
        self._read_access = access
        self._patience = patience
        self._access: Access | None = None
        self._lock = threading.Lock()
        self._control: Pinecone | None = None
        self._clients: dict[str, Client] = {}

    name = "pinecone"
    count_patience = 20.0

    def told(self, index_name: str) -> str:
        """What messages call an index."""
        return f"The index {index_name} at Pinecone"

    @property
    def access(self) -> Access:
        """How it is reached."""
        if self._access is None:
            access = self._read_access()
            require_private(access.url)
            self._access = access
        return self._access

    def index_for(self, dimensions: int) -> FoundIndex:
        """The index for vectors of some dimensions, made where there is none; raises ConfigError where it is for others."""
        name = self.access.index_name(dimensions)
        found = self._ask(lambda: unless_missing(lambda: self._plane().indexes.describe(name)), self.access.url)
        is_new = found is None
        if found is None:
            found = self._ask(lambda: self._made(name, dimensions), self.access.url, MAKE_SECONDS)
        require_fit(found, dimensions)
        return FoundIndex(name, self._address(str(found.host)), is_new)

    def indexes(self) -> list[str]:
        """The names of all indexes of the account."""
        return self._ask(lambda: sorted(str(each.name) for each in self._plane().indexes.list()), self.access.url)

    def upsert(self, host: str, namespace: str, ids: Sequence[str], vectors: Matrix) -> None:
        """Put vectors there, any number of them, in the place of those that have the ids."""
        size = max(1, min(MOST_AT_ONCE, MOST_BYTES // (vectors.shape[1] * BYTES_A_VALUE + BYTES_A_VECTOR)))

        def send(start: int) -> None:
            rows = vectors[start : start + size].astype("float64").round(DECIMALS).tolist()
            sent = [{"id": id_, "values": row} for id_, row in zip(ids[start : start + size], rows, strict=True)]
            answer = self._client(host).upsert(vectors=sent, namespace=namespace)
            if answer.upserted_count != len(sent):
                raise BadResponse(f"Pinecone took {answer.upserted_count:,} of {len(sent):,} vectors.")

        self._ask_together([partial(send, start) for start in range(0, len(ids), size)], host)

    def delete(self, host: str, namespace: str, ids: Sequence[str]) -> None:
        """Delete vectors, any number of them; those that are not there are no error."""

        def send(start: int) -> None:
            # Of a namespace that is gone, or that never got a vector, there is nothing to delete.
            some = list(ids[start : start + MOST_AT_ONCE])
            unless_missing(lambda: self._client(host).delete(ids=some, namespace=namespace))

        self._ask_together([partial(send, start) for start in range(0, len(ids), MOST_AT_ONCE)], host)

    def delete_namespace(self, host: str, namespace: str) -> None:
        """Delete a namespace with its vectors; one that is not there is no error."""
        self._ask(lambda: unless_missing(lambda: self._client(host).delete_namespace(name=namespace)), host)

    def nearest(self, host: str, namespace: str, query: Sequence[float], limit: int) -> list[str]:
        """The ids of the vectors nearest to a query, nearest first."""
        answer = self._ask(
            lambda: self._client(host).query(
                vector=list(query), top_k=min(limit, MOST_NEIGHBOURS), namespace=namespace, include_values=False
            ),
            host,
        )
        return [match.id for match in answer.matches]

    def count(self, host: str, namespace: str) -> int:
        """How many vectors a namespace has; what is new may not be counted yet."""
        found = self._ask(lambda: unless_missing(lambda: self._client(host).describe_namespace(name=namespace)), host)
        return 0 if found is None else int(found.record_count)

    def ids(self, host: str, namespace: str) -> Iterator[list[str]]:
        """The ids of all vectors of a namespace, some at a time."""
        token: str | None = None
        while True:
            page = self._ask(partial(self._page, host, namespace, token), host)
            yield [str(each.id) for each in page.vectors]
            token = page.pagination.next if page.pagination else None
            if not token:
                return

    def fetch(self, host: str, namespace: str, ids: Sequence[str]) -> Mapping[str, Sequence[float]]:
        """Vectors by their ids, `FETCHED_AT_ONCE` at most; those that are not there are left out."""
        answer = self._ask(lambda: self._client(host).fetch(ids=list(ids), namespace=namespace), host)
        return {id_: vector.values for id_, vector in answer.vectors.items()}

    def is_like(self, host: str, namespace: str, vectors: Mapping[str, Matrix]) -> bool:
        """Whether some vectors, `FETCHED_AT_ONCE` at most, are there as they are here."""
        there = self.fetch(host, namespace, list(vectors))
        return all(_is_close(there.get(id_), vector) for id_, vector in vectors.items())

    def total(self, host: str) -> int:
        """How many vectors the index at a host has, in all namespaces."""
        return int(self._ask(lambda: self._client(host).describe_index_stats().total_vector_count, host))

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()
        if self._control is not None:
            self._control.close()

    def _ask(self, question: Callable[[], Result], where: str, seconds: float | None = None) -> Result:
        return self._answer(self._begun(question, where), where, self._patience if seconds is None else seconds)

    def _ask_together(self, questions: Sequence[Callable[[], None]], host: str) -> None:
        """Ask some at the same time; when all have ended, raises what the first that failed did."""
        for first in range(0, len(questions), IN_FLIGHT):
            begun = [self._begun(question, host) for question in questions[first : first + IN_FLIGHT]]
            failures: list[AichatError] = []
            for each in begun:
                try:
                    self._answer(each, host, WRITE_SECONDS)
                except AichatError as error:
                    failures.append(error)
            if failures:
                raise failures[0]

    def _begun(self, question: Callable[[], Result], where: str) -> Abandonable[Result]:
        require_package()
        place, key = _place(where), self.access.key

        def work(_: Abandonable[Result]) -> Result:
            with translated(place, key.reveal()):
                return question()

        return Abandonable(work)

    def _answer(self, begun: Abandonable[Result], where: str, seconds: float) -> Result:
        try:
            return begun.result(seconds)
        except TimeoutError:
            raise TimedOut(f"{_place(where)} did not answer within {seconds:.0f} s.") from None

    def _plane(self) -> Pinecone:
        from pinecone import Pinecone

        with self._lock:
            if self._control is None:
                key, url = self.access.key.reveal(), self.access.url
                self._control = Pinecone(
                    key, host=url, proxy_url=_proxy(url), timeout=ATTEMPT_SECONDS, source_tag="aichat"
                )
            return self._control

    def _client(self, host: str) -> Client:
        from pinecone import Index as Client

        with self._lock:
            if host not in self._clients:
                require_private(host)
                self._clients[host] = Client(
                    host=host,
                    api_key=self.access.key.reveal(),
                    proxy_url=_proxy(host),
                    timeout=ATTEMPT_SECONDS,
                    source_tag="aichat",
                )
            return self._clients[host]

    def _page(self, host: str, namespace: str, token: str | None) -> ListResponse:
        return self._client(host).list_paginated(namespace=namespace, limit=LISTED_AT_ONCE, pagination_token=token)

    def _made(self, name: str, dimensions: int) -> IndexModel:
        access = self.access
        return self._plane().indexes.create(
            name=name,
            dimension=dimensions,
            metric="cosine",
            deployment={"deployment_type": "managed", "cloud": access.cloud, "region": access.region},
            timeout=int(MAKE_SECONDS),
        )

    def _address(self, host: str) -> str:
        """The URL of a host, which its client takes for one with TLS; one on this machine is spoken to as the service is."""
        url = urlsplit(host if "://" in host else f"https://{host}")
        return f"{urlsplit(self.access.url).scheme if url.hostname in LOOPBACK else url.scheme}://{url.netloc}"


def require_fit(index: IndexModel, dimensions: int) -> None:
    """Refuse an index that is for other vectors, or not ready."""
    if not index.host or not index.status.ready:
        raise ProviderUnavailable(
            f"The index {index.name} at Pinecone is not ready: {index.status.state}.", hint="Try again in a minute"
        )
    has = (getattr(index, "dimension", None), getattr(index, "metric", None))
    if has != (dimensions, "cosine"):
        raise ConfigError(
            f"The index {index.name} at Pinecone is for vectors of {has[0] or 'unknown'} dimensions, compared by"
            f" {has[1] or 'something else'}; these have {dimensions}, compared by cosine.",
            hint="Name another, which is made if need be: aichat config set pinecone.index NAME",
        )


def _is_close(there: Sequence[float] | None, here: Matrix) -> bool:
    import numpy as np

    values = np.asarray([] if there is None else there, dtype=np.float32)
    return values.shape == here.shape and bool(np.abs(values - here).max() <= TOLERANCE)


def require_private(url: str) -> None:
    """Refuse to send a key over a network in the clear."""
    if urlsplit(url).scheme != "https" and urlsplit(url).hostname not in LOOPBACK:
        raise ConfigError(f"{url} is not encrypted, and the key would be sent there.", hint="It begins with https://")


def _place(where: str) -> str:
    return f"Pinecone at {urlsplit(where).netloc or where}"


def _proxy(url: str) -> str | None:
    """The proxy that is set for a URL, None where there is none."""
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    if parts.hostname in LOOPBACK or proxy_bypass(parts.netloc):
        return None
    found = getproxies()
    return found.get(parts.scheme) or found.get("all")
