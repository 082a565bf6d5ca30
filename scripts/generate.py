"""Writes every file that is made from the program: completions, the reference pages, the picture of the README.

python scripts/generate.py            write what changed
python scripts/generate.py --check    change nothing; fail where a file is out of date
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import picture
import reference

ROOT = Path(__file__).resolve().parent.parent

FILES: dict[str, Callable[[], str]] = {
    "completions/aichat.bash": lambda: reference.completion("bash"),
    "completions/_aichat": lambda: reference.completion("zsh"),
    "completions/aichat.fish": lambda: reference.completion("fish"),
    "docs/reference/commands.md": reference.commands,
    "docs/reference/settings.md": reference.settings,
    "docs/reference/environment.md": reference.environment,
    "docs/reference/slash-commands.md": reference.slash_commands,
    "docs/reference/exit-codes.md": reference.exit_codes,
    "docs/picture.svg": picture.svg,
}
"""File to what it should hold."""


def main() -> int:
    """Write or check; the exit code."""
    parser = argparse.ArgumentParser(description="Generate completions, reference pages and the picture.")
    parser.add_argument("--check", action="store_true", help="change nothing, fail where a file is out of date")
    is_check = parser.parse_args().check
    stale = []
    for name, content in FILES.items():
        path = ROOT / name
        wanted = content()
        if path.is_file() and path.read_text("utf-8") == wanted:
            continue
        stale.append(name)
        if not is_check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted, "utf-8")
    if stale:
        print(f"{'Out of date' if is_check else 'Written'}: {', '.join(stale)}")
    if stale and is_check:
        print("Run: .venv-test/bin/python scripts/generate.py")
    return int(is_check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
