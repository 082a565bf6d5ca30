"""Search in the local database keeps the contract."""

from __future__ import annotations

import pytest

from aichat_cli.documents.corpus import CorpusFor
from aichat_cli.documents.local_corpus import local_corpus
from aichat_cli.storage.database import Database
from tests.documents.corpus_contract import CorpusContract, shelved


@pytest.fixture(scope="module")
def library() -> Database:
    return shelved()


class TestLocalCorpus(CorpusContract):
    @pytest.fixture
    def corpus_for(self) -> CorpusFor:
        return local_corpus
