"""What other packages add to aichat: found by their entry points, listed without loading them, loaded one at a time.

Looking through what is installed takes some ten milliseconds, so it is done only for a name that is none of ours, or for
a listing. A package that is broken breaks what needs it, with one error that names it, and nothing else.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from aichat_cli.core.errors import AichatError, ConfigError
from aichat_cli.core.struct import Struct

if TYPE_CHECKING:
    from importlib.metadata import Distribution

PROVIDERS = "aichat.providers"
OBSERVERS = "aichat.observers"
LOADERS = "aichat.loaders"
VECTOR_STORES = "aichat.vector_stores"

GROUPS: Mapping[str, str] = {
    PROVIDERS: "provider",
    OBSERVERS: "observer",
    LOADERS: "loader",
    VECTOR_STORES: "vector store",
}
"""The groups of entry points, and what one of each is called."""


class Plugin(Struct, frozen=True):
    """Something that a package adds.

    Attributes:
        target: what is loaded, as `module:name`.
    """

    group: str
    name: str
    package: str
    version: str
    target: str

    @property
    def title(self) -> str:
        """What messages call it."""
        return f'The {GROUPS[self.group]} "{self.name}" of the package {self.package} {self.version}'


@cache
def installed() -> tuple[Plugin, ...]:
    """Everything that other packages add, by group and name. Nothing of it is loaded."""
    from importlib.metadata import distributions

    found: dict[str, tuple[Plugin, ...]] = {}
    for distribution in distributions():
        try:
            listed = distribution.read_text("entry_points.txt")
            if listed and any(f"[{group}]" in listed for group in GROUPS):
                # The first on the path is the one that is imported.
                found.setdefault(distribution.name, _of(distribution))
        except Exception:  # noqa: BLE001, S112 - a package whose own description cannot be read adds nothing
            continue
    return tuple(sorted((plugin for each in found.values() for plugin in each), key=lambda p: (p.group, p.name)))


def names(group: str) -> tuple[str, ...]:
    """The names in one group, each once."""
    return tuple(dict.fromkeys(plugin.name for plugin in installed() if plugin.group == group))


def find(group: str, name: str) -> Plugin | None:
    """What has this name, None where nothing has.

    Raises:
        ConfigError: two packages have it.
    """
    having = [plugin for plugin in installed() if plugin.group == group and plugin.name == name]
    if len(having) > 1:
        packages = [plugin.package for plugin in having]
        raise ConfigError(
            f'The packages {" and ".join(packages)} both add a {GROUPS[group]} "{name}".',
            hint=f"Uninstall one of them: pip uninstall {packages[-1]}",
        )
    return having[0] if having else None


def load(plugin: Plugin) -> Any:
    """What a package's entry point names.

    Raises:
        ConfigError: it cannot be loaded.
    """
    from importlib.metadata import EntryPoint

    with failing(plugin, "cannot be loaded"):
        return EntryPoint(plugin.name, plugin.target, plugin.group).load()


@contextmanager
def failing(plugin: Plugin, how: str = "failed") -> Iterator[None]:
    """A block of another package's code: whatever it raises becomes one error that names the package and the kind, as its
    text may quote anything. What it prints in this thread goes to stderr: stdout is for answers.

    Raises:
        ConfigError: it raised something.
        AichatError: it raised one of ours.
    """
    if not isinstance(sys.stdout, _Stdout):
        sys.stdout = cast("Any", _Stdout(sys.stdout))
    before, _printing.is_aside = getattr(_printing, "is_aside", False), True
    try:
        yield
    except (AichatError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as exc:  # noqa: BLE001 - of another package nothing is known
        raise failure(plugin, how, exc) from None
    finally:
        _printing.is_aside = before


def failure(plugin: Plugin, how: str, exc: BaseException) -> ConfigError:
    """The error for something that another package raised."""
    return ConfigError(f"{plugin.title} {how}: {type(exc).__name__}.", hint=mend(plugin))


def wrong(plugin: Plugin, expected: str, given: object) -> ConfigError:
    """The error for something that is not what it should be."""
    return ConfigError(f"{plugin.title} is no {expected}, but {type(given).__name__}.", hint=mend(plugin))


def mend(plugin: Plugin) -> str:
    """What to do about a package that is broken."""
    return f"Update or remove it: pip uninstall {plugin.package}"


_printing = threading.local()


class _Stdout:
    """The program's stdout; to a thread that runs another package's code, its stderr."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr if getattr(_printing, "is_aside", False) else self._real, name)


def _of(distribution: Distribution) -> tuple[Plugin, ...]:
    return tuple(
        Plugin(entry.group, entry.name, distribution.name, distribution.version, entry.value)
        for entry in distribution.entry_points
        if entry.group in GROUPS
    )
