from __future__ import annotations

import contextlib
import io
import json
import sys

import pytest

from aichat_cli.core.errors import AichatError, KeyMissing, RateLimited
from aichat_cli.core.events import Settled
from aichat_cli.core.ids import RequestId
from aichat_cli.core.money import TokenUsage
from aichat_cli.render.diagnostics import Diagnostics, usage_text, wants_color


def without_key(text: str) -> str:
    return text.replace("sk-hidden", "***")


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_an_error_is_one_line_with_its_hint() -> None:
    stream = io.StringIO()
    Diagnostics(stream=stream).error(KeyMissing("No key.\nReally.", hint="Run: x"))

    assert stream.getvalue() == "aichat: No key. Really. Run: x\n"


def test_no_way_to_stderr_lets_a_key_through() -> None:
    stream = io.StringIO()
    diagnostics = Diagnostics(stream=stream, debug=True, redact=without_key)
    diagnostics.notice("sk-hidden")
    diagnostics.warning("sk-hidden")
    diagnostics.error(AichatError("sk-hidden", hint="try sk-hidden"))
    as_json = Diagnostics(stream=stream, as_json=True, redact=without_key)
    as_json.warning("sk-hidden")
    as_json.error(AichatError("sk-hidden", hint="try sk-hidden"))

    assert "sk-hidden" not in stream.getvalue()
    assert stream.getvalue().count("***") >= 6


def test_an_error_as_json_has_its_code_and_when_to_try_again() -> None:
    stream = io.StringIO()
    Diagnostics(stream=stream, as_json=True).error(RateLimited("Slow down.", retry_after=7))

    assert json.loads(stream.getvalue()) == {
        "error": {"code": "rate_limited", "message": "Slow down.", "hint": None, "exit_code": 5, "retry_after": 7}
    }


def test_notices_are_silent_where_json_was_asked_for() -> None:
    stream = io.StringIO()
    Diagnostics(stream=stream, as_json=True).notice("by the way")

    assert stream.getvalue() == ""


def test_the_traceback_is_shown_with_debug_alone_and_safely() -> None:
    shown, hidden = io.StringIO(), io.StringIO()
    try:
        raise AichatError("bad \x1b[2J thing")
    except AichatError as error:
        Diagnostics(stream=shown, debug=True).error(error)
        Diagnostics(stream=hidden).error(error)

    assert "Traceback" in shown.getvalue()
    assert "\x1b" not in shown.getvalue()
    assert "Traceback" not in hidden.getvalue()


def test_reasoning_ends_with_a_newline_before_anything_else() -> None:
    stream = io.StringIO()
    diagnostics = Diagnostics(stream=stream)
    diagnostics.reasoning("hm\x1b[2J")
    diagnostics.reasoning(" so")
    diagnostics.notice("done")
    diagnostics.end_reasoning()

    assert stream.getvalue() == "hm so\ndone\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /dev/full")
def test_a_closed_or_full_stderr_is_survived() -> None:
    closed = io.StringIO()
    closed.close()
    Diagnostics(stream=closed).notice("x")
    with contextlib.suppress(OSError), open("/dev/full", "w", encoding="utf-8") as full:
        Diagnostics(stream=full).notice("x" * 10)
        reached = True
    assert reached


@pytest.mark.parametrize(
    ("environ", "on_terminal", "in_pipe"),
    [
        ({}, True, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, False),
        ({"TERM": "dumb"}, False, False),
    ],
)
def test_color_follows_the_terminal_and_the_users_wish(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], on_terminal: bool, in_pipe: bool
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    assert (wants_color(Screen()), wants_color(io.StringIO()), wants_color(None)) == (on_terminal, in_pipe, in_pipe)


def test_usage_for_people() -> None:
    tokens = TokenUsage(1204, 310, cached_tokens=1024, reasoning_tokens=20)
    settled = Settled(RequestId("r"), "complete", "m\x1b[2J", tokens, 3_100_000, "stop")

    assert usage_text(settled) == "m: 1,204 in (1,024 cached), 310 out (20 reasoning), $0.0031"
    assert usage_text(Settled(RequestId("r"), "complete", "m", TokenUsage(1, 2), None, "stop")) == (
        "m: 1 in, 2 out, price unknown"
    )
    assert usage_text(Settled(RequestId("r"), "failed", "m", None, None, None)) == "m: no usage"
