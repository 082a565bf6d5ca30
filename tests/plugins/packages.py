"""Packages of other people: the example as its build backend makes it, and broken ones."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree
from zipfile import ZipFile

from aichat_cli.config import plugins
from aichat_cli.providers import plugged
from tests.starting import ROOT

EXAMPLE = ROOT / "examples" / "aichat-example-plugin"


def installed_example(folder: Path) -> Path:
    """Build the example's wheel and unpack it, which is all that installing it is."""
    source = copytree(EXAMPLE, folder / "source")
    build = "import hatchling.build; hatchling.build.build_wheel('..')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True, timeout=60)
    (wheel,) = folder.glob("*.whl")
    with ZipFile(wheel) as packed:
        packed.extractall(folder / "site")
    return folder / "site"


def write_package(site: Path, name: str, entries: dict[str, dict[str, str]], source: str) -> None:
    """A package of one module, installed: `entries` are names and targets within it, by group."""
    about = site / f"{name}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", "utf-8")
    sections = (
        f"[{group}]\n" + "".join(f"{entry} = {name}:{target}\n" for entry, target in named.items())
        for group, named in entries.items()
    )
    (about / "entry_points.txt").write_text("\n".join(sections), "utf-8")
    (site / f"{name}.py").write_text(source, "utf-8")


@contextmanager
def on_path(site: Path) -> Iterator[None]:
    """In this process, as if installed."""
    loaded = set(sys.modules)
    sys.path.insert(0, str(site))
    _forget()
    try:
        yield
    finally:
        sys.path.remove(str(site))
        for name in set(sys.modules) - loaded:
            if str(site) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]
        _forget()


def _forget() -> None:
    plugins.installed.cache_clear()
    plugged._offered.cache_clear()
