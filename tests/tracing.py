"""Traces for coverage what counts and nothing else: it takes as long again as all that is run meanwhile.

The plugin of pytest-cov leaves out only the calls of tests that are marked with `no_cover`; collecting, and what fixtures do,
would be traced.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

import aichat_cli

MEASURED = ("core", "storage", "chat")
"""Packages of which coverage is demanded."""

TRACED = frozenset({*MEASURED, "accounts", "documents", "billing", "integrations", "sync"})
"""Folders whose tests are traced: those of these packages, and those that use all of the storage."""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Trace what is run when these packages are imported, but not how tests are found."""
    if _controller(session.config) is not None:
        for name in MEASURED:
            package = import_module(f"{aichat_cli.__name__}.{name}")
            for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
                import_module(module.name)
    _trace(session.config, wanted=False)
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Trace a test, with its fixtures, where it counts."""
    wanted = item.path.parent.name in TRACED and item.get_closest_marker("no_cover") is None
    _trace(item.config, wanted=wanted)
    return (yield)


def _controller(config: pytest.Config) -> Any:
    """What of pytest-cov starts and stops; None where nothing is to be measured."""
    return getattr(config.pluginmanager.getplugin("_cov"), "cov_controller", None)


def _trace(config: pytest.Config, *, wanted: bool) -> None:
    controller = _controller(config)
    if controller is not None and controller.started is not wanted:
        (controller.resume if wanted else controller.pause)()
