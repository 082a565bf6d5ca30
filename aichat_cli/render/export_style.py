"""How an exported page looks: light and dark, on a phone and on paper."""

from __future__ import annotations

_PAGE = """
:root { color-scheme: light dark; --text: #1b1d21; --soft: #62666f; --back: #ffffff; --raised: #f3f4f6; --line: #d9dce1;
  --link: #0a58ca; --you: #e8f0fe; --error: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e6ea; --soft: #9aa0aa; --back: #15171a; --raised: #202329;
  --line: #363b43; --link: #8ab4f8; --you: #1d2a3f; --error: #f2b8b5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 50rem; padding: 1.5rem 1rem 4rem; background: var(--back); color: var(--text);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 2rem 0 .25rem; }
h2, h3, h4, h5, h6 { line-height: 1.3; margin: 1.2rem 0 .4rem; font-size: 1.1rem; }
article > h2 { font-size: .95rem; margin: 0 0 .5rem; }
small, .meta, .file, figcaption, nav time { color: var(--soft); font-size: .85rem; font-weight: normal; }
.meta { margin: 0 0 1.5rem; }
a { color: var(--link); }
nav ol { padding-left: 1.5rem; }
main + main { border-top: 1px solid var(--line); margin-top: 3rem; }
article { margin: 0 0 1.25rem; padding: .9rem 1rem; border: 1px solid var(--line); border-radius: .6rem; }
article.user { background: var(--you); }
article.tool, article.system { background: var(--raised); font-size: .92rem; }
article > :last-child { margin-bottom: 0; }
.said { white-space: pre-wrap; }
pre { background: var(--raised); border: 1px solid var(--line); border-radius: .4rem; padding: .7rem .8rem; overflow-x: auto;
  overflow-wrap: normal; line-height: 1.45; }
code { font: .9em ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
:not(pre) > code { background: var(--raised); border-radius: .25rem; padding: .1em .3em; }
.system pre { white-space: pre-wrap; }
blockquote { margin: .8rem 0; padding-left: .9rem; border-left: 3px solid var(--line); color: var(--soft); }
table { display: block; overflow-x: auto; border-collapse: collapse; margin: .8rem 0; }
th, td { border: 1px solid var(--line); padding: .3rem .6rem; text-align: left; vertical-align: top; overflow-wrap: normal; }
.center { text-align: center; } .right { text-align: right; }
details { margin: 0 0 1.25rem; } summary { cursor: pointer; color: var(--soft); }
.branch { border-left: 3px solid var(--line); padding-left: .9rem; } .branch > summary { margin-bottom: .6rem; }
.reasoning { color: var(--soft); font-size: .92rem; }
figure { margin: 0 0 .8rem; } img { max-width: 100%; height: auto; border-radius: .4rem; }
.error { color: var(--error); }
hr { border: 0; border-top: 1px solid var(--line); }
@media (max-width: 30rem) { body { padding: .75rem .6rem 3rem; } article { padding: .7rem .75rem; } h1 { font-size: 1.35rem; } }
@media print { body { max-width: none; padding: 0; font-size: 10.5pt; } article { border-color: #bbb; }
  article > h2 { break-after: avoid; } pre { white-space: pre-wrap; overflow: visible; } nav { break-after: page; } }
"""


def style_sheet() -> str:
    """The style of a page, with the colours of code."""
    light, dark = _colours("friendly"), _colours("github-dark")
    return f"{_PAGE}{light}\n@media screen and (prefers-color-scheme: dark) {{\n{dark}\n}}\n"


def _colours(style: str) -> str:
    from pygments.formatters.html import HtmlFormatter

    rules = HtmlFormatter(style=style).get_style_defs("pre").splitlines()
    return "\n".join(rule for rule in rules if rule.startswith("pre ."))
