"""The tree of a conversation as lines of a picture, and where going on from a message begins. No text, no terminal.

A run of messages without branches is not indented. Where a message has several replies, all but one are drawn first,
each one step to the right with what follows it; the one that is in use, else the last written, goes on below them in
the place of its parent. So a picture is only as wide as branches begin within branches.
"""

from __future__ import annotations

from collections.abc import Sequence

from aichat_cli.core.ids import MessageId
from aichat_cli.core.messages import Role
from aichat_cli.core.struct import Struct


class Node(Struct, frozen=True):
    """A message in its tree."""

    id: MessageId
    parent_id: MessageId | None
    role: Role


class TreeLine(Struct, frozen=True):
    """One message in the picture: `depth` steps to the right; the first of a side branch `begins_branch`."""

    id: MessageId
    depth: int
    begins_branch: bool
    is_in_use: bool


def lines(nodes: Sequence[Node], head_id: MessageId | None) -> list[TreeLine]:
    """The picture of a tree, a parent above its replies; every message is in it once.

    Args:
        nodes: the messages in the order they were written, so that no reply comes before its parent. One whose parent
            is not among them is a root.
        head_id: the tip of the branch in use, None where none is.
    """
    known = {node.id for node in nodes}
    replies: dict[MessageId | None, list[MessageId]] = {}
    for node in nodes:
        replies.setdefault(node.parent_id if node.parent_id in known else None, []).append(node.id)
    in_use = _branch(nodes, head_id)
    picture: list[TreeLine] = []
    # A stack, not a recursion: a conversation may be thousands of messages deep.
    waiting = _below(replies.get(None, []), 0, in_use)
    while waiting:
        line = waiting.pop()
        picture.append(line)
        waiting += _below(replies.get(line.id, []), line.depth, in_use)
    return picture


def resting_point(nodes: Sequence[Node], message_id: MessageId) -> MessageId:
    """Where the conversation goes on when a message is chosen: there, or after a question at its last answer."""
    place = message_id
    for node in nodes:
        if node.id == message_id and node.role != "user":
            return message_id
        if node.parent_id == message_id and node.role == "assistant":
            place = node.id
    return place


def _below(replies: Sequence[MessageId], depth: int, in_use: set[MessageId]) -> list[TreeLine]:
    """The lines of some replies to one message, in the order of a stack: what is drawn first comes last."""
    if not replies:
        return []
    trunk = next((reply for reply in replies if reply in in_use), replies[-1])
    sides = [TreeLine(reply, depth + 1, True, reply in in_use) for reply in replies if reply != trunk]
    return [TreeLine(trunk, depth, False, trunk in in_use), *reversed(sides)]


def _branch(nodes: Sequence[Node], head_id: MessageId | None) -> set[MessageId]:
    parents = {node.id: node.parent_id for node in nodes}
    branch: set[MessageId] = set()
    place = head_id
    while place is not None and place in parents and place not in branch:
        branch.add(place)
        place = parents[place]
    return branch
