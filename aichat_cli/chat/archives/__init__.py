"""Conversations of other programs, read: one module per format, each yielding `core.archive` data.

Nothing here writes anything. Archives are hostile until proven otherwise: sizes, depths, names and types are checked
where they are read, and one bad conversation never stops the next.
"""
