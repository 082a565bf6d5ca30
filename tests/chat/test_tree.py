"""The picture of a tree: every message once, parents above replies, runs not indented."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.chat import tree
from aichat_cli.chat.tree import Node, TreeLine
from aichat_cli.core.ids import MessageId


def nodes_of(parents: list[int | None]) -> list[Node]:
    """A message for each parent, named by its place; roles take turns with depth."""
    depths: list[int] = []
    nodes = []
    for place, parent in enumerate(parents):
        depths.append(0 if parent is None else depths[parent] + 1)
        above = None if parent is None else MessageId(str(parent))
        nodes.append(Node(MessageId(str(place)), above, "assistant" if depths[-1] % 2 else "user"))
    return nodes


@st.composite
def trees(draw: st.DrawFn) -> list[Node]:
    size = draw(st.integers(0, 40))
    return nodes_of([draw(st.none() | st.integers(0, place - 1)) if place else None for place in range(size)])


def drawn(lines: list[TreeLine]) -> str:
    return " ".join(f"{'>' * line.depth}{line.id}{'*' if line.is_in_use else ''}" for line in lines)


def test_a_conversation_without_branches_is_a_flat_list() -> None:
    nodes = nodes_of([None, *range(199)])
    lines = tree.lines(nodes, MessageId("199"))
    assert [line.id for line in lines] == [node.id for node in nodes]
    assert {line.depth for line in lines} == {0}
    assert not any(line.begins_branch for line in lines)


def test_side_branches_are_drawn_first_and_the_branch_in_use_goes_on_in_its_parents_place() -> None:
    # 0 - 1 - 2 - 3        in use
    #      \- 4 - 5
    #      \- 6
    nodes = nodes_of([None, 0, 1, 2, 1, 4, 1])
    assert drawn(tree.lines(nodes, MessageId("3"))) == "0* 1* >4 >5 >6 2* 3*"
    assert drawn(tree.lines(nodes, MessageId("5"))) == "0* 1* >2 >3 >6 4* 5*"
    assert drawn(tree.lines(nodes, None)) == "0 1 >2 >3 >4 >5 6"


def test_other_beginnings_are_branches_too() -> None:
    nodes = nodes_of([None, 0, None, 2])
    lines = tree.lines(nodes, MessageId("1"))
    assert drawn(lines) == ">2 >3 0* 1*"
    assert lines[0].begins_branch


def test_a_message_whose_parent_is_missing_is_drawn_as_a_beginning() -> None:
    nodes = [Node(MessageId("a"), MessageId("gone"), "user"), Node(MessageId("b"), MessageId("a"), "assistant")]
    assert drawn(tree.lines(nodes, MessageId("b"))) == "a* b*"


@given(trees(), st.integers(0, 50))
def test_every_message_is_drawn_once_below_its_parent(nodes: list[Node], head: int) -> None:
    lines = tree.lines(nodes, MessageId(str(head)))
    places = {line.id: place for place, line in enumerate(lines)}
    assert sorted(places) == sorted(node.id for node in nodes)
    assert len(lines) == len(nodes)
    by_id = {line.id: line for line in lines}
    for node in nodes:
        if node.parent_id is not None:
            assert places[node.parent_id] < places[node.id]
            assert by_id[node.id].depth - by_id[node.parent_id].depth in {0, 1}


@given(trees(), st.integers(0, 50))
def test_only_branches_are_indented_and_the_one_in_use_never_is(nodes: list[Node], head: int) -> None:
    lines = {line.id: line for line in tree.lines(nodes, MessageId(str(head)))}
    for node in nodes:
        siblings = [lines[other.id] for other in nodes if other.parent_id == node.parent_id]
        assert sum(not line.begins_branch for line in siblings) == 1
        above = lines[node.parent_id].depth if node.parent_id is not None else 0
        assert lines[node.id].depth == above + lines[node.id].begins_branch
        if lines[node.id].is_in_use:
            assert lines[node.id].depth == 0


@given(trees())
def test_the_branch_in_use_is_the_path_to_the_head(nodes: list[Node]) -> None:
    parents = {node.id: node.parent_id for node in nodes}
    for head, parent in parents.items():
        path = {head}
        above = parent
        while above is not None:
            path.add(above)
            above = parents[above]
        assert {line.id for line in tree.lines(nodes, head) if line.is_in_use} == path


def test_ten_thousand_messages_deep_and_branches_within_branches_are_drawn() -> None:
    size = 10_000
    deep = nodes_of([None, *range(size - 1)])
    assert len(tree.lines(deep, MessageId(str(size - 1)))) == size
    # Every message has two replies, the second of which has none.
    bushy = nodes_of([None] + [2 * (place // 2) - 1 if place > 1 else 0 for place in range(size - 1)])
    assert len(tree.lines(bushy, None)) == size


def test_going_on_from_a_question_is_going_on_from_its_last_answer() -> None:
    nodes = nodes_of([None, 0, 0, 2])
    assert tree.resting_point(nodes, MessageId("0")) == "2"
    assert tree.resting_point(nodes, MessageId("1")) == "1"
    assert tree.resting_point(nodes, MessageId("3")) == "3"
