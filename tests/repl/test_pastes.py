"""Pastes: sent whole, whatever their size; never taken for what was typed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.repl.pastes import LARGE_CHARACTERS, LONGEST_REMEMBERED, Pastes

PIECES = st.lists(
    st.tuples(st.booleans(), st.one_of(st.text(max_size=30), st.text("ab\n", min_size=100, max_size=400))), max_size=6
)


@given(PIECES)
def test_what_is_sent_is_what_was_typed_and_pasted_in_order(pieces: list[tuple[bool, str]]) -> None:
    pastes = Pastes()
    line = "".join(pastes.taken(text) if is_pasted else text for is_pasted, text in pieces)

    assert pastes.expanded(line) == "".join(text for _, text in pieces)


@given(st.text(max_size=20), st.text(min_size=1, max_size=200), st.text(max_size=20))
def test_nothing_pasted_counts_as_typed(before: str, pasted: str, after: str) -> None:
    pastes = Pastes()
    line = f"{before}{pastes.taken(f'@{pasted}')}{after}"

    assert f"@{pasted}" not in pastes.typed(line)


def test_a_large_paste_is_shown_as_its_size() -> None:
    pastes = Pastes()

    assert pastes.taken("x" * (LARGE_CHARACTERS + 1)) == "[pasted #1: 4,001 characters]"
    assert pastes.taken("x\n" * 100) == "[pasted #2: 101 lines]"
    assert pastes.taken("short\nand small") == "short\nand small"


def test_a_stand_in_that_was_only_typed_stays_as_it_is() -> None:
    pastes = Pastes()

    assert pastes.expanded("[pasted #1: 101 lines]") == "[pasted #1: 101 lines]"
    assert pastes.expanded("[pasted #0: 101 lines]") == "[pasted #0: 101 lines]"


def test_the_history_keeps_pastes_up_to_a_size() -> None:
    pastes = Pastes()
    small = pastes.taken("x\n" * 100)
    huge = pastes.taken("y" * (LONGEST_REMEMBERED + 1))

    assert pastes.remembered(f"see {small}") == "see " + "x\n" * 100
    assert pastes.remembered(f"see {huge}") == f"see {huge}"
