from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aichat_cli.documents.robots import is_allowed, rules_for


@pytest.mark.parametrize(
    ("robots", "target", "may"),
    [
        ("", "/", True),
        ("User-agent: *\nDisallow:", "/a", True),
        ("User-agent: *\nDisallow: /", "/a", False),
        ("USER-AGENT: *\r\nDISALLOW: /a # not this\r\n", "/a", False),
        ("User-agent: *\nDisallow: /\nAllow: /docs/", "/docs/a", True),
        ("User-agent: *\nAllow: /docs/\nDisallow: /", "/other", False),
        ("User-agent: *\nDisallow: /a\nAllow: /a", "/a", True),
        ("User-agent: *\nDisallow: /*.pdf$", "/x/y.pdf", False),
        ("User-agent: *\nDisallow: /*.pdf$", "/x/y.pdf?v=1", True),
        ("User-agent: *\nDisallow: /*?session=", "/a?session=1", False),
        ("User-agent: *\nDisallow: /a*b*c", "/a-b-c-d", False),
        ("User-agent: *\nDisallow: /a*b*c", "/a-c-b", True),
        ("User-agent: *\nDisallow: /fish$", "/fishes", True),
        ("User-agent: *\nDisallow: /ab*b$", "/ab", True),
        ("User-agent: *\nDisallow: /caf\u00e9", "/caf%c3%a9", False),
        ("User-agent: *\nDisallow: /%7Ejoe", "/~joe", False),
        ("User-agent: *\nDisallow: /a%2Fb", "/a/b", True),
        ("User-agent: other\nDisallow: /", "/", True),
        ("User-agent: other\nUser-agent: AIchat/2.0\nDisallow: /", "/", False),
        ("User-agent: aichat\nAllow: /\nUser-agent: *\nDisallow: /", "/", True),
        (
            "User-agent: aichat\nDisallow: /a\n\nUser-agent: x\nDisallow: /\n\nUser-agent: aichat\nDisallow: /b",
            "/b",
            False,
        ),
        ("User-agent: *\nCrawl-delay: 5\nSitemap: /s.xml\nDisallow: /a", "/a", False),
        ("Disallow: /", "/", True),
        ("<html>not found: really</html>", "/", True),
    ],
)
def test_the_longest_rule_for_the_program_decides(robots: str, target: str, may: bool) -> None:
    assert is_allowed(rules_for("aichat", robots), target) is may


@given(st.text("User-agent:*\nDisallow: /a$%2", max_size=60), st.text(max_size=20))
def test_any_text_is_read(robots: str, target: str) -> None:
    is_allowed(rules_for("aichat", robots), "/" + target.encode("utf-8", "replace").decode())


def test_a_rule_of_many_wildcards_takes_no_time() -> None:
    rules = rules_for("aichat", "User-agent: *\n" + f"Disallow: /{'a*' * 5000}b$\n" * 20)

    began = time.monotonic()
    assert is_allowed(rules, "/" + "a" * 8000)
    assert time.monotonic() - began < 1
