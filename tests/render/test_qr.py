"""The QR code on a terminal is the one segno made."""

from __future__ import annotations

import segno

from aichat_cli.render.qr import qr_lines

URL = "https://checkout.stripe.com/c/pay/cs_test_" + "a1B2" * 20
HALVES = {"█": (0, 0), "▀": (0, 1), "▄": (1, 0), " ": (1, 1)}


def test_the_blocks_read_back_are_the_code() -> None:
    lines = qr_lines(URL, columns=80, is_colored=False)
    rows = [[HALVES[character][half] for character in line] for line in lines for half in (0, 1)]
    code = segno.make(URL, error="l", boost_error=False, micro=False)
    assert rows[: len(rows[0])] == [list(row) for row in code.matrix_iter(border=2)]
    assert {len(line) for line in lines} == {len(rows[0])}


def test_a_coloured_code_is_light_on_dark_whatever_the_terminal_is() -> None:
    plain, coloured = (qr_lines(URL, columns=80, is_colored=is_colored) for is_colored in (False, True))
    assert coloured == [f"\x1b[97;40m{line}\x1b[0m" for line in plain]


def test_a_code_wider_than_the_terminal_is_left_out() -> None:
    width = len(qr_lines(URL, columns=80, is_colored=False)[0])
    assert qr_lines(URL, columns=width, is_colored=False)
    assert qr_lines(URL, columns=width - 1, is_colored=False) == []
