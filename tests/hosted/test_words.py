"""Words on real Postgres: which there are in a text, how often they are counted, and how many chunks are ranked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aichat_cli.storage import chunks
from aichat_cli.storage.database import Database
from tests.hosted.library import hosted, new_user
from tests.servers.postgres import Cluster

Connection = psycopg.Connection[Any]
ADD = """
INSERT INTO document_chunks (user_id, document_id, collection, chunk_index, content, start_char, end_char, line,
  token_count, hash, embedding_model, words)
SELECT %(user)s, %(document)s, %(collection)s, place + %(after)s, content, 0, 1, 1, greatest(length(content) / 5, 1), '', %(model)s,
  aichat.words_of(%(title)s, '', content)
FROM unnest(%(texts)s::text[]) WITH ORDINALITY AS arriving (content, place)
"""
RANKED = (
    "SELECT chunk_index, score FROM aichat.chunks_with_words(%s, %s, %s, %s, %s) JOIN document_chunks ON id = chunk_id"
)
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


@pytest.fixture(scope="module")
def connection(postgres: Cluster) -> Iterator[Connection]:
    with hosted(postgres) as opened:
        yield opened


def add(
    connection: Connection,
    user: UUID,
    texts: Sequence[str],
    collection: str = "default",
    *,
    title: str = "",
    model: str | None = None,
    after: int = 0,
) -> UUID:
    """Store a document with a chunk for each text, numbered from 1, or from beyond `after`."""
    document = uuid4()
    connection.execute(
        "INSERT INTO documents (user_id, id, seq, stamp, collection, created_at, updated_at) VALUES"
        " (%s, %s, (SELECT coalesce(max(seq), 0) + 1 FROM documents WHERE user_id = %s), '', %s, now(), now())",
        (user, document, user, collection),
    )
    values = {"user": user, "document": document, "collection": collection, "title": title, "model": model}
    connection.execute(ADD, values | {"texts": list(texts), "after": after})
    return document


def lexemes(connection: Connection, text: str) -> set[str]:
    [(found,)] = connection.execute("SELECT tsvector_to_array(aichat.words_of('', NULL, %s))", (text,)).fetchall()
    return set(found)


def ranked(
    connection: Connection,
    user: UUID,
    words: Sequence[str],
    collection: str = "default",
    *,
    also: Sequence[int] = (),
    limit: int = 100,
) -> dict[int, float]:
    """Scores by the number of the chunk in its document, best first."""
    rows = connection.execute(RANKED, (user, collection, list(words), list(also), limit)).fetchall()
    return {row[0]: row[1] for row in sorted(rows, key=lambda row: (-row[1], row[0]))}


def test_words_are_those_of_the_local_database(connection: Connection) -> None:
    database = Database.in_memory()

    @settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(st.from_regex(r"[A-Za-zÀ-ÖØ-öø-ÿĀ-žа-яё0-9日本語]{3,12}", fullmatch=True), max_size=6))
    def check(words: list[str]) -> None:
        separators = [" ", "-", "_", "/", ".", ": ", "\N{EM DASH}", "…", "（"]  # noqa: RUF001
        text = "".join(word + separators[place % len(separators)] for place, word in enumerate(words))
        here = {stem for word in words for stem in chunks.stems(database, [word])}
        there = lexemes(connection, text)
        # Snowball's Porter knows neither -bly nor -logy, and folds what Python folds.
        assert {word[:3] for word in here} == {word[:3] for word in there}

    check()
    for text in (
        "retries retried",
        "caf\N{LATIN SMALL LETTER E WITH ACUTE} Zoe\N{COMBINING DIAERESIS}",
        "йод",
        "ERR_4031",
    ):
        parts = text.replace("_", " ").split()
        assert lexemes(connection, text) == {stem.lower() for stem in chunks.stems(database, parts)}


def test_parts_of_addresses_and_paths_are_words(connection: Connection) -> None:
    assert lexemes(connection, "https://example.com/a_b/read.html?x=1 <b>me@host.org</b> state-of-the-art 3.14 v2") == {
        "http", "exampl", "com", "a", "b", "read", "html", "x", "1", "me", "host", "org", "state", "of", "the", "art", "3", "14", "v2",
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        " ".join(map("".join, product(ALPHABET, repeat=3))) * 6,
        " ".join(chr(0x20000 + number) for number in range(42_000)) * 4,
        " ".join(chr(0x4E00 + n % 20_000) + chr(0x4E00 + n * 7 % 19_000) for n in range(400_000)),
        "x" * 1_000_000,
        "<" * 1_000_000,
        "é" * 1_000_000,
    ],
    ids=["short words", "long characters", "pairs", "one word", "no word", "one word that is not ASCII"],
)
def test_a_megabyte_is_no_error(connection: Connection, text: str) -> None:
    connection.execute("SELECT aichat.words_of(%s, %s, %s)", (text, text, text))


def test_a_word_in_the_title_counts_twice_and_a_short_chunk_more(connection: Connection) -> None:
    user = new_user(connection)
    add(
        connection,
        user,
        ["ocean and other things", "ocean and other things, ocean", "ocean" + " other things" * 40, "nothing"],
    )
    add(connection, user, ["of some other things"], title="ocean", after=4)
    found = ranked(connection, user, ["ocean"])
    assert list(found) == [5, 2, 1, 3]
    assert ranked(connection, user, ["oceans"]) == found


def test_scores_are_those_of_bm25(connection: Connection) -> None:
    user = new_user(connection)
    texts = ["tide " * number + "rest " * (12 - number) for number in range(12)]
    add(connection, user, texts)
    # 11 of 12 hold the first word and all the second: neither tells anything, but the ratio of scores does.
    found = ranked(connection, user, ["tide"])
    lengths = [max(len(text) // 5, 1) for text in texts]
    mean = sum(lengths) / 12

    def expected(times: int) -> float:
        return 2.2 * times / (times + 1.2 * (0.25 + 0.75 * lengths[times] / mean))

    for times in range(1, 12):
        assert found[times + 1] / found[2] == pytest.approx(expected(times) / expected(1))


def test_a_phrase_is_counted_where_its_parts_follow_each_other(connection: Connection) -> None:
    [(times,)] = connection.execute(
        "SELECT array_agg(aichat.times_of_phrase(words, '{err,4031}') ORDER BY place)"
        " FROM unnest(ARRAY[aichat.words_of('', '', 'err_4031 and err-4031 but 4031 err'), aichat.words_of('', '', '4031 err'),"
        " aichat.words_of('ERR 4031', '', 'err 4031')]) WITH ORDINALITY AS held (words, place)"
    ).fetchall()
    assert times == [2, 0, 3]


def test_only_the_chunks_of_a_collection_of_a_user_are_found(connection: Connection) -> None:
    mine, other = new_user(connection), new_user(connection)
    add(connection, mine, ["nothing", "ocean"])
    add(connection, mine, ["x", "x", "ocean"], "second")
    add(connection, other, ["x", "x", "x", "ocean"])
    assert list(ranked(connection, mine, ["ocean"])) == [2]
    assert list(ranked(connection, mine, ["ocean"], "second")) == [3]
    assert list(ranked(connection, other, ["ocean"])) == [4]
    assert ranked(connection, other, ["ocean"], "second") == {}


def test_of_common_words_those_chunks_are_ranked_that_hold_the_rarest(connection: Connection) -> None:
    user = new_user(connection)
    add(connection, user, ["common"] * 4_100 + ["common rare", "rare", "scarce", "common scarce rare"])
    found = list(ranked(connection, user, ["common", "rare", "scarce"]))
    assert set(found) == {4_101, 4_102, 4_103, 4_104}
    assert found[0] == 4_104
    # A word that does not find is no reason to rank a chunk that is near.
    [(near,)] = connection.execute("SELECT min(id) FROM document_chunks WHERE user_id = %s", (user,)).fetchall()
    assert 1 not in ranked(connection, user, ["common", "rare"], also=[near])
    assert 1 in ranked(connection, user, ["common"], also=[near], limit=20_000)
    assert len(ranked(connection, user, ["common"], limit=100)) == 100
    # One that is in too many to be looked through ranks what is near, if anything is.
    connection.execute("UPDATE aichat.word_counts SET chunks = 60001 WHERE user_id = %s AND word = 'common'", (user,))
    assert list(ranked(connection, user, ["common"], also=[near])) == [1]
    assert len(ranked(connection, user, ["common"], limit=100)) == 100


def test_how_many_chunks_hold_each_word_is_known(connection: Connection) -> None:
    user = new_user(connection)
    add(connection, user, ["ocean ocean", "oceans and tides", "err_4031", "4031"])
    rows = connection.execute(
        "SELECT place, frequency, finds, ranks FROM aichat.words_asked(%s, 'default', %s) ORDER BY place",
        (user, ["ocean", "tide", "nowhere", "err_4031", "_"]),
    ).fetchall()
    assert rows == [(1, 2, True, True), (2, 1, True, True), (3, 0, False, False), (4, 2, True, True)]


class Counts:
    """What is counted, and what there is to count."""

    def __init__(self, connection: Connection, user: UUID) -> None:
        self.connection = connection
        self.user = user

    def require_right(self) -> None:
        held: Counter[tuple[str, str]] = Counter()
        sizes: Counter[tuple[str, str, int]] = Counter()
        tokens: Counter[tuple[str, str, int]] = Counter()
        for collection, model, dimensions, count, words in self.connection.execute(
            "SELECT collection, coalesce(embedding_model, ''), coalesce(vector_dims(embedding), 0), token_count,"
            " tsvector_to_array(words) FROM document_chunks"
            " WHERE user_id = %s", (self.user,),
        ):  # fmt: skip
            held.update((collection, word) for word in words)
            sizes[collection, model, dimensions] += 1
            tokens[collection, model, dimensions] += count
        counted = self._rows("SELECT collection, word, chunks FROM aichat.word_counts WHERE user_id = %s")
        assert {(row[0], row[1]): row[2] for row in counted} == held
        stored = self._rows(
            "SELECT collection, embedding_model, dimensions, chunks, tokens FROM aichat.library_sizes WHERE user_id = %s"
        )
        assert {row[:3]: row[3:] for row in stored} == {key: (sizes[key], tokens[key]) for key in sizes}

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql.encode(), (self.user,)).fetchall()


def test_counts_are_right_after_whatever_changes(connection: Connection) -> None:
    words = st.lists(st.sampled_from(["ocean", "tide", "moon", "ocean tide", ""]), min_size=1, max_size=4)
    changes = st.lists(st.tuples(st.sampled_from(["add", "remove", "move", "embed", "rewrite"]), words), max_size=6)

    @settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
    @given(changes)
    def check(steps: list[tuple[str, list[str]]]) -> None:
        user = new_user(connection)
        documents = [add(connection, user, ["ocean", "tide"])]
        for what, texts in steps:
            document = documents[0]
            if what == "add":
                documents.append(add(connection, user, texts, model="any" if len(texts) > 2 else None))
            elif what == "remove":
                connection.execute("DELETE FROM documents WHERE user_id = %s AND id = %s", (user, document))
                documents = [*documents[1:], add(connection, user, texts)]
            else:
                change = {
                    "move": "collection = 'elsewhere'",
                    "embed": "embedding_model = 'new', embedding = '[1]'",
                    "rewrite": "words = aichat.words_of('moon', '', content), token_count = 7",
                }[what]
                connection.execute(
                    f"UPDATE document_chunks SET {change} WHERE user_id = %s AND document_id = %s".encode(),
                    (user, document),
                )
            Counts(connection, user).require_right()
        connection.execute("DELETE FROM auth.users WHERE id = %s", (user,))
        Counts(connection, user).require_right()

    check()
