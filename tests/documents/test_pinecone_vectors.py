"""The vectors at Pinecone keep the contract of stores, and search with them that of corpora."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aichat_cli.core.secret import Secret
from aichat_cli.documents.corpus import CorpusFor
from aichat_cli.documents.elsewhere.filling import Sending
from aichat_cli.documents.elsewhere.vectors import VectorsElsewhere
from aichat_cli.documents.local_corpus import local_corpus
from aichat_cli.documents.moving import to_elsewhere
from aichat_cli.documents.pinecone.service import ASK_SECONDS, Access, PineconeService
from aichat_cli.storage import collections
from aichat_cli.storage.database import Database
from tests.documents.corpus_contract import CorpusContract, shelved
from tests.documents.vector_contract import Shelf, VectorContract
from tests.documents.vector_rows import collection
from tests.servers.pinecone_double import PineconeDouble


def service_of(
    double: PineconeDouble, *, index: str = "", key: str = "", patience: float = ASK_SECONDS
) -> PineconeService:
    """Pinecone as the program speaks to it."""
    access = Access(Secret(key or double.key, "test"), double.url, index, "aws", "us-east-1")
    return PineconeService(lambda: access, patience=patience)


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[PineconeDouble, PineconeService]]:
    """A double that works, and the way there."""
    with PineconeDouble() as double:
        service = service_of(double)
        yield double, service
        service.close()


class TestPineconeVectors(VectorContract):
    @pytest.fixture(autouse=True)
    def _pinecone(self, shared: tuple[PineconeDouble, PineconeService]) -> None:
        self.service = shared[1]

    def shelf(self, dimensions: int) -> Shelf:
        database = Database.in_memory()
        where = collection(database, dimensions)
        to_elsewhere(database, where, Sending(self.service, lambda _: None))
        return Shelf(database, where, VectorsElsewhere(database, where, lambda _: self.service))


@pytest.fixture(scope="module")
def library(shared: tuple[PineconeDouble, PineconeService]) -> Database:
    database = shelved()
    for each in collections.listing(database):
        if each.dimensions is not None:
            to_elsewhere(database, each, Sending(shared[1], lambda _: None))
    return database


class TestCorpusAtPinecone(CorpusContract):
    @pytest.fixture
    def corpus_for(self, shared: tuple[PineconeDouble, PineconeService]) -> CorpusFor:
        return lambda database, name: local_corpus(
            database, name, lambda of, where: VectorsElsewhere(of, where, lambda _: shared[1])
        )
