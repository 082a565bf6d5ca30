"""What is known of terminals by their names."""

from __future__ import annotations

import os
from collections.abc import Mapping


def reflows(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the terminal wraps its lines anew when its width changes: all do but consoles and xterm itself."""
    return not environ.get("TERM", "").startswith(("linux", "vt")) and "XTERM_VERSION" not in environ
