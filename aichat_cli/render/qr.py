"""A QR code in half blocks, for a telephone to read off the terminal. The only importer of segno, which is an extra."""

from __future__ import annotations

from importlib.util import find_spec

QUIET = 2
"""Cells of light around the code; the standard wants four, scanners are content with two."""

_BLOCKS = {(False, False): "█", (False, True): "▀", (True, False): "▄", (True, True): " "}
"""By whether the upper and the lower cell are dark: light is drawn, dark is left."""


def qr_lines(text: str, *, columns: int, is_colored: bool) -> list[str]:
    """The code of a text, dark on light; nothing where it is wider than the terminal, or segno is not installed.

    Without colours light is drawn as the terminal's own foreground, which is light where the background is dark.
    """
    if find_spec("segno") is None:
        return []
    import segno

    code = segno.make(text, error="l", boost_error=False, micro=False)
    cells = [[bool(cell) for cell in row] for row in code.matrix_iter(border=QUIET)]
    if len(cells) > columns:
        return []
    if len(cells) % 2:
        cells.append([False] * len(cells))
    begin, end = ("\x1b[97;40m", "\x1b[0m") if is_colored else ("", "")
    return [
        begin + "".join(_BLOCKS[pair] for pair in zip(upper, lower, strict=True)) + end
        for upper, lower in zip(cells[::2], cells[1::2], strict=True)
    ]
